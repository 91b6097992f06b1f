"""Drafts of answers: what a report probably says, read with less caution than the strict reader has.

A draft saves time where the model writes the same (see `continuous`); no answer and no check depends on it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from medanalyzr.lab.reader import read_report, without_long_lines
from medanalyzr.lab.reading.lines.placing import assign
from medanalyzr.lab.reading.lines.results import meant
from medanalyzr.lab.reading.lines.rows import rows_of
from medanalyzr.lab.reading.names import harmless, known
from medanalyzr.lab.reading.patient import Patient, read_patient
from medanalyzr.lab.reading.tokens import Item, Refused, Row, digits, items, number, tidy, today_only
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import Measurement, Report
from medanalyzr.lab.rules import interpret
from medanalyzr.lab.units import known_unit

_CELLS = re.compile(r"\s*[|\t]\s*|\s{3,}|\s*:\s+|\s*\.{3,}\s*")
_NAME = re.compile(r"[\W_]*([^\W\d_].*?)\s+(?=[(\[]?[<>≤≥*↑↓]*\s*(?<![\w.,/-])\d)")
_NOTE = re.compile(r"\s*(?:\[[^]]*\]|\(([^()]*)\))")
_NUMBERED = re.compile(r"(?<![\w.,/-])\d")


def _name(printed: str) -> str:
    """A name without notes on how it was measured: footnotes, techniques; the (a) of «lipoprotéine (a)» is none."""
    analyte = known(printed)
    for note in reversed(list(_NOTE.finditer(printed))):
        shorter = printed[: note.start()] + printed[note.end() :]
        if known(shorter) == analyte and (len(note[1] or "") < 2 or harmless(fold(note[1]))):
            printed = shorter
    return printed.strip(" -*•·>#:.")


def _likely(name: str, found: list[Item], who: Patient, line: int) -> Measurement | None:
    """The first value among some items with the first interval that may be for this patient."""
    values, bounds = ([i for i in found if i.kind == kind] for kind in ("value", "interval"))
    if not values and bounds and bounds[0].sign and not bounds[0].closed:
        values, bounds = bounds[:1], bounds[1:]
    try:
        bounds = meant(bounds, who)
    except Refused:
        bounds = []
    bound, analyte = next(iter(bounds), None), known(name)
    if not values or (bound is None and analyte is None):
        return None
    alone = next((i.text for i in found if i.kind == "unit"), "")
    unit = values[0].unit or alone or (bound.unit if bound else "")
    text, ends = digits(values[0].text), (bound.low, bound.high) if bound else (None, None)
    sign = values[0].sign
    return Measurement(analyte, name, sign + text, number(text), sign, known_unit(unit, analyte) or unit, *ends, line=line)


def _cut(line: str) -> tuple[str, list[Item]]:
    """The name that a line begins with, and the items behind it; "" if there is none."""
    first, *others = _CELLS.split(line.strip(" |\t-*•·>#"))
    if others and not _NUMBERED.search(first) and re.search(r"[^\W\d_]", first):
        return _name(first), items("   ".join(others))
    named = _NAME.match(line)
    return (_name(named[1]), items(line[named.end() :])) if named else ("", [])


def _of_row(row: Row) -> tuple[str, list[Item]]:
    """The name of a row, and its items under the heads of their columns, or all of them."""
    try:
        return _name(row.name), assign(row)
    except Refused:
        return _name(row.name), row.items


def likely_report(text: str) -> Report:
    """What `read_report` reads, and of the other lines what they probably say."""
    report, text = read_report(text), re.sub(r"(?<=\d) / (?=\d)", " - ", without_long_lines(tidy(text).split("\n")))
    who, read = read_patient(text), {}
    rows = {row.line: row for row in reversed(rows_of(text).rows)}
    for m in report.measurements:
        read.setdefault(m.line, []).append(replace(m, name=_name(m.name)))
    for place, line in enumerate(text.split("\n"), 1):
        if place in read or not _NUMBERED.search(line):
            continue
        name, found = _of_row(rows[place]) if place in rows else _cut(line)
        if name and (m := _likely(name, today_only(found), who, place)) and read_patient(line) == Patient():
            read[place] = [m]
    return replace(report, measurements=tuple(m for place in sorted(read) for m in read[place]))


def drafts_for(reports: Sequence[str | Report]) -> list[str]:
    """Drafts of the answers to reports: what the rules say of what they read (see `likely_report`)."""
    return [interpret(report if isinstance(report, Report) else likely_report(report)) for report in reports]
