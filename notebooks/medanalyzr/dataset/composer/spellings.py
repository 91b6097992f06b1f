"""What the composer prints: the texts of tables/phrases.csv, and the spellings of names and units that laboratories use."""

import re
from functools import cache

from medanalyzr.lab.references import analytes, conversions, find_analyte, read_table

# Other spellings of the same unit (the number stays as it is), UCUM's among them (ucum.org).
_OTHER = {
    "G/L": ("Giga/L", "10^9/L", "10*9/L", "10⁹/L", "10^3/mm3", "10³/mm³", "10*3/uL"),
    "T/L": ("Tera/L", "Téra/L", "10^12/L", "10*12/L", "10¹²/L", "10^6/mm3", "10*6/uL", "M/mm3"),
    "UI/L": ("U/L", "IU/L", "[IU]/L", "[iU]/L"),
    "mUI/L": ("mU/L", "mIU/L", "m[IU]/L", "µUI/mL", "u[IU]/mL", "µU/mL"),
    "mmHg": ("mm Hg", "mm[Hg]"),
    "mL/min/1,73 m²": ("mL/min/1,73m²", "mL/min/1,73 m2", "mL/min/1,73m2", "mL/mn/1,73m²", "mL/min/{1.73_m2}", "mL/min"),
    "mg/L": ("µg/mL",),
    "g/L": ("mg/mL",),
    "g/dL": ("g/100mL", "g/100 mL"),
    "mmol/kg": ("mOsm/kg", "mosm/kg"),
    "mm/h": ("mm",),
}


def _spellings(unit: str) -> set[str]:
    """`unit` with small litres, with a point, with both signs for micro and without."""
    found = {unit, unit.replace("L", "l"), unit.lower() if unit[0].islower() else unit}
    found |= {text.replace(",", ".") for text in found}
    return found | {text.replace("µ", micro) for text in found for micro in ("u", "μ", "mc")}


@cache
def spellings() -> dict[str, str]:
    """Every known spelling and the unit of our tables that it stands for. G/L and g/L differ by their capital alone."""
    known = {a.unit for a in analytes().values() if a.unit} | {unit for _, unit in conversions()}
    table = {spelling: unit for unit, others in _OTHER.items() for other in others for spelling in _spellings(other)}
    return table | {spelling: unit for unit in known for spelling in _spellings(unit)}


@cache
def phrases() -> dict[str, tuple[str, ...]]:
    """The texts of tables/phrases.csv by their kind."""
    found: dict[str, list[str]] = {}
    for row in read_table("phrases"):
        found.setdefault(row["kind"], []).append(row["text"])
    return {kind: tuple(texts) for kind, texts in found.items()}


@cache
def usual_names() -> dict[str, tuple[str, ...]]:
    """The names of each analyte as laboratories print them; those that would be read as another one are left out."""
    found = {a.id: [a.name] for a in analytes().values()}
    capitals, symbols = (text.split() for text in phrases()["short_names"])
    written = {word: word.upper() for word in capitals} | {word.lower(): word for word in symbols}
    for row in read_table("names"):
        name = row["alias"]
        if name == name.lower():
            name = re.sub(r"[\w+]+", lambda word: written.get(word[0], word[0]), name)
        known = find_analyte(name)
        if known and known.id == row["analyte"] and name not in found[known.id]:
            found[known.id].append(name)
    return {analyte: tuple(names) for analyte, names in found.items()}


@cache
def spelled(unit: str) -> tuple[str, ...]:
    """The spellings that a person reads as `unit`."""
    odd = re.compile(r"[\[\]{}*]|mc|m[gG]/m[lL]$|^mm$|ui/|iu/|[mµuμ]u/")
    return tuple(sorted(text for text, usual in spellings().items() if usual == unit and not odd.search(text)))
