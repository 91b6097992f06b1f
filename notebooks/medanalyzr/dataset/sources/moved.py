"""The values of a report moved for training: onto a limit, close to one, or somewhere else; what is computed from them moves along.

A few thousand reports hold few of the values between which flags, critical marks and conclusions change. A model that sees only these
learns them by heart, and one that trains for minutes hardly meets a critical value.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

from medanalyzr.dataset.bundled import is_measured
from medanalyzr.lab.engine.facts import ckd_epi_2009
from medanalyzr.lab.references import analytes, critical_limits, read_table
from medanalyzr.lab.report import Measurement, Report, decimals_of, format_number, number, parse_report, write_report
from medanalyzr.lab.rules import interpret

_TIED = (  # values that hold each other; they move only where they stand alone
    "hb hematocrite hematies vgm tcmh ccmh", "leucocytes pnn lymphocytes monocytes eosinophiles basophiles", "ph paco2 hco3_art be",
    "cholesterol hdl ldl triglycerides non_hdl", "fer transferrine cst ctf", "bilirubine_totale bilirubine_conjuguee", "pao2 sao2",
)  # fmt: skip
_MATES = {analyte: group.split() for group in _TIED for analyte in group.split()}
_MATES |= {one: [mate for mate in _MATES[one] if mate != other] for one, other in (("hb", "vgm"), ("vgm", "hb"))}
_COMPUTED = {"dfg": "creatinine", "tp": "inr"}  # each with what it follows from
_REMARKS = {  # on which the critical marks of an analyte depend, and some on which they do not
    "tp": ("Patient sous AVK", "Traitement par AVK (warfarine)", "Traitement : warfarine", "Pas de traitement anticoagulant"),
    "plaquettes": ("Présence d'amas plaquettaires", "Plaquettes en amas au frottis", "Pas d'amas plaquettaires"),
    "potassium": ("Prélèvement hémolysé", "Absence d'hémolyse"),
}
_TIMES = (2, 3, 5, 10)  # the upper limit, as rules on enzymes count


@cache
def _thresholds() -> dict[str, tuple[float, ...]]:
    """The numbers that the rules compare each analyte with, in its French unit."""
    conditions = " ".join(row["condition"] for part in "abej" for row in read_table(f"patterns_{part}"))
    pairs = re.findall(r"\b([a-z]\w*) [<>]=? (\d+(?:\.\d+)?)\b", conditions)
    pairs += [(name, limit) for limit, name in re.findall(r"(?<![\w.])(\d+(?:\.\d+)?) <=? ([a-z]\w*)\b", conditions)]
    found = {a: {float(limit) for name, limit in pairs if name == a} for a in analytes()}
    for analyte, limits in found.items():
        critical = critical_limits(analyte)
        limits |= {x for x in (critical.low, critical.high) if x is not None} if critical else set()
    return {analyte: tuple(sorted(limits)) for analyte, limits in found.items()}


def _with(m: Measurement, value: float) -> Measurement:
    text = format_number(value, decimals_of(m.text))
    return replace(m, text=text, value=number(text))


def _elsewhere(m: Measurement, rng: Random) -> Measurement:
    """`m` on one of its limits, some printed steps or per cent from it, or up to a third from its own value."""
    limits = (m.low, m.high, *_thresholds()[m.analyte], *(times * (m.high or 0) for times in _TIMES))
    near = [x for x in limits if x and 0.3 * m.value < x < 3.5 * m.value]
    value, step = m.value * rng.uniform(0.75, 1.35), 10.0 ** -decimals_of(m.text)
    if near and rng.random() < 0.6:
        limit = rng.choice(near)
        value = limit + rng.choice((-1, 1)) * max(step * rng.choice((0, 1, 1, 2, 3)), limit * rng.choice((0, 0, 0.02, 0.05, 0.12)))
    return _with(m, value) if step <= value and (m.unit != "%" or value <= 100) else m


def _near_critical(m: Measurement, rng: Random) -> Measurement | None:
    """`m` at, beyond or just before a critical limit that is within five times its value; None without such a limit."""
    table, step = critical_limits(m.analyte), 10.0 ** -decimals_of(m.text)
    sides = [(limit, side) for limit, side in ((table.low, -1), (table.high, 1)) if limit] if table else []
    sides = [(limit, side) for limit, side in sides if 0.2 * m.value < limit < 5 * m.value]
    if not sides:
        return None
    limit, side = rng.choice(sides)
    away = max(step * rng.choice((0, 1, 2)), limit * rng.choice((0, 0.03, 0.08, 0.2, 0.3)))
    return _with(m, max(step, limit + (side if rng.random() < 0.75 else -side) * away))


def _follows(m: Measurement, given: dict[str, Measurement], report: Report) -> Measurement:
    """`m` as a laboratory computes it from the values of `given`, where it does."""
    base = given.get(_COMPUTED.get(m.analyte, ""))
    if m.sign or base is None or m.unit != analytes()[m.analyte].unit:
        return m
    if m.analyte == "tp":
        return _with(m, min(100 / base.value ** (1 / 0.72), 100))
    return _with(m, ckd_epi_2009(base.value, report.age, report.sex)) if report.sex and (report.age or 0) >= 18 else m


def moved(report: Report, rng: Random, critical: float = 0.0) -> Report:
    """`report` with about half of its values moved, in three of five reports: known analytes in blood and in their French unit.

    A share `critical` of the moved values goes to a critical limit, where the analyte has one that is not far away.
    """
    counts = Counter(m.analyte for m in report.measurements if m.specimen == "sang")
    if rng.random() < 0.4:
        return report

    def moves(m: Measurement) -> bool:
        tied = m.specimen != "sang" or counts[m.analyte] > 1 or sum(counts[mate] for mate in _MATES.get(m.analyte, ())) > 1
        computed = _COMPUTED.get(m.analyte, "") in counts
        return bool(m.analyte and m.value and not (m.sign or tied or computed)) and m.unit == analytes()[m.analyte].unit

    def elsewhere(m: Measurement) -> Measurement:
        near = _near_critical(m, rng) if critical and rng.random() < critical else None
        return near or _elsewhere(m, rng)

    first = [elsewhere(m) if moves(m) and rng.random() < 0.6 else m for m in report.measurements]
    given = {m.analyte: m for old, m in zip(report.measurements, first, strict=True) if m != old}
    return replace(report, measurements=tuple(_follows(m, given, report) if m.analyte in _COMPUTED else m for m in first))


def remarked(report: Report, rng: Random) -> Report:
    """`report` with one of `_REMARKS`, in a quarter of those that it may matter to and that have no remark."""
    analytes_of = {m.analyte for m in report.measurements if m.specimen == "sang"}
    kinds = [analyte for analyte in _REMARKS if analyte in analytes_of]
    if report.comments or not kinds or rng.random() < 0.75:
        return report
    return replace(report, comments=(rng.choice(_REMARKS[rng.choice(kinds)]),))


def moved_rows(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    """`rows` in their order and layout, with values moved in measured reports of the bundled set, most of them to a critical limit.

    The rules write the answers of the moved reports, whose `origin` is then "moved"; the other rows stay as they are.
    """

    def of(row: dict[str, str], place: int) -> dict[str, str]:
        if not is_measured(row):
            return row
        text = write_report(moved(parse_report(row["input"]), Random(f"{seed} moved {place}"), critical=0.6))
        return row if text == row["input"] else row | {"input": text, "output": interpret(parse_report(text)), "origin": "moved"}

    return [of(row, place) for place, row in enumerate(rows)]
