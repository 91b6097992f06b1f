"""From the lines of a report to rows: a name with everything printed for it, the specimen and the heads of columns in force.

A line is a head of columns, goes on with the row before it, begins one or several rows, heads a section, or is prose.
"""

import re
from dataclasses import dataclass, field

from medanalyzr.lab.dates import day_of, day_of_sample
from medanalyzr.lab.reading.lines import columns
from medanalyzr.lab.reading.names import BLOOD, harmless, known, specimen_of
from medanalyzr.lab.reading.tokens import UNIT, Row, items, today_only
from medanalyzr.lab.references import fold

_VAGUE = re.compile(r"biochimie|chimie|ionogramme|bilan|examens?\b|resultats?|metabol|renal|glucid|proteines")
_COMMENT = re.compile(
    r"^\W*(?:commentaires?|n\.?b\b|remarques?|interpretation|conclusion|avis|note|technique|methode|automate|reactif|principe|objectifs?|seuils?|"
    r"cible|limite|zone|valide|edite|imprime|page|tel\b|fax|dossier|prescri|prelev|dr\b|docteur|biologiste|accredit|total a|traitement|"
    r"stade|recommand|(?:\(?\d\)|\[\d\]))"
)
_NO_ANALYTE = re.compile(
    r"volume|diurese|poids|taille|\bage\b|\bdate|heure|temperat|fio2|\bdose|\bpage\b|objectif|cible|seuil|zone|risque|\btel|\bfax|n°|dossier|"
    r"^\W*(?:hommes?|femmes?|garcons?|filles?|adultes?|enfants?|normales?)\b|\bne\b|\bnee\b|patient|sexe|adresse|\brue\b|prix|\beuros?\b|baro|\bt°|"
    r"delta|valeurs|indice d|^\W*(?:res|resultats?|(?:intervalles?|bornes?)(?: (?:de )?(?:references?|normales?|usuelles?))?|"
    r"references?|ref|normes?|vr|unites?)\W*$"
)
_LETTER = re.compile(r"[^\W\d_]")
_SIDE = re.compile(r"^\W*(sang|serum|plasma|urines?|lcr|selles)\s*:\s*", re.IGNORECASE)
_SPECIMENS = {
    "s": "sang", "p": "sang", "pl": "sang", "sg": "sang", "sang": "sang", "serum": "sang", "plasma": "sang", "u": "urine", "lcr": "lcr",
}  # fmt: skip


@dataclass
class State:
    """Where in the report we are."""

    specimen: str | None = "sang"
    header: columns.Header | None = None
    unit: str = ""
    section: int = 0
    venous: bool = False
    by_cell: bool = False
    rows: list[Row] = field(default_factory=list)
    above: tuple[int, str] | None = None
    prose: list[tuple[int, str, str | None]] = field(default_factory=list)


_SPLIT = re.compile(
    r"\s+(?=[<>≤≥↑↓*\[(]*\s*[-+]?\d|[<>≤≥↑↓]|inf|sup|jusqu|moins|plus|[\[(]|[%/]|[a-zA-Zµ]{1,6}/)|(?<=[a-zA-Zé)])(?=[<>≤≥])"
)


def _named(text: str) -> tuple[str, str | None, str, bool]:
    """The name that a cell begins with, its analyte, what follows the name, and whether a colon parts them."""
    bare = text.strip(" -*•·>#")
    name, colon, rest = bare.partition(":")
    if colon and name.count("(") == name.count(")") and name.count("[") == name.count("]"):
        name = name.strip()
        if (analyte := known(name)) or not re.search(r"\d.*\d|[(\[]", name):
            return name, analyte, rest, True
        for cut in reversed(list(_SPLIT.finditer(name[:120]))):
            if re.match(r"[(\[]?\s*(?:[<>≤≥\d]|inf|sup|n\b)", name[cut.end() :], re.IGNORECASE) and (
                analyte := known(name[: cut.start()])
            ):
                return name[: cut.start()], analyte, name[cut.start() :] + " " + rest, True
        return name, None, rest, True
    if analyte := known(bare):
        return bare, analyte, "", False
    for cut in reversed(list(_SPLIT.finditer(bare[:120]))):
        if analyte := known(bare[: cut.start()]):
            return bare[: cut.start()].strip(), analyte, bare[cut.start() :], False
    return bare, None, "", False


_BEGINS = re.compile(
    r"\W*(?:soit\b|dont\b|ant[ée\.]|pr[ée]c[ée]d|val(?:eurs?|\.)|norm(?:es?|ale?s?|aux)\b|r[ée]sultats?\s+ant|limites?\b|bornes?\b|"
    r"r[ée]f|vr\b|n\s*:|inf[ée\.]|sup[ée\.]|jusqu|moins de|"
    r"entre\b|de \d|hommes?\b|femmes?\b|gar[çc]ons?\b|filles?\b|adultes?\b|enfants?\b|nourrissons?\b|nouveau|[HF]\s*[:\[]|intervalle|"
    r"[<>≤≥↑↓*\[(+-]*\s*\d|[<>≤≥↑↓*+-]+\s*$)",
    re.IGNORECASE,
)


def rows_of(text: str) -> State:
    """The rows of a report and the lines that no row was made of, in one pass."""
    lines = text.split("\n")
    delimiter = columns.delimiter_of(lines)
    sampled, state, open_row, alone, heads = day_of_sample(text), State(), None, 0, None
    for n, line in enumerate(lines, 1):
        if not line.strip(" \t|-_=*.") or (delimiter and line.startswith("#")):
            open_row, alone = None, 0
            continue
        cells, split = columns.cells_of(line, delimiter)
        if header := columns.header_of(line, cells, split):
            heads = columns.merge(heads, header)
            state.header, open_row = columns.settle(heads, sampled), None
            _heading(state, cells[0][1])
            continue
        if open_row is not None and _goes_on(open_row, n, cells):
            alone = 0
            continue
        if len(cells) == 1 and columns.heads_earlier(cells[0][1]):
            state.by_cell = True
        elif len(cells) == 1 and columns.heads_run_together(line):
            state.header, open_row = columns.Header(broken=True), None
            continue
        made = _line_rows(state, n, line, cells, split)
        if not made:
            open_row, alone = None, 0
            state.above = (n, line.strip()) if len(cells) == 1 and len(line) < 60 else None
            if not _heading(state, line):
                state.prose.append((n, line, state.specimen))
            continue
        heads = None if any(made[0].items) else heads
        alone = alone + 1 if len(made) == 1 and not made[0].items else 0
        if alone > 1:
            made[0].certain = state.rows[-1].certain = False
        for row in made:
            row.by_cell = state.by_cell
        state.rows += made
        open_row = made[-1]
    return state


def _specimen_called(text: str) -> str | None:
    """The specimen that a cell or a word before a name stands for (`S`, `U`, «Urines»), or None."""
    word = fold(text)
    return _SPECIMENS.get(word.rstrip("s") if len(word) > 3 else word) or specimen_of(word)


def _line_rows(state: State, n: int, line: str, cells: list[tuple[int, str]], split: bool) -> list[Row]:
    """The rows of one line: mostly one, several where names follow each other."""
    header = state.header if state.header and state.header.split == split else None
    specimen, day, place = state.specimen, None, 0
    if split:
        place = next((i for i, (pos, text) in enumerate(cells) if text), 0)
        for i, (pos, text) in enumerate(cells):
            role = header.over(pos, pos).role if header and header.over(pos, pos) else ""
            if role == "name":
                place = i
            elif role == "specimen":
                specimen = _specimen_called(text)
            elif role == "rowdate":
                day = day_of(text)
        if header is None and known(cells[place][1]) is None and re.fullmatch(r"[A-Z0-9+#-]{1,8}", cells[place][1]):
            place = next((i for i in range(place + 1, min(place + 3, len(cells))) if known(cells[i][1])), place)
    pos, text = cells[place]
    if split and header:
        over = header.over(pos, pos)
        if over and over.role in ("result", "prev", "before", "norm", "unit") or header.is_side_by_side():
            header = columns.Header(split=True, broken=True)  # a name below the head of a column of values, or two tables
    if re.fullmatch(r"T\d+h?", text.strip()) and place + 1 < len(cells):
        moment, place = text.strip(), place + 1
        pos, text = cells[place][0], f"{cells[place][1].strip()} ({moment})"
    if side := _SIDE.match(text):
        specimen = _specimen_called(side[1]) or "sang"
        text = text[side.end() :]
    if _COMMENT.match(fold(text)):
        return []
    name, analyte, rest, colon = _named(text)
    if analyte is None and state.above and state.above[0] == n - 1 and (joined := known(f"{state.above[1]} {name}")):
        name, analyte = f"{state.above[1]} {name}", joined
    if analyte is None and not _could_be_name(name, rest, cells[place + 1 :]):
        return []
    here = {"line": n, "text": line.strip(), "specimen": specimen, "header": header, "unit": state.unit, "section": state.section,
            "venous": state.venous}  # fmt: skip
    rows = [
        Row(name, analyte, items=items(rest, pos + len(text) - len(rest), place, n), colon=colon, day=day, width=len(cells), **here)
    ]
    for i, (pos, text) in enumerate(cells):
        if i <= place or not text or (i == len(cells) - 1 and i == place + 1 and re.fullmatch(r"B\s?\d{1,3}", text)):
            continue
        if _LETTER.match(text) and _may_name(rows[-1], text, cells[i + 1 :]):
            name, analyte, rest, colon = _named(text)
            if analyte:
                rows.append(Row(name, analyte, items=items(rest, pos + len(text) - len(rest), i, n), colon=colon, **here))
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
    return bool(
        (rest or others)
        and len(name) <= 60
        and not re.match(r"\W*\d+[.,]\d", name)
        and not re.search(r"[#?■□~_]", name)
        and not harmless(fold(name))
        and re.search(r"[^\W\d_]{2}", name)
        and not _NO_ANALYTE.search(fold(name))
    )


def _goes_on(row: Row, n: int, cells: list[tuple[int, str]]) -> bool:
    """Adds a line to the row before it where it continues it: more of its name, its value, its interval, its method."""
    first = cells[0][1].strip()
    method = _LETTER.search(first) and harmless(fold(first)) and not BLOOD.search(fold(first))
    if re.match(r"\W*(?:technique|m[ée]thode|automate|r[ée]actif|principe)\b", first, re.IGNORECASE) or method:
        return len(cells) == 1 or _take(row, n, cells[1:])
    if not any(item.kind == "value" for item in row.items) and _LETTER.match(first.lstrip("( ")):
        name, analyte, rest, _ = _named(first)
        longer = known(f"{row.name} {name}")
        signed = any(item.sign for item in row.items)  # «TP : < 10 %» may be whole
        if longer and (analyte is None or longer != row.analyte and not signed):
            row.name, row.analyte, row.line = f"{row.name} {name}", longer, n
            return _take(row, n, ([(cells[0][0] + len(first) - len(rest), rest)] if rest else []) + cells[1:])
    if _BEGINS.match(first) or UNIT.fullmatch(first):
        return _take(row, n, cells)
    return False


def _take(row: Row, n: int, cells: list[tuple[int, str]]) -> bool:
    """Gives the items of `cells` to `row`, unless they hold words that are none of a result."""
    new = [item for i, (pos, text) in enumerate(cells) if text for item in items(text, pos, i, n)]
    kept = today_only(new)
    if any(item.kind in ("word", "fraction") and not item.closed and not harmless(fold(item.text)) for item in kept):
        return False
    row.items += kept
    return True


def _heading(state: State, line: str) -> bool:
    """Whether a line heads a section; what it says of specimen, unit and time then holds for the lines below."""
    text = fold(line)
    words = re.findall(r"[a-z]{2,}", text)
    if (
        not words
        or _COMMENT.match(text)
        or re.search(r"\+|negati|positi|\btraces?\b|absen|presen|nombreu|\brares?\b", text)
        or len(words) > 14
        or (text.endswith(".") and len(words) > 6)
    ):
        return False
    start = " ".join(text.split()[:6])
    digits_inside = re.search(r"\d[.,]\d", text) is not None
    where = start if re.search(r"\d", text) else text
    other, blood = specimen_of(where), BLOOD.search(where)
    vague = _VAGUE.search(where)
    if not (other or blood or vague or re.search("gaz", text)) or digits_inside and not other:
        return not digits_inside and len(words) <= 8 and ":" not in line and not re.search(r"\d", text)
    state.section += 1
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
