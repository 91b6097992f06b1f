"""What stands in a report for the lines of an answer: its numbers, its units, words that may be names, and the lines that were not read."""

import csv
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from medanalyzr.dataset.composer.spellings import spellings
from medanalyzr.lab.dates import DATE
from medanalyzr.lab.reading.names import key, known
from medanalyzr.lab.reading.patient import Patient, read_patient
from medanalyzr.lab.references import aliases
from medanalyzr.lab.report import Report, number
from medanalyzr.lab.units import plain, usual_unit

Place = tuple[int, int]  # line, from 1, and column, from 0
NUMBER = re.compile(r"(?<![\w.])(?<!\d,)\d+(?:[.,]\d+)?(?!\w)")
LONGEST_NAME = 11  # words
_GROUPED = re.compile(r"(?<![\w.])(?<!\d,)\d{1,3}(?:[ .\u00a0\u2009\u202f]\d{3})+(?:,\d+)?(?!\w)")
_MARKED = re.compile(r"(?<=[\dOlI])[LHBN](?!\w)")  # the mark of a value out of its interval: 23,7L
_CONFUSED = re.compile(r"(?<!\w)(?=[OlI., ]*\d)[\dOlI]+(?:[ .\u00a0\u2009\u202f][\dOlI]{3})*(?: ?[.,] ?[\dOlI]+)?(?!\w)")
_DIGITS = str.maketrans({"O": "0", "l": "1", "I": "1"})
_WORD = re.compile(r"[^\W_]+|[^\w\s\x00-\x1f\x7f]|_")
_BETWEEN_CELLS = re.compile(r"[|;:=\t\"{}<>]|\s{3,}|,(?!\d)")
_CSV = re.compile(r'(?:"[^"]*"|[^",\s][^",]*|)(?:,(?:"[^"]*"|[^",\s][^",]*|)){2,}')
_DECIMALS_ONLY = re.compile(r"(?:[^,]|(?<=\d),(?=\d))*")
_MARK = r"(?:[*↓↑+-]|[LHBN]\b|bas\b|élevé\b|eleve\b)?"
_PART = r"[^\W\d_][^\s()\[\]{}|;,\"<>]*"
_AFTER_NUMBER = re.compile(rf"\d\s*{_MARK}\s*({_PART}|[%‰/][^\s()\[\]{{}}|;,\"<>]*)(?: ({_PART}|\d\d ?h)(?!\w))?")
_CELL_UNIT = re.compile(r"[^\W\d]*(?: [^\W\d]+)?/(?:[^\W\d]+(?: [^\W\d]+)?|\d\d ?h)")
_UNIT = re.compile(r"(?<=\d)\s*[^\s\d()]+/[^\s()]+")  # after a number: the mg of mg/L is no magnesium
_NAMED = re.compile(r"\W*[^\W\d_][^:=|;\t]{2,60}?(?:\s*[:=|;,\t\"]+|\s{2,}|\s)\W{0,4}\d")

_LONE = re.compile(r"\W{0,3}\d[\d.,\s]*(?:[^\W\d]|[%/µ*↑↓]|\d\b|\^|\s){0,16}")  # a value alone on its line


def numbers_in(text: str) -> set[str]:
    """The numbers of a text with a decimal comma, those with spaces or points between thousands as one, too; digits within a word
    (G3a, B12) are none.
    """
    grouped = (re.sub(r"[^\d,]", "", found) for found in _GROUPED.findall(text))
    return {found.replace(".", ",") for found in NUMBER.findall(text)} | set(grouped)


def cells(line: str) -> list[str]:
    """The cells of a line; where commas alone part them («Na,140,135,145»), as such a table has them."""
    if _CSV.fullmatch(line) and not _DECIMALS_ONLY.fullmatch(line):
        return next(csv.reader([line]), [])
    return _BETWEEN_CELLS.split(line)


def printed_numbers(text: str) -> set[str]:
    """The numbers that a report prints, also those with a mark (23,7L), between bare commas, or with O, l and I for digits (l,O5)."""
    text = _MARKED.sub("", text)
    parts = "\n".join(" \t ".join(cells(line)) for line in text.splitlines() if _CSV.fullmatch(line))
    clear = re.sub(r"(?<=\d) ?([.,]) ?(?=\d)", r"\1", _CONFUSED.sub(lambda found: found[0].translate(_DIGITS), text))
    return numbers_in(text) | numbers_in(parts) | numbers_in(clear)


@cache
def _spelled() -> dict[str, frozenset[str]]:
    """The units of our tables by the plain form of each of their spellings."""
    found: dict[str, set[str]] = {}
    for spelling, unit in spellings().items():
        found.setdefault(plain(spelling), set()).update((unit, usual_unit(spelling)))
    return {form: frozenset(units) for form, units in found.items()}


def clear_unit(unit: str) -> str:
    """A unit with L and l where I was read for them: mmoI/I."""
    return re.sub(r"(?<=/)([mdµ]?)I\b", r"\1L", unit.replace("moI", "mol"))


def in_our_spelling(unit: str) -> frozenset[str]:
    """The units of our tables that `unit` spells, also where I was read for l."""
    return _spelled().get(plain(unit), frozenset()) | _spelled().get(plain(clear_unit(unit)), frozenset())


@lru_cache(64)
def printed_units(text: str) -> frozenset[str]:
    """The units of a report in our spelling and in its own: what follows a number, stands alone in a cell, or is known."""
    found = {cell.strip(" ()[]'") for line in text.splitlines() for cell in re.split(r"[()]", line) for cell in cells(cell)}
    found = {cell for cell in found if in_our_spelling(cell) or _CELL_UNIT.fullmatch(cell)}
    for first, more in _AFTER_NUMBER.findall(text):
        found |= {unit.rstrip(".") for unit in (first, f"{first} {more}") if unit.strip(" .")}
    clear = clear_unit(text)
    found |= {spelling for spelling in spellings() if len(spelling) > 1 and (spelling in text or spelling in clear)}
    spelled = (
        (one, usual_unit(one), re.sub(r"l\b", "L", one), clear_unit(one), *in_our_spelling(one)) for one in found if one.strip()
    )
    return frozenset(unit for units in spelled for unit in units)


def units_after(value: str, line: str) -> frozenset[str]:
    """The units that stand right after a value on its line."""
    places = re.finditer(rf"(?<![\d.,]){re.escape(value).replace(',', '[.,]')}(?![\d.,]*\d)", line)
    return frozenset().union(
        *(printed_units(found[0]) for place in places if (found := _AFTER_NUMBER.match(line, place.end() - 1)))
    )


class Word(NamedTuple):
    """A word of a report with the space before it, where it stands, and whether it begins a cell or goes on from the word before,
    in its cell or at the end of the line above.
    """

    text: str
    place: Place
    heads: bool
    goes_on: bool


def words_of(lines: dict[int, str]) -> list[Word]:
    """The words in the cells of some numbered lines."""
    found, last = [], 0
    for n, line in lines.items():
        at = 0
        for i, cell in enumerate(cells(line)):
            end = -1
            for word in _WORD.finditer(cell):
                at = max(line.find(word[0], at), at)
                goes_on = end >= 0 or i == 0 and last == n - 1
                space = " " if goes_on and word.start() > end else ""
                found.append(Word(space + word[0], (n, at), end < 0, goes_on))
                at, end = at + len(word[0]), word.end()
        last = n if end >= 0 else 0
    return found


def _shorter(name_key: str) -> set[str]:
    """A key as it is and without any one of its letters: two keys with a slip between them share one of these."""
    return {name_key} | {name_key[:i] + name_key[i + 1 :] for i in range(len(name_key))}


@cache
def _slips() -> dict[str, set[str]]:
    """The analytes whose names have a key of five letters or more, by all that `_shorter` makes of it."""
    found: dict[str, set[str]] = {}
    for name, analyte in aliases():
        if len(key(name)) > 4:
            for form in _shorter(key(name).replace("rn", "m")):
                found.setdefault(form, set()).add(analyte)
    return found


@lru_cache(16384)
def meant(name: str) -> frozenset[str]:
    """The analyte that `name` stands for, or those it would be with another letter: «Soodium», «Hemogl0bine»."""
    if analyte := known(name):
        return frozenset((analyte,))
    own = key(name).replace("rn", "m") if len(name) > 4 else ""
    return frozenset().union(*(_slips().get(form, ()) for form in _shorter(own))) if 4 < len(own) < 40 else frozenset()


def analytes_in(words: list[Word]) -> dict[str, None]:
    """The analytes of ours that words in a row name."""
    spans = {}
    for i in range(len(words)):
        span = ""
        for j, word in enumerate(words[i : i + LONGEST_NAME]):
            if j and not word.goes_on:
                break
            span += word.text
            spans[span.strip()] = None
    return dict.fromkeys(analyte for span in spans for analyte in sorted(meant(span)))


def _with_unit(line: str) -> bool:
    """Whether a number of the line has a unit of ours, or one with a stroke."""
    return any(in_our_spelling(unit) or "/" in unit for unit, _ in _AFTER_NUMBER.findall(line))


def _beside(line: str, measured: Iterable) -> str:
    """A line without dates and without the values and bounds that were read of it."""
    read = {x for m in measured for x in (m.value, m.low, m.high)}
    line = DATE.sub(" ", _MARKED.sub("", line))
    line = _GROUPED.sub(lambda found: "" if number(re.sub(r"[^\d,]", "", found[0])) in read else found[0], line)
    return NUMBER.sub(lambda found: "" if number(found[0]) in read else found[0], line)


def not_read(report: Report) -> dict[int, str]:
    """The numbered lines that may hold results the reader has not read: those it refuses, those with a number after what may be a
    name, with an analyte or with a unit, beside what it reads of them, and what may be the name on the lines before; all where it
    reads none.
    """
    lines = report.text.splitlines()
    if not report.measurements:
        return dict(enumerate(lines, 1)) if re.search(r"\d", report.text) else {}
    refused, read = {one.line for one in report.unread}, {m.analyte for m in report.measurements}
    measured = {m.line for m in report.measurements}
    places = set(refused)
    for i, line in enumerate(lines, 1):
        rest = _beside(line, [m for m in report.measurements if m.line == i])
        new = analytes_in(words_of({i: _UNIT.sub(" ", line)})).keys() - read if re.search(r"\d", rest) else ()
        named = i not in measured and (_NAMED.match(rest) or _LONE.fullmatch(rest)) and read_patient(line) == Patient()
        if new or named or re.search(r"\d", rest) and _with_unit(rest):
            places.add(i)
    for i in sorted(places):
        for j in range(i - 1, max(i - 4, 0), -1):
            if j in measured or not lines[j - 1].strip() or read_patient(lines[j - 1]) != Patient():
                break
            places.add(j)
    return {i: lines[i - 1] for i in sorted(places)}
