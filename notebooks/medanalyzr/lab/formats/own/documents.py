"""JSON, XML and YAML texts: their content as objects with values as printed, and what they say of the patient.

An element of XML is an object of its attributes and children; one that occurs again beside itself, a list. A YAML text is one only if it
holds records: most reports in plain lines would be YAML as well.
"""

import json
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from html.entities import html5
from typing import Any

from medanalyzr.lab.formats.own.fields import NOTHING, Path, changes, number_of, role, words_of
from medanalyzr.lab.references import find_analyte, fold, vocabulary
from medanalyzr.lab.report import LONGEST_LINE

LARGEST = 2**20  # characters of a text that is looked into
_LARGEST_YAML = 2**16
_HEADS = frozenset(("colonnes", "columns", "colonne", "entete", "entetes", "header", "headers", "champs", "fields"))

_AGE = re.compile(r"\d{1,3}\s*(?:ans?|mois|semaines?|jours?)?")
_KEY = re.compile(
    r"(?:^ +|^ *(?:- +)+|[{,] ?)[\"']?([^\s:\"'{}\[\],][^:\n\"'{}\[\],]*)[\"']?:(?: |$)", re.MULTILINE
)  # within a record
_BLOCK = re.compile(r"^[ \t]*(?:[{\[]\s*[\"{\[]|<(?:\?xml|!DOCTYPE|[A-Za-z_][\w:.-]*[\s>]))", re.MULTILINE)
_OF_XML = frozenset("&<>\"'")  # whose entities are left to the parser
_MESSAGE = re.compile(
    r"\AH\|\W{4}\|(?=[\s\S]*^OBX\|)|^(?:RES\||\x0b?MSH\|)|\"resourceType\"|<(?:\w+:)?ClinicalDocument\b", re.MULTILINE
)


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


class Element(dict):
    """An element of XML with attributes or children."""


def _of_json(text: str) -> Any:
    """The content of a text that begins with JSON; None where it is none. Raises Unclear."""
    decoder = json.JSONDecoder(parse_float=Literal, parse_int=Literal, parse_constant=str, object_pairs_hook=_once)
    try:
        doc, end = decoder.raw_decode(text)
    except ValueError:
        return None
    after = text[end:].strip(" \n`")
    if not re.search(r"\d", after) and not (after and changes(after)):
        return doc
    if re.search(r"[{\[]", after):
        return None
    raise Unclear("texte après les objets")


def _bare(name: str) -> str:
    """The name of an element or attribute without its namespace."""
    return re.sub(r"^\{.*\}", "", name)


def _of_element(element: Any) -> Any:
    """The content of an element; its text without attributes or children. Raises Unclear."""
    children, text = list(element), (element.text or "").strip()
    tag, *names = map(_bare, (element.tag, *element.attrib))
    if any((child.tail or "").strip() for child in children) or children and text:
        raise Unclear("texte entre des balises")
    if not children and not names:
        return text
    own = tag if role((tag,)) else "valeur"  # an element named by its analyte, with its unit as an attribute
    pairs = [*zip(names, element.attrib.values(), strict=True)] + ([(own, text)] if text else [])
    groups: dict[str, list] = {}
    for child in children:
        groups.setdefault(_bare(child.tag), []).append(_of_element(child))
    if any(len(found) > 1 and not vocabulary("patient").isdisjoint(words_of((name,))) for name, found in groups.items()):
        raise Unclear("plusieurs patients")
    return Element(_once(pairs + [(name, found if len(found) > 1 else found[0]) for name, found in groups.items()]))


def _of_xml(text: str) -> Any:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if any(map(changes, re.findall(r"<!--(.*?)-->", text, re.DOTALL))):
        raise Unclear("commentaire dans le XML")
    text = re.sub(r"<!--.*?-->|<\?.*?\?>", " ", text, flags=re.DOTALL)  # <?xml…?> names the encoding of the file, not of this text
    text = re.sub(r"&([A-Za-z]{2,8};)", lambda m: m[0] if html5.get(m[1], "&") in _OF_XML else html5[m[1]], text)
    try:
        try:
            root = fromstring(text, forbid_dtd=True)
        except ParseError:
            root = fromstring(f"<document>{text}</document>", forbid_dtd=True)  # several elements, one after the other
    except (DefusedXmlException, ParseError, ValueError, LookupError) as error:
        raise Unclear("XML non valable") from error
    return Element({_bare(root.tag): _of_element(root)})


@cache
def _loader() -> type:
    """The loader of YAML that makes texts, lists and maps alone."""
    import yaml

    class Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # the faster one where libyaml is there
        def construct_mapping(self, node, deep=False):
            pairs = self.construct_pairs(node, deep=True)
            if any(str(name).isdigit() and one == "" for name, one in pairs):  # {valeur: 7,1}
                raise Unclear("virgule dans le YAML")
            return _once(pairs)

    return Loader


def _of_yaml(text: str) -> Any:
    """The content of a YAML text that holds records; None for any other. Raises Unclear."""
    lines = [line for line in text.split("\n") if len(line) <= LONGEST_LINE]
    if len(text) > _LARGEST_YAML or all(
        vocabulary("value").isdisjoint(words_of((key,))) for line in lines for key in _KEY.findall(line)
    ):
        return None
    import yaml

    try:
        doc = _loader()(text).get_single_data()
    except (yaml.YAMLError, TypeError, ValueError):
        return None
    if not isinstance(doc, dict | list) or not _holds_records(doc):
        return None
    if re.search(r"[:\[,-]\s+[&*!]\S", text, re.MULTILINE):
        raise Unclear("ancre ou type dans le YAML")
    if any(map(changes, re.findall(r"(?:^|\s)#(.*)", text, re.MULTILINE))):
        raise Unclear("commentaire dans le YAML")
    return doc


def _holds_records(node: Any) -> bool:
    """Whether some object below a list or another object has fields for a value and for a name, a unit or an interval."""
    inner = [child for child in (node.values() if isinstance(node, dict) else node) if isinstance(child, dict | list)]
    for child in inner:
        words = set(words_of(tuple(child))) if isinstance(child, dict) else set()
        if not vocabulary("value").isdisjoint(words) and any(
            not vocabulary(part).isdisjoint(words) for part in ("unit", "name", "interval", "side_low", "side_high")
        ):
            return True
    return any(map(_holds_records, inner))


@lru_cache(16)
def parsed(text: str) -> tuple[Any, str] | None:
    """The content of a JSON, XML or YAML text, its values as printed, and the lines before it; None where it is none. Raises Unclear."""
    text = text.removeprefix("\ufeff").strip()
    block = _BLOCK.search(text)
    before, body = (text[: block.start()], text[block.start() :].strip()) if block else ("", text)
    tagged = block is not None and re.search(r"</[A-Za-z_]|/>|<!DOCTYPE", body) is not None and (not before or body.endswith(">"))
    read = _of_json if body.startswith(("{", "[")) else _of_xml if tagged else _of_yaml
    if len(text) > LARGEST:
        if read is _of_yaml:
            return None
        raise Unclear("texte trop long")
    try:
        doc = read(text if read is _of_yaml else body)
    except RecursionError as error:
        raise Unclear("trop de niveaux") from error
    if doc is not None and before and (re.search(r"\d\s*(?:[a-zµ]*/|%)", before, re.IGNORECASE) or changes(before)):
        raise Unclear("texte avant les objets")
    return None if doc is None else (_spread(doc), before)


def _spread(node: Any) -> Any:
    """A node with its rows of columns («colonnes»: […]) and its values that stand at the name of their analyte as objects."""
    if isinstance(node, list):
        return [_spread(one) for one in node]
    if not isinstance(node, dict):
        return node
    heads = [one for key, one in node.items() if _HEADS.issuperset(words_of((key,))) and one and _is_texts(one)]
    plain = all(vocabulary(part).isdisjoint(words_of(tuple(node))) for part in ("name", "value", "unit"))
    made = type(node)()
    for key, one in node.items():
        if len(heads) == 1 and _is_table(one, len(heads[0])):
            one = [_once(list(zip(heads[0], row, strict=True))) for row in one]
        elif plain and isinstance(one, str) and find_analyte(key) and number_of(one, not isinstance(one, Literal)):
            one = {"valeur": one}
        if one is not (heads[0] if len(heads) == 1 else None):
            made[key] = _spread(one)
    return made


def _is_table(node: Any, width: int) -> bool:
    return isinstance(node, list) and node != [] and all(isinstance(row, list) and len(row) == width for row in node)


def _is_texts(node: Any) -> bool:
    return isinstance(node, list) and all(isinstance(one, str) for one in node)


def is_message(text: str) -> bool:
    """Whether a text is one of the formats of `medanalyzr.lab.formats`: HPRIM, HL7, FHIR, CR-BIO."""
    return _MESSAGE.search(text) is not None


def is_document(text: str) -> bool:
    """Whether a text is read as a message or as objects, or would be if it were clear."""
    try:
        return is_message(text) or parsed(text) is not None
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
    if isinstance(doc, Element) and len(doc) == 1:
        doc = next(iter(doc.values()))  # of the element around all others
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
