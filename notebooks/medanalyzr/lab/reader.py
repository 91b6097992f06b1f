"""Reports in the layouts laboratories send: colons, tabs, columns, any order of value, unit and interval.

A line is read when it begins with an analyte of our tables and holds its number, or when it is written as
`reports.parse_line` reads it. What stands between name and value must be known words: «Glucose urinaire» is no glucose.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache

from medanalyzr.lab.references import Analyte, find_analyte
from medanalyzr.lab.report import LONGEST_LINE, Measurement, Report, number, parse_line, parse_report, write_measurement
from medanalyzr.lab.units import spellings, usual_unit

LONGEST_NAME = 60  # characters
_NUMBER = r"-?\d+(?:[.,]\d+)?(?![\d^*]|e[+-]?\d)"
_INFERIOR = r"inf(?:[ée]rieure?|\.)?\s*(?:ou\s+[ée]gale?\s*)?[àa]|jusqu'à|≤|<\s*="
_SUPERIOR = r"sup(?:[ée]rieure?|\.)?\s*(?:ou\s+[ée]gale?\s*)?[àa]|≥|>\s*="


@cache
def _token() -> re.Pattern:
    units = "|".join(map(re.escape, sorted(spellings(), key=len, reverse=True)))
    unit = rf"(?:{units})(?![\w/²])"
    return re.compile(
        rf"""(?P<earlier>(?:ant[ée]rieur|ant[ée]riorit|pr[ée]c[ée]dent|ant\.|le\s+\d{{1,2}}/).*)
        |(?P<date>\b\d{{1,2}}[/.-]\d{{1,2}}[/.-](?:\d{{4}}|\d{{2}})\b|\b\d{{4}}-\d\d-\d\d\b)
        |(?P<unit>{unit})
        |(?P<range>(?P<low>{_NUMBER})\s*(?:{unit})?\s*(?:-|–|—|à|et)\s*(?P<high>{_NUMBER}))
        |(?P<below>(?:{_INFERIOR})\s*(?P<most>{_NUMBER}))
        |(?P<above>(?:{_SUPERIOR})\s*(?P<least>{_NUMBER}))
        |(?P<number>(?:(?P<sign>[<>])\s*)?(?P<value>{_NUMBER}))
        |(?P<cell>[\t;|])
        |(?P<known>\b(?:s[ée]rique|plasmatique|sanguine?|veineu(?:x|se)|à\s+jeun|vr|r[ée]f(?:[ée]rences?)?|normes?|valeurs?|usuelles?|
            (?:in)?f[ée]rieure?|de|intervalle|r[ée]sultat|hh?|ll?|b|n|e)\b|\((?:[^\W\d_]|[\s.'-])+\))
        |(?P<word>[^\W\d_]+)
        |(?P<other>\S)""",
        re.VERBOSE | re.IGNORECASE,
    )


def clean(text: str) -> str:
    """`text` in one form: composed characters, plain spaces and signs, no invisible or control characters."""
    text = unicodedata.normalize("NFC", text).replace("\u2212", "-").replace("⩽", "≤").replace("⩾", "≥")
    text = re.sub(r"[\u00a0\u2007\u2009\u202f]", " ", text)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


def _name(line: str) -> tuple[Analyte, str, str] | None:
    """The analyte that a line begins with, its name as written, and the rest; the longest known name wins."""
    line = line.lstrip(" \t-*•|>")
    for end in reversed([m.end() for m in re.finditer(r"[^\s:;|]+", line[:LONGEST_NAME])]):
        for name in (line[:end], line[:end].rstrip(".+-")):
            if known := find_analyte(name):
                return known, name, line[len(name) :]
    return None


@dataclass(frozen=True)
class _Read:
    numbers: list[tuple[str, str]]  # sign and number, in order
    low: float | None
    high: float | None
    unit: str
    interval_unit: str
    cells: bool


def _read(rest: str) -> _Read | None:
    """The tokens of what follows the name; None where an unknown word stands before the first number."""
    numbers, units, interval_units, low, high, cells, before = [], [], [], None, None, False, ""
    for token in _token().finditer(rest):
        kind = token.lastgroup
        if kind == "earlier":
            break
        if kind == "word" and not numbers and (low, high) == (None, None):
            return None
        if kind == "range" and (low, high) == (None, None):
            low, high = number(token["low"]), number(token["high"])
        elif kind == "below" and (low, high) == (None, None):
            high = number(token["most"])
        elif kind == "above" and (low, high) == (None, None):
            low = number(token["least"])
        elif kind == "number":
            numbers.append((token["sign"] or "", token["value"]))
        elif kind == "unit":
            (interval_units if before in ("range", "below", "above") else units).append(usual_unit(token["unit"]))
        cells = cells or kind == "cell"
        before = kind
    unit = (units or interval_units or [""])[0]
    return _Read(numbers, low, high, unit, next((u for u in interval_units if u != unit), ""), cells)


def read_line(line: str) -> Measurement | None:
    """The measurement on one line of a report, in any of the layouts; None where there is none or it cannot be told.

    Of several numbers the first outside the interval is the value; dates, marks (H, B, *) and earlier results are left out.
    """
    if len(line) > LONGEST_LINE:
        return None
    found = _name(line)
    if found is None:
        return parse_line(line)
    known, name, rest = found
    read = _read(rest)
    if read is None or not read.numbers:
        return None
    numbers, low, high = read.numbers, read.low, read.high
    if (low, high) == (None, None):
        signed = next((i for i, (sign, _) in enumerate(numbers) if sign and len(numbers) > 1), None)
        if signed is not None:
            sign, bound = numbers[signed]
            low, high = (None, number(bound)) if sign == "<" else (number(bound), None)
            numbers = numbers[:signed] + numbers[signed + 1 :]
        elif read.cells and len(numbers) == 3:
            low, high = number(numbers[1][1]), number(numbers[2][1])
    if low is not None and high is not None and low >= high:
        return None
    sign, text = numbers[0]
    text = sign + text.replace(".", ",")
    return Measurement(
        known.id, name, text, number(text.lstrip("<>")), sign, read.unit, low, high, interval_unit=read.interval_unit
    )


def in_our_layout(text: str) -> str:
    """`text` with every measurement line written as the training data write it; other lines stay as they are."""
    lines = clean(text).splitlines()
    return "\n".join(line if (m := read_line(line)) is None else write_measurement(m) for line in lines)


def read_report(text: str) -> Report:
    """A report in any of the layouts: sex, age, and each analyte once, in order.

    The first line of an analyte counts; lines that hold no measurement are passed over.
    """
    text = clean(text)
    who, found = parse_report(text), {}
    for place, m in enumerate(map(read_line, text.splitlines()), 1):
        if m is not None:
            found.setdefault(m.key, replace(m, line=place))
    return replace(who, measurements=tuple(found.values()))
