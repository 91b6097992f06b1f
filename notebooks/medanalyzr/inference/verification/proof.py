"""Proofs that a line of an answer is in the text of its report: by the strict reader, or by a separate search.

A value belongs to the nearest name before it, within its record. If other numbers, words or intervals of the record cannot be
explained, nothing is proved.
"""

import re
from dataclasses import replace
from functools import cache, cached_property

from medanalyzr.inference.verification.answer_lines import Given
from medanalyzr.inference.verification.record_values import intervals, values
from medanalyzr.lab.engine.facts import in_french_unit
from medanalyzr.lab.formats.own.documents import is_document
from medanalyzr.lab.reader import GASES
from medanalyzr.lab.reading.lines.placing import NOT_TODAY
from medanalyzr.lab.reading.lines.results import against, same
from medanalyzr.lab.reading.moments.holding import moments
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.reading.search import Record, Search, digits_end, signed_numbers
from medanalyzr.lab.reading.tokens import Item, items, tidy
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import Measurement, Report, write_report
from medanalyzr.lab.rules import flag
from medanalyzr.lab.units import known_unit, plain

_ALIKE = (frozenset(("bicarbonates", "hco3_art", "hco3_v")), frozenset(("tca", "tca_s")), frozenset(("ph", "ph_v")),
          frozenset(("paco2", "pvco2")), frozenset(("pao2", "pvo2")))  # fmt: skip

_MOMENT = re.compile(  # a name that says only when or how: of the analyte in a heading above it, perhaps
    r"(?:\W|\b(?:t\s?\+?\s?(?:0|\d\d+)|[hj]\s?\+?\s?\d+|\d+\s?h\s?\d+|jours?\s?\d+|"
    r"\d+\s?(?:minutes?|min|mn|heures?|h|jours?|j|ere|er|re|nde|nd|eme|e)|premiere?|deuxieme|seconde?|troisieme|"
    r"heures?|prelevements?|dosages?|resultats?|valeurs?|taux|temoins?|controles?|mesures?|au?|en|de|du|la|le|jeun|apres|avant|"
    r"pendant|post|prandiale?|repas|dialyse|seance|charge|debut|fin|matin|soir|midi|minuit)\b)+"
)
_GOAL = re.compile(r"objectif|cible|seuil")


class Unproved(Exception):
    """Why a line is not verified, in words."""


@cache
def alike(analyte: str | None) -> frozenset[str]:
    """The analytes that one printed name may stand for."""
    return next((group for group in _ALIKE if analyte in group), frozenset((analyte,) if analyte else ()))


def _same_unit(a: str, b: str, analyte: str | None) -> bool:
    return plain(a) == plain(b) or (analyte is not None and (known_unit(a, analyte) or a) == (known_unit(b, analyte) or b))


def close(a: float, b: float) -> bool:
    """Whether two numbers are the same but for the rounding of the machine."""
    return abs(a - b) <= 1e-9 * max(1.0, abs(a))


def _same_quantity(analyte: str | None, a: float, unit_a: str, b: float, unit_b: str) -> bool:
    """Whether two numbers in two different known units say the same up to their rounding."""
    here, there = (known_unit(unit, analyte) if analyte else None for unit in (unit_a, unit_b))
    return None not in (here, there) and here != there and same(analyte, a, here, b, there, within=0.002, steps=0.51)


def _digits(m: Measurement) -> str:
    return m.text.removeprefix(m.sign)


def bound(value: float | None) -> str:
    """A bound as a reason prints it: decimal comma, «…» where there is none."""
    return "…" if value is None else f"{value:g}".replace(".", ",")


def _within(m: Measurement, low: float | None, high: float | None, whose: str) -> None:
    """The bounds of an answer are those of the report; `32 < 60` (bas) does not name the upper one. Raises Unproved."""
    if (m.low, m.high) == (None, None):
        return
    unsaid = m.flag == "bas" and m.high is None
    for mine, printed in ((m.low, low), (m.high, high if not unsaid else None)):
        if (mine is None) != (printed is None) or (mine is not None and not close(mine, printed)):
            raise Unproved(f"intervalle : {whose} {bound(low)} - {bound(high)}")


def _stands(m: Measurement, text: str) -> bool:
    """Whether `text` holds the value of `m` with its sign as a whole number."""
    for digits in (_digits(m), _digits(m).replace(",", ".")):
        at = text.find(digits)
        before, after = text[max(0, at - 2) : max(0, at)], text[at + len(digits) : at + len(digits) + 2]
        torn = re.search(r"[\w.,<>≤≥|+-]|\d\s|[<>≤≥]\s", before) or re.match(r"[\w.,?|*^]|\s\d", after)
        if at >= 0 and not m.sign and not torn:
            return True
    return (m.sign, m.value) in signed_numbers(text, items(text))


class Proofs:
    """The checks of one answer against one report."""

    def __init__(self, report: Report, names: list[str]):
        self.report, self.who = report, Patient(report.sex, report.age, report.pregnant)
        self.search = Search(tidy(report.text or write_report(report)), names)
        self.lines = self.search.text.split("\n")
        self.not_today = {u.line for u in report.unread if u.why == NOT_TODAY}
        self.used: set[int] = set()  # what the strict reader read and a line of the answer says again, by `id`
        self.by_name: dict[str, list[Measurement]] = {}
        for m in report.measurements:
            self.by_name.setdefault(key(m.name), []).append(m)

    @cached_property
    def keyed(self) -> str:
        """The key of the whole text."""
        return key.__wrapped__(self.search.text)

    @cached_property
    def is_document(self) -> bool:
        """Whether the report was read as objects, or not at all."""
        return is_document(self.report.text)

    def prints_interval(self, low: float | None, high: float | None) -> bool:
        """Whether the text prints these bounds in the form of an interval («3,9 à 6,0», «inférieur à 38»), not as a goal."""
        for line in self.lines if (low, high) != (None, None) else ():
            for item in items(line):
                pairs = ((low, item.low), (high, item.high))
                same = item.kind == "interval" and all(x is None or y is not None and close(x, y) for x, y in pairs)
                if same and not _GOAL.search(fold(line[max(0, item.pos - 60) : item.pos])):
                    return True
        return False

    def proved(self, g: Given) -> Measurement:
        """The line's measurement as the report prints it: analyte, specimen, whole interval. Raises Unproved."""
        m = g.m
        if m.analyte is None and _MOMENT.fullmatch(fold(m.name)):
            raise Unproved("ce nom n'est pas celui d'une analyse")
        kinds = alike(m.analyte)
        read = self.by_name.get(g.key) or [r for r in self.report.measurements if r.specimen == "sang" and r.analyte in kinds]
        for r in read:
            if r.value == m.value and r.sign == m.sign and (r.unit == m.unit or _same_unit(r.unit, m.unit, r.analyte)):
                return self.agreed(g, r)
        if self.is_document:
            raise Unproved(f"le lecteur strict lit {read[0].text} {read[0].unit}".rstrip() if read else "appartenance non prouvée")
        if g.key not in self.keyed and not self.search.of(g.key, kinds):
            raise Unproved("nom absent du compte rendu")
        if not self.search.holds(m.sign, m.value):
            raise Unproved("valeur absente du compte rendu")
        if not read and (owner := self.owner(m)):
            raise Unproved(f"valeur de « {owner} » pour le lecteur strict")
        again = [r for r in read if r.sign == m.sign and _same_quantity(r.analyte, m.value, m.unit, r.value, r.unit)]
        if read and not again:
            raise Unproved(f"le lecteur strict lit {read[0].text} {read[0].unit}".rstrip())
        if m.specimen != "sang":
            raise Unproved(f"prélèvement : {m.specimen}")
        found = self.searched(g)
        self.used |= set(map(id, again))
        return found

    def owner(self, m: Measurement) -> str:
        """Another name to which the strict reader assigns every occurrence of the value of `m`; "" if there is none."""
        names = [r.name for r in self.report.measurements if (r.sign, r.value) == (m.sign, m.value)]
        digits = re.escape(_digits(m)).replace(",", "[.,]")
        printings = len(re.findall(rf"(?<![\d.,]){digits}(?!\d|[.,]\d)", self.search.text))
        return names[0] if names and printings <= len(names) else ""

    def agreed(self, g: Given, r: Measurement) -> Measurement:
        """What the strict reader read, where the line says the same and both stand in the text. Raises Unproved."""
        m, line = g.m, r.line if self.report.text else None
        if not self.is_document and not _stands(m, self.lines[line - 1] if line else self.search.text):
            raise Unproved("valeur absente de la ligne lue")
        fluid = m.specimen if m.specimen != "sang" else r.specimen
        if fluid == "sang" and line:
            named, inside = self.search.specimens[line - 1]
            fluid = named or inside
        if fluid != "sang":
            raise Unproved(f"prélèvement : {fluid}")
        if (m.low, m.high) != (None, None) and not _same_unit(m.interval_unit or m.unit, r.interval_unit or r.unit, r.analyte):
            raise Unproved(f"unité de l'intervalle : le lecteur strict lit {r.interval_unit or r.unit}")
        _within(m, r.low, r.high, "le lecteur strict lit")
        self.used.add(id(r))
        return r if r.name == m.name else replace(r, name=m.name)

    def searched(self, g: Given) -> Measurement:
        """The line's measurement as proved by the separate search. Raises Unproved."""
        found, reasons = [], []
        for record in self.search.of(g.key, alike(g.m.analyte)):
            if not (here := values(self.search, record)):
                continue
            try:
                found.append(self.in_record(g, record, here))
            except Unproved as reason:
                reasons.append(str(reason))
        if not found or reasons and any(reason.startswith("le texte") for reason in reasons):
            raise Unproved(reasons[0] if reasons else "appartenance non prouvée")
        m = found[0]
        strange = m.analyte is None or (m.unit and in_french_unit(m) is None)  # a dose, a weight, a setting of a device…
        if strange and (m.low, m.high) == (None, None):
            raise Unproved("ni analyse connue dans cette unité ni intervalle : peut-être pas un résultat")
        return m

    def in_record(self, g: Given, record: Record, here: list[tuple[Item, bool]]) -> Measurement:
        """The line's measurement as one record prints it. Raises Unproved."""
        m = g.m
        if (specimen := self.search.specimen(record)) != "sang":
            raise Unproved(f"prélèvement : {specimen}")
        value, clear = next(((v, clear) for v, clear in here if v.sign == m.sign and close(v.value, m.value)), (None, False))
        if value is None:
            raise Unproved(f"le texte porte {here[0][0].sign}{here[0][0].text} pour ce nom")
        if record.line in self.not_today:
            raise Unproved(NOT_TODAY)
        if other_day := moments(self.search.text).why(value.pos, digits_end(self.search.text, value)):
            raise Unproved(other_day)
        if not clear or not self.search.named_alone(record):
            raise Unproved("appartenance non prouvée")
        if m.analyte in GASES and re.search(r"\bveineu|\bcapillaire", self.search.flat):
            raise Unproved("sang artériel non prouvé")
        unit = self.unit_of(m, record, value)
        if not all(self.explained(m, unit, v) for v, _ in here if v is not value):
            raise Unproved("appartenance non prouvée : plusieurs valeurs")
        whole = self.interval_of(replace(m, unit=unit), record, value, [v for v, _ in here])
        if against(value.marks, flag(whole)):
            raise Unproved("marque imprimée contraire à l'intervalle")
        return replace(whole, flag=None, critical=False, line=value.line)

    def unit_of(self, m: Measurement, record: Record, value: Item) -> str:
        """The unit of the answer as it stands behind the value, or else anywhere in the record. Raises Unproved."""
        behind = digits_end(self.search.text, value)
        literal = re.compile(rf"[\s*()HBL+↑↓-]*{re.escape(m.unit)}(?![\w/])").match(self.search.text, behind)
        if (literal and len(m.unit) > len(value.unit)) or (value.unit and _same_unit(value.unit, m.unit, m.analyte)):
            return m.unit
        if value.unit:
            raise Unproved(f"unité imprimée : {value.unit}")
        printed = [u for u in record.units if "/" in u or u == "%"]
        if any(_same_unit(u, m.unit, m.analyte) for u in printed) or not (m.unit or printed):
            return m.unit
        raise Unproved(f"unité imprimée : {printed[0]}" if printed else "unité non imprimée")

    def explained(self, m: Measurement, unit: str, other: Item) -> bool:
        """Whether a further number of a record is the same result again: in another unit, or a share beside the count."""
        if close(other.value, m.value) and other.sign == m.sign and (not other.unit or _same_unit(other.unit, unit, m.analyte)):
            return True
        share = other.unit == "%" and plain(unit) in ("10^9/l", "/mm3")
        return share or _same_quantity(m.analyte, m.value, unit, other.value, other.unit)

    def interval_of(self, m: Measurement, record: Record, value: Item, here: list[Item]) -> Measurement:
        """`m` with the one interval of its record that is meant for this patient. Raises Unproved."""
        found = [i for i in intervals(self.search, record, value) if meant_for(i.label, self.who) in (True, None)]
        meant = [i for i in found if meant_for(i.label, self.who)]
        labelled = any(re.search(r"\b(?:h|f|hommes?|femmes?)\b|trim|\d\s?(?:ans|mois|jours)", i.label) for i in found)
        chosen = meant or ([] if labelled else found)
        kinds = {(i.low, i.high) for i in chosen}
        if len(kinds) > 1:
            if len(here) != len(chosen):
                raise Unproved("intervalle non prouvé : plusieurs intervalles")
            chosen = [chosen[here.index(value)]]
        low, high = (chosen[0].low, chosen[0].high) if chosen else (None, None)
        if m.interval_unit and not any(_same_unit(u, m.interval_unit, m.analyte) for u in record.units):
            raise Unproved("unité de l'intervalle non imprimée")
        _within(m, low, high, "le texte porte")
        return replace(m, low=low, high=high)
