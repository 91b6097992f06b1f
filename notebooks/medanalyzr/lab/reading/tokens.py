"""The marks on a line of a report: numbers, intervals, units, marks and words, each with its place.

A number ends at a space, a unit or a mark; what is glued to anything else (`13O`, `1?,4`) is «bad» and nothing is read there.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

_SPACES = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # form feed and others, as str.splitlines knows them
_REFERENCE = re.compile(
    r"vr|v\.r\.|vn|usuelles?|normes?|r[ée]f(?:[ée]rences?|\.)?|attendues?|habituelles?|intervalle", re.IGNORECASE
)
LONGEST_CACHED = 1000  # characters of a text whose items are kept for the next time
NARROW = "\u2009"  # stands for every space that may only divide thousands


def clean(text: str) -> str:
    """`text` in one form: composed characters, plain spaces and signs, one sign for the end of a line, no invisible characters."""
    return tidy(text).replace(NARROW, " ")


def tidy(text: str) -> str:
    """`text` as `clean` gives it, with spaces that can only part thousands kept apart from others."""
    text = unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", text.replace("\x00", "")))
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", "\x00", text)
    text = _INVISIBLE.sub(lambda m: NARROW if m[0] == "\x00" else "", _SPACES.sub(" ", text))
    return text.replace("\u2212", "-").replace("⩽", "≤").replace("⩾", "≥").replace("’", "'")


@dataclass(slots=True)
class Item:
    """One thing on a line: `kind` is value, interval, unit, mark, label, soit, earlier, date, none, word or bad.

    A value that may be a bound (`< 5`) is an interval with `sign` "<" or ">". `pos` and `end` are columns, `cell` the number of the
    cell, `closed` the number of the brackets it stands in, 0 outside; `doubt` whether its digits (1.250) can be read in two ways, `eight`
    whether a mark B stands where an 8 may have been.
    """

    kind: str
    text: str
    pos: int
    end: int
    cell: int = 0
    line: int = 0
    sign: str = ""
    value: float = 0.0
    unit: str = ""
    low: float | None = None
    high: float | None = None
    label: str = ""
    marks: str = ""
    closed: int = 0
    doubt: bool = False
    eight: bool = False

    @property
    def is_date(self) -> bool:
        """Whether it is a date, «le 12/03» and 3/4 among them."""
        return self.kind in ("date", "fraction") or (self.kind == "earlier" and self.text[-1].isdigit())


_PER = (
    r"(?:[dcmµμun]?[lL](?:itre)?|mm[3³]|24\s?h|j(?:our)?|h|min|mn|k?g|mg|mmol|µmol|mol|100\s?m[lL]|champ|1re heure|1[eè]re heure)"
)
_UNIT = (
    r"%(?:\s?des\s\w+)?|‰|"
    r"(?:[x×]\s?)?10\s?(?:[*^]\s?\d{1,2}|e\d{1,2}|[⁰¹²³⁴-⁹]+)\s?/\s?(?:l|mm[3³]|[µμu]l)(?![\w³])|"
    r"m[lL]/mi?n(?:/1[.,]73\s?m?(?:²|2)?)?(?![\w²])|"
    rf"[a-zµμéè.\[\]]{{0,12}}\s?/\s?{_PER}(?:/(?:24\s?h|h|j|kg))?(?:\s(?:feu|ddu|uef))?(?![\w/³²])|"
    r"g\s?%|mm\s?hg(?!\w)|(?:fl|pg|pcg|kpa|mm|sec\.?|secondes?|s|µ3|µ³|µm3|meq|ui|u|mg|g|kg|°c|ml)(?![\w/'³])"
)
UNIT = re.compile(_UNIT, re.IGNORECASE)
_DIGITS = rf"\d{{1,3}}(?:[ {NARROW}']\d{{3}})+(?!\d)|\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)|\d+"
_AGES = r"(?:\d{1,3}\s*(?:ans|mois|jours|j)?\s*(?:-|à|a)\s*)?\d{1,3}\s*(?:ans|mois|jours)(?!\w)(?:\s*et\s*(?:\+|plus))?"
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<label>(?:(?:<|>|moins\sde|plus\sde)\s*)?{_AGES}\s*:?|\b[123](?:er|[eè]me|e|[eè]re|nd)\s?trim(?:estre|\.)?\s*:?
      |\b(?:hommes?|femmes?|gar[çc]ons?|filles?|masculin|f[ée]minin|adultes?|enfants?|nourrissons?|nouveau-n[ée]s?)\b(?:\s*\([hf]\))?\s*:?|\b[HF]\s*(?=:|\[):?)
    |(?P<earlier>\bant(?:[ée]rieure?s?|[ée]riorit[ée]s?|\.)|\bpr[ée]c[ée]d(?:ente?s?|\.)|\ble\s+\d{{1,2}}/\d{{1,2}}(?:/\d{{2,4}})?)
    |(?P<date>\b\d{{4}}-\d\d-\d\d\b|\b\d{{1,2}}(?P<ds>[/.-])\d{{1,2}}(?P=ds)(?:\d{{4}}|\d\d)\b(?![.,/-]\d)|\b\d{{1,2}}/\d{{4}}\b|\b\d{{1,2}}\s?h\s?\d\d\b|\b\d\d:\d\d\b)
    |(?P<between>[<≤]\s?[nNxX]\s?[<≤])
    |(?P<below>[<≤]\s?=?|\binf(?:[ée]rieure?s?|\.)?\s*(?:ou\s+[ée]gale?s?\s*)?[àa]\b|\bjusqu'?[àa]\b|\bmoins\s+de\b)
    |(?P<above>[>≥]\s?=?|\bsup(?:[ée]rieure?s?|\.)?\s*(?:ou\s+[ée]gale?s?\s*)?[àa]\b|\bplus\s+de\b)
    |(?P<fraction>(?<![\w.,/])\d+/\d+(?![\w/]))
    |(?P<power>(?<![\w.,])(?:[x×]\s?)?10\s?(?:[*^]\s?\d{{1,2}}|e\d{{1,2}}|[⁰¹²³⁴-⁹]+)\s?/\s?(?:l|mm[3³]|[µμu]l)(?![\w³]))
    |(?P<number>(?<![\w.,%)\]])(?:[-+](?=\d))?(?:{_DIGITS})(?:[.,]\d+)?|(?<=[^\w.,\s])(?:{_DIGITS})(?:[.,]\d+)?)
    |(?P<mark>\*+|[↑↓▲▼↗↘⬆⬇]+|\((?:[HLB]{{1,2}}|[*+-]{{1,3}}|[ée]lev[ée]+s?|basse?s?|haute?s?)\)|(?<![^\W\d_])(?-i:HH?|LL?|BB?|N)(?![\w'/])|\b(?:[ée]lev[ée]e?|bas(?:se)?)\b)
    |(?P<soit>\bsoit\b|\bdont\b)
    |(?P<unit>(?<![\w]){_UNIT})
    |(?P<dash>[-–—]|\b[àa]\b)
    |(?P<norm>\b(?:vr|v\.r\.|vn|val(?:eurs?|\.)?|usuelles?|normes?|normale?s?|normaux|r[ée]f(?:[ée]rences?|\.)?|attendues?|habituelles?|de|du|la|le|entre|et|intervalle|
      bornes?|r[ée]sultats?|laboratoire|labo|biologiques?|est|un|une|d|l|pour|lab)\b\.?)
    |(?P<open>[(\[])|(?P<close>[)\]])
    |(?P<word>[^\W\d_][^\s\d()\[\];|:,<>≤≥=*↑↓]*)
    |(?P<other>\S)""",
    re.VERBOSE | re.IGNORECASE,
)
REFERENCE_ALONE = "valeur de référence seule"
_WORD_END = re.compile(r"\S*")
_DOUBTFUL = re.compile(r"[-+]?[1-9]\d{0,2}[.]\d{3}")
_MAY_FOLLOW = re.compile(
    rf"$|[\s)\]}};*↑↓▲▼↗↘<≤>≥(\"+–—-]|à|[.,:](?=\s|$)|"
    rf"(?!(?-i:[A-Z])(?![\w/%]))(?:{_UNIT})|(?-i:HH?|LL?|BB?|N)(?!\w)|x\s?10",
    re.IGNORECASE,
)


def is_doubtful(digits: str) -> bool:
    """Whether printed digits (`1.250`) can be read in two ways."""
    return _DOUBTFUL.fullmatch(digits) is not None


def number(text: str, thousands: bool = False) -> float:
    """The number that printed digits mean; a single point before three digits parts thousands where `thousands`."""
    text = re.sub(rf"[ {NARROW}']", "", text)
    if text.count(".") > 1 or (thousands and is_doubtful(text)):
        text = text.replace(".", "")
    return float(text.replace(",", "."))


def digits(text: str, thousands: bool = False) -> str:
    """Printed digits as a value of ours: decimal comma, no thousands separator, no plus sign."""
    text = re.sub(rf"[ {NARROW}'+]", "", text)
    return text.replace(".", "") if text.count(".") > 1 or thousands else text.replace(".", ",")


def tokens(text: str) -> list[Item]:
    """The items of one cell, columns from its begin; intervals and units are not yet put together."""
    cut, depth, place, opened = [], 0, 0, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        kind, raw = match.lastgroup, match[0]
        if kind == "ds":
            kind = "date"
        place = match.end()
        if kind == "number":
            kind = "value"
            if not _MAY_FOLLOW.match(text, place):
                place = _WORD_END.match(text, place).end()
                kind, raw = "bad", text[match.start() : place]
        elif kind == "other" and raw in "?■#▒�□_~":
            kind = "bad"
        elif kind == "open":
            opened += depth == 0
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "space":
            continue
        elif kind == "power":
            kind = "unit"
        cut.append(Item(kind, raw.strip(), match.start(), place, closed=opened if depth > 0 else 0))
    return cut


def items(text: str, at: int = 0, cell: int = 0, line: int = 0) -> list[Item]:
    """The items of one cell put together: numbers with their sign, intervals with their unit and the label before them."""
    cut = _items if len(text) < LONGEST_CACHED else _items.__wrapped__
    return [Item(kind, raw, pos + at, end + at, cell, line, *rest) for kind, raw, pos, end, _, _, *rest in cut(text)]


@lru_cache(32768)
def _items(text: str) -> tuple[tuple, ...]:
    """The fields of the items of `text`: the items themselves change on their way."""
    row, built, label, i, reference = tokens(text), [], "", 0, False
    while i < len(row):
        item, used = _interval(row, i) or _value(row, i) or (row[i], 1)
        i += used
        if item.kind == "label" or (item.kind == "mark" and item.text in "HF" and i < len(row) and _interval(row, i)):
            label = f"{label} {item.text}".strip(" :")
            continue
        if item.kind == "mark" and item.text == "N":
            reference = i < len(row) and row[i].text == ":"
            continue
        reference = reference or item.kind == "norm" and bool(_REFERENCE.fullmatch(item.text))
        if item.kind == "value" and reference:  # «VR : 117» is no result
            item.kind, item.label = "bad", REFERENCE_ALONE
        if item.kind == "dash" and item.text in "-–—":
            item.kind = "mark"
        elif item.kind == "other" and (item.text not in ":;,.=/'\"&|°" or _tears(item, built, row, i)):
            item.kind = "bad"
        elif item.kind in ("norm", "open", "close", "dash", "other"):
            continue
        if item.kind == "interval":
            item.label, label = label, ""
        built.append(item)
        reference = False
    if label:
        built.append(Item("label", label, 0, len(text)))
    return tuple(map(attrgetter(*Item.__slots__), built))


def _tears(sign: Item, built: list[Item], row: list[Item], i: int) -> bool:
    """Whether a comma or point stands between two numbers (`4 ,6`): what is meant cannot be told."""
    return sign.text in ",." and bool(built) and built[-1].kind == "value" and _solid(row, i, "value") is not None


def _solid(row: list[Item], i: int, *kinds: str) -> Item | None:
    """The item in place `i` where it is of one of `kinds`, of any where none is named."""
    return row[i] if i < len(row) and (not kinds or row[i].kind in kinds) else None


def _bound_unit(row: list[Item], i: int) -> tuple[str, int]:
    return (unit.text, 1) if (unit := _solid(row, i, "unit")) else ("", 0)


def _referred(row: list[Item], i: int) -> bool:
    """Whether a word of reference («N», «VR :») stands right before place `i`."""
    before = row[i - 2 : i] if i > 1 and row[i - 1].text == ":" else row[max(0, i - 1) : i]
    word = before[0] if before else None
    return word is not None and (
        word.kind == "mark" and word.text == "N" or word.kind == "norm" and bool(_REFERENCE.fullmatch(word.text))
    )


def _interval(row: list[Item], i: int) -> tuple[Item, int] | None:
    """An interval that begins in place `i`, and how many tokens it takes."""
    began = i
    if sign := _solid(row, i, "below", "above"):
        if (bound := _solid(row, i + 1, "value")) is None:
            return None
        unit, used = _bound_unit(row, i + 2)
        value, below = number(bound.text), sign.kind == "below"
        item = Item("interval", bound.text, sign.pos, row[i + 1 + used].end, sign="<" if below else ">", value=value, unit=unit)
        item.low, item.high = (None, value) if below else (value, None)
        item.closed, item.doubt = sign.closed, is_doubtful(bound.text)
        return item, 2 + used
    bracket = _solid(row, i, "open")
    i += bracket is not None
    if (low := _solid(row, i, "value")) is None:
        return None
    first_unit, used = _bound_unit(row, i + 1)
    i += 1 + used
    joint, high = _solid(row, i), _solid(row, i + 1, "value")
    if joint is None or high is None:
        return None
    apart = joint.text == ";" and bracket or joint.text in (";", "/") and _referred(row, began)
    if not (joint.kind in ("dash", "between") or apart or (joint.text.lower() == "et" and used == 0)):
        return None
    unit, used = _bound_unit(row, i + 2)
    if first_unit and unit and first_unit != unit:
        return None
    i += 2 + used
    if not bracket and _solid(row, i, "dash") and _solid(row, i + 1, "value"):
        return Item("bad", f"{low.text} - {high.text} -", low.pos, high.end), i - began
    closes = bracket is not None and _solid(row, i, "close") is not None
    if bracket and joint.text == ";" and not closes:
        return None
    item = Item("interval", f"{low.text} - {high.text}", low.pos, high.end, unit=unit or first_unit, closed=low.closed)
    item.low, item.high = number(low.text), number(high.text)
    item.doubt = is_doubtful(low.text) or is_doubtful(high.text)
    return item, i + closes - began


def _value(row: list[Item], i: int) -> tuple[Item, int] | None:
    """A number with the marks and the unit behind it, and how many tokens they take."""
    t = _solid(row, i, "value")
    if t is None:
        return None
    t.value, used = number(t.text), 1
    t.eight = i + 1 < len(row) and row[i + 1].text == "B" and row[i + 1].pos == t.end
    t.doubt = is_doubtful(t.text)
    while i + used < len(row):
        follower = row[i + used]
        if follower.kind == "unit" and not t.unit:
            t.unit = follower.text
        elif follower.kind == "mark" or (follower.text in "-–—" and (i + used + 1 == len(row) or row[i + used + 1].kind == "unit")):
            if follower.text in "HF" and _interval(row, i + used + 1):
                break
            t.marks += follower.text
        elif follower.kind == "other" and follower.text == "+":
            t.marks += "+"
        else:
            break
        used, t.end = used + 1, follower.end
    return t, used


class Refused(Exception):
    """Why a line is not read, in words."""


@dataclass
class Row:
    """A name and all the items printed for it."""

    name: str
    analyte: str | None
    line: int
    text: str
    items: list[Item]
    specimen: str | None
    header: object | None
    unit: str = ""
    section: int = 0
    colon: bool = False
    certain: bool = True
    day: tuple | None = None
    width: int = 0
    venous: bool = False
    sample: int = 0
    by_cell: bool = False
    around: str | None = None


def _parted(printed: list[Item]) -> tuple[list[Item], list[list[Item]]]:
    """The items without earlier results, and these in groups: what stands in the same brackets as «Ant.» or a date, or follows it to
    the end of the line.
    """
    kept, groups, i, seen = [], [], 0, False
    while i < len(printed):
        item = printed[i]
        if item.kind == "earlier" or (item.kind == "date" and (item.closed or seen)):
            place, group = attrgetter("line", "cell", "closed") if item.closed else attrgetter("line"), []
            while item.closed and kept and place(kept[-1]) == place(item):
                group.insert(0, kept.pop())
            while i < len(printed) and place(printed[i]) == place(item):
                group.append(printed[i])
                i += 1
            groups.append(group)
            continue
        seen = seen or item.kind == "value"
        kept.append(item)
        i += 1
    return kept, groups


def today_only(printed: list[Item]) -> list[Item]:
    """The items without earlier results."""
    return _parted(printed)[0]


def interval_of_both(printed: list[Item]) -> tuple[str, Item] | None:
    """The interval that stands with an earlier result, and the unit of this result ("": none): `(ant. 5,1 ; 3,5 - 5,0)`.

    None where there is any doubt: more than one of them, a word, a label, a bound alone, or what may be a date (`ant. 03-12 : 5,1`).
    """
    groups = [group for group in _parted(printed)[1] if any(item.kind == "interval" for item in group)]
    kinds = ["earlier" if item.kind == "date" else item.kind for group in groups for item in group]
    if len(groups) != 1 or sorted(kind for kind in kinds if kind != "earlier") != ["interval", "value"]:
        return None
    earlier, interval, value = (kinds.index(kind) for kind in ("earlier", "interval", "value"))
    if groups[0][interval].sign or re.match(r"0\d", groups[0][interval].text) or earlier < interval < value:
        return None
    return groups[0][value].unit, groups[0][interval]
