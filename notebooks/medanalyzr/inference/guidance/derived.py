"""The numbers that an answer may derive from what a report prints and the reader has not read: a corrected calcium, an anion gap.

They follow from the expressions of the tables, each evaluated for the numbers beside the names of its analytes.
"""

import re
from functools import cache
from itertools import islice, product

from medanalyzr.inference.guidance.printed import in_our_spelling, numbers_in, printed_numbers, printed_units
from medanalyzr.lab.engine import patterns
from medanalyzr.lab.engine.conditions import Expression, expression, fill
from medanalyzr.lab.engine.facts import BLOOD, Facts, in_french_unit
from medanalyzr.lab.references import aliases, analytes, conversions, fold, reference_interval
from medanalyzr.lab.report import Measurement, Report, number
from medanalyzr.lab.rules import LACKING_WORDS

CORRECTED = "{corrige:2}"
_BEFORE, _AFTER = 120, 200  # characters around a name among which its value may stand
_MOST = 1500  # readings of one expression
_FAR = 20  # times an interval's bound: no value lies farther out


@cache
def _slots() -> dict[str, Expression]:
    """The numbers that the texts of the patterns leave open, and what they are."""
    texts = (text for row in patterns.rows() for text in (row.wording, row.next_step))
    slots = dict.fromkeys(slot for text in texts for slot in re.findall(r"\{[^{}]+:\d\}", text))
    return {slot: expression(re.sub(r":\d$", "", slot[1:-1]).strip(), slot) for slot in slots}


@cache
def fixed_numbers(column: str) -> frozenset[str]:
    """The numbers that the texts in a column of the patterns themselves hold: «contrôler à 15 jours», «avant 18 ans»."""
    open_places = re.compile(r"\{[^{}]*\}")
    texts = (
        open_places.sub(lambda place: " ".join(re.findall(r"'([^']*)'", place[0])), getattr(row, column)) for row in patterns.rows()
    )
    return frozenset().union(*map(numbers_in, (*texts, *LACKING_WORDS)))


@cache
def _names() -> dict[str, re.Pattern]:
    """The names of each analyte in a folded text."""
    names: dict[str, list[str]] = {}
    for name, analyte in aliases():
        names.setdefault(analyte, []).append(re.escape(fold(name)))
    return {
        analyte: re.compile(rf"(?<!\w)(?:{'|'.join(sorted(own, key=len, reverse=True))})(?!\w)") for analyte, own in names.items()
    }


def _plausible(analyte: str, value: float) -> bool:
    interval = reference_interval(analyte, "F")
    return interval is None or (interval.low or 0) / _FAR <= value <= (interval.high or interval.low) * _FAR  # one is given


def converted(analyte: str, numbers: set[str], text: str) -> list[Measurement]:
    """Numbers as results of `analyte` in the French unit, read in it and in each other unit of it that stands in `text`."""
    name, french = analytes()[analyte].name, analytes()[analyte].unit
    units = [french, *(unit for of, unit in conversions() if of == analyte and _stands(unit, text))]
    return [
        in_french_unit(Measurement(analyte, name, found, number(found), "", unit, None, None, specimen=BLOOD))
        for unit in units
        for found in sorted(numbers)
    ]


def _stands(unit: str, text: str) -> bool:
    """Whether `unit` stands in a text, in any of its spellings."""
    return any(unit in in_our_spelling(found) for found in printed_units(text))


def _readings(analyte: str, report: Report) -> list[Measurement | None]:
    """What the value of `analyte` may be, in the French unit: what the reader has, else each number beside a name of it."""
    if measured := Facts(report).french(analyte):
        return [measured]
    text = fold_lines(report.text)
    around = [report.text[max(name.start() - _BEFORE, 0) : name.end() + _AFTER] for name in _names()[analyte].finditer(text)]
    read = {
        m.text: m for part in around for m in converted(analyte, printed_numbers(part), report.text) if _plausible(analyte, m.value)
    }
    return [*read.values()] or [None]


def fold_lines(text: str) -> str:
    """`text` folded character by character: as long as it is."""
    return "".join(fold(c)[:1] or c for c in text)


def derived(report: Report) -> dict[str, set[str]]:
    """The numbers that each open place in the texts of the patterns may hold, for the readings of its analytes."""
    readings: dict[str, list[Measurement | None]] = {}
    found: dict[str, set[str]] = {}
    for slot, what in _slots().items():
        asked = sorted(what.analytes | ({"creatinine"} if "dfg_calcule" in what.names else set()))
        for analyte in asked:
            if analyte not in readings:
                readings[analyte] = _readings(analyte, report)
        for chosen in islice(product(*(readings[analyte] for analyte in asked)), _MOST):
            facts = Facts(Report(report.sex, report.age, tuple(filter(None, chosen)), pregnant=report.pregnant))
            found.setdefault(slot, set()).update(numbers_in(fill(slot, facts, slot)))
    return found
