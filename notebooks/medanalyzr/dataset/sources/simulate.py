"""Reports of a kind no public study gives for adults (electrolytes, blood gases, coagulation, thyroid, inflammation, iron…).

The values are drawn inside and outside the sourced intervals, held together by known relations where values depend on
each other. They are simulated and every row says so; nothing here describes a real patient. The draw depends on the
report's identifier alone, so it is the same on every machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log10
from random import Random

from medanalyzr.lab.engine.facts import ckd_epi_2009
from medanalyzr.lab.references import analytes, critical_limits, reference_interval

Values = dict[str, float]


@dataclass(frozen=True)
class Simulated:
    """One simulated report: age in years, values by analyte in French units (`urine:sodium` for another specimen), its kind (a key
    of `bundled.KINDS`) and the comment printed above the values.
    """

    category: str
    sex: str
    age: float
    values: Values
    kind: str = ""
    comment: str = ""


ACUTE = "urgence"
_STATES, _WEIGHTS = ("normal", "bas", "élevé", "critique bas", "critique élevé"), (38, 18, 18, 13, 13)


def draw(rng: Random, analyte: str, sex: str, state: str | None = None) -> float:
    """A value of `analyte` in its French unit: inside its interval, outside, or beyond its critical limit.

    `state` is "normal", "bas", "élevé", "critique bas" or "critique élevé" (drawn when None). Where the analyte has no
    such bound, "critique" means outside and "outside" means inside.
    """
    bounds, limits = reference_interval(analyte, sex), critical_limits(analyte)
    low, high = bounds.low, bounds.high
    step = 10.0 ** -analytes()[analyte].decimals
    state = state or rng.choices(_STATES, _WEIGHTS)[0]
    worst_low, worst_high = (limits.low, limits.high) if limits else (None, None)
    if state == "critique bas" and worst_low is not None:
        return rng.uniform(worst_low - 0.12 * abs(worst_low), worst_low)
    if state == "critique élevé" and worst_high is not None:
        return rng.uniform(worst_high, worst_high + 0.12 * abs(worst_high))
    if state.endswith("bas") and low is not None:
        return rng.uniform(0.6 * low if worst_low is None else worst_low + step, low - step)
    if state.endswith("élevé") and high is not None:
        widest = 5 * high if low is None else high + 1.2 * (high - low)
        return rng.uniform(high + step, widest if worst_high is None else worst_high - step)
    return rng.uniform(0.3 * high if low is None else low, 1.4 * low if high is None else high)


def _electrolytes(rng: Random, sex: str, age: int) -> Values:
    """Chlorides follow from sodium, bicarbonates and an anion gap of 12 ± 4 mmol/L (above it in half of the acidoses)."""
    sodium, potassium, base = (draw(rng, name, sex) for name in ("sodium", "potassium", "bicarbonates"))
    gap = rng.uniform(18, 28) if base < 22 and rng.random() < 0.5 else rng.uniform(8, 16)
    return {"sodium": sodium, "potassium": potassium, "chlore": sodium - base - gap, "bicarbonates": base}


def _calcium(rng: Random, sex: str, age: int) -> Values:
    return {name: draw(rng, name, sex) for name in ("potassium", "calcium", "albumine")}


def _blood_gases(rng: Random, sex: str, age: int) -> Values:
    """pH by Henderson-Hasselbalch, 6.1 + log10(HCO3 / (0.03 PaCO2)); compensations as in the rules of `rules.py`."""
    disorder = rng.choice(("none", "metabolic acidosis", "metabolic alkalosis", "respiratory acidosis", "respiratory alkalosis"))
    base, gas = rng.uniform(22.5, 25.5), rng.uniform(36, 44)
    if disorder == "metabolic acidosis":
        base = rng.uniform(7, 20)
        gas = 1.5 * base + 8 + rng.choice((rng.uniform(-2, 2), rng.uniform(5, 12), rng.uniform(-8, -4)))
    elif disorder == "metabolic alkalosis":
        base = rng.uniform(30, 42)
        gas = 0.9 * base + 15
    elif disorder == "respiratory acidosis":
        gas = rng.uniform(50, 85)
        base = 24 + rng.choice((0.1, 0.35)) * (gas - 40)
    elif disorder == "respiratory alkalosis":
        gas = rng.uniform(17, 32)
        base = 24 - 0.2 * (40 - gas)
    values = {"ph": 6.1 + log10(base / (0.03 * gas)), "paco2": gas, "hco3_art": base}
    return values | ({"pao2": draw(rng, "pao2", sex)} if rng.random() < 0.4 else {"lactate": draw(rng, "lactate", sex)})


def _coagulation(rng: Random, sex: str, age: int) -> Values:
    """INR as (100 / TP) ** 0.72, a rough fit of our own: 70 % gives 1.3, 30 % gives 2.4, 10 % gives 5.2."""
    tp = rng.choice((rng.uniform(78, 100), rng.uniform(78, 100), rng.uniform(45, 69), rng.uniform(8, 44)))
    values = {"tp": tp, "inr": (100 / tp) ** 0.72, "fibrinogene": draw(rng, "fibrinogene", sex)}
    return values | ({"ddimeres": draw(rng, "ddimeres", sex)} if rng.random() < 0.5 else {})


def _thyroid(rng: Random, sex: str, age: int) -> Values:
    disorders = (("élevé", "bas"), ("élevé", "normal"), ("bas", "élevé"), ("bas", "normal"))
    tsh, t4 = ("normal", "normal") if rng.random() < 0.4 else rng.choice(disorders)
    values = {"tsh": draw(rng, "tsh", sex, tsh) * (5 if tsh == "élevé" and rng.random() < 0.3 else 1)}
    return values | ({"t4l": draw(rng, "t4l", sex, t4)} if rng.random() < 0.8 else {})


def _inflammation(rng: Random, sex: str, age: int) -> Values:
    other = rng.choice(("pct", "vs", "fibrinogene"))
    return {"crp": draw(rng, "crp", sex), "leucocytes": draw(rng, "leucocytes", sex), other: draw(rng, other, sex)}


def _iron(rng: Random, sex: str, age: int) -> Values:
    """Saturation of transferrin in % is iron / (25 × transferrin) × 100, iron in µmol/L and transferrin in g/L."""
    ferritin, iron, carrier = rng.choice(
        (("normal", "normal", "normal"), ("bas", "bas", "élevé"), ("élevé", "élevé", "normal"), ("élevé", "bas", "bas"))
    )
    fer, transferrin = draw(rng, "fer", sex, iron), draw(rng, "transferrine", sex, carrier)
    saturation = min(fer / (25 * transferrin) * 100, 99)
    return {"ferritine": draw(rng, "ferritine", sex, ferritin), "fer": fer, "transferrine": transferrin, "cst": saturation}


def _blood_count(rng: Random, sex: str, age: int) -> Values:
    values = {"hb": draw(rng, "hb", sex, rng.choice(("normal", "bas", "bas", "critique bas"))), "vgm": draw(rng, "vgm", sex)}
    values["vgm"] = min(max(values["vgm"], 58), 125)
    if values["vgm"] < 80:
        values["ferritine"] = draw(rng, "ferritine", sex, rng.choice(("bas", "normal", "élevé")))
        return values | {"crp": draw(rng, "crp", sex)}
    return values | {name: draw(rng, name, sex) for name in ("leucocytes", "plaquettes")}


def _liver(rng: Random, sex: str, age: int) -> Values:
    """Transaminases rise together, PAL and GGT rise together."""
    cells, bile = rng.choice(("normal", "élevé", "critique élevé")), rng.choice(("normal", "élevé"))
    states = {"asat": cells, "alat": cells, "ggt": bile, "pal": bile}
    return {name: draw(rng, name, sex, state) for name, state in states.items()}


def _kidney(rng: Random, sex: str, age: int) -> Values:
    """Urea rises with creatinine; the filtration rate is CKD-EPI 2009."""
    state = rng.choice(("normal", "élevé", "critique élevé"))
    creatinine = draw(rng, "creatinine", sex, state)
    values = {"creatinine": creatinine, "uree": draw(rng, "uree", sex, state), "potassium": draw(rng, "potassium", sex)}
    return values | {"dfg": ckd_epi_2009(creatinine, age, sex)}


def _glucose(rng: Random, sex: str, age: int) -> Values:
    state = rng.choice(("normal", "élevé", "bas", "critique bas", "critique élevé"))
    values = {"glucose": draw(rng, "glucose", sex, state)}
    return values | {"hba1c": draw(rng, "hba1c", sex, "élevé" if "élevé" in state else "normal")}


_ACUTE = ("potassium", "sodium", "calcium", "leucocytes", "plaquettes", "hb", "lactate", "fibrinogene", "albumine",
          "bilirubine_totale", "creatinine", "uree", "pao2")  # fmt: skip


def _acute(rng: Random, sex: str, age: int) -> Values:
    """Four analytes drawn each by itself, all with a critical limit, half of them beyond it; glucose or CRP is one of them."""
    values = {}
    for name in (*rng.sample(_ACUTE, 3), rng.choice(("glucose", "crp"))):
        limits = critical_limits(name)
        sides = [side for side, limit in (("bas", limits.low), ("élevé", limits.high)) if limit is not None]
        values[name] = draw(rng, name, sex, f"critique {rng.choice(sides)}" if rng.random() < 0.5 else None)
    return values


PANELS: dict[str, tuple[str, int, Callable[[Random, str, int], Values]]] = {
    "electrolytes": ("ionogramme", 120, _electrolytes),
    "calcium": ("ionogramme", 60, _calcium),
    "gases": ("gaz du sang", 100, _blood_gases),
    "coagulation": ("coagulation", 80, _coagulation),
    "thyroid": ("thyroïde", 100, _thyroid),
    "inflammation": ("inflammation", 70, _inflammation),
    "iron": ("fer", 60, _iron),
    "count": ("hématologie", 80, _blood_count),
    "liver": ("hépatique", 50, _liver),
    "kidney": ("rénal", 50, _kidney),
    "glucose": ("glycémie", 50, _glucose),
    "acute": (ACUTE, 150, _acute),
}


def simulated() -> Iterator[tuple[str, Simulated]]:
    """Identifier and contents of every simulated report; men and women in turn."""
    for panel, (category, count, make) in PANELS.items():
        for i in range(count):
            report, sex = f"simulated-{panel}-{i}", "FH"[i % 2]
            rng = Random(report)
            age = rng.randint(20, 90)
            yield report, Simulated(category, sex, age, make(rng, sex, age))
