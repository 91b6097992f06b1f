"""What every result format comes down to: a result as its sender gives it, and the measurement it makes.

Nothing is computed: value, unit, interval and flag are the sender's. A doubt is reported as a code, `code: name`.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from medanalyzr.lab.reading.names import specimens
from medanalyzr.lab.references import analytes, find_analyte, fold, never, read_table
from medanalyzr.lab.report import FIGURES, Measurement, number

# HL7 table 0123, which HPRIM shares; any other letter is preliminary. Without a status a result counts as final.
STATUSES = {"": "final", "F": "final", "U": "final", "C": "corrected", "I": "pending", "O": "pending", "W": "wrong"}
STATUSES |= dict.fromkeys("XND", "cancelled")
_FLAGS = {"L": "bas", "LL": "bas", "N": "normal", "H": "élevé", "HH": "élevé"}
# Units of UCUM (ucum.org) and of laboratory software, and the project's spelling: a pattern and what takes its place, in order.
_UNITS = {
    r"\s*/\s*\{?1[.,]73[\s_]*m[2²]\}?": "/1,73 m²",
    r"\{DDU\}": " DDU",
    r"\{[^}]*\}|\[pH\]": "",
    r"\[[iI]U\]|IU": "UI",
    r"\b[uμ](?=[a-zA-Z]|3$)": "µ",
    r"\b([mkµ]?)U(?=/|$)": r"\1UI",
    r"\b([mdcµ]?)l\b": r"\1L",
    r"mm\s*\[?Hg\]?": "mmHg",
    r"\(24\.h\)": "24 h",
    r"(?:10\s?[*^]\s?9|10⁹|[gG]iga)/L|10(?:[*^]3|³)/(?:µL|mm3|mm³)": "G/L",
    r"(?:10\s?[*^]\s?12|10¹²|[tT][eé]ra)/L|10(?:[*^]6|⁶)/(?:µL|mm3|mm³)": "T/L",
    r"/\s?100\s?m[lL]$": "/dL",
    r"^1$": "",
}
_VALUE = re.compile(rf"(?P<sign>[<>]=?|[≤≥])?\s*(?P<number>{FIGURES})(?:\s*(?P<unit>[^\s\d/<>]*/[^\s<>]+|%|fL|pg|mmHg|kPa|mm|s))?")
_NO_NUMBER = re.compile(r"[<>]?[+-]?(?:[\d.,]+(?:e[+-]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE)  # what no laboratory prints
_LOINC_NAME = re.compile(r"([^\[]+?)\s*\[[^\]]*\][^;]*(?:;\s*Numérique\s*(?:;\s*Comptage automate\s*)?)?")


@dataclass
class Result:
    """A result as sent. `interval`: low bound, high bound, unit; `is_number`: its type says so; `specimens`: what is said beside
    name and code; `heading`: specimen of the title above, for want of others; `day`: YYYYMMDD; `errors`: codes without name; `moment`: day
    and time as sent.
    """

    name: str
    value: str
    unit: str
    interval: tuple[str, str, str]
    flags: Iterable[str]
    loinc: str = ""
    status: str = "final"
    is_number: bool = True
    specimens: tuple[str | None, ...] = ()
    heading: str | None = None
    day: str = ""
    errors: tuple[str, ...] = ()
    moment: str = ""

    def __post_init__(self):
        for field in ("name", "unit"):  # on one line, without control and invisible characters; a value with such is refused
            plain = "".join(c for c in " ".join(getattr(self, field).split()) if unicodedata.category(c)[0] != "C")
            setattr(self, field, plain)


@lru_cache(4096)
def spelled(unit: str) -> str:
    """`unit` as the project spells it: `10*9/L` is `G/L`, `m[IU]/L` is `mUI/L`, UCUM's `1` is no unit; an unknown one stays."""
    for pattern, spelling in _UNITS.items():
        unit = re.sub(pattern, spelling, unit)
    return unit.strip()


@cache
def _codes() -> dict[str, re.Pattern]:
    return {row["specimen"]: re.compile(row["codes"]) for row in read_table("specimens")}


@lru_cache(4096)
def specimen_of(text: str, code: str = "") -> str | None:
    """The specimen that a code (HL7 tables 0070 and 0487, SNOMED CT) or words name; "autre" where they name two or the code is
    not known; None where nothing is named.
    """
    found = [name for name, codes in _codes().items() if codes.fullmatch(code)]
    found = found or [name for name, words in specimens().items() if words.search(fold(text))]
    return found[0] if len(found) == 1 else "autre" if found or code else None


@cache
def _loinc() -> dict[str, tuple[str | None, str | None, str]]:
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
    by_code, specimen, words = _loinc().get(result.loinc, (None, None, ""))
    said = {specimen_of(result.name), specimen_of(never().get(fold(result.name), "")), specimen, *result.specimens} - {None}
    specimen = said.pop() if len(said) == 1 else "autre" if said else result.heading or "sang"
    long = _LOINC_NAME.fullmatch(result.name)
    by_name = find_analyte(result.name) or (find_analyte(long[1]) if long else None)
    if specimen != "sang" or not words:
        return (by_name.id if by_name and specimen == "sang" else None), specimen, False
    own = set(re.findall(r"\w+", fold(f"{by_name.name} {result.name}"))) if by_name and by_code else set()
    differs = bool(own) and by_name.id != by_code and own.isdisjoint(re.findall(r"\w+", words))
    return (None if differs else by_code), specimen, differs


def _contradicts(m: Measurement) -> bool:
    """Whether value and interval prove another flag than the sender's. A censored value proves what all it may stand for have."""
    if m.value is None or m.flag is None or m.interval_unit or (m.low, m.high) == (None, None):
        return False
    least, most = (0 if m.sign == "<" else m.value), (float("inf") if m.sign == ">" else m.value)
    low, high = -float("inf") if m.low is None else m.low, float("inf") if m.high is None else m.high
    proved = {"bas": most < low, "élevé": least > high, "normal": low <= least and most <= high}
    return any(proved.values()) and not proved[m.flag]


def measure(result: Result) -> tuple[Measurement | None, list[str]]:
    """The measurement in a result, None where it has no value, and the codes of what is doubtful in it."""
    text = " ".join(result.value.split()).strip("* ")
    match = _VALUE.fullmatch(re.sub(r"(?<=[0-9]) (?=[0-9]{3}(?![0-9]))", "", text))  # «150 000»
    if not text or any(unicodedata.category(c)[0] == "C" for c in text) or not match and _NO_NUMBER.fullmatch(text):
        return None, ["no_value"]
    analyte, specimen, differs = identify(result)
    unit, interval_unit, hidden = spelled(result.unit), spelled(result.interval[2]), spelled(match and match["unit"] or "")
    codes = [*result.errors, *["code_conflict"] * differs]
    if hidden and unit not in ("", hidden):
        codes, match = [*codes, "unit_conflict"], None
    elif match and not (result.is_number or result.unit or hidden):
        match = None  # a number where words are announced, without a unit: what it counts is not known
    elif bool(match) != result.is_number or hidden:
        codes.append("text_value")
    value, sign, unit = None, "", unit or (hidden if match else "")
    if match:
        value, text = number(match["number"]), (match["sign"] or "") + match["number"].lstrip("+").replace(".", ",")
        sign = (match["sign"] or "").replace("≤", "<").replace("≥", ">")[:1]
        codes += ["no_unit"] * bool(analyte and analytes()[analyte].unit and not unit and not result.unit)
    bounds = [bound.strip() for bound in result.interval[:2]]
    numeric = all(re.fullmatch(FIGURES, bound) for bound in bounds if bound)
    low, high = (number(bound) if bound and numeric else None for bound in bounds)
    if low is not None and high is not None and low >= high:
        codes.append("interval_low_equals_high" if low == high else "interval_reversed")
        low = high = None
    flags = {_FLAGS[flag] for flag in result.flags if flag in _FLAGS}
    flag, critical = (flags.pop() if len(flags) == 1 else None), not {"LL", "HH"}.isdisjoint(result.flags)
    interval_unit = "" if interval_unit == unit or (low, high) == (None, None) else interval_unit
    m = Measurement(analyte, result.name, text, value, sign, unit, low, high, flag, critical, interval_unit, specimen)
    return m, codes + ["flag_contradicts_interval"] * _contradicts(m)
