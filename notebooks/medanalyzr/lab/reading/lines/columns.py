"""Cells of a line, and what the heads of columns say about the cells below them: today's result, earlier ones, whose interval."""

import csv
import re
from dataclasses import dataclass, field
from datetime import date

from medanalyzr.lab.dates import DATE, day_of
from medanalyzr.lab.references import fold

STEP = 1000  # columns that a cell between tabs, bars or semicolons counts for
_WIDE = re.compile(r"\s{2,}|\s*(?:\.\s?){3,}\s*|\s*…+\s*|\s*_{3,}\s*")
_FIELD = r'"[^"]*(?:""[^"]*)*"'
_FIELDS = re.compile(
    rf' *{_FIELD}(?: *([;,\t]) *(?:{_FIELD}|[^\s";,]*))(?: *\1 *(?:{_FIELD}|[^\s";,]*))* *'
)  # the first one in quotes
_ROLES = (
    ("before", r"avant(?: .*)?|apres(?: .*)?|t\d+h?|\d(?:er|eme|e) (?:tube|prelevement)"),
    ("prev", r".*\b(?:ant|anterieure?s?|anteriorites?|antecedents?|precedente?s?|historique|dernier resultat|veille|hier)\b.*"),
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
    day: date | None = None


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

    def is_side_by_side(self) -> bool:
        """Whether names follow results: two tables beside each other."""
        return "name" in [c.role for c in self.columns][[*(c.role for c in self.columns), "result"].index("result") :]

    def has(self, *roles: str) -> bool:
        """Whether a column has one of `roles`."""
        return any(c.role in roles for c in self.columns)


def cells_of(line: str, delimiter: str | None) -> tuple[list[tuple[int, str]], bool]:
    """The cells of a line with their columns, and whether signs part them (tabs, bars, semicolons) and not wide gaps."""
    if fields := _FIELDS.fullmatch(line):
        delimiter = fields[1]
    if delimiter and delimiter in line:
        parts = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        return [(i * STEP, part.strip()) for i, part in enumerate(parts)], True
    if "\t" in line or line.startswith("|") or " | " in line or line.count("|") > 2:
        framed = "\t" not in line and (line.strip().endswith("|") or not line.strip().startswith("|"))
        parts = re.split(r"\t|\|", line.strip().removeprefix("|").removesuffix("|") if framed else line)
        return [(i * STEP, part.strip()) for i, part in enumerate(parts)], True
    parted, place = [], 0
    for gap in _WIDE.finditer(line):
        if line[place : gap.start()].strip():
            parted.append((place, line[place : gap.start()]))
        place = gap.end()
    if line[place:].strip():
        parted.append((place, line[place:]))
    return parted, False


def delimiter_of(lines: list[str]) -> str | None:
    """`;` or `,` where lines are records of such fields, or None."""
    for sign, least in ((";", 3), ('","', 2)):
        counts = [re.sub(r"\[[^\]]*\]|\([^)]*\)", "", line).count(sign) for line in lines]
        if sum(count >= least for count in counts) >= 2 and (sign != ";" or max(counts) == sorted(counts)[-2]):
            return sign[1] if len(sign) > 1 else sign
    return None


def _column(pos: int, text: str) -> Column:
    plain = fold(text).strip(" .:()[]|-*")
    end, day = pos + len(text), day_of(text)
    bare = DATE.sub("", fold(text)).strip(" .:")
    if day and re.fullmatch(r"(?:\(?(?:le|du|j\d|a|vers|\d{1,2}\s?h\s?(?:\d\d)?|\d\d:\d\d)\)?\s*)*", bare):
        return Column(pos, end, "date", day=day)
    for role, pattern in _ROLE if not re.search(r"\d", bare) and len(plain) <= 40 and plain.count(" ") <= 5 else ():
        if pattern.fullmatch(plain if role != "result" else plain + (")" if "(ce jour" in fold(text) else "")):
            label = plain if role == "norm" and re.search(r"\b(?:[hf]|hommes?|femmes?|filles?|garcons?)\b", plain) else ""
            return Column(pos, end, role, label, day)
    if plain and ":" not in text and re.search(r"[a-z]{2}|\b[hf]\b", plain) and _LABEL.fullmatch(plain) and plain not in ("h", "f"):
        return Column(pos, end, "norm", plain)
    return Column(pos, end, "other", day=day)


def is_head(text: str) -> bool:
    """Whether a line is the head of one column, as copies of tables cell by cell have it."""
    return _column(0, text.strip()).role in ("result", "unit", "norm", "name", "low", "high")


def heads_earlier(text: str) -> bool:
    """Whether a line is the head of a column of earlier results alone, as copies of tables cell by cell have it."""
    return _column(0, text.strip()).role in ("prev", "date", "before")


_HEADS = re.compile(r"\b(?:resultats?|ce jour|unites?|references?|normes|normales?|valeurs|analyses?|examens?|parametres?)\b")


def heads_run_together(line: str) -> bool:
    """Whether a line names columns, earlier ones among them, but the gaps between the heads are lost."""
    text = fold(line)
    heads = set(_HEADS.findall(text))
    return len(heads) >= 2 and ":" not in line and bool(day_of(line) or re.search(r"\banter|\bant\.|preced", text))


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


def settle(header: Header, sampled: date | None) -> Header:
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
