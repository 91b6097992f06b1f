"""What is printed in a report, found without the strict reader: names, and the numbers, intervals and words after each name.

This search proves less than the reader, but in more layouts (sentences, following lines, JSON): it finds the text between a name
and the next one. `values` and `intervals` decide whether a number there is today's result; anything they cannot explain is not
proved.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from medanalyzr.lab.reading.names import harmless
from medanalyzr.lab.reading.tokens import NARROW
from medanalyzr.lab.references import aliases, find_analyte, read_table

_CODES = (*range(0x41, 0x5B), *range(0xC0, 0x180), *range(0x391, 0x3CA))
_BASE = {c: unicodedata.normalize("NFKD", chr(c))[0].lower() for c in _CODES} | str.maketrans("ØøÆæŒœ³²μ", "ooaaoo32µ")
_N = rf"(?:\d{{1,3}}(?:[ {NARROW}']\d{{3}})+(?!\d)|\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)|\d+)(?:[.,]\d+)?"
_MAX = r"[<≤]\s?=?|\binf(?:erieure?s?|\.)?\s(?:ou\segale?s?\s)?a\b|\bjusqu'?a\b|\bmoins\sde\b"
_MIN = r"[>≥]\s?=?|\bsup(?:erieure?s?|\.)?\s(?:ou\segale?s?\s)?a\b|\bplus\sde\b"
_TO = r"(?:-|[ ]{1,2}[-–—][ ]{1,2}|[–—]|[-–—][ ]|\s?[<≤]\s?[nx]\s?[<≤]\s?|\sa\s|\set\s)"
_UNIT = r"(?:\s?(?:[a-zµ]{1,5}/[a-z0-9]{1,4}|%))?"
_ALONE = r"(?!\d|\?|[|*^e]\d|\s?[.,]\s?\d|[.,][lois|]+\b|\s?(?:ans?|mois|jours?|semaines|sa)\b)"
_TOKEN = re.compile(
    rf"""[^\w\n<>≤≥{{}}.!?\[+-]*(?:
    (?P<age>(?=[<>\d])(?:[<>]\s?)?(?<![\w.,])\d{{1,3}}(?:\s?(?:-|a)\s?\d{{1,3}})?\s?(?:ans?|mois|jours?|semaines|sa)\b(?:\s:)?)
    |(?P<most>(?=[<≤ijm])(?:{_MAX})\s*(?P<high>{_N}){_ALONE})
    |(?P<least>(?=[>≥sp])(?:{_MIN})\s*(?P<low>{_N}){_ALONE})
    |(?P<unit>(?=[mgµx1])(?:ml/mi?n\s?/\s?1[.,]73(?:\s?m2?)?|[mµ]?g\s?/\s?(?:100\s?ml|24\s?h)|
        (?<![\d.,])(?:x\s?)?10\s?(?:[*^]\s?|e)?\d{{0,2}}[⁰¹²³⁴-⁹]*\s?/\s?[a-zµ]))
    |(?P<word>[^\W\d_]+'?)
    |(?P<line>\n[ \t]*)
    |(?P<date>(?=\d)(?:\d{{4}}-\d\d-\d\d\b|\d{{1,2}}[/.-]\d{{1,2}}[/.-]\d{{2,4}}\b(?![.,]\d)|\d{{1,3}}/\d{{1,4}}\b(?![.,]\d)|\d\d?\s?[h:]\d\d\b|\d\d?h\b))
    |(?P<range>(?=[\d+-])(?<![\w.,])(?P<from>[-+]?{_N}){_UNIT}{_TO}(?P<to>[-+]?{_N}){_ALONE})
    |(?P<boxed>\[\s?(?P<first>[-+]?{_N})\s?;\s?(?P<last>[-+]?{_N})\s?\])
    |(?P<number>(?=[\d+-])(?<![\w.,|?])[-+]?{_N}{_ALONE})
    |(?P<bad>\d[\w.,|?]*)
    |(?P<stop>(?<=[a-z0-9)]{{3}})[.!?](?=\s|$)|[{{}}])
    |(?P<none>.))""",
    re.VERBOSE,
)  # fmt: skip
_ATOM = re.compile(r"\s?[^\w+%#\n]*\n?[^\w+%#\n]*([^\W\d_]+|\d+|[+%#])")
_PART = re.compile(r"[^\W\d_]+|\d+|[+%#]")
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
_FLUID = re.compile(
    r"(?<![a-z])(?:(?P<urine>urin|miction|diurese|ecbu|bandelette|natriurese|kaliurese|u(?=[ \"]*[;\t|]))|"
    r"(?P<lcr>lcr\b|cephalo.?rachid|(?:glyco|proteino|albumino|chloruro)?rachie\b|ponction lombaire|pl :)|"
    r"(?P<autre>ascite|pleura|selles?\b|fecal|saliv|sueur|articulair|synovi|cordon|amnio|sperm|lavage|peritone|drain)|"
    r"(?P<sang>sang\b|sanguin|serum|seri(?:que|es)|plasma|hemato|hemogramme|numeration|nfs\b|hemosta|coagul|hormon|immuno|serolog|"
    r"lipid|hepati|arteriel))"
)
_GLUED = re.compile(r"(?:[hlbn]{1,2}\b|[a-zµ]{1,6}/|mm|fl|pg|sec|s\b|x10|a\b)")
_RESULT = re.compile(r"[;\t|].*\d|\d[.,]\d|\d\s*[a-zµ]*/[a-z]|comment|\bn\.?b\b")
_COUNTED = re.compile(rf"(?:(?P<most>{_MAX})|(?P<least>{_MIN}))?\s*(?<![\w.,])(?P<digits>[-+]?{_N}){_ALONE}")
_ONLY_UNITS = frozenset(("mg", "g", "l", "h", "b", "p", "n", "u", "s", "m", "ph"))


def flat(text: str) -> str:
    """`text` in lower case without accents, with every character at its position."""
    return text.translate(_BASE)


def atoms(name: str) -> tuple[str, ...]:
    """The words and numbers of a name without plural endings, for comparing names."""
    return tuple(_singular(part) for part in _PART.findall(flat(name)))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" else word


@cache
def _listed() -> dict[str, dict[tuple[str, ...], str | None]]:
    """Names of the tables by their first word: the analyte, or None for a name that is none of ours."""
    found: dict[str, dict[tuple[str, ...], str | None]] = {}
    named = [(row["name"], None) for row in read_table("never")] + list(aliases())
    for name, analyte in named:
        if parts := atoms(name):
            found.setdefault(parts[0], {})[parts] = analyte
    return found


SIGNS = {"most": "<", "least": ">"}


@dataclass(slots=True)
class Mark:
    """A number or an interval of a record: `kind` is that of the token, `before` the words since the last one, `low` its digits (or
    those of the low bound), `high` those of the high bound.
    """

    kind: str
    start: int
    end: int
    line: int
    before: list[str]
    low: str = ""
    high: str = ""


@dataclass(slots=True)
class Record:
    """A name and what follows it, up to the next name: where both stand, and the marks in order."""

    name: tuple[str, ...]
    analyte: str | None
    start: int
    end: int
    line: int
    marks: list[Mark]
    until: int


@lru_cache(16384)
def amount(text: str) -> float:
    """The value of printed digits; spaces, or more than one point, separate thousands."""
    text = re.sub(rf"[ {NARROW}'+]", "", text)
    return float((text.replace(".", "") if text.count(".") > 1 else text).replace(",", "."))


def doubtful(text: str) -> bool:
    """Whether digits can be read in two ways (`1.250`)."""
    return re.fullmatch(r"[-+]?[1-9]\d{0,2}\.\d{3}", text) is not None


class Printed:
    """The records of a report. `names` are further names to look for: those of an answer that no table lists."""

    def __init__(self, text: str, names: list[str]):
        self.text, self.flat = text, flat(text)
        self._asked: dict[str, set[tuple[str, ...]]] = {}
        for parts in filter(None, map(atoms, names)):
            self._asked.setdefault(parts[0], set()).add(parts)
        self.numbers: set[tuple[str, float]] = set()
        self.records = self._records()

    def of(self, name: tuple[str, ...], analytes: frozenset[str]) -> list[Record]:
        """The records under a name to the letter, or else those of some analytes."""
        return [r for r in self.records if r.name == name] or [r for r in self.records if r.analyte in analytes]

    def _name_at(self, start: int, first: str) -> tuple[int, tuple[str, ...], str | None] | None:
        """The longest name that begins in `start`: its end, its words, its analyte."""
        first = _singular(first.rstrip("'"))
        listed, asked = _listed().get(first, {}), self._asked.get(first, ())
        if not listed and not asked:
            return None
        longest = max(map(len, (*listed, *asked)))
        parts, place, best = [], start, None
        while len(parts) < longest and (m := _ATOM.match(self.flat, place)):
            parts.append(_singular(m[1]))
            place, here = m.end(), tuple(parts)
            if here in listed or here in asked:
                if here[-1].isdigit() and re.match(r"\d|[.,]\d", self.flat[place : place + 2]):
                    continue
                best = place, here, listed.get(here)
        if best and best[2] is None and best[1] not in listed and (known := find_analyte(self.text[start : best[0]])):
            return best[0], best[1], known.id
        return best

    def _records(self) -> list[Record]:
        records, record, before, place, line, number_end = [], None, [], 0, 1, -9
        text, length = self.flat, len(self.flat)
        while place < length and (m := _TOKEN.match(text, place)):
            kind = m.lastgroup
            start, place = m.span(kind)
            if kind == "none":
                continue
            if kind in ("word", "number"):
                unit = (
                    text[place : place + 1] == "/" or (start - number_end < 2 and m[kind] in _ONLY_UNITS) or text[start - 1] == "/"
                )
                if not unit and (found := self._name_at(start, m[kind])) and (kind == "word" or len(found[1]) > 1):
                    place, parts, analyte = found
                    record = Record(parts, analyte, start, place, line, [], place)
                    records.append(record)
                    line += text.count("\n", start, place)
                    before, number_end = [], -9
                    continue
                if kind == "word":
                    before.append(m[kind])
                    continue
            if kind == "line":
                line += 1
                if record and not self._continues(place):
                    record = None
                before = before if record else []
                continue
            if kind == "stop":
                record = None
                continue
            number_end = place
            if kind == "date" and self.text[place - 1] == "H":  # 61H is a mark
                kind, place = "number", place - 1
            if kind == "number" and place < length and text[place].isalpha() and not _GLUED.match(text, place):
                kind = "bad"
            low, high = m["low"] or m["from"] or m["first"] or text[start:place], m["high"] or m["to"] or m["last"] or ""
            kind = "range" if kind == "boxed" else kind
            if kind in ("number", "most", "least"):
                self._note(kind, high or low)
            if record:
                record.marks.append(Mark(kind, start, place, line, before, low, high))
                record.until = place
                before = []
        return records

    def _note(self, kind: str, digits: str) -> None:
        self.numbers.add((SIGNS.get(kind, ""), amount(digits)))
        if doubtful(digits):
            self.numbers.add((SIGNS.get(kind, ""), amount(digits.replace(".", ""))))

    def _continues(self, start: int) -> bool:
        """Whether the line that begins in `start` belongs to the name above it."""
        end = self.flat.find("\n", start)
        rest = self.flat[start : end if end >= 0 else None]
        return bool(rest.strip()) and (_GOES_ON.match(rest) is not None or self.text[start].islower() or harmless(rest.strip()))

    def line_of(self, start: int) -> str:
        """The flat text of a line up to `start`, at most 200 characters."""
        return self.flat[max(self.flat.rfind("\n", 0, start) + 1, start - 200) : start]

    def rest_of(self, record: Record) -> tuple[int, int]:
        """Where the text after a name begins and ends: it extends to the next name."""
        following = next((r.start for r in self.records if r.start >= record.until), len(self.flat))
        line = self.flat.find("\n", record.until)
        return record.end, min(record.until + 24, following, line if line >= 0 else len(self.flat))

    def named_alone(self, record: Record) -> bool:
        """Whether no word before the name changes its meaning («clairance de la créatinine»)."""
        lead = self.line_of(record.start)
        return _LEADS.search(lead) is not None and not _QUALIFIED.search(lead)

    def specimen(self, record: Record) -> str:
        """The specimen mentioned around a record, or else in the heading above it; "sang" if none is."""
        text, start = self.flat, record.start
        opened = text.rfind("{", 0, start)
        if opened > text.rfind("}", 0, start):  # an object of JSON
            begin, end = opened, text.find("}", start)
        else:
            begin, end = max(text.rfind("\n", 0, start), text.rfind(". ", 0, start)) + 1, text.find("\n", record.until)
        here = text[begin : end if end >= 0 else None]
        return spoken_of(here) or fluids(self.flat)[record.line - 1][1]


def spoken_of(text: str) -> str | None:
    """The specimen that a flat text mentions: blood only if no other one is named, None if none is."""
    found = [m.lastgroup for m in _FLUID.finditer(text)]
    return next((specimen for specimen in found if specimen != "sang"), "sang") if found else None


@lru_cache(2)
def fluids(text: str) -> list[tuple[str | None, str]]:
    """The specimen that each line of a flat text names (None: none), and the one in force there: that of the last short line
    without a result that names one.
    """
    inside, found = "sang", []
    for line in text.split("\n"):
        named = spoken_of(line)
        found.append((named, inside))
        if named and len(line.split()) <= 8 and not _RESULT.search(line):
            inside = named
    return found


def stands(line: str, sign: str, value: float, digits: str) -> bool:
    """Whether a flat line holds a number with its sign as a whole; `digits` is how an answer prints it."""
    at = line.find(digits)
    if at >= 0 and not sign:
        before, after = line[max(0, at - 2) : at], line[at + len(digits) : at + len(digits) + 2]
        if not re.search(r"[\w.,<>≤≥|+-]|\d\s|[<>≤≥]\s", before) and not re.match(r"[\w.,?|*^]|\s\d", after):
            return True
    for m in _COUNTED.finditer(line):
        found = "<" if m["most"] else ">" if m["least"] else ""
        if found == sign and (
            amount(m["digits"]) == value or (doubtful(m["digits"]) and amount(m["digits"].replace(".", "")) == value)
        ):
            return True
    return False
