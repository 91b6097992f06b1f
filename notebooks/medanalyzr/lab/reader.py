"""The strict reader: what a report proves is read, the rest is refused and named with the reason.

Lines are cut into cells, cells into items (tokens), items are given to the name before them, and a result is made only where one
reading is possible: one value of today, its unit, the interval of this patient. No unit, digit or sign is dropped.
"""

import re
from dataclasses import dataclass, field, replace

from medanalyzr.lab import columns
from medanalyzr.lab.names import damaged, harmless, key, known, specimen_of
from medanalyzr.lab.patient import Patient, meant_for, read_patient
from medanalyzr.lab.references import analytes, convert, critical_limits, fold, reference_interval
from medanalyzr.lab.report import LONGEST_LINE, Measurement, Report, Unread
from medanalyzr.lab.tokens import UNIT, Item, clean, digits, items, number, tidy
from medanalyzr.lab.units import known_unit, plain

__all__ = ["clean", "read_report"]

SHARES = {"pnn", "lymphocytes", "monocytes", "eosinophiles", "basophiles"}  # printed in % of the leucocytes and as counts
GASES = {"ph", "paco2", "pao2", "hco3_art", "sao2", "be"}
VENOUS = {"ph_v", "pvco2", "pvo2", "hco3_v"}
_BLOOD = re.compile(
    r"\bsang(?!lant)|serum|serique|plasma|hematolog|hemogramme|numeration|\bnfs\b|hemostase|coagulation|hormon|thyroid|immunolog|serolog|"
    r"enzym|hepati|martial|lipid|gaz du sang|gazometri|formule|marqueur|cardia|inflammat|vitamin|immunoglobul|proteines seriques"
)
_VAGUE = re.compile(r"biochimie|chimie|ionogramme|bilan|examens?\b|resultats?|metabol|renal|glucid|proteines")
_COMMENT = re.compile(
    r"^\W*(?:commentaires?|n\.?b\b|remarques?|interpretation|conclusion|avis|note|technique|methode|automate|reactif|principe|objectifs?|seuils?|"
    r"cible|limite|zone|valide|edite|imprime|page|tel\b|fax|dossier|prescri|prelev|dr\b|docteur|biologiste|accredit|total a|traitement|"
    r"stade|recommand|(?:\(?\d\)|\[\d\]))"
)
_NOT_GIVEN = re.compile(r"hemolys|non (?:realis|rendu|fait|dos|interpret|calcul|communiq|parvenu|determin|concern)|en cours|voir comm|annul|qns|insuffisant|"
                        r"coagul|absen|negati|positi|traces?|presence|agreg|tube|delai|ininterpret|impossible|sans objet|a venir|illisible|suivre|attente")  # fmt: skip
_NO_ANALYTE = re.compile(
    r"volume|diurese|poids|taille|\bage\b|\bdate|heure|temperat|fio2|\bdose|page|objectif|cible|seuil|zone|risque|\btel|\bfax|n°|dossier|"
    r"^\W*(?:hommes?|femmes?|garcons?|filles?|adultes?|enfants?|normales?)\b|\bne\b|\bnee\b|patient|sexe|adresse|\brue\b|prix|euro|baro|\bt°|delta|valeurs|indice d"
)
_LETTER = re.compile(r"[^\W\d_]")
_SIDE = re.compile(r"^\W*(sang|serum|plasma|urines?|lcr|selles)\s*:\s*", re.IGNORECASE)
_SPECIMENS = {"s": "sang", "p": "sang", "pl": "sang", "sg": "sang", "sang": "sang", "serum": "sang", "plasma": "sang", "u": "urine", "lcr": "lcr"}
_UP, _DOWN = re.compile(r"H|↑|▲|↗|⬆|\+|[ée]lev|haut", re.IGNORECASE), re.compile(r"B|L|↓|▼|↘|⬇|(?<!\()-|\bbas", re.IGNORECASE)


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
    header: columns.Header | None
    unit: str = ""
    section: int = 0
    colon: bool = False
    certain: bool = True
    day: tuple | None = None
    width: int = 0
    venous: bool = False
    sample: int = 0
    around: str | None = None


@dataclass
class State:
    """Where in the report we are."""

    specimen: str | None = "sang"
    header: columns.Header | None = None
    unit: str = ""
    section: int = 0
    venous: bool = False
    earlier: bool = False
    rows: list[Row] = field(default_factory=list)
    above: tuple[int, str] | None = None
    prose: list[tuple[int, str, str | None]] = field(default_factory=list)


# From lines to rows ---------------------------------------------------------------------------------------------------

_SPLIT = re.compile(r"\s+(?=[<>≤≥↑↓*\[(]*\s*[-+]?\d|[<>≤≥↑↓]|inf|sup|jusqu|moins|plus|[\[(]|[%/]|[a-zA-Zµ]{1,6}/)|(?<=[a-zA-Zé)])(?=[<>≤≥])")


def _named(text: str) -> tuple[str, str | None, str, bool]:
    """The name that a cell begins with, its analyte, what follows the name, and whether a colon parts them."""
    bare = text.strip(" -*•·>#")
    name, colon, rest = bare.partition(":")
    if colon and name.count("(") == name.count(")") and name.count("[") == name.count("]"):
        name = name.strip()
        if (analyte := known(name)) or not re.search(r"\d.*\d|[(\[]", name):
            return name, analyte, rest, True
        for cut in _SPLIT.finditer(name):
            if re.match(r"[(\[]?\s*(?:[<>≤≥\d]|inf|sup|n\b)", name[cut.end() :], re.IGNORECASE) and (analyte := known(name[: cut.start()])):
                return name[: cut.start()], analyte, name[cut.start() :] + " " + rest, True
        return name, None, rest, True
    if analyte := known(bare):
        return bare, analyte, "", False
    for cut in reversed(list(_SPLIT.finditer(bare[:120]))):
        if analyte := known(bare[: cut.start()]):
            return bare[: cut.start()].strip(), analyte, bare[cut.start() :], False
    return bare, None, "", False


_BEGINS = re.compile(r"\W*(?:soit\b|dont\b|ant[ée\.]|pr[ée]c[ée]d|val(?:eurs?|\.)|normes?\b|normale?\b|r[ée]f|vr\b|n\s*:|inf[ée\.]|sup[ée\.]|jusqu|moins de|entre\b|de \d|"
                     r"hommes?\b|femmes?\b|gar[çc]ons?\b|filles?\b|adultes?\b|enfants?\b|nourrissons?\b|nouveau|[HF]\s*[:\[]|[<>≤≥↑↓*\[(+-]*\s*\d|[<>≤≥↑↓*+-]+\s*$|"
                     r"intervalle)", re.IGNORECASE)  # fmt: skip


def _rows(text: str) -> tuple[State, list[Unread]]:
    """The rows of a report and the lines that no row was made of, in one pass."""
    lines = text.split("\n")
    delimiter = columns.delimiter_of(lines)
    sampled, state, unread, open_row, alone, heads = columns.sampled(text), State(), [], None, 0, None
    for n, line in enumerate(lines, 1):
        if not line.strip(" \t|-_=*.") or (delimiter and line.startswith("#")):
            open_row, alone = None, 0
            continue
        if len(line) > LONGEST_LINE:
            unread.append(Unread(n, line[:80].strip(), "ligne trop longue"))
            open_row = None
            continue
        cells, split = columns.cells_of(line, delimiter)
        if header := columns.header_of(cells, split):
            heads = columns.merge(heads, header)
            state.header, open_row = columns.settle(heads, sampled), None
            _heading(state, cells[0][1])
            continue
        if open_row is not None and _goes_on(open_row, n, cells):
            alone = 0
            continue
        made = _line_rows(state, n, line, cells, split)
        if not made:
            open_row, alone = None, 0
            state.above = (n, line.strip()) if len(cells) == 1 and len(line) < 60 else None
            if not _heading(state, line) and not state.earlier:
                state.prose.append((n, line, state.specimen))
            continue
        heads = None if any(made[0].items) else heads
        alone = alone + 1 if len(made) == 1 and not made[0].items else 0
        if alone > 1:
            made[0].certain = state.rows[-1].certain = False
        state.rows += made
        open_row = made[-1]
    return state, unread


def _line_rows(state: State, n: int, line: str, cells: list[tuple[int, str]], split: bool) -> list[Row]:
    """The rows of one line: mostly one, several where names follow each other."""
    if state.earlier:
        return []
    header = state.header if state.header and state.header.split == split else None
    specimen, day, place = state.specimen, None, 0
    if split:
        place = next((i for i, (pos, text) in enumerate(cells) if text), 0)
        for i, (pos, text) in enumerate(cells):
            role = header.over(pos, pos).role if header and header.over(pos, pos) else ""
            if role == "name":
                place = i
            elif role == "specimen":
                specimen = _SPECIMENS.get(fold(text).rstrip("s") if len(text) > 3 else fold(text)) or specimen_of(fold(text))
            elif role == "rowdate":
                day = columns.day_of(text)
        if header is None and known(cells[place][1]) is None and re.fullmatch(r"[A-Z0-9+#-]{1,8}", cells[place][1]):
            place = next((i for i in range(place + 1, min(place + 3, len(cells))) if known(cells[i][1])), place)
    pos, text = cells[place]
    if re.fullmatch(r"T\d+h?", text.strip()) and place + 1 < len(cells):
        moment, place = text.strip(), place + 1
        pos, text = cells[place][0], f"{cells[place][1].strip()} ({moment})"
    if side := _SIDE.match(text):
        specimen = _SPECIMENS.get(fold(side[1]).rstrip("s")) or specimen_of(fold(side[1])) or "sang"
        text = text[side.end() :]
    if _COMMENT.match(fold(text)):
        return []
    name, analyte, rest, colon = _named(text)
    if analyte is None and state.above and state.above[0] == n - 1 and (joined := known(f"{state.above[1]} {name}")):
        name, analyte = f"{state.above[1]} {name}", joined
    if analyte is None and not _could_be_name(name, rest, cells[place + 1 :]):
        return []
    rows = [Row(name, analyte, n, line.strip(), [], specimen, header, state.unit, state.section, colon, day=day, width=len(cells), venous=state.venous)]
    offset = pos + len(text) - len(rest)
    rows[0].items += items(rest, offset, place, n) if rest else []
    for i, (pos, text) in enumerate(cells):
        if i <= place or not text or (i == len(cells) - 1 and i == place + 1 and re.fullmatch(r"B\s?\d{1,3}", text)):
            continue
        if _LETTER.match(text) and _may_name(rows[-1], text, cells[i + 1 :]):
            name, analyte, rest, colon = _named(text)
            if analyte:
                rows.append(Row(name, analyte, n, line.strip(), [], specimen, header, state.unit, state.section, colon, venous=state.venous))
                rows[-1].items += items(rest, pos + len(text) - len(rest), i, n) if rest else []
                continue
        rows[-1].items += items(text, pos, i, n)
    if analyte is None and len(rows) == 1 and not any(item.kind in ("value", "interval", "bad") for item in rows[0].items):
        return []
    return rows


def _may_name(row: Row, text: str, others: list[tuple[int, str]]) -> bool:
    """Whether a cell behind a result may name the next one; `Mg` does so where the result has its unit and a number follows."""
    if not any(item.kind == "value" for item in row.items) or _BEGINS.match(text):
        return False
    complete = any(item.kind == "unit" or item.unit for item in row.items)
    return not UNIT.fullmatch(text) or (complete and bool(others) and re.match(r"[<>]?\s*\d", others[0][1]) is not None)


def _could_be_name(name: str, rest: str, others: list[tuple[int, str]]) -> bool:
    """Whether an unknown name may be one of an analyte: letters, few words, something behind it."""
    return bool((rest or others) and len(name) <= 60 and not re.match(r"\W*\d+[.,]\d", name) and not re.search(r"[#?■□~_]", name) and not harmless(fold(name)) and re.search(r"[^\W\d_]{2}", name) and not _NO_ANALYTE.search(fold(name)))


def _goes_on(row: Row, n: int, cells: list[tuple[int, str]]) -> bool:
    """Adds a line to the row before it where it continues it: more of its name, its value, its interval, its method."""
    first = cells[0][1].strip()
    method = _LETTER.search(first) and harmless(fold(first)) and not _BLOOD.search(fold(first))
    if re.match(r"\W*(?:technique|m[ée]thode|automate|r[ée]actif|principe)\b", first, re.IGNORECASE) or method:
        return len(cells) == 1 or _take(row, n, cells[1:])
    if not any(item.kind == "value" for item in row.items) and _LETTER.match(first.lstrip("( ")):
        name, analyte, rest, _ = _named(first)
        longer = known(f"{row.name} {name}")
        if longer and (analyte is None or longer != row.analyte):
            row.name, row.analyte, row.line = f"{row.name} {name}", longer, n
            return _take(row, n, ([(cells[0][0] + len(first) - len(rest), rest)] if rest else []) + cells[1:])
    if _BEGINS.match(first) or UNIT.fullmatch(first):
        return _take(row, n, cells)
    return False


def _take(row: Row, n: int, cells: list[tuple[int, str]]) -> bool:
    """Gives the items of `cells` to `row`, unless they hold words that are none of a result."""
    new = [item for i, (pos, text) in enumerate(cells) if text for item in items(text, pos, i, n)]
    kept = _today(new)
    if any(item.kind in ("word", "fraction") and not item.closed and not harmless(fold(item.text)) for item in kept):
        return False
    row.items += kept
    return True


def _heading(state: State, line: str) -> bool:
    """Whether a line heads a section; what it says of specimen, unit and time then holds for the lines below."""
    text = fold(line)
    words = re.findall(r"[a-z]{2,}", text)
    if not words or _COMMENT.match(text) or re.search(r"\+|negati|positi|\btraces?\b|absen|presen|nombreu|\brares?\b", text) or len(words) > 14 or (text.endswith(".") and len(words) > 6):
        return False
    start = " ".join(text.split()[:6])
    digits_inside = re.search(r"\d[.,]\d", text) is not None
    where = start if re.search(r"\d", text) else text
    other, blood = specimen_of(where), _BLOOD.search(where)
    vague = _VAGUE.search(where)
    if not (other or blood or vague or re.search("gaz", text)) or digits_inside and not other:
        return not digits_inside and len(words) <= 8 and ":" not in line and not re.search(r"\d", text)
    state.section += 1
    state.earlier = bool(re.search(r"\b(?:resultats? )?(?:anterieur|anteriorite|precedent|historique)", start))
    unit = re.search(r"\ben\s+(\S+)", line)
    state.unit = unit[1].strip("(),;.:") if unit and UNIT.fullmatch(unit[1].strip("(),;.:")) else ""
    state.venous = bool(re.search(r"veineux|veineuse|capillaire", text)) and not re.search(r"arteriel", text)
    if other:
        mixed = blood and not re.search(r"cordon|recherche de sang|sang dans", where)
        state.specimen = None if mixed else other
    elif blood:
        state.specimen = "sang"
    elif state.specimen != "sang":
        state.specimen = None
    return True


def _today(found: list[Item]) -> list[Item]:
    """The items without earlier results: what follows «Ant.» or a date, in the same brackets or to the end of the line."""
    kept, i, seen = [], 0, False
    while i < len(found):
        item = found[i]
        if item.kind in ("earlier", "date") and item.closed:
            while kept and kept[-1].closed and kept[-1].cell == item.cell and kept[-1].line == item.line:
                kept.pop()
            while i < len(found) and found[i].closed and found[i].cell == item.cell and found[i].line == item.line:
                i += 1
            continue
        if item.kind == "earlier" or (item.kind == "date" and seen):
            line = item.line
            while i < len(found) and found[i].line == line:
                i += 1
            continue
        seen = seen or item.kind == "value"
        kept.append(item)
        i += 1
    return kept


# From rows to results -------------------------------------------------------------------------------------------------


def _assign(row: Row) -> list[Item]:
    """The items of a row under the heads of its columns: without earlier results and comments, bounds as intervals."""
    found, header, low, high = _today(row.items), row.header, None, None
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
    if any(i.label for i in kept if i.kind == "interval" and i.line == row.line) and any(c.label for c in header.columns):
        if not all(i.label for i in kept if i.kind == "interval" and i.line == row.line):
            raise Refused("intervalle de qui ?")
    if today:
        kept = [i for i in kept if i in today or (i.kind != "value" and not i.sign) or i.unit or i.line != row.line or over[id(i)] != "other"]
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


def _placed(row: Row, found: list[Item]) -> dict[int, columns.Column]:
    """The column of each item of the row's line.

    Where signs part the cells, by their number. Where spaces do: by rank, if there are as many values (intervals) as columns for
    them; else by place, which must agree to a character and keep the order of the heads.
    """
    header, here = row.header, sorted((i for i in found if i.line == row.line), key=lambda i: i.pos)
    if header.split:
        if row.width < header.columns[-1].pos // columns.STEP + 1 and header.has("prev"):
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
        decisive = (column.role in ("prev", "before") and item.kind != "unit") or (len(labels) > 1 and column.label and item.kind == "interval")
        if decisive and not _aligned(item, column) and (item.kind == "value" or item.sign or column.label):
            _shifted()
        place[id(item)] = column
    norm = next((c for c in header.columns if c.role == "norm"), None)
    bound = next((i for i in here if i.kind == "interval" and not i.sign), None)
    for item in here:
        column = place.get(id(item))
        if column and column.role == "prev" and item.kind == "value" and norm and bound and (norm.pos < column.pos) != (bound.pos < item.pos):
            _shifted()
    return place


def _by_rank(header: columns.Header, here: list[Item]) -> dict[int, columns.Column]:
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
    place: dict[int, columns.Column] = {}
    if header.has("result", "before") and len(heads) > 1 and len(values) == len(heads):
        place |= {id(v): c for v, c in zip(values, heads, strict=True)}
    elif len(heads) > 1 or header.has("prev"):
        return {}
    if labels and len(bounds) == len(labels):
        place |= {id(i): c for i, c in zip(bounds, labels, strict=True)}
    elif labels:
        return {}
    return place


def _aligned(item: Item, column: columns.Column) -> bool:
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


def _measured(row: Row, found: list[Item]) -> tuple[list[Item], list[Item]]:
    """The values and the intervals among the items of a row; `< 5` is a value where nothing else can be."""
    values = [i for i in found if i.kind == "value"]
    intervals = [i for i in found if i.kind == "interval"]
    if not values:
        signed = [i for i in intervals if i.sign and not i.closed and not i.label]
        if not signed:
            return [], intervals
        first = signed[0]
        bounded = len(intervals) > 1 or row.colon or first.cell == 0 and row.header is None
        if not bounded or any(i.pos < first.pos and i.line == first.line for i in intervals):
            raise Refused("valeur ou borne ?")
        intervals.remove(first)
        first.low = first.high = None
        values = [first]
    return values, intervals


def _units(values: list[Item], found: list[Item], row: Row) -> None:
    """Gives units that stand alone to the values without one: the next after the value, else one before it."""
    alone = [i for i in found if i.kind == "unit"]
    for value in values:
        if not value.unit:
            here = (value.line, value.pos)
            after = next((u for u in alone if (u.line, u.pos) > here), None)
            before = next((u for u in alone if u.line == value.line and u.pos < value.pos), None) if len(values) == 1 else None
            if unit := after or before:
                value.unit = unit.text
                alone.remove(unit)
    if any(plain(u.text) not in {plain(v.unit) for v in values} for u in alone):
        raise Refused("unité de quelle valeur ?")


def _thousands(value: Item, intervals: list[Item], found: list[Item], analyte: str | None) -> bool:
    """Whether a point before three digits parts thousands in this row; refuses where it cannot be told."""
    doubtful = [i for i in [value, *intervals] if i.doubt]
    per_mm3 = plain(value.unit) == "/mm3"
    if per_mm3 and re.search(r",\d{3}$", value.text):
        raise Refused("virgule : décimale ou milliers ?")
    if not doubtful or per_mm3:
        return per_mm3
    texts = " ".join(i.text for i in found)
    if re.search(r"\d\.\d{1,2}(?!\d)|(?<!\d)0\.\d", texts):
        return False
    raise Refused("point : décimale ou milliers ?")


def _french_bounds(analyte: str, unit: str) -> tuple[float, float] | None:
    """The usual interval of an analyte in `unit`, to tell of which unit a printed interval is."""
    bounds = reference_interval(analyte, "F")
    if bounds is None or bounds.high is None:
        return None
    try:
        return tuple(convert(analyte, b or 0.0, analytes()[analyte].unit, unit) for b in (bounds.low, bounds.high))
    except KeyError:
        return None


def _fits(analyte: str | None, unit: str, interval: Item) -> bool:
    """Whether the high bound (or the only one) of `interval` is near the usual one of the analyte in `unit`."""
    share = unit == "%" and analyte in SHARES
    usual = _french_bounds(analyte, analytes()[analyte].unit if share else unit) if analyte else None
    if usual is None:
        return False
    mine, theirs = (interval.high, usual[1]) if interval.high is not None else (interval.low, usual[0])
    theirs, near = theirs * (10 if share else 1), 3.16 if analyte in SHARES else 2.5
    return theirs > 0 and mine > 0 and 1 / near < mine / theirs < near


def _pair(analyte: str | None, main: Item, others: list[Item], chosen: list[Item]) -> tuple[Item, Item | None]:
    """The value to report and its interval, where values or intervals are printed in several units."""
    unit = {id(v): known_unit(v.unit, analyte) or v.unit for v in [main, *others]}
    if not chosen:
        return main, None
    with_unit = [i for i in chosen if i.unit]
    if with_unit:
        same = [i for i in with_unit if (known_unit(i.unit, analyte) or i.unit) == unit[id(main)]]
        if len(same) == 1:
            return main, same[0]
        if len(chosen) == 1 and with_unit[0].unit != "%":
            return main, with_unit[0]
        raise Refused("intervalle de quelle unité ?")
    values = sorted([main, *others], key=lambda i: (i.line, i.pos))
    if len(chosen) == 1:
        if not others:
            return main, chosen[0]
        fitting = [v for v in values if _fits(analyte, unit[id(v)], chosen[0])]
        if len(fitting) == 1 and fitting[0] is main:
            return main, chosen[0]
        before = [v for v in values if (v.line, v.pos) < (chosen[0].line, chosen[0].pos)]
        if len(before) == 1 and "%" not in unit.values():
            return before[0], chosen[0]
        if analyte is None and before[-1:] == [main] and all(unit[id(v)] == "%" for v in others):
            return main, chosen[0]
        raise Refused("intervalle de quelle unité ?")
    if len(chosen) == len(values):
        mine = chosen[values.index(main)]
        for value, interval in zip(values, chosen, strict=True):
            for here, there in ((mine.low, interval.low), (mine.high, interval.high)):
                if (here is None) != (there is None) or not _same(analyte, here, unit[id(main)], there, unit[id(value)], 0.08, 0.6):
                    if unit[id(value)] == "%" and _fits(analyte, unit[id(main)], mine) and not _fits(analyte, unit[id(main)], interval):
                        continue
                    raise Refused("intervalle de quelle unité ?")
        return main, mine
    raise Refused("plusieurs intervalles")


def _same(analyte: str | None, a: float | None, unit_a: str, b: float | None, unit_b: str, within: float = 0.03, steps: float = 0.0) -> bool:
    """Whether two numbers in two units of an analyte say the same, up to rounding."""
    if a is None or b is None:
        return a is b
    try:
        there, step = (x if unit_a == unit_b else convert(analyte, x, unit_a, unit_b) for x in (a, a + _step(a)))
    except KeyError:
        return False
    return abs(there - b) <= within * max(abs(there), abs(b)) + steps * (abs(step - there) + _step(b)) + 1e-9


def _step(value: float) -> float:
    """The unit of the last decimal of a number."""
    return 10.0 ** -len(f"{value:.6g}".partition(".")[2])


def _meant(intervals: list[Item], who: Patient) -> list[Item]:
    """The intervals for this patient: those printed for whom the patient is, else those for all."""
    labelled = [i for i in intervals if i.label]
    if not labelled:
        return intervals
    answers = [meant_for(i.label, who) for i in labelled]
    mine = [i for i, answer in zip(labelled, answers, strict=True) if answer]
    if None in answers:
        only_sex = all(re.fullmatch(r"[hf]|.*\b(?:hommes?|femmes?|garcons?|filles?)\b.*|norme [hf]", fold(i.label)) for i in labelled)
        if who.sex is None and only_sex and not mine:
            return []
        raise Refused("intervalle de qui ?")
    if len({i.label for i in mine}) > 1:
        raise Refused("plusieurs intervalles pour ce patient")
    return mine or [i for i in intervals if not i.label]


def _decide(row: Row, who: Patient) -> Measurement:
    """The result of a row; Refused where it is not proved."""
    found = _assign(row)
    if bad := next((i for i in found if i.kind == "bad"), None):
        raise Refused(f"caractères illisibles : {bad.text}")
    values, intervals = _measured(row, found)
    last = max([(i.line, i.pos) for i in values + intervals], default=(0, 0))
    for i in found:
        if i.kind in ("word", "fraction", "date") and not harmless(fold(i.text)) and ((i.line, i.pos) < last or specimen_of(fold(i.text))):
            raise Refused(f"mot non compris : {i.text}" if i.kind == "word" else f"nombre non compris : {i.text}")
    if not values:
        words = " ".join(i.text for i in found if i.kind == "word")
        raise Refused("aucun résultat chiffré" + (f" : {words}" if words else ""))
    if not row.certain:
        raise Refused("nom et valeur éloignés")
    _units(values, found, row)
    analyte = row.analyte
    shares = [v for v in values if plain(v.unit) == "%"] if len(values) > 1 and (analyte is None or known_unit("%", analyte) is None) else []
    counts = [v for v in values if v not in shares] or shares
    main, others = counts[0], counts[1:] + (shares if counts is not shares else [])
    units = {known_unit(v.unit, analyte) or plain(v.unit) for v in counts}
    if len(units) < len(counts):
        raise Refused("plusieurs valeurs")
    for other in counts[1:]:
        mine, theirs = (known_unit(v.unit, analyte) for v in (main, other))
        if analyte is None or mine is None or theirs is None or not _same(analyte, main.value, mine, other.value, theirs):
            raise Refused("plusieurs valeurs")
    chosen = _meant(intervals, who)
    main, interval = _pair(analyte, main, others, chosen)
    return _result(row, analyte, main, interval, found)


def _result(row: Row, analyte: str | None, main: Item, interval: Item | None, found: list[Item]) -> Measurement:
    """The measurement of a value and its interval, after the last checks."""
    thousands = _thousands(main, [interval] if interval else [], found, analyte)
    value, low, high = number(main.text, thousands), None, None
    if interval:
        low, high = interval.low, interval.high
        if thousands:
            ends = [number(text, True) for text in interval.text.split(" - ")]
            low, high = ends if len(ends) == 2 else (None, ends[0]) if interval.sign == "<" else (ends[0], None)
    if low is not None and high is not None and low >= high:
        raise Refused("intervalle non compris")
    printed = main.unit or (interval.unit if interval else "") or row.unit
    if analyte == "tca" and plain(printed) == "s":
        analyte = "tca_s"
    unit = _unit(analyte, printed, interval, row)
    apart = interval.unit if interval and interval.unit else ""
    interval_unit = (known_unit(apart, analyte) or apart) if apart else ""
    if interval_unit and interval_unit != unit and (analyte is None or known_unit(apart, analyte) is None):
        raise Refused(f"unité de l'intervalle inconnue : {apart}")
    m = Measurement(
        analyte, row.name, main.sign + digits(main.text, thousands), value, main.sign, unit, low, high,
        interval_unit="" if interval_unit == unit else interval_unit, specimen=row.specimen or "sang", line=main.line,
    )  # fmt: skip
    if main.eight and not _no_eight(main, interval):
        raise Refused("8 ou B ?")
    if analyte in SHARES and plain(unit) == "%" and interval and not _fits(analyte, "%", interval):
        raise Refused("intervalle de quelle unité ?")
    if analyte and interval and row.specimen == "sang" and _far(analyte, interval_unit or unit, low, high):
        raise Refused("intervalle d'une autre unité ?")
    marks = main.marks + "".join(i.text for i in found if i.kind == "mark" and i.text not in "+-–—" and i.line == main.line)
    side = _direction(m)
    if side and ((_UP.search(marks) and side != "élevé") or (_DOWN.search(marks) and side != "bas")) and not (_UP.search(marks) and _DOWN.search(marks)):
        raise Refused(f"marque {marks} contraire à l'intervalle")
    return m


def _no_eight(main: Item, interval: Item | None) -> bool:
    """Whether the B behind a number can be no 8: the number would have other decimals than its bounds, or be far beyond them."""
    if interval is None:
        return False
    decimals, bounds = ({len(re.split("[.,]", text)[1]) if re.search("[.,]", text) else 0 for text in texts} for texts in ([main.text], interval.text.split(" - ")))
    return bool(decimals == bounds and (decimals != {0} or (interval.high and number(main.text + "8") > 4 * interval.high)))


def _far(analyte: str, unit: str, low: float | None, high: float | None) -> bool:
    """Whether an interval cannot be one of the analyte in `unit`: fifteen times the usual bounds, or a fifteenth."""
    usual = _french_bounds(analyte, unit)
    mine, theirs = (high, usual and usual[1]) if high is not None else (low, usual and usual[0])
    return bool(usual and mine and theirs and theirs > 0 and not 1 / 15 < mine / theirs < 15)


def _unit(analyte: str | None, printed: str, interval: Item | None, row: Row) -> str:
    """The unit of a result in the spelling of the tables, or as printed where they do not know it."""
    if analyte is None:
        if not printed and interval is None:
            raise Refused("analyte inconnu, sans unité")
        return known_unit(printed) or printed
    ours = known_unit(printed, analyte)
    critical = critical_limits(analyte) is not None
    if not printed:
        if analytes()[analyte].unit and critical:
            raise Refused("unité absente")
        return ""
    if ours is None and not (analyte in SHARES and plain(printed) == "%" and interval):
        if critical or not analytes()[analyte].unit or re.search(r"/(?:24|j|m?mol|g)", plain(printed)):
            raise Refused(f"unité inconnue pour cet analyte : {printed}")
    return ours or printed


def _direction(m: Measurement) -> str | None:
    """The side of its interval on which a value lies, where both are in one unit or convertible."""
    value = m.value
    if (m.low is None and m.high is None) or m.sign:
        return None
    if m.interval_unit:
        value = convert(m.analyte, value, m.unit, m.interval_unit)
    return "bas" if m.low is not None and value < m.low else "élevé" if m.high is not None and value > m.high else "normal"


# Sentences and notes --------------------------------------------------------------------------------------------------

_LINK = re.compile(
    r"(?:[\s:=,]|\b(?:est|sont|reste|restent|ce jour|aujourd'hui|actuellement|a|à|de|dosee?s? a|mesuree?s? a|stable|toujours|encore|egale? a|revenue? a)\b)*$"
)
_ARTICLE = re.compile(r"(?:^|[,.;/(:]|\s-|\b(?:la|le|les|l'|un|une|des|du|de|d'|et|avec|au|aux|bio|biologie|bilan|sang|soit|sa|son|a|que|une)\s?)\s*$")
_PAST = re.compile(
    r"objectif|cible|\bsous\b|passee? de|passe|etait|etaient|anterieur|preceden|ancien|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|"
    r"novembre|decembre|a l'entree|hier|veille|normale?s?\b(?! \w+ a )|seuil|limite|baisse de|hausse de|augment|diminu|perdu|gagne|mg/j|par jour|en \d{4}|contre"
)
_SENTENCE = re.compile(r"[.;!?](?=\s|$)")
_UNIT_END = re.compile(r"\s*(?:$|[,.;)/]|\s-|\(|\b(?:et|mais|avec|dont|stable|ce jour|soit|selon|sous|la|le|les|un|une|des)\b|[HLB*↑↓])", re.IGNORECASE)


def _paragraphs(prose: list[tuple[int, str, str | None]]) -> list[tuple[str, list[int], str | None]]:
    """Lines that follow each other as one text, with the number of the line that each character stands in."""
    found: list[tuple[str, list[int], str | None]] = []
    last = None
    for n, line, specimen in prose:
        if not re.search(r"\d", line) and (last is None or n != last + 1):
            continue
        if last is not None and n == last + 1:
            text, where, kept = found.pop()
            found.append((f"{text} {line.strip()}", where + [n] * (len(line.strip()) + 1), specimen if specimen == kept else None))
        else:
            found.append((line.strip(), [n] * len(line.strip()), specimen))
        last = n
    return found


def _sentences(text: str, where: list[int], specimen: str | None, who: Patient) -> tuple[list[tuple[Row, Measurement]], list[Unread]]:
    """The results that a text of sentences or a note states: name, at most a verb, number, unit of that analyte."""
    read, unread, start = [], [], 0
    here = [i for i in items(text) if i.kind in ("value", "interval", "bad", "fraction", "date")]
    for k, item in enumerate(here):
        before, start = text[start : item.pos], item.end
        if item.kind not in ("value", "interval") or item.closed or (item.kind == "interval" and not item.sign):
            continue
        sentence = [m.end() for m in _SENTENCE.finditer(text, 0, item.pos)]
        begins = max([s for s in sentence if s <= item.pos], default=0)
        ended = re.split(r"[,;()]", before)[-1] if not before.rstrip().endswith((",", ";", "(")) else ""
        plain_text = fold(ended)
        link = _LINK.search(plain_text)
        stem = plain_text[: link.start()].strip()
        name = _last_name(stem)
        if name is None:
            continue
        row = Row(name[0], name[1], where[min(item.pos, len(where) - 1)], text[max(0, item.pos - 40) : item.pos + 40].strip(), [], specimen, None)
        after = here[k + 1] if k + 1 < len(here) and here[k + 1].kind == "interval" and here[k + 1].closed else None
        tail = text[item.end : here[k + 1].pos if k + 1 < len(here) else item.end + 30]
        try:
            if specimen != "sang" or specimen_of(fold(text[begins : item.pos])) or "veineu" in fold(text[begins : item.pos]):
                raise Refused("prélèvement inconnu")
            close = k + 1 < len(here) and here[k + 1].kind == "interval" and not re.search(r"[,;.]\s", tail)
            if close and here[k + 1] is not after:
                raise Refused("phrase non comprise")
            if _PAST.search(fold(ended)) or re.match(r"\s*(?:a|à|en|le|puis|au|avant|\(?normal)\s", tail) or not _UNIT_END.match(tail):
                raise Refused("phrase non comprise")
            if analytes()[name[1]].unit and known_unit(item.unit, name[1]) is None:
                raise Refused("unité absente" if not item.unit else f"unité inconnue pour cet analyte : {item.unit}")
            if item.kind == "interval":
                item.low = item.high = None
            interval = _meant([after], who) if after and re.fullmatch(r"[\s(:=nN]*(?:normale?s?)?[\s:=]*", tail) else []
            item.line = row.line
            read.append((row, _result(row, name[1], item, interval[0] if interval else None, [item])))
        except Refused as reason:
            unread.append(Unread(row.line, row.text, str(reason)))
    return read, unread


def _last_name(stem: str) -> tuple[str, str] | None:
    """The longest name of an analyte that folded words end with, and the analyte; None where other words qualify it."""
    words = [m.start() for m in re.finditer(r"\S+", stem)][-7:]
    for at in words:
        if analyte := known(stem[at:]):
            return (stem[at:], analyte) if _ARTICLE.search(stem[:at]) else None
        cut = re.match(r"(?:l'|d'|qu'une )", stem[at:])
        if cut and (analyte := known(stem[at + cut.end() :])):
            return stem[at + cut.end() :], analyte
    return None


# The report -----------------------------------------------------------------------------------------------------------


def read_report(text: str) -> Report:
    """What a report proves: sex, age, pregnancy and each result once, in order; `unread` says what was refused and why."""
    text = tidy(text)
    who = read_patient(text)
    state, unread = _rows(text)
    state.rows = [part for row in state.rows for part in _samples(row)]
    read: list[tuple[Row, Measurement]] = []
    today = max((row.day for row in state.rows if row.day), default=None)
    gases = {row.section for row in state.rows if row.analyte in ("ph", "paco2")}
    for row in state.rows:
        if row.day and row.day < today:
            continue
        _place(row, row.section in gases)
        try:
            if row.analyte is None and damaged(row.name):
                raise Refused("nom abîmé")
            if row.day is None and row.header and row.header.has("rowdate"):
                raise Refused("date illisible")
            m = _decide(row, who)
            if row.analyte is None and row.specimen == "sang" and m.low is None and m.high is None:
                raise Refused("analyte inconnu, sans intervalle")
            if row.specimen is None:
                raise Refused("prélèvement inconnu")
            read.append((row, m if m.specimen == "sang" else _elsewhere(m)))
        except Refused as reason:
            if str(reason).startswith("mot non") and re.search(r",\s|\s/\s", row.text) and len({i.cell for i in row.items}) == 1:
                state.prose.append((row.line, row.text, row.around))
                continue
            if row.analyte or any(i.kind == "interval" or "/" in i.unit for i in row.items):
                unread.append(Unread(row.line, row.text, str(reason)))
    for paragraph in _paragraphs(sorted(state.prose)):
        told, refused = _sentences(*paragraph, who)
        read, unread = read + told, unread + refused
    kept, more = _once(read)
    unread += more
    return Report(who.sex, who.age, tuple(kept), tuple(sorted(unread, key=lambda u: u.line)), who.pregnant, text)


def _samples(row: Row) -> list[Row]:
    """A row for each of today's samples («Avant», «Après») whose columns hold a value, or the row itself."""
    if row.header is None or not row.header.has("before"):
        return [row]
    over = {id(i): row.header.over(i.pos, i.end) for i in row.items if i.kind == "value"}
    heads = {column.pos for column in over.values() if column and column.role == "before"}
    return [replace(row, sample=pos or 1, items=[replace(i) for i in row.items]) for pos in sorted(heads)] or [row]


def _place(row: Row, gas: bool) -> None:
    """Settles the specimen of a row by its name, and arterial or venous by its section."""
    row.around = row.specimen
    named = specimen_of(fold(row.name)) or (specimen_of(fold(" ".join(i.text for i in row.items if i.kind == "word"))) if row.items else None)
    if any(re.search(r"/24\s?h|/mmol\b|/j\b", i.unit or (i.text if i.kind == "unit" else "")) for i in row.items):
        named = named or "urine"
    if named and row.specimen in ("sang", None):
        row.specimen = named
    if row.analyte == "bicarbonates" and gas and re.search("hco3|bicarb", key(row.name)):
        row.analyte = "hco3_art"
    elif row.analyte == "hco3_art" and not gas and "art" not in key(row.name):
        row.analyte = "bicarbonates"
    if row.analyte in VENOUS or (row.analyte in GASES and row.venous):
        row.specimen = "autre" if row.specimen == "sang" else row.specimen


def _elsewhere(m: Measurement) -> Measurement:
    """A result of another specimen than blood: no analyte of ours."""
    return replace(m, analyte=None)


def _once(read: list[tuple[Row, Measurement]]) -> tuple[list[Measurement], list[Unread]]:
    """Each result of blood once: repetitions fall together, contradictions are refused."""
    groups: dict[tuple, list[tuple[Row, Measurement]]] = {}
    for row, m in read:
        groups.setdefault((m.analyte or key(m.name), m.specimen, row.sample), []).append((row, m))
    kept, unread = {}, []
    for group in groups.values():
        if group[0][1].analyte in SHARES and any(m.unit != "%" for _, m in group):
            group = [(row, m) for row, m in group if m.unit != "%"]
        first = max(group, key=lambda pair: (pair[1].low is not None) + (pair[1].high is not None))
        several = group[0][1].analyte == "dfg" or (group[0][1].analyte or "").startswith("troponine")
        if several and len({key(m.name) for _, m in group}) == len(group):
            kept |= {id(m): m for _, m in group}
        elif all(m.sign == first[1].sign and _same(m.analyte, m.value, m.unit, first[1].value, first[1].unit) for _, m in group):
            kept[id(first[1])] = first[1]
        elif first[1].specimen == "sang":
            unread += [Unread(row.line, row.text, "deux résultats différents du même analyte") for row, _ in group]
        else:
            kept |= {id(m): m for _, m in group}
    return [m for _, m in read if id(m) in kept], unread
