"""Reports of our own in many layouts, their right readings, and wrong answers made of them by one change each.

A changed value, bound or unit goes through the rules again: comparison, flag and critical mark of a wrong line fit together, so that
only the text of the report can betray it.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from medanalyzr.lab.engine.facts import Facts
from medanalyzr.lab.report import Measurement, Report, format_number, number
from medanalyzr.lab.rules import answer_line

# analyte, names as printed, unit, decimals, low, high, lowest and highest value drawn
TABLE = (
    ("sodium", ("Sodium", "Natrémie", "Na"), "mmol/L", 0, 136, 145, 118, 158),
    ("potassium", ("Potassium", "Kaliémie", "K"), "mmol/L", 1, 3.5, 5.1, 2.3, 7.2),
    ("chlore", ("Chlorures", "Chlorémie"), "mmol/L", 0, 98, 107, 88, 116),
    ("calcium", ("Calcium", "Calcémie"), "mmol/L", 2, 2.15, 2.55, 1.6, 3.3),
    ("magnesium", ("Magnésium", "Magnésémie"), "mmol/L", 2, 0.66, 1.07, 0.35, 1.6),
    ("phosphore", ("Phosphore", "Phosphorémie"), "mmol/L", 2, 0.81, 1.45, 0.25, 2.4),
    ("creatinine", ("Créatinine", "Créatininémie"), "µmol/L", 0, 59, 104, 38, 520),
    ("uree", ("Urée", "Urée sanguine"), "mmol/L", 1, 2.8, 8.1, 1.5, 38),
    ("glucose", ("Glycémie", "Glucose"), "mmol/L", 1, 3.9, 6.1, 2.1, 23),
    ("hb", ("Hémoglobine", "Hb"), "g/L", 0, 130, 170, 52, 186),
    ("leucocytes", ("Leucocytes", "Globules blancs"), "G/L", 2, 4.0, 10.0, 0.6, 31),
    ("plaquettes", ("Plaquettes", "Numération plaquettaire"), "G/L", 0, 150, 400, 12, 720),
    ("alat", ("ALAT", "ALAT (SGPT)"), "UI/L", 0, None, 41, 8, 640),
    ("asat", ("ASAT", "ASAT (SGOT)"), "UI/L", 0, None, 40, 8, 590),
    ("ggt", ("Gamma-GT", "GGT"), "UI/L", 0, 8, 61, 6, 410),
    ("ldh", ("LDH",), "UI/L", 0, 135, 225, 98, 890),
    ("albumine", ("Albumine", "Albuminémie"), "g/L", 0, 41, 52, 40, 55),
    ("crp", ("CRP", "Protéine C réactive"), "mg/L", 0, None, 5, 1, 260),
    ("ferritine", ("Ferritine", "Ferritinémie"), "µg/L", 0, 30, 400, 4, 2100),
    ("tsh", ("TSH", "TSH ultrasensible"), "mUI/L", 2, 0.27, 4.2, 0.02, 14),
    ("lipase", ("Lipase",), "UI/L", 0, None, 60, 9, 300),
    ("bilirubine_totale", ("Bilirubine totale",), "µmol/L", 0, None, 21, 3, 190),
    (None, ("Ostéocalcine",), "ng/mL", 1, 11.0, 43.0, 5, 70),
    (None, ("Aldolase",), "UI/L", 1, None, 7.6, 2, 19),
)
OTHER_UNITS = {
    "mmol/L": "µmol/L",
    "µmol/L": "mmol/L",
    "g/L": "g/dL",
    "G/L": "/mm3",
    "UI/L": "mUI/L",
    "mg/L": "g/L",
    "µg/L": "mg/L",
    "mUI/L": "UI/L",
    "/mm3": "G/L",
}


@dataclass
class Case:
    """A report as text, whose it is, its right reading, and what a wrong answer may take from it: earlier and urinary values."""

    layout: str
    text: str
    sex: str
    age: int
    measurements: list[Measurement]
    earlier: dict[str, str] = field(default_factory=dict)
    urine: dict[str, Measurement] = field(default_factory=dict)

    def line(self, m: Measurement, instead_of: Measurement | None = None) -> str:
        """The line of an answer for `m`, by the rules, in the place of `instead_of`."""
        everything = [m if one is instead_of else one for one in self.measurements]
        facts = Facts(Report(self.sex, self.age, tuple(everything), text=self.text))
        return answer_line(m, facts)

    def right(self) -> list[str]:
        """The lines of the right answer."""
        return [self.line(m) for m in self.measurements]


def drawn(rng: random.Random, count: int, tables=TABLE) -> list[Measurement]:
    """`count` measurements of different analytes."""
    found = []
    for analyte, names, unit, decimals, low, high, least, most in rng.sample(tables, count):
        inside = rng.random() < 0.4
        bottom, top = (low or least, high) if inside else (least, most)
        text = format_number(rng.uniform(bottom, top), decimals)
        sign = "<" if low is None and rng.random() < 0.12 else ""
        text = sign + (format_number(high * 0.6, decimals) if sign else text)
        found.append(Measurement(analyte, rng.choice(names), text, number(text.lstrip("<")), sign, unit, low, high))
    return found


def interval(m: Measurement, form: str = "{} - {}") -> str:
    """The interval as a report prints it."""
    decimals = len(m.text.partition(",")[2])
    low, high = (None if b is None else format_number(b, max(decimals, len(f"{b:.6g}".partition(".")[2]))) for b in (m.low, m.high))
    return f"< {high}" if low is None else form.format(low, high)


def before(rng: random.Random, m: Measurement) -> str:
    """An earlier value of `m`, other than today's and than its bounds."""
    decimals = len(m.text.partition(",")[2])
    while True:
        text = format_number(m.value * rng.uniform(0.7, 1.35) + 10.0**-decimals, decimals)
        if number(text) not in (m.value, m.low, m.high):
            return text


def _head(rng: random.Random, sex: str, age: int) -> str:
    title = {"F": "Mme", "H": "M."}[sex]
    return rng.choice(
        (
            f"Patient : {'femme' if sex == 'F' else 'homme'}, {age} ans",
            f"{title} FICTIF    {age} ans    Sexe : {sex.replace('H', 'M')}",
        )
    )


Lines = tuple[list[str], dict[str, str]]


def colon(rng, found) -> Lines:
    """`Nom : valeur unité (bas - haut)`."""
    return [f"{m.name} : {m.text} {m.unit} ({interval(m)})" for m in found], {}


def columns(rng, found) -> Lines:
    """Columns apart by spaces, with marks."""
    lines = ["Analyse".ljust(28) + "Résultat   Unité     Valeurs de référence"]
    for m in found:
        mark = rng.choice(("", "", "*", " H" if m.high and m.value > m.high else ""))
        lines.append(f"{m.name.ljust(28)}{(m.text + mark).ljust(11)}{m.unit.ljust(10)}{interval(m)}")
    return lines, {}


def leaders(rng, found) -> Lines:
    """Dot leaders and `à` in the interval."""
    return [f"{m.name} {'.' * (32 - len(m.name))} {m.text} {m.unit}    ({interval(m, '{} à {}')})" for m in found], {}


def tabs_earlier(rng, found) -> Lines:
    """Tabulations with a column of earlier results."""
    earlier = {m.name: before(rng, m) for m in found}
    return ["Analyse\tRésultat\tUnité\tNormes\tAntériorité"] + [
        f"{m.name}\t{m.text}\t{m.unit}\t{interval(m)}\t{earlier[m.name]}" for m in found
    ], earlier


def earlier_first(rng, found) -> Lines:
    """The column of earlier results before today's."""
    earlier = {m.name: before(rng, m) for m in found}
    return ["Analyse\tAntériorité\tRésultat du jour\tUnité\tNormes"] + [
        f"{m.name}\t{earlier[m.name]}\t{m.text}\t{m.unit}\t{interval(m)}" for m in found
    ], earlier


def earlier_named(rng, found) -> Lines:
    """Earlier results in brackets behind the interval."""
    earlier = {m.name: before(rng, m) for m in found}
    return [
        f"{m.name.ljust(26)} {m.text.ljust(8)} {m.unit.ljust(8)} {interval(m).ljust(16)}   (Ant. {earlier[m.name]})" for m in found
    ], earlier


def pipes(rng, found) -> Lines:
    """Vertical bars."""
    return ["| Analyse | Résultat | Unité | Référence |"] + [
        f"| {m.name} | {m.text} | {m.unit} | {interval(m)} |" for m in found
    ], {}


def semicolons(rng, found) -> Lines:
    """CSV rows."""
    return ["Analyse;Résultat;Unité;Intervalle"] + [f"{m.name};{m.text};{m.unit};{interval(m, '{}-{}')}" for m in found], {}


def following(rng, found) -> Lines:
    """Value and interval on the lines below the name."""
    return [line for m in found for line in (m.name, f"{m.text} {m.unit}", f"({interval(m)})", "")], {}


def following_bare(rng, found) -> Lines:
    """One field a line, no blank lines."""
    return [line for m in found for line in (m.name, m.text, m.unit, interval(m, "{} à {}"))], {}


def thousands(rng, found) -> Lines:
    """Counts per mm3 with a space before the last three digits: the measurements themselves change."""
    lines = []
    for place, m in enumerate(found):
        if m.unit == "G/L":
            low, high = m.low * 1000, m.high * 1000
            value = round(m.value * 1000, -1)
            spaced = [f"{n:,.0f}".replace(",", rng.choice((" ", "\u202f", "\u00a0"))) for n in (value, low, high)]
            found[place] = replace(m, text=f"{value:.0f}", value=value, unit="/mm3", low=low, high=high)
            lines.append(f"{m.name.ljust(28)} {spaced[0]} /mm3    ({spaced[1]} - {spaced[2]})")
        else:
            lines.append(f"{m.name.ljust(28)} {m.text} {m.unit}    ({interval(m)})")
    return lines, {}


def _plain_name(m: Measurement) -> str:
    first = m.name.split()[0]
    return m.name if first.isupper() or "-" in first or len(first) < 3 else m.name[0].lower() + m.name[1:]


def letter(rng, found) -> Lines:
    """Sentences without intervals, some with an earlier value."""
    earlier, parts = {}, []
    for place, m in enumerate(found):
        found[place] = m = replace(m, low=None, high=None)
        name = _plain_name(m)
        article = "l'" if name[0].lower() in "aeiouéhâ" and not name.isupper() else "la "
        sentence = f"{article}{name} {rng.choice(('est à', 'est ce jour à', 'reste à', 'est mesurée à'))} {m.text} {m.unit}"
        if rng.random() < 0.3:
            earlier[m.name] = before(rng, m)
            sentence += f" ({earlier[m.name]} {m.unit} en {rng.choice(('janvier', 'mars', 'juin'))})"
        parts.append(sentence)
    sentences = []
    while parts:
        taken, parts = parts[:3], parts[3:]
        text = taken[0] if len(taken) == 1 else ", ".join(taken[:-1]) + " et " + taken[-1]
        sentences.append(text[0].upper() + text[1:] + ".")
    words, lines = " ".join(sentences).split(" "), [""]
    for word in words:
        lines.append(word) if len(lines[-1]) + len(word) > 100 else lines.__setitem__(-1, f"{lines[-1]} {word}".strip())
    return ["Cher confrère,", "", *lines, "", "Bien confraternellement."], earlier


def note(rng, found) -> Lines:
    """A note with commas, intervals in brackets here and there."""
    parts = []
    for place, m in enumerate(found):
        if rng.random() < 0.5:
            parts.append(f"{_plain_name(m)} {m.text} {m.unit} (N {interval(m)})")
        else:
            found[place] = replace(m, low=None, high=None)
            parts.append(f"{_plain_name(m)} {m.text} {m.unit}")
    return [f"Bilan d'entrée : {', '.join(parts)}."], {}


def json_rows(rng, found) -> Lines:
    """A JSON list, in one line or indented."""
    rows = []
    for m in found:
        row = {"analyse": m.name, "valeur": m.text if m.sign or rng.random() < 0.3 else m.value, "unite": m.unit}
        rows.append(row | ({"borne_basse": m.low} if m.low is not None else {}) | {"borne_haute": m.high})
    return json.dumps({"resultats": rows}, ensure_ascii=False, indent=rng.choice((None, 1, 2))).splitlines(), {}


def both_fluids(rng, found) -> Lines:
    """Blood and urine, each under its heading."""
    return ["BIOCHIMIE SANGUINE", *(f"{m.name.ljust(26)} {m.text} {m.unit}    {interval(m)}" for m in found)], {}


def json_fluids(rng, found) -> Lines:
    """A JSON list with the specimen of each row and an earlier value."""
    earlier = {m.name: before(rng, m) for m in found}
    rows = [
        {
            "prelevement": "Sang",
            "analyse": m.name,
            "valeur": m.text,
            "unite": m.unit,
            "norme": interval(m),
            "anterieur": earlier[m.name],
        }
        for m in found
    ]
    return json.dumps(rows, ensure_ascii=False, indent=rng.choice((None, 1))).splitlines(), earlier


def note_fluids(rng, found) -> Lines:
    """Notes on blood and urine; earlier values in brackets with their date."""
    earlier, parts = {}, []
    for place, m in enumerate(found):
        found[place] = m = replace(m, low=None, high=None)
        earlier[m.name] = before(rng, m)
        parts.append(f"{_plain_name(m)} {m.text} {m.unit} ({earlier[m.name]} le 02/03)")
    return [f"Sang : {', '.join(parts)}."], earlier


def letter_was(rng, found) -> Lines:
    """Sentences that tell the earlier value before today's."""
    earlier, lines = {}, []
    for place, m in enumerate(found):
        found[place] = m = replace(m, low=None, high=None)
        earlier[m.name] = before(rng, m)
        form = rng.choice(("{} : {} {} aujourd'hui contre {} {} au dernier contrôle.", "{} à {} {}, pour {} {} il y a deux mois."))
        lines.append(form.format(m.name, m.text, m.unit, earlier[m.name], m.unit))
    return lines, earlier


def following_earlier(rng, found) -> Lines:
    """Fields below each other with a line for the earlier result."""
    earlier = {m.name: before(rng, m) for m in found}
    return [
        line
        for m in found
        for line in (m.name, f"{m.text} {m.unit}", f"VR : {interval(m)}", f"Antériorité : {earlier[m.name]}", "")
    ], earlier


def two_units(rng, found) -> Lines:
    """A second unit behind the first, each with its interval."""
    factors = {"mmol/L": ("mEq/L", 1.0), "g/L": ("g/dL", 0.1)}
    lines = []
    for m in found:
        second, factor = factors.get(m.unit, ("", 0))
        if not second or m.low is None or m.analyte not in ("sodium", "potassium", "chlore", "hb"):
            lines.append(f"{m.name.ljust(26)}{m.text.ljust(8)}{m.unit.ljust(28)}{interval(m)}")
            continue
        value, low, high = (
            format_number(n * factor, len(m.text.partition(",")[2]) + (factor < 1)) for n in (m.value, m.low, m.high)
        )
        lines.append(
            f"{m.name.ljust(26)}{m.text.ljust(8)}{m.unit.ljust(10)}{value.ljust(8)}{second.ljust(10)}{interval(m).ljust(18)}{low} - {high}"
        )
    return lines, {}


def by_sex(rng, found) -> Lines:
    """An interval for men and one for women."""
    lines = []
    for place, m in enumerate(found):
        if m.low is None:
            lines.append(f"{m.name.ljust(26)}{m.text} {m.unit}    {interval(m)}")
            continue
        other = replace(m, low=round(m.low * 0.8, 2), high=round(m.high * 0.9, 2))
        lines.append(f"{m.name.ljust(26)}{m.text} {m.unit}    Homme : {interval(m)}   Femme : {interval(other)}")
        found[place] = replace(m, text=m.text)
    return lines, {}


LAYOUTS: tuple[Callable[..., Lines], ...] = (
    colon, columns, leaders, tabs_earlier, earlier_first, earlier_named, pipes, semicolons, following, following_bare, thousands,
    letter, note, json_rows, both_fluids, json_fluids, note_fluids, letter_was, following_earlier, two_units, by_sex,
)  # fmt: skip


def _urines(layout, found) -> list[str]:
    """Results in urine, in the layout of the report."""
    if layout is json_fluids:
        rows = [{"prelevement": "Urines", "analyse": m.name, "valeur": m.text, "unite": m.unit} for m in found]
        return json.dumps(rows, ensure_ascii=False).splitlines()
    if layout is note_fluids:
        return [f"Urines : {', '.join(f'{_plain_name(m)} {m.text} {m.unit}' for m in found)}."]
    return ["", "URINES", *(f"{m.name.ljust(26)} {m.text} {m.unit}" for m in found)]


def cases(seed: int, of_each: int) -> Iterator[Case]:
    """`of_each` reports in every layout."""
    rng = random.Random(seed)
    for layout in LAYOUTS:
        for _ in range(of_each):
            found = drawn(rng, rng.randint(4, 9))
            if layout in (letter, note, json_rows, note_fluids, letter_was):
                found = [m for m in found if m.analyte]
            sex, age = "H" if layout is by_sex else rng.choice("FH"), rng.randint(19, 92)
            lines, earlier = layout(rng, found)
            urine = {}
            if layout in (both_fluids, json_fluids, note_fluids):
                common = [
                    m for m in found if m.analyte in ("sodium", "potassium", "creatinine", "uree", "calcium", "glucose", "chlore")
                ]
                urine = {m.name: replace(m, text=before(rng, m), specimen="urine", low=None, high=None, sign="") for m in common}
                lines += _urines(layout, urine.values())
            yield Case(layout.__name__, "\n".join([_head(rng, sex, age), "", *lines]), sex, age, found, earlier, urine)


# Wrong answers --------------------------------------------------------------------------------------------------------


def _valued(m: Measurement, text: str) -> Measurement:
    return replace(m, text=text, value=number(text.lstrip("<>")), sign=text[0] if text[0] in "<>" else "")


def digit(rng, case: Case, m: Measurement) -> Measurement | None:
    """One digit of the value is another."""
    places = [i for i, c in enumerate(m.text) if c.isdigit()]
    place = rng.choice(places)
    return _valued(m, m.text[:place] + rng.choice([d for d in "0123456789" if d != m.text[place]]) + m.text[place + 1 :])


def lost_digit(rng, case: Case, m: Measurement) -> Measurement | None:
    """A digit, or the last three of a number of thousands, is lost."""
    if m.value >= 1000 and rng.random() < 0.7:
        return _valued(m, m.text[:-3])
    return _valued(m, m.text[:-1]) if m.text[-1].isdigit() and len(m.text.lstrip("<")) > 1 and m.text[-2] != "," else None


def swapped(rng, case: Case, m: Measurement) -> Measurement | None:
    """The value of another line."""
    other = rng.choice(case.measurements)
    return None if other.text == m.text else _valued(m, other.text)


def renamed(rng, case: Case, m: Measurement) -> Measurement | None:
    """The name of another analyte, of the report or of the table."""
    names = [(o.analyte, o.name) for o in case.measurements if o is not m] + [
        (row[0], row[1][0]) for row in TABLE if row[0] != m.analyte
    ]
    analyte, name = rng.choice(names)
    return replace(m, analyte=analyte, name=name)


def bound(rng, case: Case, m: Measurement) -> Measurement | None:
    """A bound of another line."""
    others = [o for o in case.measurements if (o.low, o.high) != (m.low, m.high) and o.high is not None]
    if not others:
        return None
    other = rng.choice(others)
    low, high = rng.choice(((other.low, m.high), (m.low, other.high), (other.low, other.high)))
    return replace(m, low=low, high=high) if low is None or high is None or low < high else None


def urinary(rng, case: Case, m: Measurement) -> Measurement | None:
    """The value of the urine under the name of the blood."""
    return _valued(m, case.urine[m.name].text) if m.name in case.urine else None


def sign(rng, case: Case, m: Measurement) -> Measurement | None:
    """A sign lost, or one that is not printed."""
    return _valued(m, m.text[1:]) if m.sign else _valued(m, "<" + m.text) if rng.random() < 0.3 else None


def unit(rng, case: Case, m: Measurement) -> Measurement | None:
    """Another unit, or none."""
    return replace(m, unit=rng.choice((OTHER_UNITS.get(m.unit, "kg/L"), "")))


def earlier(rng, case: Case, m: Measurement) -> Measurement | None:
    """An earlier result taken for today's."""
    return _valued(m, case.earlier[m.name]) if m.name in case.earlier else None


def _flag(rng, line: str) -> str:
    """Another flag at the end of the line."""
    head, _, tail = line.rpartition(" : ")
    now, comma, critical = tail.partition(",")
    return f"{head} : {rng.choice([f for f in ('bas', 'normal', 'élevé') if f != now])}{comma}{critical}"


def _critical(rng, line: str) -> str:
    """The critical mark dropped, or added."""
    return line.removesuffix(", critique") if line.endswith(", critique") else line + ", critique"


def _says_the_same(a: Measurement, b: Measurement) -> bool:
    """Whether `6,3` stands for `6,30`."""
    return (a.name, a.value, a.sign, a.unit, a.low, a.high) == (b.name, b.value, b.sign, b.unit, b.low, b.high)


READINGS = (digit, lost_digit, swapped, renamed, bound, urinary, sign, unit, earlier)
TEXTS = (_flag, _critical)


def wrong_lines(seed: int, case: Case) -> Iterator[tuple[str, Measurement, str]]:
    """Wrong lines of an answer to `case`: the kind of the fault, the measurement they are about, the line."""
    rng = random.Random(seed)
    right = set(case.right())
    for m in case.measurements:
        for fault in READINGS:
            wrong = fault(rng, case, m)
            if wrong is not None and not _says_the_same(wrong, m) and (line := case.line(wrong, m)) not in right:
                yield fault.__name__, m, line
        for change in TEXTS:
            yield change.__name__, m, change(rng, case.line(m))
