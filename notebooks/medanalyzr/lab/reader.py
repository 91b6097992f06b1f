"""The strict reader: what a report proves is read, the rest is refused and named with the reason.

Lines are cut into cells, cells into items (tokens), items are given to the name before them (rows), and a result is made only where
one reading is possible (results). No unit, digit or sign is dropped.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.formats.own.documents import Unclear, is_message, parsed, patient_lines
from medanalyzr.lab.formats.own.html import html_lines
from medanalyzr.lab.formats.own.objects import read_objects
from medanalyzr.lab.reading.lines.results import SHARES, decide, same
from medanalyzr.lab.reading.lines.rows import rows_of
from medanalyzr.lab.reading.lines.sentences import paragraphs, sentences
from medanalyzr.lab.reading.moments.holding import UNSURE, moments
from medanalyzr.lab.reading.names import damaged, key, specimen_of
from medanalyzr.lab.reading.patient import read_patient
from medanalyzr.lab.reading.tokens import Refused, Row, clean, tidy
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import LONGEST_LINE, Measurement, Report, Unread

__all__ = ["clean", "read_report"]

_CONCENTRATION = re.compile(
    r"\d.{0,40}\b(?:[mµun]?mol|[kmµnp]?g|m?ui|giga|tera|u)\s?/\s?[dm]?l\b|\d\s?[gt]/l\b|/mm3", re.IGNORECASE
)
GASES = {"ph", "paco2", "pao2", "hco3_art", "sao2", "be"}
VENOUS = {"ph_v", "pvco2", "pvo2", "hco3_v"}


def without_long_lines(lines: Sequence[str]) -> str:
    """The text of some lines, those empty that are too long to hold a result."""
    return "\n".join("" if len(line) > LONGEST_LINE else line for line in lines)


def read_report(text: str) -> Report:
    """What a report proves: sex, age, pregnancy and each result once, in order; `unread` says what was refused and why."""
    try:
        if (lines := html_lines(text)) is not None:
            return read_report(lines)
        if (found := _as_message(text) if is_message(text) else _as_objects(text)) is not None:
            return found
    except (Unclear, RecursionError) as error:
        why = "trop de niveaux" if isinstance(error, RecursionError) else str(error)
        return Report(None, None, (), (Unread(1, text[:80].strip(), why),), text=clean(text))
    whole, lines = text, tidy(text).split("\n")
    unread = [Unread(n, line[:80].strip(), "ligne trop longue") for n, line in enumerate(lines, 1) if len(line) > LONGEST_LINE]
    text = without_long_lines(lines)
    who = read_patient(text)
    state = rows_of(text)
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
                raise Refused("nom altéré")
            if row.day is None and row.header and row.header.has("rowdate"):
                raise Refused("date illisible")
            m = decide(row, who)
            if row.analyte is None and row.specimen == "sang" and m.low is None and m.high is None:
                raise Refused("analyte inconnu, sans intervalle")
            if row.specimen is None:
                raise Refused("prélèvement inconnu")
            read.append((row, m if m.specimen == "sang" else replace(m, analyte=None)))
        except Refused as reason:
            if str(reason).startswith("mot non") and re.search(r",\s|\s/\s", row.text) and len({i.cell for i in row.items}) == 1:
                state.prose.append((row.line, row.text, row.around))
                continue
            if row.analyte or any(i.kind == "interval" or "/" in i.unit for i in row.items):
                unread.append(Unread(row.line, row.text, str(reason)))
    for paragraph in paragraphs(sorted(state.prose)):
        told, refused = sentences(*paragraph, who)
        read, unread = read + told, unread + refused
    read, of_other_days = _of_today(read, text)
    kept, more = _once(sorted(read, key=lambda pair: pair[0].line))
    unread = sorted(unread + of_other_days + more, key=lambda u: u.line)
    if not kept and not unread and _CONCENTRATION.search(text):
        unread = [Unread(1, text.strip()[:80], "aucun résultat compris")]
    return Report(who.sex, who.age, tuple(map(_whole, kept)), tuple(unread), who.pregnant, clean(whole))


def _as_message(text: str) -> Report | None:
    """The report of a message (HPRIM, HL7, FHIR, CR-BIO) pasted as text; None where it is none after all. Raises Unclear."""
    from medanalyzr.lab.formats import read_document, sentence  # which imports this module

    try:
        readings = read_document(text.encode())
    except MedAnalyzrError as error:
        raise Unclear("message non valable") from error
    if readings is None:
        return None
    if len(readings) > 1:
        raise Unclear("plusieurs comptes rendus")
    who, found = read_patient(text), readings[0].report
    unread = tuple(Unread(1, code.partition(": ")[2] or text[:80], sentence(code)) for code in readings[0].errors)
    sex, age = found.sex or who.sex, who.age if found.age is None else found.age
    read = tuple(replace(_whole(m), line=None) for m in found.measurements)
    return Report(sex, age, read, unread, who.pregnant and sex != "H", clean(text))


def _as_objects(text: str) -> Report | None:
    """The report of a text in JSON, XML or YAML; None for any other text. Raises Unclear."""
    if (found := parsed(text)) is None:
        return None
    doc, before = found
    who = read_patient(f"{before}\n{patient_lines(doc)}")
    read, unread = read_objects(doc, text, who)
    if not read and not unread:
        raise Unclear("objets non compris")
    return Report(who.sex, who.age, tuple(map(_whole, read)), tuple(unread), who.pregnant, clean(text))


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
    words = " ".join(i.text for i in row.items if i.kind == "word")
    named = specimen_of(fold(row.name)) or specimen_of(fold(words))
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


def _of_today(read: list[tuple[Row, Measurement]], text: str) -> tuple[list[tuple[Row, Measurement]], list[Unread]]:
    """The results of today, and the others as refused; a result of an uncertain day makes undated ones of its name uncertain."""
    judged = [(row, m, *moments(text).why_of(row.line, m.name, m.text)) for row, m in read]
    unsure = {(m.analyte or key(m.name), m.specimen) for _, m, why, _ in judged if why == UNSURE}
    kept, refused = [], []
    for row, m, why, dated in judged:
        if not why and not dated and (m.analyte or key(m.name), m.specimen) in unsure:
            why = UNSURE
        if why:
            refused.append(Unread(row.line, row.text, why))
        else:
            kept.append((row, m))
    return kept, refused


def _whole(m: Measurement) -> Measurement:
    """A troponin of either kind as one analyte: its limits go by the reagent, which the rules tell by the printed name."""
    return replace(m, analyte="troponine") if (m.analyte or "").startswith("troponine") else m


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
        elif all(m.sign == first[1].sign and same(m.analyte, m.value, m.unit, first[1].value, first[1].unit) for _, m in group):
            kept[id(first[1])] = first[1]
        elif first[1].specimen == "sang":
            unread += [Unread(row.line, row.text, "deux résultats différents du même analyte") for row, _ in group]
        else:
            kept |= {id(m): m for _, m in group}
    return [m for _, m in read if id(m) in kept], unread
