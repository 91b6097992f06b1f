"""The lines of an answer, as `lab.rules.answer_line` writes them: `Nom : valeur unité (comparaison) : indicateur[, critique]`."""

import re
from dataclasses import dataclass
from functools import lru_cache

from medanalyzr.lab.reading.names import key, known, specimen_of
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import LONGEST_LINE, Measurement, number
from medanalyzr.lab.units import plain

_N = r"-?\d+(?:[.,]\d+)?"
_LINE = re.compile(
    rf"""^[\s\-*•|]*(?P<name>\S.*?)\s*:\s*(?P<sign>[<>]?)\s*(?P<value>-?\d{{1,3}}(?:[\s]\d{{3}})+(?:[.,]\d+)?|{_N})(?![\d.,])\s*
    (?P<unit>[^():]*?)\s*(?:\((?P<comparison>.*)\)\s*)?:\s*(?P<flag>bas|normal|élevé|indéterminé)(?P<critical>\s*,\s*critique)?\s*\.?\s*$""",
    re.VERBOSE | re.IGNORECASE,
)  # fmt: skip
_TAIL = re.compile(r"\s*\((urines|lcr|autre)\)$", re.IGNORECASE)
_FLUIDS = {"urines": "urine", "lcr": "lcr", "autre": "autre"}
_CHAIN = re.compile(rf"{_N}|[<≤>≥]|[-–]")
_UNIT_TOLD = re.compile(rf"{_N}\s+([^\d\s<>≤≥–-].*?)\s*$")
_SPACES = re.compile(r"[\s\u2009]+")


@dataclass(slots=True)
class Given:
    """A line of an answer: its measurement with the bounds of its comparison, the key of its name, the value in the comparison,
    whether the line says that an interval is there (True), that something is missing (False), or neither (None), and the numbers
    after the comparison (critical limits, what a value is converted or corrected to).
    """

    m: Measurement
    key: str
    compared: float | None
    bounded: bool | None
    further: frozenset[float]


def numbers_of(text: str) -> frozenset[float]:
    """The different numbers in a part of an answer."""
    return frozenset(map(number, re.findall(_N, text)))


def _chain(text: str, side: str, sign: str, value: float) -> tuple[float | None, float | None, float | None]:
    """Low bound, high bound and compared value of `3,5 ≤ 5,0 < 6,8`, `32 < 60`, `3,5 ≤ 4,2 ≤ 5,0` or `3,5 - 5,0`."""
    parts = _CHAIN.findall(text)
    numbers = [number(p) for p in parts if p[-1].isdigit()]
    if len(numbers) == 2 and parts[1:2] in (["-"], ["–"]):
        return numbers[0], numbers[1], None
    if len(numbers) == 3:
        return tuple(numbers) if side == "élevé" else (numbers[0], numbers[2], numbers[1])
    if len(numbers) == 2:
        first, second = numbers
        if side == "bas":
            return second, None, first
        if side == "élevé":
            return None, first, second
        below = abs(first - value) <= abs(second - value) and sign != ">"
        return (None, second, first) if below else (first, None, second)
    if len(numbers) == 1:
        return (None, numbers[0], None) if parts[0] in "<≤" else (numbers[0], None, None)
    return None, None, None


@lru_cache(8192)
def _of_name(name: str) -> tuple[str | None, str, str, str]:
    """Analyte, name without the specimen in brackets, specimen and key of a name in an answer."""
    tail = _TAIL.search(name)
    bare = name[: tail.start()] if tail else name
    return known(bare), bare, _FLUIDS[tail[1].lower()] if tail else specimen_of(fold(bare)) or "sang", key(bare)


def read_line(line: str) -> Given | None:
    """The measurement in a line of an answer, or None if the line does not have that form."""
    match = _LINE.match(line) if len(line) <= LONGEST_LINE else None
    if match is None:
        return None
    analyte, name, specimen, name_key = _of_name(match["name"])
    digits, sign, side, unit = _SPACES.sub("", match["value"]), match["sign"], match["flag"].lower(), match["unit"]
    told, _, more = (match["comparison"] or "").partition(";")
    value = number(digits)
    low, high, compared = _chain(told, side, sign, value)
    after = _UNIT_TOLD.search(told) if (low, high) != (None, None) else None
    interval_unit = after[1].strip() if after and plain(after[1]) != plain(unit) else ""
    m = Measurement(analyte, name, sign + digits.replace(".", ","), value, sign, unit, low, high, side, match["critical"] is not None,
                    interval_unit, specimen)  # fmt: skip
    bounded = False if "manquant" in told else True if (low, high) != (None, None) or "non classable" in told else None
    return Given(m, name_key, compared, bounded, numbers_of(more))
