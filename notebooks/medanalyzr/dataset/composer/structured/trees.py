"""Nested records: sections, values and bounds as objects or lists, as JSON, YAML or XML.

A report draws its keys and how each part is nested; none of the keys is one of the held-out JSON's.
"""

import re
from collections.abc import Iterator, Sequence
from random import Random
from xml.sax.saxutils import escape

from medanalyzr.dataset.composer.asides import aside, open_end, title
from medanalyzr.dataset.composer.families import bounds
from medanalyzr.dataset.composer.printing import Line, Style, Told, phrases
from medanalyzr.dataset.composer.structured.records import dumped, scalar, subject, together

_KEYS = {  # of one meaning; a report draws one of each
    "name": "analyse libelle nom designation parametre examen test name label display intitule analyte",
    "value": "valeur resultat mesure result val res numericValue nombre quantity",
    "unit": "unite u uom units unité unitOfMeasure",
    "interval": "reference normes intervalle range ref limites usuelles vr normal referenceInterval",
    "bottom": "min bas borne_inf minimum lower from de mini vmin seuil_bas limiteInferieure refMin normale_min lo plancher "
    "lim_inf inferieure inférieur lowerBound LIN borneBasse gte mn infRef BI",
    "top": "max haut borne_sup maximum upper to a maxi vmax seuil_haut limiteSuperieure refMax normale_max hi plafond "
    "lim_sup superieure supérieur upperBound LSN borneHaute lte mx supRef BS",
    "men": "hommes H homme M masculin men",
    "women": "femmes F femme Femmes féminin women",
    "kind": "type borne sens cote kind bound",
    "part": "section rubrique groupe discipline panel famille category bilan theme bloc entete_section",
    "parts": "sections rubriques groupes panels familles laboratoire pages bilans blocs themes",
    "part2": "chapitre domaine secteur service department entete",
    "text": "affichage libre brut display_text enClair",
    "lines": "resultats analyses lignes results items mesures examens entries",
    "sample": "prelevement milieu nature specimen matrice echantillon",
    "patient": "patient identite usager subject personne",
    "report": "rapport document message report bilan edition",
    "more": "id numero loinc rang ordre mnemo abrege nabm",
}


def _value(line: Line, key: dict[str, str], how: int) -> dict:
    """Value and unit: two fields, an object, a list or one text."""
    value, unit = line.value, line.unit
    if how == 1:
        return {key["value"]: {key["value2"]: value, key["unit"]: unit}}
    if how == 2:
        return {key["value"]: [value, unit]}
    if how == 3:
        return {key["value"]: f"{value} {unit}".strip()}
    return {key["value"]: value} | ({key["unit"]: unit} if unit or how else {})


def _interval(line: Line, key: dict[str, str], how: int, style: Style) -> dict:
    """The interval: one text, two fields, an object, a list, or an object for each bound; nothing, or an empty field, where there is none."""
    if not line.interval or line.m is None:
        return {key["interval"]: style.rng.choice((None, {}, "", []))} if style.leant and style.aside < 12 else {}
    if line.by_sex[0]:
        return {key["interval"]: dict(zip((key["men"], key["women"]), line.by_sex, strict=True))}
    other = line.m.interval_unit
    if how == 0 or other:
        return {key["interval"]: line.interval}
    pair = bounds(line, style)
    both = {name: bound for name, bound in zip((key["bottom"], key["top"]), pair, strict=True) if bound}
    if how == 1:
        return both
    if how == 2:
        return {key["interval"]: both}
    if how == 3:
        return {key["interval"]: list(pair)}
    if how == 4:
        return {key["interval"]: {name: {key["value"]: bound, key["unit"]: line.unit} for name, bound in both.items()}}
    if how == 5:  # each bound with its kind
        return {key["interval"]: [{key["kind"]: name, key["value2"]: bound} for name, bound in both.items()]}
    if how == 6:  # an open end said
        return {key["interval"]: {key["bottom"]: pair[0] or None, key["top"]: pair[1] or None}}
    if how == 7:  # the upper bound first
        return {key["interval"]: dict(reversed(both.items()))}
    signs = zip((">=", "<="), pair, strict=True)
    if how == 8:
        return {key["interval"]: [f"{sign} {bound}" for sign, bound in signs if bound]}
    if how == 9:  # a sign for an open end, in an object or in two fields
        ends = {name: bound or open_end(style) for name, bound in zip((key["bottom"], key["top"]), pair, strict=True)}
        return {key["interval"]: ends} if style.tight else ends
    if how == 10:  # each bound an object, an open end none, empty or null
        return {key["interval"]: {name: {key["value2"]: bound} for name, bound in both.items()}}
    if how == 11:
        ends = zip((key["bottom"], key["top"]), pair, strict=True)
        return {key["interval"]: {name: {key["value2"]: bound} if bound else style.rng.choice(({}, None)) for name, bound in ends}}
    if how == 12:  # signs apart from their numbers
        return {key["interval"]: [{key["kind"]: sign, key["value2"]: bound} for sign, bound in signs if bound]}
    ends = [bound or None for bound in pair]  # a list with null, or a text in an object
    return {key["interval"]: ends if how == 13 else {key["text"]: line.interval}}


def _named(line: Line, key: dict[str, str], how: int, style: Style) -> dict:
    """The name beside or within other texts: a code before or after it, its heading, or an object of its own."""
    code, inner = {key["more"]: aside(line, "code", style)}, {key["name2"]: line.name}
    if how == 4:
        return code | {key["name"]: line.name}
    if how == 5:
        return {key["name"]: line.name} | code
    if how == 6:
        return {key["name"]: inner}
    if how == 7:
        return {key["name"]: inner | code}
    return {key["part2"]: aside(line, "part", style), key["name"]: line.name} | (code if style.small else {})


def _opaque(rng: Random) -> dict[str, str]:
    """Keys that tell nothing, but for those of bounds and sexes: what a field holds follows from its place and content alone."""
    kinds = [kind for kind in _KEYS if kind not in ("bottom", "top", "men", "women", "kind")] + ["name2", "value2"]
    form = rng.choice(("{}_{}", "c{}{}", "{}Fld{}", "_{}{}"))
    words = ("".join(rng.choice(phrases()["syllable"]) for _ in range(rng.randint(1, 2))) for _ in kinds)
    return {kind: form.format(word, place) for place, (kind, word) in enumerate(zip(kinds, words, strict=True))}


def _tree(lines: Sequence[Line], style: Style, told: Told) -> dict:
    """A report as nested records; nesting is drawn once for all its lines."""
    rng = style.rng
    key = {kind: rng.choice(words.split()) for kind, words in _KEYS.items()}
    key["name2"] = rng.choice([word for word in _KEYS["name"].split() if word != key["name"]])
    key["value2"] = rng.choice([word for word in _KEYS["value"].split() if word != key["value"]])
    value, interval, name, grouping = rng.randrange(5), rng.randrange(9), rng.randrange(4), rng.randrange(4)
    if style.leant:
        interval, name, value = rng.randrange(15), rng.randrange(9), rng.choice((0, 1, 1, 1, 2, 3, 4))
        if style.chance(0.35):
            key |= _opaque(rng)
            style.codes = "small" if style.codes in ("loinc", "number") else style.codes  # else a code might be the value
    sections: dict[str, list] = {}
    for line in lines:
        named = {key["name"]: line.name}
        if name == 1:
            named = {key["name"]: {key["more"]: aside(line, "code", style), key["name2"]: line.name}}
        elif name > 3:
            named = _named(line, key, name, style)
        rest = _value(line, key, value) | _interval(line, key, interval, style)
        rest = dict(reversed(rest.items())) if style.interval_first else rest
        if grouping == 0 and line.specimen != "sang":
            rest[key["sample"]] = line.section if line.specimen == "autre" else line.specimen
        record = {line.name: rest} if name == 2 else named | rest
        heading = title(line) if line.specimen in ("sang", "autre") else f"{line.section} ({line.specimen})"
        sections.setdefault("" if grouping == 0 else heading, []).append(record)
    body = {key["lines"]: sections.get("", [])} if grouping == 0 else {
        key["parts"]: [{key["part"]: heading, key["lines"]: records} for heading, records in sections.items()]
    } if grouping < 3 else {key["parts"]: sections}  # fmt: skip
    told_of = subject(style, told)
    head = {key["patient"]: told_of} if told_of and style.chance(0.6) else told_of
    content = together(head, body, style)
    return {key["report"]: content} if style.chance(0.4) else content


def tree_json(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Nested JSON."""
    return dumped(_tree(lines, style, told), style)


def _yaml(content: object, depth: int = 0) -> Iterator[str]:
    """The lines of `content` as YAML."""
    pairs = content.items() if isinstance(content, dict) else [(None, item) for item in content]
    for key, value in pairs:
        start = "  " * depth + ("-" if key is None else f"{scalar(str(key))}:")
        if not isinstance(value, dict | list):
            yield f"{start} {'null' if value is None else scalar(str(value))}"
        elif key is None and isinstance(value, dict):
            inner = list(_yaml(value, depth + 1))
            yield from [f"{start} {inner[0].lstrip()}", *inner[1:]] if inner else []
        else:
            yield from (start, *_yaml(value, depth + 1))


def _xml(name: str, content: object, depth: int = 0) -> Iterator[str]:
    """The elements of `content` as XML; a list repeats its element."""
    indent, tag = "  " * depth, re.sub(r"\W+", "_", name)
    title = f' nom="{escape(name)}"' if tag != name else ""
    if isinstance(content, list):
        for item in content:
            yield from _xml(name, item, depth)
    elif isinstance(content, dict):
        yield f"{indent}<{tag}{title}>"
        for key, value in content.items():
            yield from _xml(key, value, depth + 1)
        yield f"{indent}</{tag}>"
    else:
        yield f"{indent}<{tag}{title}>{'' if content is None else escape(str(content))}</{tag}>"


def tree_text(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Nested YAML or XML."""
    content = _tree(lines, style, told)
    return "\n".join(_yaml(content) if style.chance(0.5) else _xml("document", content))
