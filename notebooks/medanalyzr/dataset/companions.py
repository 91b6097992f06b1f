"""What stands beside the known results of a report: the rest of their panels, other analytes, other specimens, results not given.

Values are drawn in and out of their intervals and held together where laboratories compute them from each other. Names that
nobody has seen before are made of syllables, so that a model learns to copy names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from medanalyzr.dataset.simulate import draw
from medanalyzr.lab.references import analytes, find_analyte, fold, never, read_table, reference_interval
from medanalyzr.lab.report import Measurement, Report, format_number, number
from medanalyzr.lab.rules import ckd_epi_2009
from medanalyzr.lab.units import usual_unit

COUNT = ("hb", "hematies", "hematocrite", "vgm", "tcmh", "ccmh", "idr", "leucocytes", "pnn", "eosinophiles", "basophiles",
         "lymphocytes", "monocytes", "plaquettes", "vpm")  # fmt: skip
_PANELS = {
    "hématologie": COUNT,
    "ionogramme": ("sodium", "potassium", "chlore", "bicarbonates", "calcium", "phosphore", "magnesium", "proteines"),
    "rénal": ("creatinine", "dfg", "uree", "acide_urique"),
    "hépatique": ("asat", "alat", "ggt", "pal", "bilirubine_totale", "bilirubine_conjuguee", "ldh", "lipase", "albumine"),
    "lipides": ("cholesterol", "triglycerides", "hdl", "ldl", "non_hdl"),
    "glycémie": ("glucose", "hba1c"),
    "coagulation": ("tp", "inr", "tca", "fibrinogene", "ddimeres"),
    "inflammation": ("crp", "vs", "haptoglobine", "orosomucoide"),
    "thyroïde": ("tsh", "t4l", "t3l", "anti_tpo"),
    "fer": ("fer", "transferrine", "cst", "ferritine"),
    "gaz du sang": ("ph", "paco2", "pao2", "hco3_art", "sao2", "lactate"),
    "vitamines": ("vitamine_d", "vitamine_b12", "folates", "zinc", "homocysteine"),
    "cardiaque": ("troponine_t", "bnp", "ck", "myoglobine"),
    "immunologie": ("igg", "iga", "igm", "c3", "c4", "facteur_rhumatoide", "anti_ccp", "ige"),
    "hormones": ("pth", "prolactine", "cortisol_8h"),
    "marqueurs": ("ca125", "ca19_9", "ca15_3", "ace", "afp"),
}
_SHARES = {"pnn": (40, 78), "lymphocytes": (12, 45), "monocytes": (3, 10), "eosinophiles": (0.5, 6)}
_SYLLABLES = [
    "ba",
    "bro",
    "cal",
    "cy",
    "dra",
    "du",
    "fe",
    "flo",
    "gra",
    "hy",
    "ka",
    "le",
    "lo",
    "ma",
    "mo",
    "ni",
    "or",
    "pa",
    "pré",
    "ri",
    "ro",
    "sé",
    "ta",
    "tri",
    "va",
    "vi",
    "xa",
    "zo",
]
_ENDINGS = ("ine", "ase", "émie", "globuline", "protéine", "stérone", "idine", "érol", "orexine", "ate", "osamine", "inogène")
_INVENTED = ("{}", "{}", "{} sérique", "Anticorps anti-{}", "Ac anti-{} IgG", "{} libre", "{} totale", "{}-{n}", "IgE spécifiques {} (x{n})",
             "Rapport {}/créatinine", "Activité {}", "{} plasmatique T{n}", "Acide {}", "Facteur {}")  # fmt: skip
_UNITS = (
    "µg/L",
    "ng/mL",
    "pg/mL",
    "UI/mL",
    "U/mL",
    "nmol/L",
    "pmol/L",
    "µmol/L",
    "mg/L",
    "g/L",
    "%",
    "mUI/L",
    "UA/mL",
    "kUA/L",
    "",
)


@dataclass(frozen=True)
class Placed:
    """A measurement and the section of the report that it stands in."""

    m: Measurement
    section: str


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
    own = {m.analyte: m for m in report.measurements}
    sections = {m.analyte: analytes()[m.analyte].category if m.analyte else "biochimie" for m in report.measurements}
    first = dict.fromkeys(sections.values())
    added: dict[str, list[Measurement]] = {}
    adult = not report.pregnant and (report.age is None or report.age >= 18)
    values = {m.analyte: m.value for m in report.measurements if m.analyte and m.unit == analytes()[m.analyte].unit and not m.sign}
    others = [p for p in _PANELS if p not in first and p != "gaz du sang"]
    left = count - len(report.measurements) if adult else 0
    for section in [*(p for p in first if p in _PANELS), *rng.sample(others, len(others))]:
        wanted = [a for a in _PANELS[section] if a not in own and not (a == "bicarbonates" and "ph" in own)]
        if section != "hématologie" or section in first:
            wanted = [a for a in wanted if rng.random() < 0.75]
        for analyte in wanted[: max(left, 0)]:
            value = _derived(analyte, values, report.sex, report.age, rng)
            if analyte in values and value is None or analyte in ("vgm", "ccmh") and analyte in values:
                value = values[analyte]
            if value is None:
                value = draw(rng, analyte, report.sex or rng.choice("HF"), "normal" if rng.random() < 0.6 else None)
            values[analyte] = value
            added.setdefault(section, []).append(usual(analyte, max(value, 0), report.sex))
            left -= 1
    order = {a: i for panel in _PANELS.values() for i, a in enumerate(panel)}
    result = []
    for section in [*first, *(s for s in added if s not in first)]:
        ms = [m for m in report.measurements if sections[m.analyte] == section] + added.get(section, [])
        if section in added:
            ms.sort(key=lambda m: order.get(m.analyte, 99))
        result += [Placed(m, section) for m in ms]
    return result


@cache
def _table() -> dict[str, tuple[dict[str, str], ...]]:
    rows = read_table("other_analytes")
    return {where: tuple(r for r in rows if r["specimen"] == where) for where in ("sang", "urine", "lcr", "autre")}


def _drawn(name: str, specimen: str, unit: str, low: float | None, high: float | None, decimals: int, rng: Random) -> Measurement:
    """Another analyte with a value in or out of an interval that is its own laboratory's: wider or narrower than the table's."""
    scale = rng.choice((1.0, rng.uniform(0.75, 1.3)))
    low, high = (None if b is None else round(b * scale, decimals) for b in (low, high))
    if low is not None and low == high:
        low = None
    top = high if high is not None else 2.2 * low
    bottom = low if low is not None else 0.1 * top
    value = rng.choices((rng.uniform(bottom, top), rng.uniform(0.4 * bottom, bottom), rng.uniform(top, 3 * top)), (58, 14, 28))[0]
    sign = "<" if rng.random() < 0.05 and low is None else ""
    text = format_number(0.1 * top if sign else value, decimals)
    known = find_analyte(name) if specimen != "sang" else None
    if rng.random() < 0.08:
        low = high = None
    return Measurement(
        known.id if known else None, name, sign + text, number(text), sign, usual_unit(unit), low, high, specimen=specimen
    )


def _invented(rng: Random) -> Measurement:
    word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 3))) + rng.choice(_ENDINGS)
    name = rng.choice(_INVENTED).format(word, n=rng.randint(2, 99))
    top, decimals = rng.choice(((1, 2), (5, 1), (5, 2), (20, 1), (80, 0), (80, 1), (300, 0), (1500, 0), (9000, 0)))
    top *= rng.uniform(0.6, 1.6)
    kind = rng.random()
    low = None if kind < 0.45 else round(top * rng.uniform(0.1, 0.6), decimals)
    high = None if 0.45 <= kind < 0.55 else round(top, decimals)
    return _drawn(name[0].upper() + name[1:], "sang", rng.choice(_UNITS), low, high, decimals, rng)


def others(rng: Random, count: int) -> Iterator[Placed]:
    """`count` analytes in blood that our tables do not know, a quarter of them of no laboratory."""
    known = rng.sample(_table()["sang"], min(count, len(_table()["sang"])))
    chosen = rng.choice([r["section"] for r in known]) if known else ""
    known.sort(key=lambda r: r["section"] != chosen)
    for r in known:
        m = _invented(rng) if rng.random() < 0.25 else _from(r, rng)
        if find_analyte(m.name) is None and never().get(fold(m.name), "sang") in ("sang", "plasma"):
            yield Placed(m, r["section"])


def _from(r: dict[str, str], rng: Random) -> Measurement:
    low, high = (float(r[end]) if r[end] else None for end in ("low", "high"))
    return _drawn(r["name"], r["specimen"], r["unit"], low, high, int(r["decimals"]), rng)


def fluid(rng: Random) -> list[Placed]:
    """Some results of one other specimen: urine, cerebrospinal fluid, or another."""
    specimen = rng.choices(("urine", "lcr", "autre"), (70, 15, 15))[0]
    section = rng.choice([r["section"] for r in _table()[specimen]])
    rows = [r for r in _table()[specimen] if r["section"] == section]
    return [Placed(_from(r, rng), section) for r in rng.sample(rows, min(len(rows), rng.randint(1, 6)))]
