"""The spellings in which laboratories write the units of our tables: what the composer prints."""

from functools import cache

from medanalyzr.lab.references import analytes, conversions

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
