"""What the numbers behind a name are: today's value, a bound, an earlier result, a target."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, zip_longest

from medanalyzr.lab.reading.names import harmless
from medanalyzr.lab.reading.search import Record, Search, digits_end
from medanalyzr.lab.reading.tokens import Item

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
_WORD = re.compile(r"[^\W\d_]+'?")
_LOW = frozenset(("min", "mini", "minimum", "low", "lower", "basse", "inf"))
_HIGH = frozenset(("max", "maxi", "maximum", "high", "upper", "haute", "sup"))
_THEN = r"anterieure?s?|anteriorites?|preced\w*|ancien\w*|veille|hier|previous|entree|initial\w*|historique|en \d{4}"
_THEN += r"|janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre"
_TARGET = r"objectifs?|cibles?|seuils?|limite de|zones?|target|alerte|decision|positif|negatif"
_BEFORE = re.compile(rf"\b(?:{_THEN}|{_TARGET}|ant|etait|contre|passee? de)\b")  # an earlier result, or what is none, follows
_BEHIND = re.compile(rf"\b(?:{_THEN}|il y a)\b")


def _numbers(search: Search, record: Record) -> Iterator[tuple[Item, str, list[str], bool, bool]]:
    """Each number of a record with the text and the words before it; whether a date follows it; whether it is an earlier result, or
    a target, by the words before it or those behind it in its clause.
    """
    numbers, last = record.numbers, record.end
    for item, following in zip_longest(numbers, numbers[1:]):
        between, last = search.flat[last : item.pos], digits_end(search.text, item)
        before, after = _WORD.findall(between), following.pos if following else last + 40
        behind = re.split(r"[),;\n]| {3}", search.flat[last : min(after, last + 40)])[0]
        earlier = _BEFORE.search(" ".join(before)) is not None or _BEHIND.search(behind) is not None
        yield item, between, before, following is not None and following.is_date, earlier


def values(search: Search, record: Record) -> list[tuple[Item, bool]]:
    """The numbers of a record that are neither bounds nor earlier results, and whether only words of linking stand before them."""
    candidates, clear, dated = [], True, False
    for item, _, before, dates, earlier in _numbers(search, record):
        clear = clear and all(word in _LINK or harmless(word.rstrip("'")) for word in before)
        if item.is_date or item.kind == "bad":
            clear, dated = clear and bool(candidates), item.is_date
            continue
        may_be = (item.kind == "value" or item.sign and not candidates) and not (dated or dates or earlier)
        if may_be and _LOW.isdisjoint(before) and _HIGH.isdisjoint(before):
            candidates.append((item, clear and not item.doubt))
        dated = False
    items = [item for item, _ in candidates]
    torn = {id(one) for pair in pairwise(items) if pair[1].line == pair[0].line and pair[1].pos - pair[0].end == 1 for one in pair}
    return [(item, clear and id(item) not in torn) for item, clear in candidates]  # «4 4» may be 4,4


def intervals(search: Search, record: Record, value: Item) -> list[Item]:
    """The intervals of a record beside `value`, labelled with the words before them: ranges, bounds, what is called min or max."""
    found, told = [], Item("interval", "", 0, 0)
    for item, between, before, _, earlier in _numbers(search, record):
        if item is value or earlier:
            continue
        if item.kind == "interval" and (item.sign or item.low < item.high and not item.doubt):
            found.append(replace(item, label=between))
        elif item.kind == "value":
            told.low = told.low if _LOW.isdisjoint(before) else item.value
            told.high = told.high if _HIGH.isdisjoint(before) else item.value
    return found + [told] * ((told.low, told.high) != (None, None))
