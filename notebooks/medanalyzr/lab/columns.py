"""Cells of a line, and what the heads of columns say about the cells below them: today's result, earlier ones, whose interval."""

import csv
import re
from dataclasses import dataclass, field

from medanalyzr.lab.references import fold
from medanalyzr.lab.tokens import Item, Refused, Row, today_only

STEP = 1000  # columns that a cell between tabs, bars or semicolons counts for
_WIDE = re.compile(r"\s{2,}|\s*(?:\.\s?){3,}\s*|\s*…+\s*|\s*_{3,}\s*")
_DATE = re.compile(r"(?<!\w)(?:(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d\d)|(\d{4})-(\d\d)-(\d\d))(?!\w)")
_ROLES = (
    ("before", r"avant(?: .*)?|apres(?: .*)?|t\d+h?|\d(?:er|eme|e) (?:tube|prelevement)"),
    ("prev", r".*\b(?:ant|anterieure?s?|anteriorites?|precedente?s?|historique|dernier resultat|veille|hier)\b.*"),
    ("low", r".*\b(?:borne|valeur|limite|ref|norme)?.?(?:basse|inf(?:erieure)?|mini?(?:mum)?|bas)\.?"),
    ("high", r".*\b(?:borne|valeur|limite|ref|norme)?.?(?:haute|sup(?:erieure)?|maxi?(?:mum)?|haut)\.?"),
    ("result", r"(?:resultats?|valeurs?|mesures?|jour|ce jour|aujourd'hui|actuel|res\.?|concentration|taux|valeurs? (?:trouvee|mesuree)s?)"
               r"(?: (?:du jour|actuels?|si|conventionnels?|ce jour))?(?: 1| 2)?|.*\(ce jour\)"),
    ("unit", r"unites?(?: .*)?|u\."),
    ("norm", r".*\b(?:references?|refs?|normes?|normales?|usuelles?|intervalles?|vr|v\.r|attendues?|valeurs? biologiques?)\b.*"),
    ("name", r"(?:analyses?|examens?|parametres?|libelles?|nom|dosages?|analytes?|determinations?|tests?)(?: .*)?"),
    ("specimen", r"milieu|echantillon|nature|matrice|specimens?|liquide|type|prelevement"),
    ("comment", r"commentaires?|remarques?|observations?|technique|methode|notes?"),
    ("mark", r"flag|indicateur|alerte|interpretation|h/?[lb]|anomalie|drapeau"),
    ("percent", r"%|pourcentages?|en %"),
    ("rowdate", r"dates?(?: .*)?"),
    ("code", r"codes?|id|ipp|n°|dossier|loinc"),
)  # fmt: skip
_ROLE = [(role, re.compile(pattern)) for role, pattern in _ROLES]
_LABEL = re.compile(
    r"(?:normes? |ref\.? |valeurs? |vr )?(?:(?:h|f|hommes?|femmes?|garcons?|filles?|adultes?|enfants?|nourrissons?|nouveau.nes?)\.?,?\s*)?"
    r"(?:(?:\d+\s*(?:ans|mois|jours|j)?\s*(?:-|a)\s*\d+\s*(?:ans|mois|jours|j)?|"
    r"[<>]\s*\d+\s*ans|\d+ ans et (?:\+|plus)|[123](?:er|eme|e|nd|ere)? ?trim\w*\.?))?"
)


_NUMBERS = re.compile(r"\d[.,]\d|\d\s*(?:-|–|à|;)\s*\d|[<>]\s*\d")


# What the head of a column holds; other lines are passed over unread.
_HINTS = (
    "rés", "res.", "resul", "val", "unit", "norm", "réf", "ref", "ant", "préc", "prec", "jour", "date", "homme", "femme",
    "fille", "garç", "garc", "adult", "enfant", "nourr", "nouveau", "trim", "ans", "mois", "min", "max", "borne", "apr",
    "interv", "usuel", "hist", "hier", "veille", "tube", "actuel", "concentr", "taux", "mesur",
)  # fmt: skip
_HINT = re.compile(r"\d[/.-]\d\d[/.-]\d|\b[HFT]\d?\b")


@dataclass(frozen=True)
class Column:
    """The head of a column: its place, its role, and the patients for whom its intervals are (`label`)."""

    pos: int
    end: int
    role: str
    label: str = ""
    day: tuple[int, int, int] | None = None


@dataclass
class Header:
    """The heads of columns in force."""

    columns: list[Column] = field(default_factory=list)
    split: bool = False
    broken: bool = False

    def values(self) -> list[Column]:
        """The columns of results, today's and earlier ones."""
        return [
            c for c in self.columns if c.role in ("result", "prev", "before") or (c.role == "other" and c is not self.columns[0])
        ]

    def over(self, pos: int, end: int) -> Column | None:
        """The column that what stands from `pos` to `end` belongs to, or None."""
        if self.split:
            return next((c for c in self.columns if c.pos // STEP == pos // STEP), None)
        near = [(max(0, c.pos - end, pos - c.end), c.pos, c) for c in self.columns]
        return min(near)[2] if near and min(near)[0] <= 5 else None

    def has(self, *roles: str) -> bool:
        """Whether a column has one of `roles`."""
        return any(c.role in roles for c in self.columns)


def cells_of(line: str, delimiter: str | None) -> tuple[list[tuple[int, str]], bool]:
    """The cells of a line with their columns, and whether signs part them (tabs, bars, semicolons) and not wide gaps."""
    if delimiter and delimiter in line:
        parts = next(csv.reader([line], delimiter=delimiter), [])
        return [(i * STEP, part.strip()) for i, part in enumerate(parts)], True
    if "\t" in line or line.startswith("|") or " | " in line or line.count("|") > 2:
        parts = re.split(r"\t|\|", line.strip().removeprefix("|").removesuffix("|") if "\t" not in line else line)
        return [(i * STEP, part.strip()) for i, part in enumerate(parts)], True
    found, place = [], 0
    for gap in _WIDE.finditer(line):
        if line[place : gap.start()].strip():
            found.append((place, line[place : gap.start()]))
        place = gap.end()
    if line[place:].strip():
        found.append((place, line[place:]))
    return found, False


def delimiter_of(lines: list[str]) -> str | None:
    """`;` or `,` where lines are records of such fields, or None."""
    for sign, least in ((";", 3), ('","', 2)):
        counts = [re.sub(r"\[[^\]]*\]|\([^)]*\)", "", line).count(sign) for line in lines]
        if sum(count >= least for count in counts) >= 2 and (sign != ";" or max(counts) == sorted(counts)[-2]):
            return sign[1] if len(sign) > 1 else sign
    return None


def day_of(text: str) -> tuple[int, int, int] | None:
    """Year, month and day of the first date in `text`, or None."""
    if not (m := _DATE.search(text)):
        return None
    return (
        (int(m[4]), int(m[5]), int(m[6]))
        if m[4]
        else (int(m[3]) % 100 + 2000 if len(m[3]) == 2 else int(m[3]), int(m[2]), int(m[1]))
    )


def _column(pos: int, text: str) -> Column:
    plain = fold(text).strip(" .:()[]|-*")
    end, day = pos + len(text), day_of(text)
    bare = _DATE.sub("", fold(text)).strip(" .:")
    if day and re.fullmatch(r"(?:\(?(?:le|du|j\d|a|vers|\d{1,2}\s?h\s?(?:\d\d)?|\d\d:\d\d)\)?\s*)*", bare):
        return Column(pos, end, "date", day=day)
    for role, pattern in _ROLE if not re.search(r"\d", bare) and len(plain) <= 40 and plain.count(" ") <= 5 else ():
        if pattern.fullmatch(plain if role != "result" else plain + (")" if "(ce jour" in fold(text) else "")):
            label = plain if role == "norm" and re.search(r"\b(?:[hf]|hommes?|femmes?|filles?|garcons?)\b", plain) else ""
            return Column(pos, end, role, label, day)
    if plain and ":" not in text and re.search(r"[a-z]{2}|\b[hf]\b", plain) and _LABEL.fullmatch(plain) and plain not in ("h", "f"):
        return Column(pos, end, "norm", plain)
    return Column(pos, end, "other", day=day)


def heads_earlier(text: str) -> bool:
    """Whether a line is the head of a column of earlier results alone, as copies of tables cell by cell have it."""
    return _column(0, text.strip()).role in ("prev", "date", "before")


_HEADS = re.compile(r"\b(?:resultats?|ce jour|unites?|references?|normes|normales?|valeurs|analyses?|examens?|parametres?)\b")


def heads_run_together(line: str) -> bool:
    """Whether a line names columns, earlier ones among them, but the gaps between the heads are lost."""
    text = fold(line)
    heads = set(_HEADS.findall(text))
    return len(heads) >= 2 and ":" not in line and bool(day_of(line) or re.search(r"\banter|\bant\.|preced", text))


def sampled(text: str) -> tuple[int, int, int] | None:
    """The day on which a report says that its sample was taken, or None."""
    found = re.search(r"pr[ée]l[eè]v\w*\s*(?:du|le|:)*\s*(\d{1,2}[/.-]\d{1,2}[/.-]\d{4})", text, re.IGNORECASE)
    return day_of(found[1]) if found else None


def header_of(line: str, cells: list[tuple[int, str]], split: bool) -> Header | None:
    """The heads of columns that a line names, or None where it is no such line."""
    small = line.lower()
    if not any(hint in small for hint in _HINTS) and not _HINT.search(line):
        return None
    columns = [_column(pos, text) for pos, text in cells if text.strip()]
    told = [c for c in columns if c.role != "other"]
    rest = [text for (_, text), c in zip([c for c in cells if c[1].strip()], columns, strict=True) if c.role == "other"]
    first = cells[0][0] if cells else 0
    strange = [text for text in rest if (":" in text or len(text) > 40 or _NUMBERS.search(text)) and text != cells[0][1]]
    dates = [c for c in told if c.role == "date"]
    enough = len(told) >= 2 or (
        len(told) == 1 and told[0].role in ("prev", "norm", "result") and (told[0].pos > first or first > 12)
    )
    if not told or strange or not enough or (len(dates) == len(told) == 1):
        return None
    return Header(columns, split)


def merge(old: Header | None, new: Header) -> Header:
    """Two lines of heads above each other: a date under «Antériorité» is that of earlier results."""
    if old is None or old.split or new.split:
        return new
    kept = list(new.columns)
    for c in old.columns:
        under = next((k for k in kept if k.pos < c.end and c.pos < k.end), None)
        if under is None:
            kept.append(c)
        elif under.role in ("date", "other") or (under.role == "norm" and c.role == "norm"):
            role = c.role if c.role not in ("other", "date") else under.role
            kept[kept.index(under)] = Column(
                min(c.pos, under.pos), max(c.end, under.end), role, under.label or c.label, under.day or c.day
            )
    return Header(sorted(kept, key=lambda c: c.pos))


def settle(header: Header, sampled: tuple[int, int, int] | None) -> Header:
    """Says of columns headed by a date alone which one is today's: the sample's day, else the latest one."""
    dated = [c for c in header.columns if c.role == "date"]
    if not dated:
        return header
    explicit = header.has("result")
    broken = not explicit and any(c.role == "other" for c in header.columns[1:])
    latest = max(c.day for c in dated)
    alone = len(dated) == 1 and (header.has("prev") or not explicit)
    columns = []
    for c in header.columns:
        if c.role == "date":
            today = not explicit and c.day == latest and (sampled is None or c.day >= sampled)
            if alone and sampled is None and header.has("norm") and c.pos > next(k.pos for k in header.columns if k.role == "norm"):
                today = False
            c = Column(c.pos, c.end, "result" if today else "prev", c.label, c.day)
        columns.append(c)
    return Header(columns, header.split, broken)


# Items under the heads of their columns ---------------------------------------------------------------------------------


def assign(row: Row) -> list[Item]:
    """The items of a row under the heads of its columns: without earlier results and comments, bounds as intervals."""
    found, header, low, high = today_only(row.items), row.header, None, None
    if header is None:
        return _labelled(found)
    if header.broken:
        raise Refused("colonnes non comprises")
    kept, today, stray = [], [], []
    place, over = _placed(row, found), {}
    for item in found:
        column = place.get(id(item))
        role = column.role if column else ""
        over[id(item)] = role
        if role in ("comment", "code", "mark", "rowdate", "name", "specimen"):
            continue
        if role == "prev" and (item.kind != "interval" or item.sign):
            continue
        if role in ("low", "high") and item.kind == "value":
            low, high = (item, high) if role == "low" else (low, item)
            continue
        if role == "percent" and item.kind == "value":
            item.unit = item.unit or "%"
        if role == "norm":
            if item.kind == "value" and header.split:
                raise Refused("intervalle non compris")
            item.label = item.label or column.label
        if role == "before" and row.sample and column.pos != row.sample:
            continue
        if role in ("result", "before") and (item.kind == "value" or item.sign):
            today.append(item)
        elif item.kind == "value" and not item.unit and item.line == row.line and role in ("", "unit", "norm"):
            stray.append(item)
        if role == "unit" and item.kind in ("word", "mark"):
            item.kind = "unit" if item.kind == "word" else "mark"
        kept.append(item)
    if stray and (today or stray[-1].pos > header.columns[-1].end):
        raise Refused("colonnes décalées")
    labels = {bool(i.label) for i in kept if i.kind == "interval" and i.line == row.line}
    if len(labels) == 2 and any(c.label for c in header.columns):
        raise Refused("intervalle de qui ?")
    if today:
        kept = [
            i
            for i in kept
            if i in today or (i.kind != "value" and not i.sign) or i.unit or i.line != row.line or over[id(i)] != "other"
        ]
        for item in today:
            if item.kind == "interval":
                item.kind, item.low, item.high = "value", None, None
    elif header.has("prev") and not any(i.kind == "value" for i in kept) and any(i.kind == "value" for i in found):
        raise Refused("aucun résultat du jour")
    if low or high:
        text = " - ".join(i.text for i in (low, high) if i)
        bound = Item("interval", text, (low or high).pos, (high or low).end, 0, row.line)
        bound.low, bound.high = low and low.value, high and high.value
        bound.sign = "" if low and high else ">" if low else "<"
        kept.append(bound)
    return _labelled(kept)


def _placed(row: Row, found: list[Item]) -> dict[int, Column]:
    """The column of each item of the row's line.

    Where signs part the cells, by their number. Where spaces do: by rank, if there are as many values (intervals) as columns for
    them; else by place, which must agree to a character and keep the order of the heads.
    """
    header, here = row.header, sorted((i for i in found if i.line == row.line), key=lambda i: i.pos)
    if header.split:
        if row.width < header.columns[-1].pos // STEP + 1 and header.has("prev"):
            return _by_rank(header, here) or _shifted()
        return {id(i): c for i in here if (c := header.over(i.pos, i.end))}
    place = _by_rank(header, here)
    if place:
        return place
    labels = [c for c in header.columns if c.label]
    for_all = labels[0] if len(labels) == 1 else None
    for item in here:
        column = for_all if for_all and item.kind == "interval" else header.over(item.pos, item.end)
        if column is None:
            continue
        decisive = (column.role in ("prev", "before") and item.kind != "unit") or (
            len(labels) > 1 and column.label and item.kind == "interval"
        )
        if decisive and not _aligned(item, column) and (item.kind == "value" or item.sign or column.label):
            _shifted()
        place[id(item)] = column
    for item in here if header.has("prev", "before") else ():
        kind = {"unit": "unit", "interval": "norm"}.get(item.kind, "")
        if header.has(kind) and not item.sign and (header.over(item.pos, item.end) or header.columns[0]).role != kind:
            _shifted()
    norm = next((c for c in header.columns if c.role == "norm"), None)
    bound = next((i for i in here if i.kind == "interval" and not i.sign), None)
    for item in here:
        column = place.get(id(item))
        if (
            column
            and column.role == "prev"
            and item.kind == "value"
            and norm
            and bound
            and (norm.pos < column.pos) != (bound.pos < item.pos)
        ):
            _shifted()
    return place


def _by_rank(header: Header, here: list[Item]) -> dict[int, Column]:
    """Values and intervals under their heads in order, where there are as many of them as heads; {} where it is otherwise."""
    heads, labels = header.values(), [c for c in header.columns if c.label]
    bounds = [i for i in here if i.kind == "interval" and not i.sign]
    signed = [i for i in here if i.kind == "interval" and i.sign]
    if len(labels) > 1:
        bounds, signed = sorted(bounds + signed, key=lambda i: i.pos), []
    values = sorted([i for i in here if i.kind == "value"] + signed[: 2 * len(heads)], key=lambda i: i.pos)
    if signed and bounds == [] and len(values) == len(heads) + 1 and header.has("norm"):
        rank = sum(c.pos < next(k.pos for k in header.columns if k.role == "norm") for c in heads)
        values = [v for n, v in enumerate(values) if n != rank]
    place: dict[int, Column] = {}
    if header.has("result", "before") and len(heads) > 1 and len(values) == len(heads):
        place |= {id(v): c for v, c in zip(values, heads, strict=True)}
    elif len(heads) > 1 or header.has("prev"):
        return {}
    if labels and len(bounds) == len(labels):
        place |= {id(i): c for i, c in zip(bounds, labels, strict=True)}
    elif labels:
        return {}
    return place


def _aligned(item: Item, column: Column) -> bool:
    """Whether an item stands under a head: same first or last character, or same middle."""
    return min(abs(item.pos - column.pos), abs(item.end - column.end), abs(item.pos + item.end - column.pos - column.end) / 2) <= 1


def _shifted() -> None:
    raise Refused("colonnes décalées")


def _labelled(found: list[Item]) -> list[Item]:
    """The items with each label («Homme», «1 à 3 ans») put on the intervals that follow it on its line."""
    kept, label = [], None
    for item in found:
        if item.kind == "label":
            label = item
        elif item.kind == "interval" and label and item.line == label.line:
            item.label = f"{label.text} {item.label}".strip()
            kept.append(item)
        else:
            kept.append(item)
    if label and not any(i.kind == "interval" and label.text in i.label for i in kept):
        raise Refused("intervalle de qui ?")
    return kept
