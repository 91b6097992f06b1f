"""Proofs that a line of an answer is in the text of its report: by the strict reader, or by a separate search.

A value belongs to the nearest name before it, within its record. If other numbers, words or intervals of the record cannot be
explained, nothing is proved.
"""

import re
from dataclasses import replace
from functools import cache, cached_property

from medanalyzr.inference.verification.answer_lines import Given
from medanalyzr.inference.verification.printed import Printed, Record, amount, atoms, flat, fluids, stands
from medanalyzr.inference.verification.record_values import Value, intervals, values
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.reading.tokens import UNIT, tidy
from medanalyzr.lab.references import convert
from medanalyzr.lab.report import Measurement, Report, write_report
from medanalyzr.lab.rules import flag
from medanalyzr.lab.units import known_unit, plain

_ALIKE = (frozenset(("bicarbonates", "hco3_art", "hco3_v")), frozenset(("tca", "tca_s")), frozenset(("ph", "ph_v")),
          frozenset(("paco2", "pvco2")), frozenset(("pao2", "pvo2")))  # fmt: skip
_GASES = frozenset(("ph", "paco2", "pao2", "hco3_art", "sao2", "be"))
_MARKS = re.compile(
    r"\s*[*(]{0,2}(?:(?P<up>H{1,2}(?!\w)|↑|▲|⬆|[+](?!\d)|[ée]lev)|(?P<down>[BL]{1,2}(?![\w/])|↓|▼|⬇|-(?=\s*(?:$|[a-zµ]+/))|bas\b))",
    re.IGNORECASE,
)

_PAST_MARKS = re.compile(r"[\s\"';|,*↑↓▲▼]*(?:(?:[HLB]{1,2}|\([HLB+*-]+\)|[+-])(?![\w/])[\s*;|]*)?")


class Unproved(Exception):
    """Why a line is not verified, in words."""


@cache
def _alike(analyte: str | None) -> frozenset[str]:
    """The analytes that one printed name may stand for."""
    return next((alike for alike in _ALIKE if analyte in alike), frozenset((analyte,) if analyte else ()))


def _same_analyte(a: str | None, b: str | None) -> bool:
    return a is not None and (a == b or a in _alike(b))


def _same_unit(a: str, b: str, analyte: str | None) -> bool:
    return plain(a) == plain(b) or (analyte is not None and (known_unit(a, analyte) or a) == (known_unit(b, analyte) or b))


def close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(1.0, abs(a))


def _step(digits: str) -> float:
    """The unit of the last printed decimal."""
    return 10.0 ** -len(re.sub(r".*?(?:[.,](\d*))?$", r"\1", digits.strip()))


def same_quantity(analyte: str | None, a: str, unit_a: str, b: str, unit_b: str) -> bool:
    """Whether two printed numbers in two known units are equal up to rounding."""
    here, there = (known_unit(unit, analyte) if analyte else None for unit in (unit_a, unit_b))
    if here is None or there is None or here == there:
        return False
    try:
        converted, step = (convert(analyte, x, here, there) for x in (amount(a), _step(a)))
    except KeyError:
        return False
    return abs(converted - amount(b)) <= 0.51 * (abs(step) + _step(b)) + 0.002 * abs(amount(b))


def _digits(m: Measurement) -> str:
    return m.text.removeprefix(m.sign)


def bound(value: float | None) -> str:
    return "…" if value is None else f"{value:g}".replace(".", ",")


def _within(m: Measurement, low: float | None, high: float | None, whose: str) -> None:
    """The bounds of an answer are those of the report; `32 < 60` (bas) does not name the upper one. Raises Unproved."""
    if (m.low, m.high) == (None, None):
        return
    unsaid = m.flag == "bas" and m.high is None
    for mine, printed in ((m.low, low), (m.high, high if not unsaid else None)):
        if (mine is None) != (printed is None) or (mine is not None and not close(mine, printed)):
            raise Unproved(f"intervalle : {whose} {bound(low)} - {bound(high)}")


class Proofs:
    """The checks of one answer against one report."""

    def __init__(self, report: Report, names: list[str]):
        self.report, self.who, self.names = report, Patient(report.sex, report.age, report.pregnant), names
        self.text = tidy(report.text or write_report(report))
        self.flat = flat(self.text)
        self.lines = self.flat.split("\n")
        self.used: set[int] = set()  # results of the strict reader that a line of the answer repeats, by `id`
        self.by_name: dict[str, list[Measurement]] = {}
        for m in report.measurements:
            self.by_name.setdefault(key(m.name), []).append(m)

    @cached_property
    def printed(self) -> Printed:
        """The separate search of the text, used if the strict reader does not prove a line."""
        return Printed(self.text, self.names)

    @cached_property
    def squeezed(self) -> str:
        return "".join(atoms(self.text))

    def proved(self, g: Given) -> Measurement:
        """The line's measurement as the report prints it: analyte, specimen, whole interval. Raises Unproved."""
        m = g.m
        read = self.by_name.get(g.key) or [
            r for r in self.report.measurements if r.specimen == "sang" and _same_analyte(r.analyte, m.analyte)
        ]
        for r in read:
            if r.value == m.value and r.sign == m.sign and (r.unit == m.unit or _same_unit(r.unit, m.unit, r.analyte)):
                return self.agreed(g, r)
        if atoms(m.name) and "".join(atoms(m.name)) not in self.squeezed and not self.printed.of(atoms(m.name), _alike(m.analyte)):
            raise Unproved("nom absent du compte rendu")
        if (m.sign, m.value) not in self.printed.numbers:
            raise Unproved("valeur absente du compte rendu")
        if not read and (owner := self.owner(m)):
            raise Unproved(f"valeur de « {owner} » pour le lecteur strict")
        again = [r for r in read if r.sign == m.sign and same_quantity(r.analyte, _digits(m), m.unit, _digits(r), r.unit)]
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
        printings = len(re.findall(rf"(?<![\d.,]){digits}(?!\d|[.,]\d)", self.text))
        return names[0] if names and printings <= len(names) else ""

    def agreed(self, g: Given, r: Measurement) -> Measurement:
        """The result of the strict reader, if the line says the same and both are in the text. Raises Unproved."""
        m, here = g.m, self.lines[r.line - 1] if r.line and self.report.text else self.flat
        if not stands(here, m.sign, m.value, _digits(m)):
            raise Unproved("valeur absente de la ligne lue")
        fluid = m.specimen if m.specimen != "sang" else r.specimen
        if fluid == "sang" and r.line and self.report.text:
            named, inside = fluids(self.flat)[r.line - 1]
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
        for record in self.printed.of(atoms(g.m.name), _alike(g.m.analyte)):
            if not (here := values(self.printed, record)):
                continue
            try:
                found.append(self.in_record(g, record, here))
            except Unproved as reason:
                reasons.append(str(reason))
        if not found or reasons and any(reason.startswith("le texte") for reason in reasons):
            raise Unproved(reasons[0] if reasons else "appartenance non prouvée")
        return found[0]

    def in_record(self, g: Given, record: Record, here: list[Value]) -> Measurement:
        """The line's measurement as one record prints it. Raises Unproved."""
        m = g.m
        if (specimen := self.printed.specimen(record)) != "sang":
            raise Unproved(f"prélèvement : {specimen}")
        mine = [v for v in here if v.sign == m.sign and close(v.number, m.value)]
        if not mine:
            raise Unproved(f"le texte porte {self.text[here[0].start : here[0].end].strip()} pour ce nom")
        value = mine[0]
        if not value.clear or not self.printed.named_alone(record):
            raise Unproved("appartenance non prouvée")
        if m.analyte in _GASES and re.search(r"\bveineu|\bcapillaire", self.printed.flat):
            raise Unproved("sang artériel non prouvé")
        unit = self.unit_of(m, record, value)
        others = [v for v in here if v is not value]
        pairs = [(v, self.unit_after(v)) for v in others]
        if not all(self.explained(m, unit, v, other) for v, other in pairs):
            raise Unproved("appartenance non prouvée : plusieurs valeurs")
        whole = self.interval_of(replace(m, unit=unit), record, value, here)
        mark, side = _MARKS.match(self.text, value.end), flag(whole)
        if mark and ((mark["up"] and side in ("bas", "normal")) or (mark["down"] and side in ("élevé", "normal"))):
            raise Unproved("marque imprimée contraire à l'intervalle")
        return replace(whole, flag=None, critical=False, line=value.line)

    def unit_after(self, value: Value) -> str:
        """The unit printed directly after a number and its marks; "" if there is none."""
        unit = UNIT.match(self.text, _PAST_MARKS.match(self.text, value.end).end())
        return unit[0].strip() if unit else ""

    def units(self, record: Record) -> list[str]:
        """Every unit of a record."""
        return [u[0].strip() for u in UNIT.finditer(self.text, *self.printed.rest_of(record))]

    def unit_of(self, m: Measurement, record: Record, value: Value) -> str:
        """The unit of the answer, found after the value or else anywhere in the record. Raises Unproved."""
        after = self.unit_after(value)
        literal = (
            re.compile(rf"[\s*()HBL+↑↓-]*{re.escape(m.unit)}(?![\w/])").match(self.text, value.end)
            if len(m.unit) > len(after)
            else None
        )
        if literal or (after and _same_unit(after, m.unit, m.analyte)):
            return m.unit
        if after:
            raise Unproved(f"unité imprimée : {after}")
        printed = [u for u in self.units(record) if "/" in u or u == "%"]
        if any(_same_unit(u, m.unit, m.analyte) for u in printed) or not (m.unit or printed):
            return m.unit
        raise Unproved(f"unité imprimée : {printed[0]}" if printed else "unité non imprimée")

    def explained(self, m: Measurement, unit: str, other: Value, other_unit: str) -> bool:
        """Whether a further number of a record is the same result again: in another unit, or a share beside the count."""
        if close(other.number, m.value) and other.sign == m.sign and (not other_unit or _same_unit(other_unit, unit, m.analyte)):
            return True
        share = other_unit == "%" and plain(unit) in ("10^9/l", "/mm3")
        return share or same_quantity(m.analyte, _digits(m), unit, other.digits, other_unit)

    def interval_of(self, m: Measurement, record: Record, value: Value, here: list[Value]) -> Measurement:
        """`m` with the one interval of its record that is meant for this patient. Raises Unproved."""
        found = [i for i in intervals(self.printed, record, value) if meant_for(i.label, self.who) in (True, None)]
        meant = [i for i in found if meant_for(i.label, self.who)]
        labelled = any(re.search(r"\b(?:h|f|hommes?|femmes?)\b|trim|\d\s?(?:ans|mois|jours)", i.label) for i in found)
        chosen = meant or ([] if labelled else found)
        kinds = {(i.low, i.high) for i in chosen}
        if len(kinds) > 1:
            if len(here) != len(chosen):
                raise Unproved("intervalle non prouvé : plusieurs intervalles")
            chosen = [chosen[here.index(value)]]
        low, high = (chosen[0].low, chosen[0].high) if chosen else (None, None)
        if m.interval_unit and not any(_same_unit(u, m.interval_unit, m.analyte) for u in self.units(record)):
            raise Unproved("unité de l'intervalle non imprimée")
        _within(m, low, high, "le texte porte")
        return replace(m, low=low, high=high)
