"""Lines that seem to print a result of today's blood which neither the strict reader nor an answer tells: nothing is lost in silence."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from medanalyzr.inference.verification.proof import alike
from medanalyzr.inference.verification.record_values import values
from medanalyzr.lab.reading.moments.holding import NOTHING, moments
from medanalyzr.lab.reading.search import Record, Search, digits_end
from medanalyzr.lab.reading.tokens import Item, items, number
from medanalyzr.lab.references import analytes, fold
from medanalyzr.lab.report import LONGEST_LINE, Measurement, Report, Unread
from medanalyzr.lab.units import known_unit

PASSED_OVER = "résultat ni lu ni repris dans la réponse"

_SHOWN, _FAR_TOO_LONG = 80, 10 * LONGEST_LINE  # characters of a line

_BESIDE = re.compile(r"[\s:=+.…_|-]+(?:\b(?:a|est|de|est a)\b[\s:=]*)?")
_CONCENTRATION = re.compile(r"(?:[munp]?g|[mµunp]?(?:mol|kat|eq)|[km]?ui?|[gt]|giga|tera)/(?:[dmµ]?l|mol)|/mm3|/µl", re.IGNORECASE)
_NO_NAME = re.compile(
    r"\W*(?:soit|norm|ref|vr\b|n ?:|[hf] ?:|interval|valeurs?\b|bornes?|hommes?|femmes?|anter|prec|limite|seuil|objectif|technique)"
)
_AGAIN = re.compile(r"\b(?:soit|vr|norm\w*|ref\w*|n|h|f) ?:? ?[<>]? ?$|[(\[][^)\]]*$")  # another unit, or within brackets
_WORD = (
    r"(?:virgule|zero|une?|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingts?|trente|quarante|"
    r"cinquante|soixante|cents?|mille|et)"
)
_IN_WORDS = re.compile(rf"[\s:=]*(?:(?:est|etait|a|de|vaut)\s+)*(?!et\b|une?\b(?! virgule)){_WORD}(?:[\s-]+{_WORD})*\b")
_NUMBER_WORD = re.compile(rf"\b(?!une?\b|et\b){_WORD}\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_NO_RESULT = re.compile(
    r"\b\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}\b|/mm3|10[*^]\d+(?=/)|1,73|\b(?:m2|b12|t[34]l?|hba1c|cd\d\d?|vitamine d[23])\b"
)
_FINDING = re.compile(
    r"\b(?:(?:hypo|hyper)\w+emie|(?:thrombo|leuco|neutro|lympho|pancyto)(?:penie|cytose|cytopenie)|anemie|acidose|cytolyse)\b"
    r"[^.,;:\n\d]{0,25}\b(?:a|de) (?=\d)"
)


class _Told:
    """The values that a reader or an answer tells, each for its analyte; one of an unknown analyte for all."""

    def __init__(self, measured: Iterable[Measurement]):
        self._kinds: dict[tuple[str, float | None], set[str | None]] = {}
        for m in measured:
            self._kinds.setdefault((m.sign, m.value), set()).update(alike(m.analyte) or {None})

    def has(self, value: Item, analyte: str | None = None) -> bool:
        """Whether `value` is told, of `analyte` (None: of any); a point may part thousands or decimals."""
        for number_told in {value.value, number(value.text, True)}:
            kinds = self._kinds.get((value.sign, number_told), ())
            if kinds and (analyte is None or None in kinds or _kind(analyte) in map(_kind, kinds)):
                return True
        return False


def _kind(analyte: str) -> str:
    return analyte.partition("_")[0] if analyte.startswith("troponine") else analyte


def passed_over(report: Report, search: Search, answered: Iterable[Measurement]) -> list[Unread]:
    """The lines of `report` with such a result, each with the reason; `search` is that of its text, `answered` the results of the answer."""
    if _is_plain(report, search.flat):
        return []
    told = _Told((*report.measurements, *answered))
    named = {u.line: u.text for u in report.unread}
    others = {m.line for m in report.measurements} | set(named)
    lines, found = search.text.split("\n"), []
    untold = [*_untold(search, told), *_concentrations(search, told, others)]
    for start, line, value in sorted(untold, key=lambda one: one[0]):
        why = moments(search.text).why(value.pos, digits_end(search.text, value)) if value else ""
        if why == NOTHING or value and any(value.text in named.get(n, "") for n in (line, value.line)):
            continue
        text = lines[line - 1] if not value or value.line == line else f"{lines[line - 1]} {lines[value.line - 1]}"
        begin = max(0, start - search.text.rfind("\n", 0, start) - 21) if len(text) > _SHOWN else 0
        if not any(u.line == line and (value is None or value.text in u.text) for u in found):
            found.append(Unread(line, text[begin : begin + _SHOWN].strip(), why or PASSED_OVER))
    return found


def _is_plain(report: Report, text: str) -> bool:
    """Whether each number of a text, as often as it is printed, is a value or a bound that was read, the age, or part of a date, a name or
    a unit.
    """
    read = Counter(x for m in report.measurements for x in (m.value, m.low, m.high) if x is not None) + Counter([report.age])
    printed = Counter(float(n.replace(",", ".")) for n in _NUMBER.findall(_NO_RESULT.sub(" ", text)))
    return not printed - read and not _NUMBER_WORD.search(text)


def _untold(search: Search, told: _Told) -> Iterator[tuple[int, int, Item | None]]:
    """Each value that nobody tells: where its name begins, the line of this, and its item; None for one in words («six virgule deux»)."""
    far = {n for n, line in enumerate(search.text.split("\n"), 1) if len(line) > _FAR_TOO_LONG}  # which the reader names as a whole
    for record in search.records:
        if record.line in far:
            continue
        value = _value(search, record, told) if record.analyte else None
        in_words = record.analyte and not record.numbers and _IN_WORDS.match(search.flat, record.end)
        if (value or in_words) and search.specimen(record) == "sang":
            yield record.start, record.line, value
    yield from _rows_of_values(search, told)
    for finding in _FINDING.finditer(search.flat):  # «hyponatrémie à 112»
        value = next(iter(items(search.text[finding.end() : finding.end() + 20], finding.end())), None)
        if value and value.kind == "value" and not told.has(value):
            value.line = search.text.count("\n", 0, finding.start()) + 1
            yield finding.start(), value.line, value


def _rows_of_values(search: Search, told: _Told) -> Iterator[tuple[int, int, Item]]:
    """The first value that nobody tells below a line of several names without values («Date   Hb   GB   Plq»), as in `_untold`."""
    names = Counter(record.line for record in search.records if record.analyte)
    lines, start = search.text.split("\n"), 0
    for line, text in enumerate(lines, 1):
        if names[line] > 1 and not any(item.kind == "value" for item in items(text)):
            below = start + len(text) + 1
            found = [item for item in items(lines[line], below) if item.kind == "value"] if line < len(lines) else []
            if len(found) > 1 and not any(map(told.has, found)) and not re.match(r"\W*[^\W\d]", lines[line]):
                found[0].line = line + 1
                yield start, line, found[0]
        start += len(text) + 1


def _concentrations(search: Search, told: _Told, others: set[int | None]) -> Iterator[tuple[int, int, Item]]:
    """Each value with the unit of a concentration behind a word of its line, whatever its name, as in `_untold`, but for the lines `others`."""
    start = 0
    for line, ((named, inside), text) in enumerate(zip(search.specimens, search.text.split("\n"), strict=True), 1):
        if line not in others and (named or inside) == "sang" and re.search(r"\d", text) and not _NO_NAME.match(fold(text)):
            for item in items(text, start):
                lead = search.flat[start : item.pos]
                concentration = item.kind == "value" and _CONCENTRATION.fullmatch(item.unit or "")
                if concentration and re.search(r"[a-z]{3}", lead) and not _AGAIN.search(lead) and not told.has(item):
                    item.line = line
                    yield start, line, item
        start += len(text) + 1


def _value(search: Search, record: Record, told: _Told) -> Item | None:
    """The first value of a record that nobody tells any of, where it may be a result; None otherwise."""
    first = next(iter(record.numbers), None)
    found = values(search, record) if first and not (first.kind == "value" and told.has(first, record.analyte)) else []
    if not found or any(told.has(value, record.analyte) for value, _ in found):
        return None
    value, clear = found[0]
    glued = record.end == value.pos and re.search(r"[.,]|\d{3}", value.text)  # «K7,2», not «Ag p24»
    beside = glued or _BESIDE.fullmatch(search.flat, record.end, value.pos) is not None
    if value.kind != "value" and not (beside and search.flat[: record.start].rpartition("\n")[2].strip(" -*•|") == ""):
        return None  # a bound, an aim
    begins = search.flat[record.start - 1 : record.start] not in tuple("./@")  # not as in cofrac.fr
    if len(record.name) < 3 and not (beside and begins and (value.unit or record.name != "vs")):
        return None
    foreign = analytes()[record.analyte].unit and value.unit and known_unit(value.unit, record.analyte) is None
    return None if foreign or not clear and not value.unit else value
