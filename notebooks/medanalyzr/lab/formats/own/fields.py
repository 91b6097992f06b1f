"""What the fields of a report in JSON, XML or YAML mean: by the words of their keys (tables/field_keys.csv) and by what they hold.

Only what is understood counts. A field whose key has an unknown word has no role, and whatever holds it is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache

from medanalyzr.lab import dates
from medanalyzr.lab.reading.moments.found import speaks_of_others
from medanalyzr.lab.reading.names import specimen_of
from medanalyzr.lab.reading.tokens import UNIT, Item, items, tidy
from medanalyzr.lab.references import find_analyte, fold, vocabulary
from medanalyzr.lab.report import FIGURES

Path = tuple[str | int, ...]

SETTLED = re.compile(r"f|v|final\w*|valide\w*|verifie\w*|verified|validated|definiti(?:f|ve)|terminee?|complet\w*|true|ok")
WITHDRAWN = re.compile(
    r"annul|cancel|supprim|delet|provis|prelim|brouillon|draft|partiel|attente|pending|en cours|\bnon\b|\bnot\b|\bpas\b|erreur|error|"
    r"rejet|reject|refus|invalid|unverified|confirm|reserve|control|hemol|ictere|icteri|lipem|coagule|caillot|insuffi|impossib|dilu"
)
OFF = re.compile(
    r"annul|cancel|provis|prelim|brouillon|draft|en attente|pending|\bnon (?:encore )?valid|not verified|unverified|"
    r"controle (?:interne|qualite)"
)
NOTHING = frozenset((
    "-", "--", "---", "~", "/", ".", "..", "...", "n/a", "na", "nc", "null", "none", "sans objet", "neant", "rien", "aucun", "aucune",
))  # fmt: skip
FLAGS = {  # of HL7 table 0078
    "hh": "HH", "ll": "LL", "h": "H", "l": "L", "b": "L", "n": "N", "eleve": "H", "elevee": "H", "haut": "H", "high": "H", "↑": "H",
    "bas": "L", "basse": "L", "low": "L", "↓": "L", "normal": "N", "normale": "N",
}  # fmt: skip
_DAY = re.compile(r"(\d{4}-\d\d-\d\d|\d\d?[/.]\d\d?[/.]\d{4})(?:[T ]\d\d?[:h]\d\d.*)?")
_CODE = re.compile(r"[\w.\-/]{1,20}")
_AND = {  # which other words a key of this role may hold
    "bound": ("side_low", "side_high", "interval", "edge", "doubtful", "plain_value", "unit", "men", "women"),
    "unit": ("unit", "value"),
    "name": ("name", "code"),
    "date": ("date", "specimen"),
    "person": ("person", "name"),
    "method": ("method", "name"),
    "specimen": ("specimen", "name", "code", "edge"),
    "flag": ("flag", "interval", "value"),
    "comment": ("comment", "value", "name"),
}
_ORDER = ("status", "date", "person", "method", "comment", "specimen", "flag", "bound", "unit", "heading", "code", "name", "value")


@lru_cache(4096)
def _split(part: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", fold(re.sub(r"(?<=[a-zéè])(?=[A-Z])", " ", part))))


def words_of(path: Sequence[str | int]) -> list[str]:
    """The words of the keys of a path, folded: `borneInf` has borne and inf."""
    return [word for part in path if isinstance(part, str) for word in _split(part)]


@lru_cache(4096)
def role(keys: tuple[str, ...]) -> str | None:
    """The role of a field by the keys to it within its object; None where a word is not known."""
    words = [word for word in words_of(keys) if word not in vocabulary("any")]
    for wrong in ("earlier", "other"):
        if not vocabulary(wrong).isdisjoint(words):
            return wrong
    last = set(_split(keys[-1])) if keys else set()
    for name in _ORDER if words else ():
        own = ("side_low", "side_high", "interval") if name == "bound" else (name,)
        allowed = set().union(*(vocabulary(part) for part in _AND.get(name, own)))
        has = any(not vocabulary(part).isdisjoint(last if name in ("code", "unit") else words) for part in own)
        if name == "bound" and not vocabulary("doubtful").isdisjoint(words) and vocabulary("interval").isdisjoint(words):
            continue  # limits of alert, perhaps
        if name == "value" and not any(len(word) > 1 for word in words):
            continue  # n may count something
        if has and allowed.issuperset(words if name != "code" else [w for w in words if w not in vocabulary("name")]):
            return name
    return None


def side(words: Sequence[str]) -> int | None:
    """Whether words name a lower (0) or an upper bound (1); None for neither or both."""
    sides = [not vocabulary(name).isdisjoint(words) for name in ("side_low", "side_high")]
    return sides.index(True) if sides.count(True) == 1 else None


def number_of(text: str, quoted: bool) -> Item | None:
    """The one number of a field, perhaps with sign and unit; `doubt` where a quoted one can be read in two ways (1.250, 250,000)."""
    found = items(tidy(text)) if len(text) < 40 else []
    one = found[0] if len(found) == 1 else None
    if one is None or one.kind != "value" and not (one.kind == "interval" and one.sign):
        return None
    figures = re.sub(r"[\s']", "", one.text)
    wrong = (
        one.marks or not re.fullmatch(FIGURES, figures) or quoted and (one.doubt or re.fullmatch(r"[1-9]\d{0,2},\d{3}", figures))
    )
    return replace(one, text=figures, doubt=bool(wrong))


def intervals_of(text: str) -> list[Item]:
    """The intervals of a field, perhaps with their unit, and with a label before each where there are several («H : 130-170 F : 120-160»);
    none where anything else stands there.
    """
    found = [item for item in items(tidy(text)) if item.kind != "unit"] if len(text) < 80 else []
    sure = all(one.kind == "interval" and not one.doubt and (one.sign or one.low < one.high) for one in found)
    return found if sure and (len(found) == 1 or all(one.label for one in found)) else []


def interval_of(text: str) -> Item | None:
    """The one interval of a field, perhaps with its unit and a label before it."""
    found = intervals_of(text)
    return found[0] if len(found) == 1 else None


def is_unit(text: str, sure: bool = False) -> bool:
    """Whether a text is a unit; with `sure` only one that the reader knows in a text."""
    return UNIT.fullmatch(text) is not None or not sure and re.fullmatch(r"[^\W\d]{1,10}/[^\W\d]{1,10}\d?", text) is not None


def is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None and not WITHDRAWN.search(fold(text))


def is_side(text: str) -> bool:
    """Whether a text beside a bound says no more than which bound it is: «>=», «min», «borne basse»."""
    words = words_of((text,))
    known = {*vocabulary("side_low"), *vocabulary("side_high"), *vocabulary("edge"), *vocabulary("any")}
    return re.fullmatch(r"[<>≤≥]=?", text) is not None or side(words) is not None and known.issuperset(words)


def is_heading(text: str) -> bool:
    """Whether a text is the heading of some results: each word names a discipline, or the whole an analyte."""
    words = [word for word in _split(text) if word not in vocabulary("any")]
    return find_analyte(text) is not None or bool(words) and vocabulary("discipline").issuperset(words)


def day_of(text: str) -> date | None:
    """The day of a field (2046-08-12, 12/08/2046, perhaps with a time); None where it is no full date."""
    match = _DAY.fullmatch(text.strip())
    return dates.day_of(match[1]) if match else None


def is_remark(text: str) -> bool:
    """Whether a text beside a result leaves it as it is: «à jeun», «RAS»."""
    return vocabulary("remark").issuperset(words_of((text,)))


def says_earlier(text: str) -> bool:
    return not vocabulary("earlier").isdisjoint(words_of((text,)))


def changes(text: str) -> bool:
    """Whether a text among results may change what they are: another specimen, day or person, or no result at all."""
    return specimen_of(fold(text)) is not None or says_earlier(text) or OFF.search(fold(text)) is not None or speaks_of_others(text)
