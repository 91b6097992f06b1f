"""Units as laboratories write them, brought to the one spelling of our tables; what no table knows stays as it is."""

import re
from functools import cache, lru_cache

from medanalyzr.lab.references import analytes, conversions

_SIGNS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹μ×,", "0123456789µx.")
# Spellings that only differ in writing; applied in order to the text in small letters without spaces.
_SPELLINGS = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"[\[\]{}]", ""),
        (r"\b(?:micro|mc)(?=g|mol|l|ui|kat)|\bu(?=g|mol|kat|l|ui|iu)", "µ"),
        (r"microl|/ul", "/µl"),
        (r"(?<![a-zµ])([mkµ]?)(?:iu|ui|u)(?=/|$)", r"\1ui"),
        (r"^(?:x?10[*^e]*3|milliers?)/(?:mm3|µl)$|^(?:x?10[*^e]*9|giga)/l$", "10^9/l"),
        (r"^(?:x?10[*^e]*6|m(?:illions?)?)/(?:mm3|µl)$|^(?:x?10[*^e]*12|t[eé]ra)/l$", "10^12/l"),
        (r"^/µl$", "/mm3"),
        (r"^ml/mi?n/1\.73_?(?:m[2²]?)?$", "ml/min/1.73m2"),
        (r"^mm(?:/1?h|/?(?:[aà]?la)?(?:1(?:[eè]?re)?|h1)(?:heure|h)?)?$", "mm/h"),
        (r"^m?osm(?:ol)?/kg$", "mmol/kg"),
        (r"^s(?:ec(?:ondes?)?)?\.?$", "s"),
        (r"^(?:µm3|µ\^3)$", "µ3"),
        (r"/100ml$|^(m?g)%$", r"\1/dl"),
        (r"litre$", "l"),
        (r"(?:feu|uef)$", ""),
    )
]
_PER_ML = re.compile(r"^(pg|ng|µg|mg|pmol|nmol|µmol|µui|mui|ui)/ml$")
_THOUSAND = {
    "pg": "ng", "ng": "µg", "µg": "mg", "mg": "g", "pmol": "nmol", "nmol": "µmol", "µmol": "mmol", "µui": "mui", "mui": "ui", "ui": "kui",
}  # fmt: skip


@lru_cache(4096)
def plain(text: str) -> str:
    """`text` in one writing: small letters, no spaces, the usual signs; G/L and T/L are counts and no grams."""
    text = "".join(text.split()).translate(_SIGNS)
    if re.fullmatch(r"[GT]/[Ll]", text):
        return "10^9/l" if text[0] == "G" else "10^12/l"
    text = text.lower().translate(_SIGNS)
    for pattern, by in _SPELLINGS:
        text = pattern.sub(by, text)
    return text


def _per_litre(text: str) -> str:
    """ng/mL as µg/L: the number stays as it is."""
    found = _PER_ML.match(text)
    return f"{_THOUSAND[found[1]]}/l" if found else text


@cache
def _known(analyte: str | None) -> dict[str, str]:
    """Plain spellings and the unit of the tables that each stands for, of one analyte or of all."""
    ours = [a.unit for a in analytes().values() if a.unit and analyte in (None, a.id)]
    ours += [unit for known, unit in conversions() if analyte in (None, known)]
    table: dict[str, str] = {}
    for unit in ours:
        table.setdefault(plain(unit), unit)
    if analyte is not None:
        for unit in ours:
            table.setdefault(_per_litre(plain(unit)), unit)
        for caps, small in (("10^9/l", "g/l"), ("10^12/l", "t/l")):  # in capitals or small letters throughout, the analyte decides
            if (caps in table) != (small in table):
                table.setdefault(caps, table.get(small, "")), table.setdefault(small, table.get(caps, ""))
    return {spelling: unit for spelling, unit in table.items() if unit}


@lru_cache(8192)
def known_unit(text: str, analyte: str | None = None) -> str | None:
    """The unit of our tables that `text` spells (of `analyte`, where one is named), or None."""
    known, spelled = _known(analyte), plain(text)
    return known.get(spelled) or (known.get(_per_litre(spelled)) if analyte else None)


def usual_unit(text: str, analyte: str | None = None) -> str:
    """The unit of our tables that `text` spells; `text` itself where it is none of them."""
    return known_unit(text.strip(), analyte) or text.strip()
