"""JSON texts: their content with numbers as printed, and what they say of the patient."""

import json
import re
from collections.abc import Iterator
from typing import Any

from medanalyzr.lab.formats.own.fields import NOTHING, Path, vocabulary, words_of
from medanalyzr.lab.references import fold

LARGEST = 2**20  # characters of a JSON text that is looked into


_AGE = re.compile(r"\d{1,3}\s*(?:ans?|mois|semaines?|jours?)?")


class Literal(str):
    """A number without quotes: its point is a decimal point."""


class Unclear(Exception):
    """Why an object is no certain result, in words."""


class Earlier(Unclear):
    """It is another day's result."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Unclear("une clé y est deux fois")
    return dict(pairs)


def parsed(text: str) -> Any:
    """The content of a JSON text, its numbers as printed; None where it is no JSON object or list. Raises Unclear."""
    text = text.removeprefix("\ufeff")
    if not re.match(r"\s*[{\[]", text):
        return None
    if len(text) > LARGEST:
        raise Unclear("texte trop long")
    try:
        return json.loads(text, parse_float=Literal, parse_int=Literal, parse_constant=str, object_pairs_hook=_once)
    except ValueError:
        return None
    except RecursionError as error:
        raise Unclear("trop de niveaux") from error


def is_json(text: str) -> bool:
    """Whether a text is read as JSON, or would be if it were clear."""
    try:
        return parsed(text) is not None
    except Unclear:
        return True


def leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The texts and truth values below a node with the path to each; what is null or empty is passed over."""
    if isinstance(node, dict | list):
        for part, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(inner, (*path, part))
    elif node not in (None, "") and not (isinstance(node, str) and fold(node) in NOTHING):
        yield path, node


def patient_lines(doc: Any) -> str:
    """Sex, age and pregnancy as lines of text, from the fields of the report or of its patient that say so."""
    lines, whole_age = [], True
    for path, text in leaves(doc):
        words, said = words_of(path), fold(str(text))
        told = next((name for name in ("sex", "age", "pregnancy") if not vocabulary(name).isdisjoint(words)), None)
        rest = [word for word in words if word not in vocabulary("results")]
        if any(isinstance(part, int) for part in path) or len(path) > 1 and vocabulary("patient").isdisjoint(words):
            continue
        if told and {*vocabulary("patient"), *vocabulary(told)}.issuperset(rest):
            said = "F" if said in ("female", "woman", "w") else "M" if said in ("male", "man") else said
            lines += [f"sexe : {said}"] * (told == "sex") + ["enceinte"] * (told == "pregnancy" and said in ("oui", "yes", "true"))
            lines += [f"age : {said}"] * (told == "age" and _AGE.fullmatch(said) is not None)
        elif told == "age" or said in vocabulary("period") or not vocabulary("period").isdisjoint(rest):
            whole_age = False  # the age is in months, perhaps
    return "\n".join(line for line in lines if whole_age or not line.startswith("age"))
