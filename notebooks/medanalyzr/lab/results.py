"""A result as its sender gives it, whatever the format, and the measurement it makes.

Nothing is computed: value, unit, interval and flag are the sender's. What is doubtful is said by a code, `code: name`.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from medanalyzr.lab.references import analytes, find_analyte, fold, never, read_table
from medanalyzr.lab.report import Measurement, number

# HL7 table 0123, which HPRIM shares: what is read, and what is no result. Without a status a result counts as final.
STATUSES = {"": "final", "F": "final", "U": "final", "C": "corrected", "I": "pending", "O": "pending", "W": "wrong"}
STATUSES |= dict.fromkeys("XND", "cancelled")  # any other letter: preliminary
_FLAGS = {"L": "bas", "LL": "bas", "N": "normal", "H": "élevé", "HH": "élevé"}
_WORDS = {  # of a specimen, in folded text
    "urine": r"\burin|\becbu\b|urie\b|urese\b|miction",
    "lcr": r"\blcr\b|\bcsf\b|cephalo[- ]?rachid",
    "sang": r"\bsang(?!l)|\bserum|\bseri(?:que|n)|\bplasma|emie\b|\bedta\b|citrat|heparin",
    "autre": r"ascit|pleural|synovial|articulaire|\bselles?\b|fecal|saliv|sperm|sueur|sudoral|crachat|expector|buvard|cordon|amnio"
    r"|periton|dialysat|biopsie|moelle|isolat|frottis|ecouvillon|vagin|pharyng|\bgorge|broncho|\bpus\b|bile\b",
}
_CODES = {  # of HL7 tables 0070 and 0487, and of SNOMED CT
    "sang": r"BLD[ACV]?|WB|SER|PLAS?|PPP|SER/PLAS|119297000|11936(?:4003|1006)|122555007",
    "urine": r"UR[CNTM]?|URINM?|RANDU|UMID|122575003",
    "lcr": r"CSF|258450006",
}
# Units of UCUM (ucum.org) and of laboratory software, and the project's spelling: a pattern and what takes its place, in order.
_UNITS = {
    r"\s*/\s*\{?1[.,]73[\s_]*m[2²]\}?": "/1,73 m²",
    r"\{DDU\}": " DDU",
    r"\{[^}]*\}|\[pH\]": "",
    r"\[[iI]U\]|IU": "UI",
    r"\b[uμ](?=[a-zA-Z])": "µ",
    r"\b([mkµ]?)U(?=/|$)": r"\1UI",
    r"\b([mdcµ]?)l\b": r"\1L",
    r"mm\s*\[?Hg\]?": "mmHg",
    r"\(24\.h\)": "24 h",
    r"(?:10\s?[*^]\s?9|10⁹|[gG]iga)/L|10(?:[*^]3|³)/(?:µL|mm3|mm³)": "G/L",
    r"(?:10\s?[*^]\s?12|10¹²|[tT][eé]ra)/L|10(?:[*^]6|⁶)/(?:µL|mm3|mm³)": "T/L",
    r"^1$": "",
}
_FIGURES = r"[+-]?[0-9]{1,9}(?:[.,][0-9]{1,9})?"
_VALUE = re.compile(rf"(?P<sign>[<>]=?|[≤≥])?\s*(?P<number>{_FIGURES})(?:\s*(?P<unit>[^\s\d/<>]*/[^\s<>]+|%|fL|pg|mmHg|kPa|mm|s))?")
_TAIL = r"\s*((?:[^\s\d]|10[*^]).*)?"  # the unit after an interval
_BETWEEN = re.compile(rf"({_FIGURES})\s*(?:-|–|—|à)\s*({_FIGURES}){_TAIL}")
_ONE_BOUND = re.compile(rf"(?:(?P<below><=?|≤|inf[^\d<>-]*|jusqu'à)|>=?|≥|sup[^\d<>-]*)\s*(?P<bound>{_FIGURES}){_TAIL}", re.IGNORECASE)
_LOINC_NAME = re.compile(r"([^\[]+?)\s*\[[^\]]*\][^;]*(?:;\s*Numérique\s*(?:;\s*Comptage automate\s*)?)?")


@dataclass
class Result:
    """A result as sent. `number`: the sender's type says it is one; `specimens`: what is said of the specimen beside name and
    code; `heading`: the specimen of the title above, which counts where nothing else is known; `day`: YYYYMMDD of the sample;
    `interval`: low bound, high bound and unit; `errors`: codes without the name.
    """

    name: str
    value: str = ""
    unit: str = ""
    interval: tuple[str, str, str] = ("", "", "")
    flags: tuple[str, ...] = ()
    loinc: str = ""
    status: str = "final"
    number: bool = True
    specimens: tuple[str | None, ...] = ()
    heading: str | None = None
    day: str = ""
    errors: tuple[str, ...] = ()


def spelled(unit: str) -> str:
    """`unit` as the project spells it: `10*9/L` is `G/L`, `m[IU]/L` is `mUI/L`, UCUM's `1` is no unit; an unknown one stays."""
    for pattern, spelling in _UNITS.items():
        unit = re.sub(pattern, spelling, unit)
    return unit.strip()


def specimen_of(text: str, code: str = "") -> str | None:
    """The specimen that a code or words name; "autre" where they name two, or a code is not known; None where nothing is named."""
    if by_code := next((specimen for specimen, pattern in _CODES.items() if re.fullmatch(pattern, code)), None):
        return by_code
    found = {specimen for specimen, pattern in _WORDS.items() if re.search(pattern, fold(text))}
    return found.pop() if len(found) == 1 else "autre" if found or code else None


@cache
def loinc_codes() -> dict[str, tuple[str | None, str | None, str]]:
    """Analyte (None where the table has none), specimen and words of every known LOINC code."""
    rows = {}
    for row in read_table("loinc"):
        known = analytes().get(row["analyte"]) or find_analyte(re.sub(r"[()]", "", row["analyte"]))
        words = fold(f"{row['french_name']} {known.name if known else ''}")
        rows[row["loinc"]] = (known.id if known else None, specimen_of(row["specimen"]), words)
    return rows


def identify(result: Result) -> tuple[str | None, str, bool]:
    """Analyte and specimen of a result, and whether its LOINC code and its name speak of two analytes (then of none).

    Sources that contradict each other on the specimen make it "autre"; where nothing is said it is blood.
    """
    by_code, specimen, words = loinc_codes().get(result.loinc, (None, None, ""))
    said = {specimen_of(result.name), specimen_of(never().get(fold(result.name), "")), specimen, *result.specimens} - {None}
    specimen = said.pop() if len(said) == 1 else "autre" if said else result.heading or "sang"
    if specimen != "sang":
        return None, specimen, False
    long = _LOINC_NAME.fullmatch(result.name)
    by_name = find_analyte(result.name) or (find_analyte(long[1]) if long else None)
    if not words:
        return by_name and by_name.id, specimen, False
    own = set(re.findall(r"\w+", fold(f"{by_name.name} {result.name}"))) if by_name else set()
    differs = bool(by_name and by_code) and by_name.id != by_code and not own & set(re.findall(r"\w+", words))
    return (None if differs else by_code), specimen, differs


def interval_of(text: str) -> tuple[str, str, str]:
    """Low bound, high bound and unit as strings of a printed interval (`3,5 à 5,0 mmol/L`, `<5`, `inf. à 190`, `-2-2`)."""
    text = re.sub(r"^\s*(?:VR|N)\s*:\s*|[()]", "", text).strip()
    if match := _BETWEEN.fullmatch(text):
        return match[1], match[2], match[3] or ""
    if match := _ONE_BOUND.fullmatch(text):
        return ("", match["bound"], match[3] or "") if match["below"] else (match["bound"], "", match[3] or "")
    return "", "", ""


def _bounds(result: Result) -> tuple[float | None, float | None, str | None]:
    """Bounds of a result and the code of their fault; both are None where they are equal, reversed or no numbers."""
    given = [text.strip() for text in result.interval[:2]]
    if not all(re.fullmatch(_FIGURES, text) for text in given if text):
        return None, None, None
    low, high = (number(text) if text else None for text in given)
    if low is not None and high is not None and low >= high:
        return None, None, "interval_low_equals_high" if low == high else "interval_reversed"
    return low, high, None


def _contradicts(m: Measurement) -> bool:
    """Whether value and interval prove another flag than the sender's. A censored value proves what all it may stand for have."""
    if m.value is None or m.flag is None or m.interval_unit:
        return False
    least = m.value if m.sign != "<" else 0
    most = m.value if m.sign != ">" else float("inf")
    low, high = -float("inf") if m.low is None else m.low, float("inf") if m.high is None else m.high
    proved = {"bas": most < low, "élevé": least > high, "normal": low <= least and most <= high}
    return (m.low, m.high) != (None, None) and any(proved.values()) and not proved[m.flag]


def measure(result: Result) -> tuple[Measurement | None, list[str]]:
    """The measurement in a result, None where it has no value, and the codes of what is doubtful in it."""
    text = " ".join(result.value.split()).strip("* ")
    if not text or any(unicodedata.category(c)[0] == "C" for c in text):
        return None, ["no_value"]
    analyte, specimen, differs = identify(result)
    unit, interval_unit = spelled(result.unit), spelled(result.interval[2])
    match = _VALUE.fullmatch(re.sub(r"(?<=[0-9]) (?=[0-9]{3}(?![0-9]))", "", text))
    hidden = spelled(match["unit"] or "") if match else ""
    codes = [*result.errors, *(["code_conflict"] if differs else [])]
    if match and hidden and unit not in ("", hidden):
        codes, match = [*codes, "unit_conflict"], None
    elif match and not (result.number or result.unit or hidden):
        match = None  # a number where words are announced, without a unit: what it counts is not known
    elif bool(match) != result.number or hidden:
        codes.append("text_value")
    low, high, fault = _bounds(result)
    unit = unit or (hidden if match else "")
    sign = re.sub(r"=", "", (match["sign"] or "").replace("≤", "<").replace("≥", ">")) if match else ""
    flags = {_FLAGS[flag] for flag in result.flags if flag in _FLAGS}
    m = Measurement(
        analyte=analyte,
        name=result.name,
        text=sign + match["number"].lstrip("+").replace(".", ",") if match else text,
        value=number(match["number"]) if match else None,
        sign=sign,
        unit=unit,
        low=low,
        high=high,
        flag=flags.pop() if len(flags) == 1 else None,
        critical=not {"LL", "HH"}.isdisjoint(result.flags),
        interval_unit="" if interval_unit == unit or (low, high) == (None, None) else interval_unit,
        specimen=specimen,
    )
    if match and analyte and analytes()[analyte].unit and not (unit or result.unit):
        codes.append("no_unit")
    return m, codes + [fault] * (fault is not None) + ["flag_contradicts_interval"] * _contradicts(m)
