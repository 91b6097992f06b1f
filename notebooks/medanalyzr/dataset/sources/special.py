"""Simulated reports on which the adult tables are silent, or which a comment decides: children, pregnancy, urine and CSF,
haemolysis, platelet clumps, anticoagulants, dialysis, fasting, venous gases.

Their intervals (tables/simulated_intervals.csv) are printed in the reports, as a laboratory prints its own; no rule uses them.
"""

from collections.abc import Iterator
from random import Random

from medanalyzr.dataset.sources.simulate import Simulated, draw
from medanalyzr.lab.references import analytes, critical_limits, read_table

Bounds = tuple[float | None, float | None]
CHILD, PREGNANT, OTHER, COMMENT = "enfant", "grossesse", "autre prélèvement", "commentaire"
_AVK = ("Traitement : fluindione", "Traitement par AVK (warfarine)", "Patient sous AVK", "Traitement : Previscan")
_HAEMOLYSED = ("Prélèvement hémolysé", "Hémolyse ++", "Sérum hémolysé, à contrôler", "Échantillon hémolysé (+)")
_CLEAR = ("Absence d'hémolyse", "Pas d'hémolyse visible", "Prélèvement non hémolysé")
_CLUMPS = ("Présence d'amas plaquettaires", "Plaquettes en amas au frottis", "Agrégats plaquettaires sur lame")
_URINE = {"sodium": (10, 220), "potassium": (15, 120), "creatinine": (2500, 18000), "uree": (120, 480), "calcium": (0.8, 6.0)}


def printed_intervals(who: str, sex: str | None) -> dict[str, Bounds]:
    """The intervals printed for `who` (nourrisson, enfant, adolescent, grossesse, urine, lcr, avk, veineux) by analyte."""
    rows = (r for r in read_table("simulated_intervals") if r["who"] == who and (sex or "F") in r["sex"])
    return {r["analyte"]: tuple(float(r[end]) if r[end] else None for end in ("low", "high")) for r in rows}


def who_is(age: float) -> str:
    """The name of the age band of a child, as simulated_intervals.csv has it."""
    return "nourrisson" if age < 2 else "enfant" if age < 12 else "adolescent"


def _around(rng: Random, analyte: str, bounds: Bounds) -> float:
    """A value inside `bounds`, below, above, or (in one of ten) at its critical limit."""
    low, high = bounds
    step, limits = 10.0 ** -analytes()[analyte].decimals, critical_limits(analyte)
    ends = [(limits.low, -0.1), (limits.high, 0.1)] if limits else []
    ends = [(end, way) for end, way in ends if end is not None and (low if way < 0 else high) is not None]
    if ends and rng.random() < 0.1:
        limit, way = rng.choice(ends)
        return limit * (1 + way * rng.random())
    state = rng.choices(("normal", "bas", "élevé"), (5, 5, 2))[0]
    if state == "bas" and low is not None:
        return rng.uniform(0.75 * low, low - step)
    if state == "élevé" and high is not None:
        return rng.uniform(high + step, 1.35 * high)
    return rng.uniform(0.4 * high if low is None else low, 1.5 * low if high is None else high)


def _drawn(rng: Random, who: str, sex: str, names: list[str]) -> dict[str, float]:
    bounds = printed_intervals(who, sex)
    return {name: _around(rng, name, bounds[name]) for name in names}


def _child(rng: Random, sex: str) -> Simulated:
    age = rng.choice((round(rng.randint(1, 23) / 12, 2), rng.randint(2, 11), rng.randint(2, 11), rng.randint(12, 17)))
    age = int(age) if age in (1.0,) else age
    names = rng.sample(list(printed_intervals(who_is(age), sex)), rng.randint(3, 5))
    return Simulated("enfant", sex, age, _drawn(rng, who_is(age), sex, names), CHILD)


def _pregnant(rng: Random, sex: str) -> Simulated:
    bounds = list(printed_intervals("grossesse", "F"))
    names = rng.sample([name for name in bounds if not name.startswith("hgpo") and name != "glucose"], rng.randint(2, 4))
    names = rng.choice((["glucose"], ["glucose", "hgpo_1h", "hgpo_2h"], [])) + names
    return Simulated("grossesse", "F", rng.randint(19, 43), _drawn(rng, "grossesse", "F", names), PREGNANT)


def _other(rng: Random, sex: str) -> Simulated:
    blood = {name: draw(rng, name, sex) for name in rng.sample(("sodium", "potassium", "creatinine", "glucose", "crp", "hb"), 2)}
    if rng.random() < 0.35:
        bounds = printed_intervals("lcr", sex)
        fluid = {f"lcr:{name}": _around(rng, name, bounds[name]) for name in rng.sample(list(bounds), 3)}
        return Simulated("autre prélèvement", sex, rng.randint(20, 85), (blood if rng.random() < 0.5 else {}) | fluid, OTHER)
    urine = {f"urine:{name}": rng.uniform(*_URINE[name]) for name in rng.sample(list(_URINE), rng.randint(1, 3))}
    urine |= {"urine:proteines": rng.choice((rng.uniform(0.02, 0.14), rng.uniform(0.2, 3.0)))} if rng.random() < 0.5 else {}
    return Simulated("autre prélèvement", sex, rng.randint(20, 85), (blood if rng.random() < 0.8 else {}) | urine, OTHER)


def _haemolysis(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    values = {"potassium": rng.choice((rng.uniform(6.0, 7.4), rng.uniform(4.0, 5.9), rng.uniform(2.4, 3.4)))}
    values |= {name: draw(rng, name, sex) for name in rng.sample(("ldh", "asat"), rng.randint(0, 2))}
    values |= {"sodium": draw(rng, "sodium", sex), "creatinine": draw(rng, "creatinine", sex)}
    return values, rng.choice(_HAEMOLYSED if rng.random() < 0.65 else _CLEAR)


def _clumps(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    values = {"hb": draw(rng, "hb", sex), "leucocytes": draw(rng, "leucocytes", sex), "plaquettes": rng.uniform(8, 140)}
    return values, rng.choice(_CLUMPS) if rng.random() < 0.75 else "Pas d'amas plaquettaires"


def _anticoagulated(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    inr = rng.choice((rng.uniform(1.2, 1.9), rng.uniform(2.0, 3.0), rng.uniform(3.1, 5.9), rng.uniform(6.0, 12.0)))
    return {"inr": inr, "tp": 100 / inr**1.39, "hb": draw(rng, "hb", sex)}, rng.choice(_AVK)


def _dialysed(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    values = {"potassium": draw(rng, "potassium", sex), "creatinine": rng.uniform(300, 980), "uree": rng.uniform(12, 38)}
    return values, rng.choice(("Patient dialysé", "Hémodialyse chronique", "Prélèvement avant dialyse"))


def _not_fasting(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    glucose = rng.choice((rng.uniform(4.0, 6.0), rng.uniform(6.1, 11.0), rng.uniform(11.1, 19.0)))
    values = {"glycemie": glucose, "hba1c": draw(rng, "hba1c", sex)}
    return values, rng.choice(("", "Prélèvement non à jeun", "Jeûne : non précisé"))


def _venous(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    values = {name: draw(rng, name, sex) for name in ("ph_v", "pvco2")} | {"pvo2": rng.uniform(24, 52)}
    return values | {"lactate": draw(rng, "lactate", sex)}, "Gaz du sang veineux"


def _lactescent(rng: Random, sex: str) -> tuple[dict[str, float], str]:
    return {"triglycerides": rng.uniform(4, 16), "sodium": draw(rng, "sodium", sex)}, "Sérum lactescent"


_COMMENTED = ((_haemolysis, "ionogramme", 50), (_clumps, "hématologie", 22), (_anticoagulated, "coagulation", 36),
              (_dialysed, "rénal", 18), (_not_fasting, "glycémie", 26), (_venous, "gaz du sang", 18), (_lactescent, "lipides", 10))  # fmt: skip


def special() -> Iterator[tuple[str, Simulated]]:
    """Identifier and contents of every simulated report of this kind; men and women in turn."""
    for make, count in ((_child, 110), (_pregnant, 80), (_other, 70)):
        for i in range(count):
            report = f"simulated{make.__name__}-{i}"
            yield report, make(Random(report), "FH"[i % 2])
    for make, category, count in _COMMENTED:
        for i in range(count):
            report = f"simulated{make.__name__}-{i}"
            rng, sex = Random(report), "FH"[i % 2]
            values, comment = make(rng, sex)
            yield report, Simulated(category, sex, rng.randint(20, 90), values, COMMENT, comment)
