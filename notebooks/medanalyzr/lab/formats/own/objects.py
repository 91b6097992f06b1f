"""Reports as JSON in a form of the sender's own: objects that hold a name and a value, read where every field is understood.

What a field means is settled in `fields`. A result is refused, with the reason, where a field within or around it is not understood, where
it may be another day's or another patient's, or where its specimen, value, unit or interval is not certain.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from medanalyzr.lab.formats.own.fields import (
    FLAGS,
    SETTLED,
    WITHDRAWN,
    Path,
    day_of,
    interval_of,
    is_code,
    is_heading,
    is_side,
    is_unit,
    number_of,
    role,
    side,
    vocabulary,
    words_of,
)  # fmt: skip
from medanalyzr.lab.formats.own.json_text import Earlier, Literal, Unclear, leaves
from medanalyzr.lab.formats.results import Result, measure, specimen_of
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.references import find_analyte, fold
from medanalyzr.lab.report import Measurement, Unread
from medanalyzr.lab.rules import flag
from medanalyzr.lab.units import plain

_LATE = 60  # days between the day of a result and the latest day of its report
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
            below = [one] if one.holds_value and (name or one.named and isinstance(part, int)) else []
        found += below
    return found


class _Surroundings:
    """What stands around objects: specimens and dates, or why nothing there is certain."""

    def __init__(self, objects: Sequence[_Object]):
        self._holders = {id(node) for one in objects for node in (one.node, *(node for node, _ in one.around))}
        self._fields: dict[int, list[tuple[tuple[str, ...], Any]]] = {}
        self._found: dict[tuple[int, ...], set[str] | Unclear] = {}

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

    def _specimens(self, one: _Object) -> set[str]:
        found = set()
        keys = _keys(one.path)[: -1 if one.keyed else None]
        for name in keys:
            known = {*vocabulary("results"), *vocabulary("heading"), *vocabulary("any"), *vocabulary("patient")}
            if not (is_heading(name) or specimen_of(name) or known.issuperset(words_of((name,)))):
                raise Unclear(f"rubrique non comprise : {name[:40]}")
            found.add(specimen_of(name))
        for names, text, listed in self.fields(one):
            kind = role(names)
            if isinstance(text, bool):
                if kind == "status" and not text:
                    raise Unclear("résultats non validés")
                continue
            if (
                kind == "status"
                and not SETTLED.fullmatch(fold(text))
                or kind is None
                and re.search(r"annul|provis|brouillon|draft|controle (?:interne|qualite)", fold(text))
            ):
                raise Unclear(f"état : {text[:40]}")
            if kind in ("heading", "specimen", "name") and not vocabulary("earlier").isdisjoint(words_of((text,))):
                raise Earlier("résultat d'un autre jour")
            if (
                kind in ("heading", "specimen", "name")
                or listed
                and kind not in ("date", "code", "comment", "status", "method", "person")
            ):
                found.add(_specimen(text) if kind == "specimen" else specimen_of(text))
                if listed and kind != "specimen" and not (specimen_of(text) or is_heading(text)):
                    raise Unclear(f"rubrique ou patient non compris : {text[:40]}")
            elif kind is None and specimen_of(text) not in (None, "sang"):
                raise Unclear("prélèvement non prouvé")
        for depth, (node, part) in enumerate(one.around[:-1]):  # an element of a list with others needs a heading of its own
            if isinstance(part, int) and len(node) > 1 and isinstance(one.around[depth + 1][0], dict):
                titles = [t for t in one.around[depth + 1][0].values() if isinstance(t, str) and (is_heading(t) or specimen_of(t))]
                keys = [name for name in one.around[depth + 1][0] if not vocabulary("results").issuperset(words_of((name,)))]
                if not titles and not any(map(is_heading, keys)):
                    raise Unclear("plusieurs parties sans titre")
        return found - {None}


def _specimen(text: str) -> str | None:
    """The specimen that a field for it names in words or as a code; None for a number. Raises Unclear."""
    found = specimen_of(text) or specimen_of("", text)
    if found == "autre" and not specimen_of(text) and not re.fullmatch(r"[\w-]*\d[\w-]*", text):
        raise Unclear(f"prélèvement non compris : {text[:40]}")
    return None if found == "autre" and not specimen_of(text) else found


def _is_birth(names: tuple[str, ...]) -> bool:
    return not vocabulary("birth").isdisjoint(words_of(names))


def _days(one: _Object, around: _Surroundings) -> set[date]:
    """The days in an object and in the elements of lists around it. Raises Unclear for a date not understood."""
    dated = [text for place, text in one.fields if role(_keys(place)) == "date"]
    dated += [text for names, text, listed in around.fields(one) if listed and role(names) == "date"]
    for text in dated:
        if not isinstance(text, str) or day_of(text) is None and not re.fullmatch(r"\d\d?[:hH]\d\d(?::\d\d)?", text):
            raise Unclear(f"date non comprise : {text}")
    return {day for text in dated if (day := day_of(text))}


class _Bounds:
    """The intervals of an object by label («hommes»; "" without): low and high as printed, and their unit."""

    def __init__(self):
        self.of: dict[str, list[str]] = {}

    def add(self, label: str, side_: int, text: str, unit: str) -> None:
        bounds = self.of.setdefault(label, ["", "", ""])
        if bounds[side_] and float(bounds[side_].replace(",", ".")) != float(text.replace(",", ".")):
            raise Unclear("plusieurs intervalles")
        bounds[side_], bounds[2] = bounds[side_] or text, bounds[2] or unit

    def meant(self, who: Patient) -> tuple[str, str, str]:
        """The one interval for this patient, three empty texts where none is printed. Raises Unclear."""
        if not self.of:
            return "", "", ""
        chosen = [bounds for label, bounds in self.of.items() if not label or meant_for(f"{label} :", who)]
        if len(chosen) != 1 or len(self.of) > 1 and "" in self.of:
            raise Unclear("intervalle non prouvé")
        return tuple(chosen[0])


def _label(words: list[str]) -> str:
    """The sex that the words of a key name, as a label."""
    found = [label for label, name in (("hommes", "men"), ("femmes", "women")) if not vocabulary(name).isdisjoint(words)]
    return found[0] if len(found) == 1 else ""


def _bound(bounds: _Bounds, place: Path, text: str, beside: list[str]) -> str:
    """Takes a field of an interval into `bounds`; returns the unit that it is, if it is one. Raises Unclear."""
    words, number, interval = words_of(place), number_of(text, not isinstance(text, Literal)), interval_of(text)
    if not number and not interval and is_unit(text):
        return text
    told = [w for t in beside for w in words_of((t,))] + [
        ("gte" if sign[0] in ">≥" else "lte") for sign in beside if re.fullmatch(r"[<>≤≥]=?", sign)
    ]
    where = side([*words, *told])
    if where is None and isinstance(place[-1], int) and place[-1] < 2 and number and not number.sign:
        where = place[-1]  # a list of two
    if number and not number.sign and not number.doubt and where is not None:
        bounds.add(_label(words), where, number.text, number.unit)
    elif interval and not (number and number.doubt):
        label = interval.label if interval.label else _label(words)
        for place_, bound in enumerate((interval.low, interval.high)):
            if bound is not None:
                bounds.add(label, place_, f"{bound:.12g}", interval.unit)
    elif not is_side(text):
        raise Unclear(f"intervalle non compris : {text[:40]}")
    return ""


def _result(one: _Object, around: _Surroundings, who: Patient) -> Measurement | None:
    """The measurement of an object, None where its value is a word or missing. Raises Unclear."""
    if len(one.fields) > _MOST:
        raise Unclear("trop de champs")
    bounds, values, units, of_bounds, flags, specimens, unsure = _Bounds(), [], [], [], [], [], []
    analyte = find_analyte(one.name)
    for place, text in one.fields:
        kind, words = role(_keys(place)), " ".join(_keys(place))
        if isinstance(text, bool):
            if kind == "flag":
                unsure.append(text)
            elif not (kind == "status" and text):
                raise Unclear(f"champ non compris : {words[:40]}")
            continue
        if kind not in ("earlier", "method") and not vocabulary("earlier").isdisjoint(words_of((text,))):
            raise Earlier("résultat d'un autre jour")
        number = number_of(text, not isinstance(text, Literal))
        if kind == "value":
            values += [number or text] if not is_unit(text) else []
            units += [text] if is_unit(text) else []
        elif kind == "bound":
            beside = [t for p, t in one.fields if p[:-1] == place[:-1] and p != place and isinstance(t, str) and len(p) > 1]
            of_bounds += filter(None, [_bound(bounds, place, text, beside)])
        elif kind == "unit" and is_unit(text) or kind is None and is_unit(text, sure=True):
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
        elif not (
            kind == "status" and SETTLED.fullmatch(fold(text)) or kind == "code" and is_code(text) or kind == "date"
            or kind in ("method", "person") and not WITHDRAWN.search(fold(text))
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
    m, doubts = measure(Result(one.name, value, unit, (low, high, *other_units, "")[:3], flags, specimens=tuple(specimens)))
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
    """The results of a JSON report (see `parsed`), and what was refused."""
    found: list[tuple[_Object, Measurement]] = []
    unread, days, doubtful, objects = [], set(), set(), _objects(doc)
    around, line = _Surroundings(objects), _lines(text, objects)

    def refuse(one: _Object, why: str) -> None:
        unread.append(Unread(line[id(one)], one.name[:80], why))

    for one in objects:
        try:
            m, of_day = _result(one, around, who), _days(one, around)
            found += [(one, m)] if m else []
            days |= {frozenset(of_day)} if m else set()
        except Unclear as reason:
            refuse(one, str(reason))
            if not isinstance(reason, Earlier):
                doubtful |= {find_analyte(one.name), key(one.name)}
    printed = {
        day for one, _ in found[:1] for names, t, _ in around.fields(one) if not _is_birth(names) and (day := day_of(str(t)))
    }
    far = printed and not any(abs((a - b).days) <= _LATE for of_day in days for a in of_day for b in printed) and any(days)
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
