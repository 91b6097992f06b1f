"""Drafts of answers: how a line, or the end, of an answer to a report probably goes on.

A draft saves time where the model writes the same (see `continuous`); no answer and no check depends on it. So a report is read with
no caution: the next numbers behind a name may be its value and its interval, and the rules say what follows from them.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import chain, pairwise

from medanalyzr.inference.verification.answer_lines import read_line
from medanalyzr.lab.engine.facts import Facts
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.lines.results import meant
from medanalyzr.lab.reading.names import harmless, known
from medanalyzr.lab.reading.patient import Patient
from medanalyzr.lab.reading.tokens import Item, Refused, digits, items, number, tidy
from medanalyzr.lab.references import analytes, fold
from medanalyzr.lab.report import CRITICAL, FLAGS, UNDETERMINED, Measurement
from medanalyzr.lab.rules import LACKS, answer_line, interpret
from medanalyzr.lab.units import known_unit

CONCLUSION = "Conclusion :"  # how the line begins that follows the last result
_NEAR = 12  # items behind a name among which its value and its interval are looked for
_HEAD = re.compile(r"(?P<name>.+?) : (?P<sign>[<>]?)(?P<value>-?\d+(?:,\d+)?)(?: (?P<unit>[^()]*?))? \((?P<told>.*)")
_NUMBER = re.compile(r"\d+(?:,\d+)?")
_GAP = re.compile(r"\s{2,}|[|\t:;\"{}=\n]|\.{3,}|$")
_NAME_ENDS = re.compile(rf"{_GAP.pattern}|\s(?=[<>]?\s?\d+(?:[.,]\d+)?(?:\s|$))|\s(?:à|est)\s")
_SIGNS = str.maketrans(dict.fromkeys('|;"{}=', "\t"))  # between fields
_NOTE = re.compile(r"\s*(?:\[[^]]*\]|\(([^()]*)\))")

Bounds = tuple[float | None, float | None]


def _without_notes(printed: str) -> str:
    """A name without notes on how it was measured: footnotes, techniques; the (a) of «lipoprotéine (a)» is none."""
    analyte = known(printed)
    for note in reversed(list(_NOTE.finditer(printed))):
        shorter = printed[: note.start()] + printed[note.end() :]
        if known(shorter) == analyte and (len(note[1] or "") < 2 or harmless(fold(note[1]))):
            printed = shorter
    return printed.strip()


def _intervals(found: Sequence[Item], who: Patient) -> Iterator[Bounds]:
    """The intervals that may be meant among some items, the most likely first; none, or two values, as well."""
    printed = [item for item in found if item.kind == "interval"]
    with suppress(Refused):
        printed = [*meant(printed, who), *printed]
    yield from ((item.low, item.high) for item in printed)
    yield None, None
    yield from pairwise(item.value for item in found if item.kind == "value")


def _begun(value: float, told: str, found: Sequence[Item]) -> Iterator[Bounds]:
    """The intervals of which a comparison has the beginning `told`; the other bound is written as well, or among some items."""
    numbers = [number(n) for n in _NUMBER.findall(told.partition(";")[0])]
    printed = [bound for item in found for bound in (item.low, item.high, item.value) if bound]
    if numbers[:1] == [value]:
        yield from (bounds for b in (*numbers, *printed) if b > value for bounds in ((b, None), (None, b)))
    elif numbers:
        yield from ((numbers[0], b) for b in (*numbers[:0:-1], *printed) if b > numbers[0] and b != value)
        yield from ((numbers[0], None), (None, numbers[0]))


def _closed(line: str) -> str:
    """What closes a line of a result in which a comparison stands, or the beginning of words for what is missing."""
    head = _HEAD.match(line)
    told, closed, _ = head["told"].partition(")") if head else ("", "", "")
    if told and not closed:
        told = next((lack for lack in LACKS if lack.startswith(told)), "")
    if not told:
        return ""
    compared, (low, normal, high) = told.partition(";")[0], FLAGS
    flag = (low if compared.startswith(head["value"]) else high) if "<" in compared else normal
    flag = UNDETERMINED if any(map(compared.strip().startswith, LACKS)) else flag
    whole = f"{line[: head.start('told')]}{told}) : {flag}" + f", {CRITICAL}" * (CRITICAL in told) + "\n"
    return whole.removeprefix(line) if whole.startswith(line) else ""


class Draft:
    """How an answer to a text with a report may go on."""

    def __init__(self, text: str):
        self._text = re.sub(r"(?<=\d) / (?=\d)", " - ", tidy(text))
        self._small, self._report = self._text.casefold(), read_report(text)
        self._who = Patient(self._report.sex, self._report.age, self._report.pregnant)
        self._sure = interpret(self._report).partition(f"\n{CONCLUSION}")[0].split("\n")
        self._items: list[Item] = []
        at = 0
        for line in self._text.split("\n"):
            self._items += items(line.translate(_SIGNS), at)
            at += len(line) + 1
        self._begins = [item.pos for item in self._items]
        self._named = list(self._names())
        self._line, self._place_of, self.end = cache(self._line), cache(self._place_of), cache(self.end)

    def _names(self) -> Iterator[tuple[int, int, int]]:
        """Words before a number: where they begin and end in the text, and the place of the number among the items."""
        words: list[Item] = []
        for place, item in enumerate(self._items):
            if item.kind == "word":
                if words and _GAP.search(self._text, words[-1].end, item.pos).end() < item.pos:
                    words = []
                words.append(item)
            elif words and item.kind in ("value", "interval"):
                start = words[0].pos
                yield start, _GAP.search(self._text, start, item.pos).start(), place
                words = []
            elif item.kind not in ("unit", "mark", "soit", "label"):
                words = []

    def _behind(self, pos: int) -> int:
        """The place of the first number or unit at or behind a position of the text, else 0."""
        places = range(bisect_left(self._begins, pos), len(self._items))
        return next((place for place in places if self._items[place].kind in ("value", "interval", "unit")), 0)

    def _pos(self, place: int) -> int:
        return self._begins[place] if 0 <= place < len(self._begins) else 0

    def _printed(self, begun: str, reached: int) -> Iterator[tuple[int, int, int]]:
        """Where the text has words that begin like `begun`, as `_names` gives them; first those behind what is `reached`."""
        found = [m.start() for m in re.finditer(rf"(?<!\w){re.escape(begun.casefold())}", self._small)] if begun else []
        for start in sorted(found, key=lambda start: start < self._pos(reached))[:3]:
            end = _NAME_ENDS.search(self._text, start + len(begun)).start()
            yield start, end, self._behind(end)

    def _place_of(self, name: str, reached: int) -> int:
        """The place of the first number behind a name, if possible behind what is `reached`, or else the next one behind any name."""
        ends = [m.end() for m in re.finditer(re.escape(name.casefold()), self._small)]
        if ends:
            return self._behind(next((end for end in ends if end > self._pos(reached)), ends[-1]))
        return next((place for *_, place in self._named if place > reached), 0)

    def _reached(self, written: str) -> int:
        """The place of the result of the last of the lines `written`; -1 where none is."""
        reached = -1
        for line in filter(None, written.split("\n")):
            reached = self._place_of(line.partition(" : ")[0], reached)
        return reached

    def _values(self, name: str, found: Sequence[Item]) -> Iterator[tuple[str, str, str]]:
        """Sign, digits and unit of the values that may be meant, the most likely first."""
        analyte = analytes().get(known(name) or "")
        units = (item.text if item.kind == "unit" else item.unit for item in found if item.kind == "unit" or item.unit)
        alone = "" if analyte and not analyte.unit else next(units, "")
        for item in found:
            if item.kind == "value" or item.sign:
                unit = item.unit or alone
                for spelled in (known_unit(unit, known(name)) or unit, re.sub("(?<=/)l$", "L", unit)):
                    yield item.sign, digits(item.text), spelled

    def _line(self, name: str, sign: str, text: str, unit: str, bounds: Bounds) -> str:
        """The line of the answer for one result."""
        m = Measurement(known(name), name, sign + text, number(text), sign, unit, *bounds)
        return answer_line(m, Facts(replace(self._report, measurements=(m,))))

    def _lines(self, begun: str, written: str) -> Iterator[str]:
        """Lines of results that may be meant, the most likely first; not all begin with `begun`."""
        if begun:
            yield from self._sure
        elif (last := written.rpartition("\n")[2]) in self._sure[:-1]:
            yield self._sure[self._sure.index(last) + 1]
        reached = self._reached(written)
        if head := _HEAD.match(begun):
            name, sign, value, unit, told = head.groups(default="")
            found = self._found(self._place_of(name, reached))
            for bounds in chain(_intervals(found, self._who), _begun(number(value), told, found)):
                yield self._line(name, sign, value, unit, bounds)
        elif " :" in begun:
            name = begun.partition(" :")[0]
            yield from self._first_lines(name, self._place_of(name, reached))
        else:
            later = (one for one in self._named if one[2] > reached)
            for start, end, place in chain(later, self._printed(begun, reached)):
                printed = self._text[start:end].strip(" -*•·>#:.(")
                for name in (_without_notes(printed), printed):
                    if name.startswith(begun):
                        yield next(self._first_lines(name, place), f"{name} :")
                if not begun:
                    return

    def _found(self, place: int) -> list[Item]:
        return self._items[place : place + _NEAR]

    def _first_lines(self, name: str, place: int) -> Iterator[str]:
        """Lines for the values behind a place, with the first interval there."""
        found = self._found(place)
        bounds = next(_intervals(found, self._who))
        return (self._line(name, *value, bounds) for value in self._values(name, found))

    def after(self, answer: str) -> str:
        """What probably follows the lines of results of an answer as far as they are written; "" where nothing is known."""
        written, _, begun = answer.rpartition("\n")
        line = next((line for line in self._lines(begun, written) if line.startswith(begun)), "")
        rest = f"{line[len(begun) :]}\n" if line else _closed(begun)
        if rest:
            return rest + self.after(answer + rest) if begun else rest
        return self.end(written)[len(begun) :] if CONCLUSION.startswith(begun) else ""

    def end(self, lines: str) -> str:
        """The conclusion and the next steps that the rules draw from the lines of results of an answer."""
        given = tuple(one.m for one in map(read_line, lines.split("\n")) if one)
        whole = interpret(replace(self._report, measurements=given))
        return whole[whole.find(CONCLUSION) :]
