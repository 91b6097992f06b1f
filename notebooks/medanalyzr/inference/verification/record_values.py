"""What the numbers of a record are: today's value, a bound, an earlier result, a target."""

import re
from dataclasses import dataclass

from medanalyzr.inference.verification.printed import SIGNS, Printed, Record, amount, doubtful
from medanalyzr.lab.reading.names import harmless

_LINKS = """
    a au aux est sont ce jour du aujourd'hui actuellement actuelle reste restent toujours encore stable stables etait mesure mesuree mesures
    dose dosee dosage calcule calculee controle controlee de la le les l' d' un une des a' egal egale abaisse abaissee diminue augmente
    revenue revenu remonte remontee descend monte s' atteint trouve trouvee estime estimee soit avec et valeur valeurs value resultat
    resultats result unite unit nom name analyte analyse code parametre libelle test taux patient sang serum plasma jeun matin n h l b hh ll
    bb f norme normes normal normale normaux ref reference references vr val usuelle usuelles inf sup entre min max mini maxi minimum
    maximum low high lower upper borne bornes basse haute bas haut eleve elevee interval intervalle specimen homme hommes femme femmes
    adulte adultes pour que interpretation flag statut status
"""
_LINK = frozenset(_LINKS.split())  # words that may stand between a name and its value
_LOW = frozenset(("min", "mini", "minimum", "low", "lower", "basse", "inf"))
_HIGH = frozenset(("max", "maxi", "maximum", "high", "upper", "haute", "sup"))
_THEN = r"anterieure?s?|anteriorites?|preced\w*|ancien\w*|veille|hier|previous|entree|initial\w*|historique|en \d{4}"
_THEN += r"|janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre"
_BEFORE = re.compile(rf"\b(?:{_THEN}|ant|etait|contre|passee? de)\b")  # an earlier result, or what is none, follows
_BEHIND = re.compile(rf"\b(?:{_THEN}|il y a)\b")
_TARGET = re.compile(r"\b(?:objectifs?|cibles?|seuils?|limite de|zones?|target|alerte|decision|positif|negatif)\b")


def _earlier(printed: Printed, record: Record, place: int) -> bool:
    """Whether a number is an earlier result, or a target, by the words before it, or those behind it in its clause."""
    mark = record.marks[place]
    after = record.marks[place + 1].start if place + 1 < len(record.marks) else mark.end + 40
    behind = re.split(r"[),;\n]| {3}", printed.flat[mark.end : min(after, mark.end + 40)])[0]
    before = " ".join(mark.before)
    return _BEFORE.search(before) is not None or _TARGET.search(before) is not None or _BEHIND.search(behind) is not None


@dataclass(frozen=True)
class Value:
    """A number of a record that may be today's result."""

    sign: str
    number: float
    digits: str
    start: int
    end: int
    line: int
    clear: bool


def values(printed: Printed, record: Record) -> list[Value]:
    """The numbers of a record that are neither bounds nor earlier results; `clear` where only words of linking stand before them."""
    found, clear, dated = [], True, False
    for place, mark in enumerate(record.marks):
        clear = clear and all(word in _LINK or harmless(word.rstrip("'")) for word in mark.before)
        if mark.kind in ("date", "bad", "age", "unit"):
            clear = clear and (mark.kind == "unit" or bool(found))
            dated = mark.kind == "date"
            continue
        role = _LOW.isdisjoint(mark.before) and _HIGH.isdisjoint(mark.before)
        if mark.kind == "number" or (mark.kind in ("most", "least") and not found):
            dates = place + 1 < len(record.marks) and record.marks[place + 1].kind == "date"
            if role and not dated and not dates and not _earlier(printed, record, place):
                digits = mark.high or mark.low
                sign = SIGNS.get(mark.kind, "")
                found.append(Value(sign, amount(digits), digits, mark.start, mark.end, mark.line, clear and not doubtful(digits)))
        dated = False
    return found


@dataclass(frozen=True)
class Interval:
    """An interval of a record, and the words before it that say for whom it is."""

    low: float | None
    high: float | None
    label: str


def intervals(printed: Printed, record: Record, value: Value) -> list[Interval]:
    """The intervals of a record beside `value`: ranges, bounds, and numbers called a minimum or maximum."""
    found, parts, last = [], {}, record.end
    for place, mark in enumerate(record.marks):
        label = printed.flat[last : mark.start]
        last = last if mark.kind == "age" else mark.end
        if mark.start == value.start or _earlier(printed, record, place):
            continue
        if mark.kind == "range":
            low, high = amount(mark.low), amount(mark.high)
            if low < high and not (doubtful(mark.low) or doubtful(mark.high)):
                found.append(Interval(low, high, label))
        elif mark.kind in ("most", "least"):
            found.append(
                Interval(None, amount(mark.high), label) if mark.kind == "most" else Interval(amount(mark.low), None, label)
            )
        elif mark.kind == "number":
            for side, words in (("low", _LOW), ("high", _HIGH)):
                if not words.isdisjoint(mark.before):
                    parts[side] = amount(mark.low)
    if parts:
        found.append(Interval(parts.get("low"), parts.get("high"), ""))
    return found
