"""Reference intervals, critical values and unit conversions for adults, each with its source.

The tables lie beside this file as CSV: `analytes`, `names` (as laboratories print them), `never` (names that are not that
analyte), `reference_intervals`, `conditional_intervals` (age, pregnancy, treatment), `critical_values`, `conversions`, `loinc`,
`sources`.
Units are the usual French ones (g/L, µmol/L, mmol/L, G/L, T/L, UI/L). They score a data set; no clinician reviewed them.
"""

import csv
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Analyte:
    """One measured quantity: its identifier, French name, category, unit, printed decimals, and how its name agrees (m, f, mp, fp)."""

    id: str
    name: str
    category: str
    unit: str
    decimals: int
    gender: str = "m"


@dataclass(frozen=True)
class Bounds:
    """A closed interval in the analyte's unit; None means unbounded. `source` holds keys of `sources()` (see `cited`)."""

    low: float | None
    high: float | None
    source: str


def read_table(table: str) -> list[dict[str, str]]:
    """The rows of tables/<table>.csv."""
    with open(TABLES / f"{table}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None


@cache
def vocabulary(role: str) -> frozenset[str]:
    """The folded words that keys of fields with this role have (tables/field_keys.csv)."""
    return next(frozenset(row["words"].split()) for row in read_table("field_keys") if row["role"] == role)


@lru_cache(16384)
def fold(text: str) -> str:
    """Lower case, without accents or repeated spaces: the form in which names are compared."""
    text = text.lower()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(text.split())


@cache
def analytes() -> dict[str, Analyte]:
    """Every known analyte by its identifier."""
    return {
        r["analyte"]: Analyte(r["analyte"], r["name"], r["category"], r["unit"], int(r["decimals"]), r["gender"])
        for r in read_table("analytes")
    }


@cache
def _by_name() -> dict[str, Analyte]:
    return {fold(name): analytes()[analyte] for name, analyte in aliases()}


@cache
def never() -> dict[str, str]:
    """Names that are not the analyte they resemble, folded, and the specimen they speak of."""
    return {fold(r["name"]): r["specimen"] for r in read_table("never")}


def find_analyte(name: str) -> Analyte | None:
    """The analyte a report calls `name` (case and accents do not matter), or None."""
    return _by_name().get(fold(name))


@cache
def _intervals() -> dict[tuple[str, str], Bounds]:
    table = {}
    for r in read_table("reference_intervals"):
        for sex in r["sex"]:
            table[r["analyte"], sex] = Bounds(_number(r["low"]), _number(r["high"]), r["source"])
    return table


def reference_interval(analyte: str, sex: str | None) -> Bounds | None:
    """The adult reference interval of `analyte` for `sex` ("H", "F" or None when unknown).

    None when the analyte is not in the table, or when its interval depends on a sex that is unknown.
    """
    if sex is None:
        return None if depends_on_sex(analyte) else _intervals().get((analyte, "F"))
    return _intervals().get((analyte, sex))


def depends_on_sex(analyte: str) -> bool:
    """Whether the reference interval of `analyte` differs between men and women."""
    return _intervals().get((analyte, "H")) != _intervals().get((analyte, "F"))


@cache
def _critical() -> dict[str, Bounds]:
    return {r["analyte"]: Bounds(_number(r["low"]), _number(r["high"]), r["source"]) for r in read_table("critical_values")}


def critical_limits(analyte: str) -> Bounds | None:
    """Limits from which a value of `analyte` must be phoned (value ≤ low or ≥ high), or None."""
    return _critical().get(analyte)


@cache
def sources() -> dict[str, str]:
    """The citation behind each source key."""
    return {r["source"]: r["citation"] for r in read_table("sources")}


def cited(source: str) -> str:
    """The citations behind the source keys of a row, which semicolons part."""
    return " ; ".join(sources().get(key, "manuel, sans source lue") for key in source.split(";"))


@dataclass(frozen=True)
class Conversion:
    """A value in `unit` (printed with `decimals`) times `factor`, plus `offset`, is the value in the analyte's French unit."""

    analyte: str
    unit: str
    factor: float
    offset: float
    decimals: int


@cache
def conversions() -> dict[tuple[str, str], Conversion]:
    """Every known conversion by analyte and foreign unit."""
    return {
        (r["analyte"], r["unit"]): Conversion(
            r["analyte"], r["unit"], float(r["factor"]), _number(r["offset"]) or 0.0, int(r["decimals"])
        )
        for r in read_table("conversions")
        if r["unit"] and r["factor"]  # a fraction without unit and pH in nmol/L are no matter of a factor
    }


def convert(analyte: str, value: float, unit: str, to: str | None = None) -> float:
    """`value` of `analyte` from `unit` to the unit `to` (by default the analyte's French unit).

    Raises:
        KeyError: no conversion between the two units is known for the analyte.
    """
    french = analytes()[analyte].unit
    to = french if to is None else to
    if unit == to:
        return value
    if unit != french:
        known = conversions()[analyte, unit]
        value = value * known.factor + known.offset
    return value if to == french else (value - conversions()[analyte, to].offset) / conversions()[analyte, to].factor


def decimals_in(analyte: str, unit: str) -> int:
    """How many decimals a report prints for `analyte` in `unit` (KeyError for an unknown unit)."""
    known = analytes()[analyte]
    return known.decimals if unit == known.unit else conversions()[analyte, unit].decimals


@cache
def aliases() -> tuple[tuple[str, str], ...]:
    """Every name that laboratories print and the analyte that it stands for, without the pairs that `never` excludes."""
    excluded = {(fold(r["name"]), r["not_analyte"]) for r in read_table("never")}
    named = [(r["alias"], r["analyte"]) for r in read_table("names")] + [(a.name, a.id) for a in analytes().values()]
    return tuple((name, analyte) for name, analyte in named if (fold(name), analyte) not in excluded)
