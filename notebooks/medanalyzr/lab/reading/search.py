"""Names anywhere in a text, and what is printed behind each, up to the next one: for texts whose rows the strict reader refuses.

The search proves less than the reader, but in more layouts (sentences, following lines, JSON). Which number behind a name is
today's result is not decided here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import zip_longest

from medanalyzr.lab.reading.names import analyte_of_key, flat, harmless, key, spoken_of
from medanalyzr.lab.reading.tokens import Item, items, number
from medanalyzr.lab.references import aliases, read_table

_PART = re.compile(r"[^\W\d_]+|\d+|[+%#]")
_NEXT_PART = re.compile(rf"\s?[^\w+%#\n]{{0,40}}\n?[^\w+%#\n]{{0,40}}({_PART.pattern})")
_BEGIN = re.compile(r"[^\W\d_]+|(?<![\w.,])\d+")  # of a name
_UNITS = frozenset(("mg", "g", "l", "h", "b", "p", "n", "u", "s", "m", "ph"))  # units that are names as well
_STOP = re.compile(r"(?<=[\w)]{3})(?<!\binf)(?<!\bsup)[.!?](?=\s|$)|[{}]")
_GOES_ON = re.compile(
    r"[\"'(\[<>≤≥*+:,;|{-]*\s*(?:\d|[(\[\"<>≤≥↑↓*%/{,]|(?:valeurs?|result\w*|norm\w*|ref\w*|vr|unit\w*|inf|sup|jusqu|moins|plus|soit|ant\w*|"
    r"preced\w*|[hf]|hommes?|femmes?|adultes?|enfants?|min|max|mini|maxi|bornes?|value|low|high|interval\w*|entre|[munpk]?[gl]|"
    r"[mµunp]?mol|[mµu]?ui|[gt]|mm|fl|pg|ng|mg|ug|µg|kpa|mmhg|sec)\b)"
)
_QUALIFIED = re.compile(
    r"\b(?:anti|anticorps|clairance|rapport|ratio|index|indice|excretion|recepteurs?|fraction|debit|isoenzymes?|sous|complexe|precurseur|fixation|capacite|"
    r"resistance|macro|pro|apo|proteine|produit|gradient|delta|variation)\b[^.,;:\d()]{0,25}$"
)
_LEADS = re.compile(
    r"(?:^|[\d%()\[\]{},;:.|\"*•>\t]|(?:^|\s)[-–/]|\s{2}|\b(?:la|le|les|l|d|de|du|des|un|une|et|avec|au|aux|ou|dont|soit|puis|bio|bilan|sang|serum|nom|name|"
    r"mmol/l|g/l|taux|dosage|ui/l|g/dl|mg/l))[\s'\"]*$"
)
_TORN = re.compile(r"\s?[.,]\s?\d")
_RESULT = re.compile(r"[;\t|].*\d|\d[.,]\d|\d\s*[a-zµ]*/[a-z]|comment|\bn\.?b\b")


@dataclass(slots=True)
class Record:
    """A name (its key and analyte) and what follows it, up to the next name: where all this stands, and its items in order."""

    name: str
    analyte: str | None
    start: int
    end: int
    until: int
    line: int
    items: list[Item]

    @property
    def numbers(self) -> list[Item]:
        """The items with a number, dates among them."""
        return [i for i in self.items if i.kind in ("value", "interval", "bad") or i.is_date]

    @property
    def units(self) -> list[str]:
        """The units of the items, in order."""
        return [unit for i in self.items if (unit := i.unit or (i.text if i.kind == "unit" else ""))]


@cache
def _longest() -> dict[str, int]:
    """How many words and numbers the longest name of the tables has, by its first word."""
    counts: dict[str, int] = {}
    for name in [row["name"] for row in read_table("never")] + [name for name, _ in aliases()]:
        _count(counts, name)
    return counts


def _count(counts: dict[str, int], name: str) -> None:
    if parts := _PART.findall(flat(name)):
        first = key(parts[0])
        counts[first] = max(counts.get(first, 0), len(parts))


def signed_numbers(text: str, printed: Iterable[Item]) -> set[tuple[str, float]]:
    """The numbers among the items of `text`, each with its sign; one that can be read in two ways in both, none that is torn (`4 ,6`)."""
    return {
        (i.sign, value)
        for i in printed
        if (i.kind == "value" or i.sign) and not _TORN.match(text, digits_end(text, i))
        for value in ([i.value, number(i.text, True)] if i.doubt else [i.value])
    }


def digits_end(text: str, item: Item) -> int:
    """Where in `text` the last digit of a number or interval ends, before marks and unit."""
    place = item.pos
    for digits in item.text.split(" - "):
        place = text.find(digits, place) + len(digits)
    return place


class Search:
    """The records of a text (`tidy`). `names` are further names to look for: those of an answer that no table lists."""

    def __init__(self, text: str, names: list[str]):
        self.text, self.flat = text, flat(text)
        self._asked = {key(name) for name in names}
        self._longest = dict(_longest())
        for name in names:
            _count(self._longest, name)

    def _name_at(self, start: int, first: str) -> tuple[int, str, str | None] | None:
        """The longest name that begins in `start`: its end, its key, its analyte."""
        place, best = start, None
        for _ in range(self._longest.get(key(first), 0)):
            if (part := _NEXT_PART.match(self.flat, place)) is None:
                break
            place = part.end()
            if part[1].isdigit() and re.match(r"[.,]\d", self.flat[place : place + 2]):
                continue
            name = key(self.text[start:place])
            is_listed, analyte = analyte_of_key(name)
            if is_listed or name in self._asked:
                best = place, name, analyte
        return best

    def _names(self) -> Iterator[tuple[int, int, str, str | None]]:
        """Every name of the text: where it begins and ends, its key, its analyte."""
        text, place = self.flat, 0
        while word := _BEGIN.search(text, place):
            start, place = word.span()
            is_unit = "/" in (text[start - 1 : start], text[place : place + 1]) or (
                word[0] in _UNITS and re.search(r"\d\s?$", text[max(0, start - 2) : start])
            )
            if not is_unit and (found := self._name_at(start, word[0])) and (not word[0].isdigit() or found[0] > place):
                place = found[0]
                yield start, *found

    @cached_property
    def records(self) -> list[Record]:
        """Every name with the items behind it."""
        names, made, line, counted = list(self._names()), [], 1, 0
        for (start, end, name, analyte), (following, *_) in zip(names, [*names[1:], (len(self.text),)], strict=False):
            line, counted = line + self.text.count("\n", counted, end), end
            record = Record(name, analyte, start, end, end, line, [])
            stop = _STOP.search(self.flat, end, following)
            record.items = self._behind(end, stop.start() if stop else following, line)
            record.until = max((i.end for i in record.numbers), default=end)
            made.append(record)
        return made

    def holds(self, sign: str, value: float) -> bool:
        """Whether a number with this sign stands in the text, behind a name or elsewhere."""
        return (sign, value) in self._behind_names or (sign, value) in self._in_lines

    @cached_property
    def _behind_names(self) -> set[tuple[str, float]]:
        return set().union(*(signed_numbers(self.text, record.items) for record in self.records))

    @cached_property
    def _in_lines(self) -> set[tuple[str, float]]:
        return set().union(*(signed_numbers(line, items(line)) for line in self.text.split("\n")))

    def _behind(self, start: int, until: int, line: int) -> list[Item]:
        """The items from `start` on, over following lines as long as they belong to the name above them."""
        end = self.text.find("\n", start, until)
        while end >= 0 and self._goes_on(end + 1):
            end = self.text.find("\n", end + 1, until)
        text = self.text[start : until if end < 0 else end]
        behind, counted = items(text, start), start
        for item, following in zip_longest(behind, behind[1:]):
            line, counted = line + self.text.count("\n", counted, item.pos), max(counted, item.pos)
            item.line = line
            if item.kind == "value" and following and following.kind == "unit":
                item.unit = item.unit or following.text
        return behind

    def of(self, name: str, analytes: frozenset[str]) -> list[Record]:
        """The records under a name to the letter (its key), or else those of some analytes."""
        return [r for r in self.records if r.name == name] or [r for r in self.records if r.analyte in analytes]

    def _goes_on(self, start: int) -> bool:
        """Whether the line that begins in `start` belongs to the name above it."""
        end = self.flat.find("\n", start)
        line, printed = (text[start : end if end >= 0 else None].strip() for text in (self.flat, self.text))
        return bool(line) and (_GOES_ON.match(line) is not None or printed[0].islower() or harmless(line))

    def named_alone(self, record: Record) -> bool:
        """Whether no word before the name makes it another one («clairance de la créatinine»)."""
        start = record.start
        lead = self.flat[max(self.flat.rfind("\n", 0, start) + 1, start - 200) : start]
        return _LEADS.search(lead) is not None and not _QUALIFIED.search(lead)

    def specimen(self, record: Record) -> str:
        """The specimen that the words around a record, or else the heading above it, speak of: "sang" where none does."""
        text, start = self.flat, record.start
        opened = text.rfind("{", 0, start)
        if opened > text.rfind("}", 0, start):  # an object of JSON
            begin, ends = opened, (text.find("}", start),)
        else:
            begin = max(text.rfind("\n", 0, start), text.rfind(". ", 0, start)) + 1
            ends = (text.find("\n", record.until), text.find(". ", record.until))
        here = text[begin : min((end for end in ends if end >= 0), default=None)].strip()
        return spoken_of(here) or self.specimens[record.line - 1][1]

    @cached_property
    def specimens(self) -> list[tuple[str | None, str]]:
        """The specimen that each line names, or None, and the one in force there: named by the last short line without a result."""
        inside, lines = "sang", []
        for line in self.flat.split("\n"):
            named = spoken_of(line)
            lines.append((named, inside))
            if named and len(line.split()) <= 8 and not _RESULT.search(line):
                inside = named
        return lines
