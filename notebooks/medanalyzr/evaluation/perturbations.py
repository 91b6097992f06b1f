"""Reports changed in one respect, to test whether the answer changes as it must: counterfactual pairs, invariances, abstention."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from medanalyzr.evaluation.metrics import wilson
from medanalyzr.lab.references import analytes, depends_on_sex
from medanalyzr.lab.report import (
    FLAGS,
    FRENCH_HABITS,
    Measurement,
    Report,
    decimals_of,
    format_number,
    in_unit,
    parse_answer,
    parse_report,
    write_report,
)
from medanalyzr.lab.rules import flag, interpret

Row = dict[str, str]
MARGIN = 0.05  # a moved value lies this share of the limit beyond it: at least one printed step, at most half the interval


@dataclass(frozen=True)
class Perturbation:
    """A test row and its changed copy; `key` is the changed analyte ("" if the whole report was changed)."""

    kind: str
    key: str
    original: Row
    changed: Row


KINDS = {
    "limit": "one value moved across its limit: that flag must change, no other",
    "order": "the lines in reverse order: no flag may change",
    "point": "decimal points instead of commas: no flag may change",
    "unit": "one value and its interval in another unit: no flag may change",
    "no interval": "the interval of one analyte left out: «indéterminé»",
    "no unit": "interval and unit of one analyte left out: «indéterminé»",
    "no sex": "sex left out, and with it an interval that depends on it: «indéterminé»",
    "child": "the patient made a child of six years, all intervals left out: «indéterminé», no adult interval",
    "pregnant": "the patient made a pregnant woman, all intervals left out: «indéterminé», no interval outside pregnancy",
    "urine": "one value moved under the heading of urine, without its interval: no line, no flag",
}
INVARIANT = ("order", "point", "unit")
ABSTAIN = ("no interval", "no unit", "no sex", "child", "pregnant", "urine")


def _across(m: Measurement, rng: Random) -> Measurement | None:
    """`m` with its value on the other side of a limit; None if the rules give it no plain flag, or if no value is possible there."""
    if m.sign or m.interval_unit or m.specimen != "sang" or flag(m) not in FLAGS:
        return None
    decimals = decimals_of(m.text)
    bounds = {"bas": (m.low,), "élevé": (m.high,)}.get(flag(m)) or [b for b in (m.low, m.high) if b]
    bound = rng.choice(bounds)
    width = m.high - m.low if m.low is not None and m.high is not None else float("inf")
    step = max(10.0**-decimals, min(MARGIN * abs(bound), width / 2))
    up = flag(m) == "bas" or (flag(m) == "normal" and bound == m.high)
    value = round(bound + (step if up else -step), decimals)
    moved = replace(m, value=value, text=format_number(value, decimals))
    return moved if value > 0 and flag(moved) != flag(m) else None


def _order(report: Report, rng: Random) -> tuple[str, Report] | None:
    return ("", replace(report, measurements=report.measurements[::-1])) if len(report.measurements) > 1 else None


def _in_another_unit(m: Measurement) -> Measurement | None:
    """`m` in the second unit in use; None where there is none, or where its rounding changes the flag."""
    if m.analyte not in FRENCH_HABITS or m.specimen != "sang" or m.unit != analytes()[m.analyte].unit or m.interval_unit:
        return None
    moved = in_unit(m, FRENCH_HABITS[m.analyte], interval_too=True)
    return moved if flag(moved) == flag(m) else None


def _bare(m: Measurement, **more) -> Measurement:
    return replace(m, low=None, high=None, interval_unit="", **more)


def _one_bare(report: Report, rng: Random, **more) -> tuple[str, Report] | None:
    """One result without its interval, where a sex that is not known is not what lacks already."""

    def fits(m: Measurement) -> bool:
        return m.analyte and m.unit and m.specimen == "sang" and (report.sex or not depends_on_sex(m.analyte))

    return _one(report, rng, lambda m: _bare(m, **more) if fits(m) else None)


def _no_sex(report: Report, rng: Random) -> tuple[str, Report] | None:
    def change(m: Measurement) -> Measurement | None:
        return _bare(m) if m.analyte and m.specimen == "sang" and depends_on_sex(m.analyte) else None

    return _one(replace(report, sex=None), rng, change) if report.sex else None


def _of_another(report: Report, **who) -> tuple[str, Report] | None:
    """The report as that of another patient, without intervals; None if it has none, or is not about the blood of an adult."""
    old = (report.age or 40) < 18 or report.pregnant or any(m.specimen != "sang" for m in report.measurements)
    bare = tuple(map(_bare, report.measurements))
    return None if old or bare == report.measurements else ("", replace(report, measurements=bare, text="", **who))


def _urine(report: Report, rng: Random) -> tuple[str, Report] | None:
    places = [i for i, m in enumerate(report.measurements) if m.analyte and m.specimen == "sang"]
    if not places or len(places) < len(report.measurements):
        return None
    place = rng.choice(places)
    m = _bare(report.measurements[place], specimen="urine")
    kept = (*report.measurements[:place], *report.measurements[place + 1 :], m)
    return m.key, replace(report, measurements=kept)


def _one(report: Report, rng: Random, change: Callable[[Measurement], Measurement | None]) -> tuple[str, Report] | None:
    """The report with one result changed, drawn among those that `change` gives; None if it gives none."""
    places = [(i, changed) for i, m in enumerate(report.measurements) if (changed := change(m))]
    if not places:
        return None
    place, m = rng.choice(places)
    return m.key, replace(report, measurements=(*report.measurements[:place], m, *report.measurements[place + 1 :]))


_CHANGES: dict[str, Callable[[Report, Random], tuple[str, Report] | None]] = {
    "limit": lambda report, rng: _one(report, rng, lambda m: _across(m, rng)),
    "order": _order,
    "point": lambda report, rng: ("", report) if _points(write_report(report)) != write_report(report) else None,
    "unit": lambda report, rng: _one(report, rng, _in_another_unit),
    "no interval": _one_bare,
    "no unit": lambda report, rng: _one_bare(report, rng, unit=""),
    "no sex": _no_sex,
    "child": lambda report, rng: _of_another(report, age=6.0),
    "pregnant": lambda report, rng: _of_another(report, sex="F", age=31.0, pregnant=True),
    "urine": _urine,
}


def _points(text: str) -> str:
    """A report with decimal points in its numbers; the unit mL/min/1,73 m² is not changed."""
    return re.sub(r"(?<=\d)(?<!/1),(?=\d)", ".", text)


def make_perturbations(rows: Sequence[Row], kinds: Iterable[str], count: int, seed: int) -> list[Perturbation]:
    """Up to `count` perturbations of each kind, from rows whose report is in the format of the rules and has no duplicate analyte.

    The rules write the reference of a changed report; a changed order or decimal sign keeps the flags of the original.
    """
    perturbations = []
    for kind in kinds:
        rng, found = Random(f"{kind} {seed}"), 0
        for row in rng.sample(list(rows), len(rows)):
            report = parse_report(row["input"])
            keys = [m.key for m in report.measurements]
            if found == count:
                break
            if not keys or len(set(keys)) < len(keys) or write_report(report) != row["input"]:
                continue
            if changed := _CHANGES[kind](report, rng):
                key, twin = changed
                text = write_report(twin)
                answer = interpret(replace(twin, text=text))
                changed_row = row | {"input": _points(text) if kind == "point" else text, "output": answer}
                perturbations.append(Perturbation(kind, key, row, changed_row))
                found += 1
    return perturbations


def _flags(answer: str) -> dict[str, str]:
    return {key: m.flag for key, m in parse_answer(answer).items()}


def consistency(perturbations: Sequence[Perturbation], before: Sequence[str], after: Sequence[str]) -> dict[str, dict]:
    """For "limit" and the invariances, how many pairs of answers (to original and changed report) behave as they must.

    For "limit": `flipped` if the changed analyte has the right flag in both answers, `others_kept` if all others keep theirs,
    `consistent` if both hold. For an invariance: every analyte of the reference has a flag, and it is the same in both answers.
    """
    result = {}
    for kind in ("limit", *INVARIANT):
        flipped, kept, both = [], [], []
        for perturbation, first, second in zip(perturbations, map(_flags, before), map(_flags, after), strict=True):
            if perturbation.kind != kind:
                continue
            expected = _flags(perturbation.original["output"]), _flags(perturbation.changed["output"])
            others = [key for key in expected[0] if key != perturbation.key] if kind == "limit" else list(expected[0])
            kept.append(all(key in first and first[key] == second.get(key) for key in others))
            pairs = zip((first, second), expected, strict=True)
            flipped.append(all(given.get(perturbation.key) == want.get(perturbation.key) for given, want in pairs))
            both.append(kept[-1] and (kind != "limit" or flipped[-1]))
        if both and kind == "limit":
            result[kind] = {"flipped": wilson(sum(flipped), len(flipped)), "others_kept": wilson(sum(kept), len(kept))}
        if both:
            result.setdefault(kind, {})["consistent"] = wilson(sum(both), len(both))
    return result
