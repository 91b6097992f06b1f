"""One answer scored against its reference: each analyte, each number, each conclusion.

Answers are scored as written: a missing analyte is wrong, only the first line of an analyte counts, and additions to the report are
listed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from medanalyzr.inference.guidance.printed import NUMBER, numbers_in
from medanalyzr.lab.references import conversions, convert, critical_limits, decimals_in, fold
from medanalyzr.lab.report import Measurement, format_number, number, parse_answer, parse_report
from medanalyzr.lab.rules import answer_key

ABSENT = "absent"


@dataclass(frozen=True)
class Line:
    """One analyte of a reference answer, and what the answer made of it; `given` is a flag or "absent"."""

    key: str
    name: str
    expected: str
    given: str
    critical: bool
    called_critical: bool
    value_right: bool
    unit_right: bool

    @property
    def right(self) -> bool:
        """Whether the given flag is the expected one."""
        return self.given == self.expected


@dataclass(frozen=True)
class Scored:
    """One answer against its reference. `patterns` and `given_patterns` are the conclusions of both (see `conclusion`), `numbers`
    counts the numbers in the answer, `made_up` lists those that follow from neither report nor reference, `points` counts decimal
    points where French has a comma.
    """

    lines: tuple[Line, ...]
    invented: tuple[str, ...]
    patterns: Mapping[str, str]
    given_patterns: Mapping[str, str]
    numbers: int
    made_up: tuple[str, ...]
    points: int

    @property
    def right(self) -> int:
        """The number of right flags."""
        return sum(line.right for line in self.lines)

    @property
    def exact(self) -> bool:
        """Every flag and critical mark right, the same conclusion, nothing invented."""
        marks = all(line.right and line.critical == line.called_critical for line in self.lines)
        return marks and not self.invented and self.patterns.keys() == self.given_patterns.keys()

    def faults(self) -> list[str]:
        """What is wrong with the answer, in words."""
        found = []
        for line in self.lines:
            if not line.right:
                found.append(f"{line.name}: {line.given} instead of {line.expected}")
            if line.critical != line.called_critical:
                found.append(f"{line.name}: critical value {'missed' if line.critical else 'called without cause'}")
        found += [f"invented analyte {name}" for name in self.invented]
        found += [f"made-up number {number}" for number in dict.fromkeys(self.made_up)]
        mine, due = self.given_patterns, self.patterns
        found += [f"not concluded: {due[key]}" for key in sorted(due.keys() - mine.keys())]
        return found + [f"concluded without cause: {mine[key]}" for key in sorted(mine.keys() - due.keys())]


def conclusion(answer: str) -> dict[str, str]:
    """The conclusions of an answer: the parts of its line «Conclusion : a ; b.» without text in brackets, by their folded form, in
    which they are compared.
    """
    line = next((text for text in answer.splitlines() if fold(text).startswith("conclusion :")), "")
    parts = re.sub(r"\s*\([^)]*\)", "", " ".join(line.split()).partition(":")[2]).rstrip(". ").split(" ; ")
    return {fold(part): part.strip() for part in parts if part.strip()}


def _same_value(given: Measurement, expected: Measurement) -> tuple[bool, bool]:
    """Whether value and unit are the expected ones; the same value in another known unit of the analyte is also right."""
    if fold(given.unit) == fold(expected.unit):
        return (given.sign, given.value) == (expected.sign, expected.value), True
    try:
        value = convert(expected.analyte or "", expected.value, expected.unit, given.unit)
        half = 0.5 * 10.0 ** -decimals_in(expected.analyte or "", given.unit)
    except KeyError:
        return False, False
    return given.sign == expected.sign and abs(given.value - value) <= half * 1.001, True


def _numbers(text: str) -> list[str]:
    """The numbers in an answer, with a decimal comma; the line of next steps is left out («contrôler à 3 mois»)."""
    kept = (line for line in text.splitlines() if not fold(line).startswith("suite :"))
    return [found.replace(".", ",") for line in kept for found in NUMBER.findall(line)]


def _following(report: str, reference: str) -> set[float]:
    """What the numbers of an answer may be: those of report and reference, the critical limits of its analytes, and each value in the
    other units of its analyte.
    """
    allowed = {number(found) for found in numbers_in(report) | numbers_in(reference)}
    for m in (*parse_report(report).measurements, *parse_answer(reference).values()):
        limits = critical_limits(m.analyte) if m.analyte else None
        allowed |= {bound for bound in (limits.low, limits.high) if bound is not None} if limits else set()
        for analyte, unit in conversions():
            if analyte == m.analyte:
                try:
                    text = format_number(convert(analyte, m.value, m.unit, unit), decimals_in(analyte, unit))
                except KeyError:
                    break
                allowed.add(number(text))
    return allowed


def score(report: str, answer: str, reference: str) -> Scored:
    """One answer to `report` against its `reference` answer."""
    expected, given = parse_answer(reference), parse_answer(answer)
    lines = []
    for key, m in expected.items():
        found = given.get(key)
        value, unit = _same_value(found, m) if found else (False, False)
        called = bool(found and found.critical)
        lines.append(Line(key, m.name, m.flag, found.flag if found else ABSENT, m.critical, called, value, unit))
    known = {*expected, *(answer_key(m) for m in parse_report(report).measurements)}
    written, allowed = _numbers(answer), _following(report, reference)
    return Scored(
        lines=tuple(lines),
        invented=tuple(m.name for key, m in given.items() if key not in known),
        patterns=conclusion(reference),
        given_patterns=conclusion(answer),
        numbers=len(written),
        made_up=tuple(found for found in written if number(found) not in allowed),
        points=len(re.findall(r"(?<![\w.,])\d+\.\d", answer)),
    )
