"""Reports as JSON, XML or YAML in a form of the sender's own: objects that hold a name and a value, read where every field is understood.

What a field means is settled in `fields`. A result is refused, with the reason, where a field within or around it is not understood, where
it may be another day's or another patient's, or where its specimen, value, unit or interval is not certain.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from medanalyzr.lab.formats.own.bounds import Bounds, take_bound
from medanalyzr.lab.formats.own.documents import Earlier, Element, Literal, Unclear, leaves
from medanalyzr.lab.formats.own.fields import (
    FLAGS,
    OFF,
    SETTLED,
    WITHDRAWN,
    Path,
    changes,
    day_of,
    interval_of,
    is_code,
    is_heading,
    is_remark,
    is_unit,
    number_of,
    role,
    says_earlier,
    words_of,
)  # fmt: skip
from medanalyzr.lab.formats.results import Result, measure, specimen_of
from medanalyzr.lab.reading.moments.found import speaks_of_others
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.reading.patient import Patient
from medanalyzr.lab.references import find_analyte, fold, vocabulary
from medanalyzr.lab.report import Measurement, Unread
from medanalyzr.lab.rules import flag
from medanalyzr.lab.units import plain

_LOINC = re.compile(r"\d{1,5}-\d")
_LATE = 31  # days between the day of a result and the latest day of its report
_INTERVAL = re.compile("n|bornes?")
_MOST = 100  # fields of an object
_PER_DAY = re.compile(r"/\s?(?:24\s?h|j\b|jour|d\b)|/mmol\b")  # units of urine


def _keys(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


class _Object:
    """An object that may be a result: its fields, its name (that of its key, if it is `keyed`), and the nodes around it with the part of
    each that leads to it.
    """

    def __init__(self, node: dict, path: Path, name: str | None, around: tuple[tuple[dict | list, str | int], ...]):
        self.node, self.path, self.around, self.keyed = node, path, around, name is not None
        self.fields = list(leaves(node))
        self.named = [text for place, text in self.fields if role(_keys(place)) == "name" and isinstance(text, str)]
        self.name = name or (self.named[0] if self.named else "")
        self.holds_value = any(role(_keys(place)) == "value" for place, _ in self.fields)


def _objects(node: Any, path: Path = (), around: tuple = ()) -> list[_Object]:
    """The objects below a node that hold a name and a value, in order; none that hold others."""
    found: list[_Object] = []
    for part, inner in node.items() if isinstance(node, dict) else enumerate(node):
        if not isinstance(inner, dict | list):
            continue
        here = (*around, (node, part))
        below = _objects(inner, (*path, part), here)
        if not below and isinstance(inner, dict):
            name = part if isinstance(part, str) and find_analyte(part) else None
            one = _Object(inner, (*path, part), name, here)
            below = (
                [one] if one.holds_value and (name or one.named and (isinstance(part, int) or isinstance(inner, Element))) else []
            )
        found += below
    return found


class _Surroundings:
    """What stands around objects: specimens and dates, or why nothing there is certain."""

    def __init__(self, objects: Sequence[_Object]):
        self._holders = {id(node) for one in objects for node in (one.node, *(node for node, _ in one.around))}
        self._fields: dict[int, list[tuple[tuple[str, ...], Any]]] = {}
        self._found: dict[tuple[int, ...], set[str] | Unclear] = {}
        self._days: dict[tuple[int, ...], set[date]] = {}

    def fields(self, one: _Object) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
        """Keys and text of each field around an object, and whether it stands in an element of a list."""
        for depth, (node, _) in enumerate(one.around):
            if isinstance(node, dict):
                if id(node) not in self._fields:
                    beside = [(part, inner) for part, inner in node.items() if id(inner) not in self._holders]
                    self._fields[id(node)] = [
                        (_keys((part, *place)), text) for part, inner in beside for place, text in leaves(inner)
                    ]
                listed = depth > 0 and isinstance(one.around[depth - 1][1], int)
                yield from ((names, text, listed) for names, text in self._fields[id(node)])

    def specimens(self, one: _Object) -> set[str]:
        """The specimens that keys and fields around an object name. Raises Unclear for what may be no result of today's report."""
        place = tuple(id(node) for node, _ in one.around)
        if place not in self._found:
            try:
                self._found[place] = self._specimens(one)
            except Unclear as reason:
                self._found[place] = reason
        found = self._found[place]
        if isinstance(found, Unclear):
            raise found
        return found

    def days(self, one: _Object) -> set[date]:
        """The days that the fields around an object name, but for that of a birth."""
        place = tuple(id(node) for node, _ in one.around)
        if place not in self._days:
            told = (text for names, text, _ in self.fields(one) if vocabulary("birth").isdisjoint(words_of(names)))
            self._days[place] = {day for text in told if (day := day_of(str(text)))}
        return self._days[place]

    def _specimens(self, one: _Object) -> set[str]:
        found = set()
        keys = _keys(one.path)[: -1 if one.keyed else None]
        known = set().union(*map(vocabulary, ("results", "heading", "any", "patient", "specimen", "discipline")))
        for name in keys:
            if not (is_heading(name) or specimen_of(name) or known.issuperset(words_of((name,)))):
                raise Unclear(f"rubrique non comprise : {name[:40]}")
            found.add(specimen_of(name))
        for node, _ in one.around:
            self._check_rows(node)
        for names, text, listed in self.fields(one):
            found.add(self._specimen_of_field(names, text, listed))
        for depth, (node, part) in enumerate(one.around[:-1]):  # an element of a list with others needs a heading of its own
            if isinstance(part, int) and len(node) > 1 and isinstance(one.around[depth + 1][0], dict):
                titles = [t for t in one.around[depth + 1][0].values() if isinstance(t, str) and (is_heading(t) or specimen_of(t))]
                keys = [name for name in one.around[depth + 1][0] if not vocabulary("results").issuperset(words_of((name,)))]
                if not titles and not any(map(is_heading, keys)):
                    raise Unclear("plusieurs parties sans titre")
        return found - {None}

    def _check_rows(self, node: dict | list) -> None:
        """Raises Unclear where a list of objects holds other things that may change what stands below them."""
        for row in node if isinstance(node, list) else ():
            texts = [] if id(row) in self._holders else [row] if isinstance(row, str) else [t for _, t in leaves(row)]
            if isinstance(row, str) or any(not isinstance(t, str) or changes(t) for t in texts):
                raise Unclear("ligne non comprise parmi les résultats")

    def _specimen_of_field(self, names: tuple[str, ...], text: str | bool, listed: bool) -> str | None:
        """The specimen that a field around objects names. Raises Unclear."""
        kind, words = role(names), words_of(names)
        strange = f"champ non compris : {' '.join(names)[:40]}"
        if isinstance(text, bool):
            harmless = set().union(*map(vocabulary, ("patient", "pregnancy", "specimen", "remark"))).issuperset(words)
            settled = not vocabulary("status").isdisjoint(words) or any(map(SETTLED.fullmatch, words))
            if not harmless and text != settled:
                raise Unclear(strange)
            return None
        told = specimen_of(text)
        status = not vocabulary("status").isdisjoint(words) and {*vocabulary("person"), *vocabulary("date"), "civil"}.isdisjoint(
            words
        )
        if status and not SETTLED.fullmatch(fold(text)) or OFF.search(fold(text)):
            raise Unclear(f"état : {text[:40]}")
        if kind in ("heading", "specimen", "name", "code", None) and says_earlier(text):
            raise Earlier("résultat d'un autre jour")
        if speaks_of_others(text):
            raise Unclear(strange)
        if (
            interval_of(text)
            and not vocabulary("interval").isdisjoint(words)
            or any(specimen_of(name) not in (None, "sang") for name in names)
        ):
            raise Unclear(strange)
        if kind == "specimen":
            return _specimen(text, number=_is_number(names)) if not (day_of(text) or is_remark(text)) else None
        if kind not in ("heading", "name") and told not in (None, "sang"):
            raise Unclear("prélèvement non prouvé")
        if listed and kind not in ("date", "code", "comment", "status", "method", "person") and not (told or is_heading(text)):
            raise Unclear(f"rubrique ou patient non compris : {text[:40]}")
        return told


def _specimen(text: str, number: bool = False) -> str | None:
    """The specimen that a field for it names in words or as a code; None for a number (`number`: also of letters). Raises Unclear."""
    found = specimen_of(text) or specimen_of("", text)
    if found != "autre" or specimen_of(text):
        return found
    if not re.fullmatch(r"[\w-]*\d[\w-]*" if number else r"[\d-]+", text):
        raise Unclear(f"prélèvement non compris : {text[:40]}")
    return None


def _is_number(place: Path) -> bool:
    """Whether a field is the number of something."""
    return not {"id", "numero", "num", "number"}.isdisjoint(words_of(place))


def _days(one: _Object, around: _Surroundings) -> set[date]:
    """The days in an object and in the elements of lists around it. Raises Unclear for a date not understood."""
    dated = [text for place, text in one.fields if role(_keys(place)) == "date"]
    dated += [text for names, text, listed in around.fields(one) if listed and role(names) == "date"]
    for text in dated:
        if not isinstance(text, str) or day_of(text) is None and not re.fullmatch(r"\d\d?[:hH]\d\d(?::\d\d)?", text):
            raise Unclear(f"date non comprise : {text}")
    if len({day_of(str(text)) for place, text in one.fields if role(_keys(place)) == "date"} - {None}) > 1:
        raise Unclear("plusieurs dates")
    return {day for text in dated if (day := day_of(text))}


def _is_unit_of_unknown_key(place: Path, text: str) -> bool:
    """Whether a field holds a unit with a bar, or %, under a key that says nothing."""
    last = _keys(place)[-1:]
    told = ("earlier", "other", "value", "unit", "interval", "doubtful", "converted")
    unknown = role(_keys(place)) is None and all(vocabulary(part).isdisjoint(words_of(last)) for part in told)
    return unknown and ("/" in text or fold(text) in ("%", "fl", "pg", "kpa", "mmhg")) and is_unit(text, sure=True)


def _result(one: _Object, around: _Surroundings, who: Patient) -> Measurement | None:
    """The measurement of an object, None where its value is a word or missing. Raises Unclear."""
    if len(one.fields) > _MOST:
        raise Unclear("trop de champs")
    bounds, values, units, of_bounds, flags, specimens, unsure = Bounds(), [], [], [], [], [], []
    analyte, loinc = find_analyte(one.name), ""
    if OFF.search(fold(one.name)) or says_earlier(one.name) or re.search(r"\d[/.-]\d\d?[/.-]\d", one.name):
        raise Unclear("nom non compris")
    for place, text in one.fields:
        kind, words = role(_keys(place)), " ".join(_keys(place))
        if isinstance(text, bool):
            if kind == "flag":
                unsure.append(text)
            elif not (kind == "status" and text or OFF.match(fold(words)) and not text):
                raise Unclear(f"champ non compris : {words[:40]}")
            continue
        if kind not in ("earlier", "method") and says_earlier(text):
            raise Earlier("résultat d'un autre jour")
        number = number_of(text, not isinstance(text, Literal))
        if kind == "value":
            if number and isinstance(place[-1], int) and place[-1] > 0:
                raise Unclear("plusieurs valeurs")
            values += [number or text] if not is_unit(text) else []
            units += [text] if is_unit(text) else []
        elif kind == "bound" or kind is None and interval_of(text) and _INTERVAL.fullmatch(fold(words)):
            beside = [t for p, t in one.fields if p[:-1] == place[:-1] and p != place and isinstance(t, str) and len(p) > 1]
            of_bounds += filter(None, [take_bound(bounds, place, text, beside)])
        elif kind == "unit" and is_unit(text) or _is_unit_of_unknown_key(place, text):
            units.append(text)
        elif kind == "flag" and (fold(text) in FLAGS):
            flags.append(FLAGS[fold(text)])
        elif kind == "specimen" and specimen_of(text) or kind == "heading" and (is_heading(text) or specimen_of(text)):
            specimens.append(specimen_of(text))
        elif kind in ("earlier", "other"):
            if (
                kind == "earlier"
                and not vocabulary("interval").isdisjoint(words_of(place))
                or not (number or interval_of(text) or day_of(text) or is_unit(text))
            ):
                raise Unclear(f"texte : {text[:40]}")
        elif kind == "name" or kind == "code" and find_analyte(text):
            other = find_analyte(text)
            if text != one.name and (other is None or other != analyte):
                raise Unclear(f"deux noms : {one.name[:30]}, {text[:30]}")
        elif kind == "code" and _LOINC.fullmatch(text):
            loinc = text
        elif specimen_of(text) not in (None, "sang") or not (
            kind == "status" and SETTLED.fullmatch(fold(text)) or kind == "code" and is_code(text) or kind == "date"
            or kind in ("method", "person") and not WITHDRAWN.search(fold(text)) or kind in ("comment", "specimen") and is_remark(text)
        ):  # fmt: skip
            raise Unclear(f"champ non compris : {words[:40]} {text[:30]}")
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers and not any(re.search(r"\d", value) for value in values):
        return None
    if (
        len(numbers) != len(values)
        or len({(n.sign, n.text.replace(",", ".")) for n in numbers}) != 1
        or any(n.doubt for n in numbers)
    ):
        raise Unclear("valeur non comprise" if len(values) == 1 else "plusieurs valeurs")
    units = list(dict.fromkeys([*units, *(n.unit for n in numbers if n.unit)]))
    if len(set(map(plain, units))) > 1:
        raise Unclear("plusieurs unités")
    unit, (low, high, with_bounds) = units[0] if units else "", bounds.meant(who)
    specimens += around.specimens(one)
    specimens += ["urine"] if _PER_DAY.search(unit) and "autre" not in specimens else []
    other_units = {u for u in (*of_bounds, with_bounds) if u and plain(u) != plain(unit)}
    if len(other_units) > 1:
        raise Unclear("plusieurs unités")
    value = f"{numbers[0].sign}{numbers[0].text}"
    m, doubts = measure(Result(one.name, value, unit, (low, high, *other_units, "")[:3], flags, loinc, specimens=tuple(specimens)))
    if m is None or doubts or [x is None for x in (m.low, m.high)] != [not x for x in (low, high)]:
        raise Unclear("résultat douteux")
    if any(is_abnormal != (flag(m) != "normal") for is_abnormal in unsure):
        raise Unclear("indicateur contraire à l'intervalle")
    if m.analyte is None and m.specimen == "sang" and (not m.unit or (m.low, m.high) == (None, None)):
        raise Unclear("analyte inconnu, sans " + ("intervalle" if m.unit else "unité"))
    return m


def _lines(text: str, objects: Sequence[_Object]) -> dict[int, int]:
    """The number of the line, from 1, that holds the name of each object, by `id`."""
    found, at, line = {}, 0, 1
    for one in objects:
        there = max(at, text.find(one.name, at))
        line, at = line + text.count("\n", at, there), there
        found[id(one)] = line
    return found


def read_objects(doc: Any, text: str, who: Patient) -> tuple[list[Measurement], list[Unread]]:
    """The results of such a report (see `parsed`), and what was refused."""
    found: list[tuple[_Object, Measurement]] = []
    unread, days, doubtful, objects = [], set(), set(), _objects(doc)
    around, line = _Surroundings(objects), _lines(text, objects)

    def refuse(one: _Object, why: str) -> None:
        unread.append(Unread(line[id(one)], one.name[:80], why))

    for one in objects:
        try:
            if speaks_of_others(one.name):
                raise Unclear(f"nom non compris : {one.name[:40]}")
            m, of_day = _result(one, around, who), _days(one, around)
            found += [(one, m)] if m else []
            days |= {frozenset(of_day)} if m else set()
        except Unclear as reason:
            refuse(one, str(reason))
            if not isinstance(reason, Earlier):
                doubtful |= {find_analyte(one.name), key(one.name)}
    every = set().union(*days, *(around.days(one) for one, _ in found))
    far = bool(every) and (max(every) - min(every)).days > _LATE
    kinds = Counter((m.analyte or key(m.name), m.specimen) for _, m in found)
    read = []
    for one, m in found:
        if len(days) > 1 or far:
            refuse(one, "dates différentes")
        elif kinds[m.analyte or key(m.name), m.specimen] > 1 or not doubtful.isdisjoint(
            {find_analyte(one.name), key(one.name)} - {None}
        ):
            refuse(one, "plusieurs résultats de ce nom")
        else:
            read.append(m)
    return read, unread
