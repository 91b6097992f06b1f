"""What stands beside the known results of a report: the rest of their panels, other analytes, other specimens, results not given.

Values are drawn in and out of their intervals and held together where laboratories compute them from each other. Names that
nobody has seen before are made of syllables, so that a model learns to copy names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from medanalyzr.dataset.composer.printing import phrases
from medanalyzr.dataset.sources.simulate import draw
from medanalyzr.lab.engine.facts import ckd_epi_2009
from medanalyzr.lab.references import analytes, find_analyte, fold, never, read_table, reference_interval
from medanalyzr.lab.report import Measurement, Report, format_number, number
from medanalyzr.lab.units import usual_unit

_SHARES = {"pnn": (40, 78), "lymphocytes": (12, 45), "monocytes": (3, 10), "eosinophiles": (0.5, 6)}
_OF_A_KIND = {"Rap": "mg/mmol", "IgE": "kUA/L", "Act": "%", "Fac": "%"}  # units of invented analytes, by the head of their name


@dataclass(frozen=True)
class Placed:
    """A measurement, the section of the report that it stands in, and whether it is one of the known results."""

    m: Measurement
    section: str
    own: bool = False


def usual(analyte: str, value: float | None, sex: str | None) -> Measurement:
    """A known analyte with a value in its French unit (0 without one) and the interval of the tables."""
    known, bounds = analytes()[analyte], reference_interval(analyte, sex)
    text = format_number(value or 0, known.decimals)
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    return Measurement(analyte, known.name, text, number(text), "", known.unit, low, high)


def _derived(analyte: str, v: dict[str, float], sex: str | None, age: float | None, rng: Random) -> float | None:
    """What a laboratory computes from values that the report holds already (French units); None where it cannot."""
    if analyte == "ccmh":
        return rng.uniform(31.5, 35.5)
    if analyte == "hematocrite" and "hb" in v:
        return v["hb"] * 10 / v.setdefault("ccmh", rng.uniform(32.0, 35.5))
    if analyte == "hematies" and "hb" in v:
        return v["hb"] * 100 / v.setdefault("ccmh", rng.uniform(32.0, 35.5)) / v.setdefault("vgm", rng.uniform(81, 99))
    if analyte == "tcmh" and {"vgm", "ccmh"} & set(v):
        return v.setdefault("vgm", rng.uniform(81, 99)) * v.setdefault("ccmh", rng.uniform(32.0, 35.5)) / 100
    if analyte in _SHARES and "leucocytes" in v:
        left = v["leucocytes"] - sum(v.get(other, 0) for other in _SHARES)
        return max(min(v["leucocytes"] * rng.uniform(*_SHARES[analyte]) / 100, left), 0.01)
    if analyte == "basophiles":
        return rng.uniform(0, 0.09)
    if analyte == "dfg" and "creatinine" in v and sex and age and age >= 18:
        return ckd_epi_2009(v["creatinine"], age, sex)
    if analyte == "inr" and "tp" in v:
        return (100 / v["tp"]) ** 0.72
    if analyte == "bilirubine_conjuguee" and "bilirubine_totale" in v:
        return v["bilirubine_totale"] * rng.uniform(0.1, 0.7)
    if analyte == "non_hdl" and {"cholesterol", "hdl"} <= set(v):
        return v["cholesterol"] - v["hdl"]
    if analyte == "ldl" and {"cholesterol", "hdl", "triglycerides"} <= set(v):
        return max(v["cholesterol"] - v["hdl"] - v["triglycerides"] / 2.2, 0.3)
    if analyte == "cst" and {"fer", "transferrine"} <= set(v):
        return min(v["fer"] / (25 * v["transferrine"]) * 100, 99)
    return None


def panels(report: Report, rng: Random, count: int) -> list[Placed]:
    """The measurements of `report`, and of their panels (then of others) until there are `count`; each panel together.

    Nothing is added for children and in pregnancy, to whom the intervals of the tables do not apply.
    """
    tables = {kind[6:]: texts[0].split() for kind, texts in phrases().items() if kind.startswith("panel:")}
    own = [Placed(m, _section(m), True) for m in report.measurements]
    given = {m.analyte for m in report.measurements}
    given |= {"bicarbonates"} if "ph" in given else set()  # a blood gas has its own
    first = dict.fromkeys(placed.section for placed in own)
    adult = not report.pregnant and (report.age is None or report.age >= 18)
    values = {m.analyte: m.value for m in report.measurements if m.analyte and m.unit == analytes()[m.analyte].unit and not m.sign}
    rest = [section for section in tables if section not in first and section != "gaz du sang"]
    left, added = count - len(own) if adult else 0, []
    for section in [*(s for s in first if s in tables), *rng.sample(rest, len(rest))]:
        wanted = [a for a in tables[section] if a not in given and rng.random() < 0.85]
        for analyte in wanted[: max(left, 0)]:
            value = values.get(analyte) or _derived(analyte, values, report.sex, report.age, rng)
            if value is None:
                value = draw(rng, analyte, report.sex or rng.choice("HF"), "normal" if rng.random() < 0.6 else None)
            values[analyte] = value
            added.append(Placed(usual(analyte, max(value, 0), report.sex), section))
            left -= 1
    order = {analyte: place for panel in tables.values() for place, analyte in enumerate(panel)}
    result = []
    for section in dict.fromkeys([*first, *(placed.section for placed in added)]):
        extra = [placed for placed in added if placed.section == section]
        here = [placed for placed in own if placed.section == section] + extra
        result += sorted(here, key=lambda placed: order.get(placed.m.analyte, 99)) if extra else here
    return result


def _section(m: Measurement) -> str:
    """The section of a known result: the panel of its analyte, or its specimen where that is not blood."""
    return m.specimen if m.specimen != "sang" else analytes()[m.analyte].category if m.analyte else "biochimie"


@cache
def _table() -> dict[str, tuple[dict[str, str], ...]]:
    """The rows of tables/other_analytes.csv by specimen."""
    rows = read_table("other_analytes")
    return {where: tuple(r for r in rows if r["specimen"] == where) for where in ("sang", "urine", "lcr", "autre")}


def _drawn(name: str, specimen: str, unit: str, low: float | None, high: float | None, decimals: int, rng: Random) -> Measurement:
    """Another analyte with a value in or out of an interval that is its own laboratory's: wider or narrower than the table's."""
    narrow = low is not None and high is not None and high < 1.3 * low
    scale = 1.0 if narrow else rng.choice((1.0, rng.uniform(0.75, 1.3)))
    low, high = (None if b is None else round(b * scale, decimals) for b in (low, high))
    if low is not None and low == high:
        low = None
    top = high if high is not None else 2.2 * low
    bottom = low if low is not None else 0.1 * top
    span = top - bottom if low is not None and high is not None else top
    over = rng.uniform(top, top + (0.6 if low is not None else 2) * span)
    under = max(rng.uniform(bottom - 0.5 * span, bottom), 0.3 * bottom)
    value = rng.choices((rng.uniform(bottom, top), under, over), (58, 14, 28))[0]
    sign = "<" if rng.random() < 0.05 and low is None else ""
    text = format_number(0.1 * top if sign else value, decimals)
    known = find_analyte(name) if specimen != "sang" else None
    if rng.random() < 0.08:
        low = high = None
    analyte = known.id if known else None
    return Measurement(analyte, name, sign + text, number(text), sign, usual_unit(unit), low, high, specimen=specimen)


def _invented(rng: Random) -> Measurement:
    """An analyte of no laboratory, its name made of syllables."""
    parts = phrases()
    word = "".join(rng.choice(parts["syllable"]) for _ in range(rng.randint(1, 3))) + rng.choice(parts["ending"])
    name = rng.choice(parts["invented"]).format(word, n=rng.randint(2, 99))
    top, decimals = rng.choice(((1, 2), (5, 1), (5, 2), (20, 1), (80, 0), (80, 1), (300, 0), (1500, 0), (9000, 0)))
    top, kind = top * rng.uniform(0.6, 1.6), rng.random()
    low = None if kind < 0.45 else round(top * rng.uniform(0.1, 0.6), decimals)
    high = None if 0.45 <= kind < 0.55 else round(top, decimals)
    unit = _OF_A_KIND.get(name[:3]) or rng.choice(parts["invented_unit"])
    return _drawn(name[0].upper() + name[1:], "sang", unit, low, high, decimals, rng)


def others(rng: Random, count: int) -> Iterator[Placed]:
    """`count` analytes in blood that our tables do not know, a quarter of them of no laboratory."""
    known = rng.sample(_table()["sang"], min(count, len(_table()["sang"])))
    chosen = rng.choice([r["section"] for r in known]) if known else ""
    known.sort(key=lambda r: (r["section"] != chosen, r["section"]))
    for r in known:
        m = _invented(rng) if rng.random() < 0.25 else _from(r, rng)
        if find_analyte(m.name) is None and never().get(fold(m.name), "sang") in ("sang", "plasma"):
            yield Placed(m, r["section"])


def _from(r: dict[str, str], rng: Random) -> Measurement:
    """A measurement of a row of tables/other_analytes.csv."""
    low, high = (float(r[end]) if r[end] else None for end in ("low", "high"))
    return _drawn(r["name"], r["specimen"], r["unit"], low, high, int(r["decimals"]), rng)


def fluid(rng: Random) -> list[Placed]:
    """Some results of one other specimen: urine, cerebrospinal fluid, or another."""
    specimen = rng.choices(("urine", "lcr", "autre"), (70, 15, 15))[0]
    section = rng.choice([r["section"] for r in _table()[specimen]])
    rows = [r for r in _table()[specimen] if r["section"] == section]
    return [Placed(_from(r, rng), section) for r in rng.sample(rows, min(len(rows), rng.randint(1, 6)))]
