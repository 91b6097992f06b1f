"""Reports as JSON in a form of the sender's own: each result is an object, and what its fields mean follows from their content.

A form is the place of the results in the file, with the field of the name. All objects of a form must agree on the one field that
holds the value. What an object holds beside name, value, unit, interval, codes and headings makes it refused, with the reason.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medanalyzr.lab.formats.results import Result, measure, specimen_of
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.reading.tokens import UNIT, Item, items, tidy
from medanalyzr.lab.references import find_analyte, fold
from medanalyzr.lab.report import Measurement, Unread
from medanalyzr.lab.units import plain

Path = tuple[str | int, ...]

# Words of keys, folded and whole.
_LOW = r"[vn]?mini?|minim\w+|inf|inferieure?s?|bas|basse|low|lower|plancher|lin|gte"
_HIGH = r"[vn]?maxi?|maxim\w+|sup|superieure?s?|haute?|high|upper|plafond|lsn|lte"
_SHORT_SIDES = {"lo": 0, "mn": 0, "bi": 0, "from": 0, "de": 0, "hi": 1, "mx": 1, "bs": 1, "to": 1, "a": 1}  # as a whole key
_INTERVAL = r"ref|refs|references?|norm\w*|intervalle?s?|range|limites?|usuel\w*|vr|bornes?|valeurs? usuelles?|seuils?"
_CODE = (
    r"id\w*|codes?|loinc|snomed|nabm|rang|rank|ordre|order|numero|num|no|index|seq\w*|position|mnemo\w*|abrege|uuid|cle|version|ipp"
)
_EARLIER = r"ant|anter\w*|prec\w*|previous|prior|last|derniere?s?|histor\w*|ancien\w*|old|initial\w*"
_OTHER = (
    r"crit\w*|alert\w*|pani\w*|objecti\w*|cibles?|target|goal|decision|conver\w*|facteur|incertitude|cv|dilution|age|poids|taille|"
    r"doses?|volume|duree|score|delta|evolution|variation"
)
_HELD_BACK = re.compile(
    r"annul|attente|en cours|provis|partiel|prelim|\bnon\b|\bpas\b|erreur|contrôl|control|hemol|coagule|caillot|lipem|refus|insuffi|impossib|"
    rf"cancel|pending|error|invalid|reject|rejet|suspect|calcul|estim|\b(?:{_EARLIER})\b"
)
_SETTLED = re.compile(r"f|v|controlee?|validee?|verifiee?|definiti(?:f|ve)|finale?|terminee?|complet(?:e|ed)?|validated|verified")
_HEADING = r"part\w*|section\w*|rubriques?|groupes?|discipline|panel|famille|categor\w*|bilan|themes?|bloc|chapitre|domaine|secteur|service|depart\w*|titre|title|heading|entete"
_FLAG = r"flags?|interpr\w*|indic\w*|anorm\w*|anomal\w*|abnormal|marque\w*|patholog\w*|hors|crit\w*|alert\w*|signal\w*"
_STATUS = r"statut|status|etats?|state|valid\w*"
_SOMEONE = r"patiente?|sexe?|genre|gender|naissance|birth\w*|ddn|ipp|nip"
_NOTHING = frozenset(("-", "--", "---", "/", ".", "..", "n/a", "na", "sans objet", "neant", "rien", "aucun", "aucune"))
_FLAGS = {
    "hh": "HH",
    "ll": "LL",
    "h": "H",
    "l": "L",
    "b": "L",
    "n": "N",
    "eleve": "H",
    "elevee": "H",
    "haut": "H",
    "bas": "L",
    "basse": "L",
}
_FLAGS |= {"normal": "N", "normale": "N", "high": "H", "low": "L", "↑": "H", "↓": "L"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}.*")
_LOINC = re.compile(r"\d{1,5}-\d")
_SHORT = re.compile(r"[A-Z0-9][A-Z0-9_./*+-]{0,14}")


class _Literal(str):
    """A number as JSON prints it, without quotes: its point is a decimal point."""


class Unclear(Exception):
    """Why an object is no certain result, in words."""


def _words(path: Sequence[str | int]) -> str:
    """The keys of a path as folded words: `borneInf` is «borne inf»."""
    keys = " ".join(str(part) for part in path if isinstance(part, str))
    return " ".join(re.findall(r"[a-z]+", fold(re.sub(r"(?<=[a-zé])(?=[A-Z])", " ", keys))))


def _says(pattern: str, words: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", words) is not None


def _sides(path: Path, beside: Sequence[str] = ()) -> tuple[bool, bool]:
    """Whether a field is called a lower bound, and whether an upper one, by its keys or by the texts beside it."""
    words, short = f"{_words(path)} {' '.join(map(fold, beside))}", {_SHORT_SIDES.get(fold(str(part))) for part in path}
    low = _says(_LOW, words) or 0 in short or not {">=", "≥", ">"}.isdisjoint(beside)
    return low, _says(_HIGH, words) or 1 in short or not {"<=", "≤", "<"}.isdisjoint(beside)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return dict(pairs)


def parsed(text: str) -> Any:
    """The content of a JSON text, its numbers as printed; None where it is no JSON object or list, or has a key twice in an object."""
    if not re.match(r"\s*[{\[]", text):
        return None
    try:
        return json.loads(text, parse_float=_Literal, parse_int=_Literal, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, dict | list):
        for part, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(inner, (*path, part))
    elif node not in (None, ""):
        yield path, node


def _at(node: Any, path: Path) -> Any:
    for part in path:
        node = node[part]
    return node


def _number(text: str) -> Item | None:
    """The one number of a field, perhaps with sign and unit."""
    found = items(tidy(text)) if isinstance(text, str) and len(text) < 40 else []
    one = found[0] if len(found) == 1 else None
    if one is None or one.kind != "value" and not (one.kind == "interval" and one.sign) or _LOINC.fullmatch(text):
        return None
    return replace(one, doubt=one.doubt and not isinstance(text, _Literal))


def _interval(text: str) -> Item | None:
    """The one interval of a field, perhaps with its unit."""
    found = [item for item in items(tidy(text)) if item.kind != "unit"] if isinstance(text, str) and len(text) < 80 else []
    one = found[0] if len(found) == 1 else None
    return one if one and one.kind == "interval" and not one.doubt else None


def _is_unit(text: Any) -> bool:
    return isinstance(text, str) and (
        UNIT.fullmatch(text) is not None or re.fullmatch(r"[^\s\d]{1,12}/[^\s]{1,12}", text) is not None
    )


@dataclass
class _Form:
    """A place of results in a file: the objects there, by path, and the field of their name (None: the key of the object is it)."""

    place: Path
    name: Path | None
    objects: list[Path] = field(default_factory=list)


def _forms(doc: Any) -> list[_Form]:
    """The places where objects with the name of an analyte stand, without those that hold others."""
    hits: dict[Path, Counter] = {}
    where: dict[Path, dict[Path, None]] = {}

    def note(root: Path, name: Path | None, known: bool) -> None:
        place = tuple("#" if isinstance(part, int) else part for part in (root if name is not None else root[:-1])) + ("*",) * (
            name is None
        )
        where.setdefault(place, {})[root] = None
        if known:
            hits.setdefault(place, Counter())[name] += 1

    def walk(node: Any, path: Path) -> None:
        if isinstance(node, dict):
            known = [name for name, inner in node.items() if isinstance(inner, dict | list) and find_analyte(name)]
            for name, inner in node.items():
                if len(known) > 1 and isinstance(inner, dict | list):
                    note((*path, name), None, name in known)
                walk(inner, (*path, name))
        elif isinstance(node, list):
            for i, inner in enumerate(node):
                if isinstance(inner, dict) and len(inner) == 1 and isinstance(*inner.values(), dict | list):
                    note((*path, i, *inner), None, find_analyte(*inner) is not None)
                if isinstance(inner, dict | list):
                    for inside, text in _leaves(inner):
                        note((*path, i), inside, isinstance(text, str) and find_analyte(text) is not None)
                walk(inner, (*path, i))

    walk(doc, ())
    holds_others = {place for place in hits for other in hits if other != place and other[: len(place)] == place}
    forms = []
    for place, names in hits.items():
        if place not in holds_others:
            best = max(names, key=lambda name: (not (name and _says(_CODE, _words(name[-1:]))), names[name]))
            forms.append(_Form(place, best, list(where[place])))
    return forms


class _Reader:
    """The results of one form."""

    def __init__(self, doc: Any, form: _Form, who: Patient):
        self.doc, self.form, self.who = doc, form, who
        self.records = [dict(_leaves(_at(doc, root))) for root in form.objects]
        self.shared = Counter(text for record in self.records for text in {str(text) for text in record.values()})
        self.value = self._value_field()
        units = Counter(
            path for record in self.records for path, text in record.items() if _is_unit(text) and not self._of_interval(path)
        )
        self.unit = units.most_common(1)[0][0] if units else None

    def _of_interval(self, path: Path) -> bool:
        return any(_sides(path)) or _says(_INTERVAL, _words(path))

    def _passed_over(self, path: Path) -> bool:
        words = _words(path)
        return _says(_CODE, words) or _says(_EARLIER, words) or _says(_OTHER, words)

    def _value_field(self) -> Path | None:
        """The one field that holds numbers and is no bound, code, earlier result or other quantity; None where there are several."""
        numeric = Counter(
            path
            for record in self.records
            for path, text in record.items()
            if path != self.form.name and _number(text) and not self._of_interval(path) and not self._passed_over(path)
        )
        field = next(iter(numeric)) if len(numeric) == 1 else None
        measured = any(_number(r.get(field)) and (_number(r[field]).unit or any(map(_is_unit, r.values()))) for r in self.records)
        return field if field and measured else None

    def _bounds(self, name: str, record: dict[Path, Any]) -> dict[str, list]:
        """The bounds of an object for each label (a sex): [low, high, unit], as printed."""
        found: dict[str, list] = {}
        for path, text in record.items():
            if path in (self.value, self.unit, self.form.name) or self._passed_over(path) or not isinstance(text, str):
                continue
            beside = (
                [t for p, t in record.items() if p[:-1] == path[:-1] and p != path and isinstance(t, str)] if len(path) > 1 else []
            )
            words = f"{_words(path)} {' '.join(fold(t) for t in beside)}"
            label = next(
                (
                    w
                    for w in ("hommes", "femmes")
                    if _says(rf"{w}?|{w[0]}|{'masculin|men' if w[0] == 'h' else 'feminin|women'}", words)
                ),
                "",
            )
            bounds = found.setdefault(label, [None, None, ""])
            number, interval = _number(text), _interval(text)
            if number and number.doubt:
                raise Unclear(f"chiffres qui se lisent de deux façons : {text}")
            sides = _sides(path, beside)
            if number and not number.sign and sides.count(True) == 1:
                self._set(bounds, sides.index(True), text, number.unit)
            elif interval and (interval.sign or interval.low < interval.high) and self._of_interval(path):
                for side, bound in enumerate((interval.low, interval.high)):
                    if bound is not None:
                        self._set(bounds, side, f"{bound:.12g}", interval.unit)
            elif (
                number
                and not number.sign
                and isinstance(path[-1], int)
                and self._of_interval(path[:-1])
                and self._pair(record, path)
            ):
                self._set(bounds, path[-1], text, number.unit)
            elif _is_unit(text) and self._of_interval(path):
                bounds[2] = bounds[2] or text
            elif number:
                raise Unclear("plusieurs valeurs")
            elif interval and not _LOINC.fullmatch(text):
                raise Unclear("intervalle non prouvé")
            else:
                self._harmless(name, path, text)
        return {label: bounds for label, bounds in found.items() if bounds[:2] != [None, None]}

    def _pair(self, record: dict[Path, Any], path: Path) -> bool:
        """Whether a field is one of a list of two."""
        held = _at(self.doc, (*self.form.objects[self.records.index(record)], *path[:-1]))
        return isinstance(held, list) and len(held) == 2

    @staticmethod
    def _set(bounds: list, side: int, text: str, unit: str) -> None:
        if bounds[side] is not None:
            raise Unclear("plusieurs intervalles")
        bounds[side], bounds[2] = text, bounds[2] or unit

    def _harmless(self, name: str, path: Path, text: str) -> None:
        """A text beside the result that changes nothing: a flag, a code, a heading, a specimen, a sign of a bound. Raises Unclear."""
        plainly, here, there = fold(text), find_analyte(name), find_analyte(text)
        if here and there and here != there and not _says(_HEADING, _words(path)):
            raise Unclear(f"deux noms : {name}, {text[:40]}")
        if _SETTLED.fullmatch(plainly) or plainly in _NOTHING:
            return
        if _HELD_BACK.search(plainly) or _says(_STATUS, _words(path)):
            raise Unclear(f"texte : {text[:40]}")
        sign = self._of_interval(path) and (re.fullmatch(r"[<>≤≥]=?", text) or _says(f"{_LOW}|{_HIGH}", plainly))
        if not (
            sign or plainly in _FLAGS or _SHORT.fullmatch(text) or _LOINC.fullmatch(text) or _DATE.fullmatch(text)
            or _says(_CODE, _words(path)) or self.shared[text] > 1 or specimen_of(text) or here and here == there or _says(_HEADING, _words(path))
        ):  # fmt: skip
            raise Unclear(f"texte non compris : {text[:40]}")

    def _around(self, root: Path) -> tuple[list[str], list[str]]:
        """The texts of the objects that hold the object at `root` (without those above all results), and the keys to it."""
        texts = []
        for depth in range(len(root)):
            node = _at(self.doc, root[:depth])
            if isinstance(node, dict):
                texts += [text for text in node.values() if isinstance(text, str)]
        return texts, [part for part in root[: len(root) - (self.form.name is None)] if isinstance(part, str)]

    def days(self, root: Path, record: dict[Path, Any]) -> tuple[str, ...]:
        """The dates in the object at `root`, around it and among the keys to it."""
        texts, keys = self._around(root)
        return tuple(sorted({t for t in (*record.values(), *texts, *keys) if isinstance(t, str) and _DATE.fullmatch(t)}))

    def result(self, root: Path, record: dict[Path, Any]) -> Measurement | None:
        """The measurement of the object at `root`, None where its value is a word. Raises Unclear."""
        name = str(root[-1]) if self.form.name is None else record.get(self.form.name)
        value = record.get(self.value)
        if not isinstance(name, str) or value is None or not _number(value) and not re.search(r"\d", str(value)):
            return None
        texts, keys = self._around(root)
        if _says(_EARLIER, f"{_words(keys)} {fold(' '.join(texts))}"):
            raise Unclear("résultat d'un autre jour")
        if any(isinstance(text, bool) and not _says(_FLAG, _words(path)) for path, text in record.items()):
            raise Unclear("champ vrai ou faux")
        if any(
            re.fullmatch(r"[<>≤≥]=?", text)
            for path, text in record.items()
            if isinstance(text, str) and not self._of_interval(path)
        ):
            raise Unclear("signe à part")
        bounds = self._bounds(name, record)
        labelled = [bounds[label] for label in bounds if label and meant_for(f"{label} :", self.who)]
        chosen = labelled or ([bounds[""]] if "" in bounds and len(bounds) == 1 else [])
        if bounds and len(chosen) != 1:
            raise Unclear("intervalle non prouvé")
        low, high, of_bounds = chosen[0] if chosen else (None, None, "")
        number = _number(value)
        if number is None or number.doubt:
            raise Unclear(f"valeur non comprise : {value}")
        unit = record.get(self.unit, "") if self.unit else ""
        if number.unit and unit and plain(number.unit) != plain(unit):
            raise Unclear("plusieurs unités")
        unit = unit or number.unit
        others = {
            plain(text)
            for path, text in record.items()
            if _is_unit(text) and path not in (self.unit, self.form.name) and not self._of_interval(path)
        }
        if others - {plain(unit)}:
            raise Unclear("plusieurs unités")
        specimens = [
            specimen_of(text)
            for path, text in record.items()
            if isinstance(text, str) and path not in (self.form.name, self.value, self.unit)
        ]
        heading = {found for text in texts if (found := specimen_of(text))}
        if len(heading) > 1:
            raise Unclear("prélèvement non prouvé")
        flags = [
            _FLAGS[fold(t)] for path, t in record.items() if isinstance(t, str) and fold(t) in _FLAGS and _says(_FLAG, _words(path))
        ]
        made = Result(
            name,
            f"{number.sign}{number.text}",
            unit,
            (low or "", high or "", of_bounds),
            flags,
            specimens=tuple(specimens),
            heading=next(iter(heading), None),
        )
        m, doubts = measure(made)
        if m is None or doubts:
            raise Unclear("résultat douteux")
        if m.analyte is None and m.specimen == "sang" and (m.low, m.high) == (None, None):
            raise Unclear("analyte inconnu, sans intervalle")
        return m


def patient_lines(doc: Any) -> str:
    """The fields outside of lists as lines of text: what is said of the patient."""
    fields = [(_words(path), text) for path, text in _leaves(doc) if not any(isinstance(part, int) for part in path)]
    return "\n".join(f"{re.sub('genre|gender|sex$', 'sexe', words)} : {text}" for words, text in fields)


def _several_patients(doc: Any) -> bool:
    """Whether a list holds several patients, or several reports: a field on the patient says different things in its elements."""
    said: dict[Path, set[str]] = {}
    for path, text in _leaves(doc):
        if any(isinstance(part, int) for part in path) and _says(_SOMEONE, _words(path)):
            said.setdefault(tuple("#" if isinstance(part, int) else part for part in path), set()).add(str(text))
    return any(len(texts) > 1 for texts in said.values())


def read_objects(doc: Any, text: str, who: Patient) -> tuple[list[Measurement], list[Unread]] | None:
    """The results of a JSON report (see `parsed`), and what was refused; None where no form of results is certain."""
    readers = [reader for form in _forms(doc) if (reader := _Reader(doc, form, who)).value]
    if not readers or _several_patients(doc):
        return None
    days = {
        reader.days(root, record) for reader in readers for root, record in zip(reader.form.objects, reader.records, strict=True)
    }
    read, unread = [], []
    for reader in readers:
        for root, record in zip(reader.form.objects, reader.records, strict=True):
            try:
                m = reader.result(root, record)
                if m and len(days) > 1:
                    raise Unclear("dates différentes")
                read += [m] if m else []
            except Unclear as reason:
                name = str(record.get(reader.form.name, root[-1]))
                line = 1 + text.count("\n", 0, max(0, text.find(name)))
                unread.append(Unread(line, f"{name} : {record.get(reader.value)}", str(reason)))
    kinds = [(m.analyte or key(m.name), m.specimen) for m in read]
    twice = {kind for kind, count in Counter(kinds).items() if count > 1}
    doubles = [m for kind, m in zip(kinds, read, strict=True) if kind in twice]
    unread += [Unread(1, f"{m.name} : {m.text} {m.unit}".rstrip(), "deux résultats du même analyte") for m in doubles]
    return [m for kind, m in zip(kinds, read, strict=True) if kind not in twice], unread
