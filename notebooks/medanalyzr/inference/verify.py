"""Check of every line of an answer against the text of its report; a line that is not proved gets the first reason, and what the
report says instead where the strict reader read it.

A line is verified if the report gives its value for that name, with its unit and interval; if the strict reader agrees (where it
read the result); if flag, critical mark and the limits that it cites follow from them; and if the specimen is blood. Conclusion and
next steps of the rules use only the verified lines.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from medanalyzr.inference.verification.answer_lines import Given, numbers_of, read_line
from medanalyzr.inference.verification.passed_over import passed_over
from medanalyzr.inference.verification.proof import Proofs, Unproved, bound, close
from medanalyzr.lab.engine.facts import BLOOD, Facts, answered, in_french_unit, in_interval_unit, limit_reached, own_troponin
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.lines.results import SHARES
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.references import analytes, critical_limits
from medanalyzr.lab.report import CRITICAL, UNDETERMINED, Measurement, Report
from medanalyzr.lab.rules import critical_comparison, flag, interpret, remarks
from medanalyzr.lab.units import plain

_NO_RESULT = re.compile(r"(?:conclusion|suite)\s*:", re.IGNORECASE)


@dataclass(slots=True)
class Result:
    """One result of an answer, with the fields of predictions.jsonl; `why` says what is not proved ("" if verified).

    A line that the report contradicts is not verified, and its fields are those of the report: no wrong value or flag is shown.
    """

    analyte: str | None
    name: str
    specimen: str
    value: str | None
    unit: str
    low: float | None
    high: float | None
    interval_unit: str
    flag: str
    critical: bool
    verified: bool
    why: str


@dataclass
class Verified:
    """What the checks of an answer found.

    `results` are the different lines of the answer in order. `left_out` are results that the strict reader found and the answer lacks (for
    other specimens, only those that need a flag). `unread` are lines that look like a result which neither the strict reader nor the
    answer tells. `critical` are the names of the values that the answer, the rules or the strict reader call critical. `urgent` are
    these values in words, as the report prints them; a value that only the answer gives is marked as such.
    """

    results: list[Result]
    unread: list[dict]
    left_out: list[Result]
    critical: list[str]
    urgent: list[str]
    proved: Report = field(repr=False)

    @cached_property
    def _words(self) -> dict[str, str]:
        lines = interpret(self.proved).splitlines() if self.proved.measurements else []
        return {head: rest.removesuffix(".") for head, _, rest in (line.partition(" : ") for line in lines[-2:]) if rest}

    @property
    def conclusion(self) -> str:
        """The conclusion of the rules from the verified lines; "" without any."""
        return self._words.get("Conclusion", "")

    @property
    def next_steps(self) -> list[str]:
        """The next steps of the rules from the verified lines, the most urgent first."""
        return [step for step in self._words.get("Suite", "").split(" ; ") if step]


def _judged(g: Given, m: Measurement, side: str | None) -> None:
    """Flag and critical mark follow from value, interval and table; `side` is the critical side by the rules. Raises Unproved."""
    if g.compared is not None and ((converted := in_interval_unit(m)) is None or not close(converted.value, g.compared)):
        raise Unproved(f"la comparaison porte {bound(g.compared)}")
    if (due := flag(m)) != g.m.flag:
        raise Unproved(f"indicateur : les règles disent {due}")
    printed = (m.low, m.high) != (None, None)
    if g.bounded is False and due != UNDETERMINED:
        raise Unproved("un intervalle est imprimé")
    if g.bounded and not printed:
        raise Unproved("aucun intervalle imprimé")
    limits = critical_limits(m.analyte) if m.analyte else None
    share = m.analyte in SHARES and plain(m.unit) == "%"  # of the leucocytes: the limits are those of the count
    if limits and analytes()[m.analyte].unit and not share and in_french_unit(m) is None:
        raise Unproved("valeur critique non exclue sans unité connue")
    if g.m.critical != (bool(side) or _reached(m)):
        raise Unproved(
            "critique selon les règles" if side else "critique selon la table" if _reached(m) else "non critique selon les règles"
        )


def _limits_judged(g: Given, m: Measurement, facts: Facts) -> None:
    """What the line says beside its comparison (critical limits, corrected calcium) is what the rules say. Raises Unproved."""
    due = " ; ".join(filter(None, (*remarks(m, facts), critical_comparison(m, facts)))) if g.further else ""
    if g.further - numbers_of(due):
        raise Unproved(f"les règles disent {due}" if due else "aucune limite à dire selon les règles")


def _reached(m: Measurement) -> bool:
    """Whether the printed value alone reaches a limit of the table."""
    return m.specimen == BLOOD and limit_reached(m) is not None


def _result(m: Measurement, specimen: str, side: str, critical: bool, why: str) -> Result:
    return Result(m.analyte, m.name, specimen, m.text, m.unit, m.low, m.high, m.interval_unit, side, critical, not why, why)


def _reading(g: Given, rest: list[Measurement], proofs: Proofs) -> Measurement | None:
    """What the strict reader read under the name of a line that is not proved; None where it read nothing or several results, where
    it read another specimen (unless it has the same value, which the line takes for blood), and where it read no interval although
    the report prints that of the line as one.
    """
    same = [r for r in rest if key(r.name) == g.key] or [r for r in rest if r.analyte and r.analyte == g.m.analyte]
    if len(same) != 1:
        return None
    r, m = same[0], g.m
    if r.specimen != m.specimen and not (m.specimen == BLOOD and (r.sign, r.value) == (m.sign, m.value)):
        return None
    return None if (r.low, r.high) == (None, None) and proofs.prints_interval(m.low, m.high) else r


def _said(g: Given) -> str:
    """Value, flag and critical mark of a line of the answer, in words."""
    return ", ".join(filter(None, (f"{g.m.text} {g.m.unit}".strip(), g.m.flag, CRITICAL if g.m.critical else "")))


def _in_words(m: Measurement, printed: bool) -> str:
    return f"{m.name} {m.text} {m.unit}".rstrip() + ("" if printed else " (d'après la réponse seule)")


def verify(report: Report | str, answer: str) -> Verified:
    """Check every line of `answer` against `report` (its text, or the report as read)."""
    report = read_report(report) if isinstance(report, str) else report
    report = replace(report, measurements=tuple(map(own_troponin, report.measurements)))
    once = dict.fromkeys(line.strip() for line in answer.splitlines())  # a line said again word for word is no second result
    lines = [(line, read_line(line)) for line in once if line and not _NO_RESULT.match(line)]
    proofs = Proofs(report, [g.m.name for _, g in lines if g])
    found: list[Measurement | str] = []  # what the report prints, or why nothing is proved
    for _, g in lines:
        try:
            found.append(proofs.proved(g) if g else "ligne non comprise")
        except Unproved as reason:
            found.append(str(reason))
    printed = [m for m in found if not isinstance(m, str)]
    rest = [r for r in report.measurements if id(r) not in proofs.used]
    facts = Facts(replace(report, measurements=(*printed, *rest)))
    by_rules = dict(zip(map(id, (*printed, *rest)), facts.measurements, strict=True))
    sides = {place: facts.critical_side(m) for place, m in by_rules.items()}
    results, proved, critical = [], [], {}  # the critical ones: in words, and their names
    shown: set[int] = set()  # readings that stand in place of a wrong line, by `id`
    for (line, g), m in zip(lines, found, strict=True):
        if g is None:
            results.append(Result(None, line[:80], BLOOD, None, "", None, None, "", UNDETERMINED, False, False, m))
            continue
        is_printed = not isinstance(m, str)
        m, why = (m, "") if is_printed else (g.m, m)
        side = sides.get(id(m))
        try:
            if not why:
                _judged(g, m, side)
                _limits_judged(g, by_rules[id(m)], facts)
                proved.append(m)
        except Unproved as reason:
            why = str(reason)
        if g.m.critical or side or _reached(m):
            critical[_in_words(m, is_printed)] = m.name
        reading = m if is_printed else _reading(g, [r for r in rest if id(r) not in shown], proofs)
        if why and reading:
            shown.add(id(reading))
            why += f" ; corrigé d'après le compte rendu (réponse : {_said(g)})"
            unknown = reading.analyte is None and g.m.critical  # the rules say nothing of a name that they do not know
            is_critical = bool(sides[id(reading)]) or _reached(reading) or unknown
            results.append(_result(reading, reading.specimen, flag(reading), is_critical, why))
        else:
            results.append(_result(m, g.m.specimen, g.m.flag, g.m.critical, why))
    critical |= {_in_words(r, True): r.name for r in rest if sides[id(r)] or _reached(r)}
    doubtful = [g for (_, g), m in zip(lines, found, strict=True) if g and isinstance(m, str)]
    denied = {name for g in doubtful for name in (g.key, g.m.analyte)} - {None}
    left_out = [
        _result(r, r.specimen, flag(r), sides[id(r)] is not None, "absent de la réponse")
        for r in rest
        if denied.isdisjoint((key(r.name), r.analyte)) and answered(r)
    ]
    read = {m.line for m in proved}
    unread = [u for u in report.unread if u.line not in read]
    if not proofs.is_document:  # what a document holds is told as a whole
        unread += passed_over(report, proofs.search, (g.m for _, g in lines if g))
    names = list(dict.fromkeys(critical.values()))
    told = list(map(asdict, sorted(unread, key=lambda u: u.line)))
    return Verified(results, told, left_out, names, list(critical), replace(report, measurements=tuple(proved)))


def as_line(source: str, report_text: str, answer: str, verified: Verified) -> dict:
    """One line of predictions.jsonl."""
    return {
        "source": source,
        "report": report_text,
        "answer": answer,
        "results": [asdict(result) for result in verified.results],
        "unread": verified.unread,
        "left_out": [asdict(result) for result in verified.left_out],
        "critical": verified.critical,
        "conclusion": verified.conclusion,
        "next_steps": verified.next_steps,
    }
