"""Families of layouts that programs write: JSON, XML, YAML, key=value, HPRIM lines.

Numbers have no thousands; bounds stand in one field or in two. JSON with other keys and HPRIM lines are held out from training.
"""

import json
import re
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from medanalyzr.dataset.composer.asides import aside, open_end
from medanalyzr.dataset.composer.families import bounds
from medanalyzr.dataset.composer.printing import TAG, Line, Style, Told, phrases
from medanalyzr.lab.rules import flag

_TAGGED = re.compile(rf'"({TAG.pattern}-?(?:0|[1-9]\d*)(?:\.\d+)?)"')
_SEXES = (  # what is added to the key, and the words for women and men; in most texts the letters F and H
    ("", "FH"), ("", "FH"), ("", ("féminin", "masculin")), ("", "FM"), ("", ("female", "male")), ("", ("Femme", "Homme")),
    ("", ("Mme", "M.")), ("", ("FEMININ", "MASCULIN")), ("_1M_2F", "21"), ("_1H_2F", "21"),
)  # fmt: skip
_NUMBER = re.compile(r'"(-?(?:0|[1-9]\d*)(?:\.\d+)?)"')


def printed_ends(line: Line, style: Style) -> tuple[str, ...]:
    """The bounds; where the interval is open, what the report prints for an open end."""
    return tuple(bound or open_end(style) * bool(line.m and line.interval) for bound in bounds(line, style))


def _records(lines: Sequence[Line], style: Style, keys: Sequence[str]) -> list[dict[str, str]]:
    """A record for each result. Bounds are apart in half of the reports, where value and interval share their unit; in some the
    fields stand in another order, or fields that nobody is asked for among them; in training often a code or a heading at the name.
    """
    apart, everywhere = style.chance(0.5), style.chance(0.5)
    order = style.rng.sample(keys, len(keys)) if style.chance(0.3) else keys
    more = style.rng.sample(("same", "date", "technique", "state"), style.rng.choice((1, 2))) if style.chance(0.2) else ()
    named = any(line.specimen != "sang" for line in lines)
    places = {key: place for place, key in enumerate(order)}
    beside = style.rng.sample(("code", "part"), style.rng.choice((1, 1, 2))) if style.leant and style.chance(0.5) else ()
    for kind in (*beside, *more):
        key = style.kept.setdefault(f"key {kind}", style.phrase(f"key:{kind}"))
        if kind in beside:
            places[key] = places[keys[0]] + style.rng.choice((-0.5, 0.5))
    records = []
    for line in lines:
        record = {keys[0]: line.name, keys[1]: line.value, keys[2]: line.unit}
        if apart and not (line.m and line.m.interval_unit):
            record |= zip(keys[4:6], printed_ends(line, style), strict=True)
        else:
            record[keys[3]] = line.interval
        if named and (everywhere or line.specimen != "sang"):
            record[keys[6]] = line.section if line.specimen == "autre" else line.specimen
        if style.marks and everywhere:
            record["alerte"] = line.mark
        if line.earlier:
            record["anterieur"] = line.earlier[0]
        record |= {style.kept[f"key {kind}"]: aside(line, kind, style) for kind in (*beside, *more)}
        record = dict(sorted(record.items(), key=lambda item: places.get(item[0], style.aside % 9)))
        records.append(record if style.tight else {key: value for key, value in record.items() if value})
    return records


def patient(style: Style, told: Told) -> dict[str, str]:
    """What is told of the patient by key; empty where nothing is."""
    said = {"commentaire": " ; ".join(told.comments)} if told.comments else {}
    if not told.text:
        return said
    age = told.years() if told.age is not None else ""
    found = {"sexe": told.sex, "age": age, "grossesse": "oui" if told.pregnant else "", "date": style.words["d"]}
    return {"dossier": style.phrase("who"), **{key: value for key, value in found.items() if value}} | said


def subject(style: Style, told: Told) -> dict[str, object]:
    """What is told of the patient, under keys and with words of many programs."""
    kinds = ("sexe", "age", "grossesse", "date", "commentaire", "dossier")
    keys = dict(zip(kinds, style.phrase("patient_keys").split(), strict=True))
    found = {keys[key]: value for key, value in patient(style, told).items()}
    if told.text and told.sex:
        coded, words = style.rng.choice(_SEXES)
        found = {key + coded if key == keys["sexe"] else key: value for key, value in found.items()}
        found[keys["sexe"] + coded] = words[told.sex == "H"]
    if told.age is not None and told.age >= 2 and told.text and style.small:
        found[keys["age"]] = int(told.age)
    return found


def _subject(style: Style, told: Told) -> dict[str, object]:
    """The patient in flat records: under few keys, and in most training texts under those of many programs."""
    return subject(style, told) if style.leant and style.chance(0.6) else patient(style, told)


def together(head: dict, body: dict, style: Style) -> dict:
    """Head and body of a text, the head last where the report tells of the patient at its foot."""
    return body | head if style.told_at == "foot" else head | body


def dumped(content: object, style: Style) -> str:
    """JSON; in most texts whose decimal sign is a point, numbers stand bare."""
    text = json.dumps(content, ensure_ascii=False, indent=style.rng.choice((None, 1, 2, 4)))
    return _NUMBER.sub(r"\1", _TAGGED.sub(r"\1", text)) if style.point == "." and not style.plain else text


def json_text(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A flat list of results, the patient before it."""
    keys, told_of = style.rng.choice(phrases()["keys"]).split(), _subject(style, told)
    head = {"patient": told_of} if style.chance(0.5) else told_of
    body = {style.rng.choice(("resultats", "analyses", "results", "bilan")): _records(lines, style, keys)}
    return dumped(together(head, body, style), style)


def json_nested(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Results within sections, their value and bounds as objects; keys that no other family has."""
    codes, ends = style.rng.choice(((("dosage", "quantite", "n", "mes"), ("seuils", "inf", "sup")),
                                    (("code", "valueQuantity", "value", "unit"), ("referenceRange", "low", "high"))))  # fmt: skip
    sections: dict[str, list] = {}
    for line in lines:
        title = line.section if line.specimen == "sang" else f"{line.section} ({line.specimen})"
        result = {codes[0]: {"texte": line.name}, codes[1]: {codes[2]: line.value, codes[3]: line.unit}}
        limits = dict(zip(ends[1:], bounds(line, style), strict=True))
        unit = {"unit": style.unit(line.m.interval_unit)} if line.m and line.m.interval_unit else {}
        if any(limits.values()):
            result[ends[0]] = {end: {"v": bound} for end, bound in limits.items() if bound} | unit
        sections.setdefault(title, []).append(result)
    names = {"dossier": "ipp", "sexe": "genre", "age": "agePatient", "date": "jour", "commentaire": "remarque",
             "grossesse": "enceinte"}  # fmt: skip
    subject = {names[key]: value for key, value in patient(style, told).items()}
    chapters = {"chapitres": [{"titre": title, "contenu": results} for title, results in sections.items()]}
    return dumped({"compteRendu": ({"sujet": subject} if subject else {}) | chapters}, style)


def xml(lines: Sequence[Line], style: Style, told: Told) -> str:
    """One element for each result, its fields as attributes or as elements."""
    keys, attributes = style.rng.choice(phrases()["keys"]).split(), style.chance(0.5)
    root, tag = style.rng.choice((("bilan", "resultat"), ("compte_rendu", "analyse"), ("labo", "ligne"), ("results", "result")))
    body = ['<?xml version="1.0" encoding="UTF-8"?>'] * style.chance(0.5) + [f"<{root}>"]
    told_of = " ".join(f"{key}={quoteattr(str(value))}" for key, value in _subject(style, told).items())
    who = [f"  <patient {told_of}/>"] * bool(told_of)
    body += who * (style.told_at != "foot")
    for record in _records(lines, style, keys):
        if attributes:
            body.append(f"  <{tag} {' '.join(f'{key}={quoteattr(value)}' for key, value in record.items())}/>")
        else:
            body.append(f"  <{tag}>{''.join(f'<{key}>{quoteattr(value)[1:-1]}</{key}>' for key, value in record.items())}</{tag}>")
    return "\n".join([*body, *who * (style.told_at == "foot"), f"</{root}>"])


def scalar(text: str) -> str:
    """A text of YAML, quoted where it would be read as something else."""
    bare = TAG.sub("", text)
    return text if re.match(r"[\w+]|-\w", bare) and not re.search(r": |:$| #", bare) else f'"{text}"'


def yaml(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A list of records, each field on a line of its own."""
    keys = style.rng.choice(phrases()["keys"]).split()
    who = [f"{key}: {scalar(str(value))}" for key, value in _subject(style, told).items()]
    body = [style.rng.choice(("resultats:", "analyses:", "bilan:"))]
    for record in _records(lines, style, keys):
        body += [f"{'    ' if i else '  - '}{key}: {scalar(value)}" for i, (key, value) in enumerate(record.items())]
    return "\n".join([*body, *who] if style.told_at == "foot" else [*who, *body])


def key_value(lines: Sequence[Line], style: Style, told: Told) -> str:
    """One record on each line, its fields with their names."""
    keys, between = style.rng.choice(phrases()["keys"]).split(), style.rng.choice(("; ", " | ", "\t", ", ", " ; "))
    equals = style.rng.choice(("=", "=", ": ", " = ", ":"))
    if style.point == "," and between == ", ":
        between = "; "
    records = _records(lines, style, keys)
    records.insert(len(records) if style.told_at == "foot" else 0, _subject(style, told))
    return "\n".join(between.join(f"{key}{equals}{value}" for key, value in record.items()) for record in records if record)


def hprim(lines: Sequence[Line], style: Style, told: Told) -> str:
    """The lines `RES|label|code|type|value|unit|low|high|…` of HPRIM Médecin, after its twelve head lines."""
    who = style.phrase("who")
    body = [style.phrase("head")[:20], who, style.phrase("first"), "1 RUE DE L'EXEMPLE", "", "00000 VILLE-FICTIVE", "", "", "",
            style.words["d"], "LAB       LABORATOIRE FICTIF", "DR        DOCTEUR EXEMPLE", "", "****LAB****"]  # fmt: skip
    body += [f"TEX|{told.text}".replace("\n", " ").replace("\t", " ")] * bool(told.text)
    body += [f"TEX|{comment}" for comment in told.comments]
    section = ""
    for line in lines:
        if line.section != section:
            body.append(f"TEX|{line.section if line.specimen != 'lcr' else 'liquide céphalo-rachidien'}".upper())
        section = line.section
        low, high = (line.interval, "") if line.m and line.m.interval_unit else bounds(line, style)
        code = re.sub(r"[^A-Z0-9]", "", line.name.upper())[:4]
        mark = {"bas": "L", "élevé": "H"}.get(flag(line.m), "N") if line.m else ""
        body.append(f"RES|{line.name}|{code}|{'N' if line.m else 'A'}|{line.value}|{line.unit}|{low}|{high}|{mark}|F||||")
    return "\n".join([*body, "****FIN****", "****FINFICHIER****"])
