"""The intervals of one object: single bounds, pairs, texts, by sex."""

import re

from medanalyzr.lab.formats.own.documents import Literal, Unclear
from medanalyzr.lab.formats.own.fields import Path, intervals_of, is_side, is_unit, number_of, side, words_of
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.references import vocabulary


class Bounds:
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


def take_bound(bounds: Bounds, place: Path, text: str, beside: list[str]) -> str:
    """Takes a field of an interval into `bounds`; returns the unit that it is, if it is one. Raises Unclear."""
    words, number, intervals = words_of(place), number_of(text, not isinstance(text, Literal)), intervals_of(text)
    if not number and not intervals and is_unit(text):
        return text
    told = [w for t in beside for w in words_of((t,))] + [
        ("gte" if sign[0] in ">≥" else "lte") for sign in beside if re.fullmatch(r"[<>≤≥]=?", sign)
    ]
    where = side([*words, *told])
    if where is None and isinstance(place[-1], int) and place[-1] < 2 and number and not number.sign:
        where = place[-1]  # a list of two
    if number and not number.sign and not number.doubt and where is not None:
        bounds.add(_label(words), where, number.text, number.unit)
    elif intervals and not (number and number.doubt):
        for interval in intervals:
            label = f"{_label(words)} {interval.label}".strip()
            for place_, bound in enumerate((interval.low, interval.high)):
                if bound is not None:
                    bounds.add(label, place_, f"{bound:.12g}", interval.unit)
    elif not is_side(text):
        raise Unclear(f"intervalle non compris : {text[:40]}")
    return ""
