"""The bundled data: real measured values of published studies, told as French reports with exact answers.

The values lie in tables/bundled_values.csv (see tables/studies.csv for their origin); the texts are composed here, the
same on every machine.
"""

import csv
import random

from medanalyzr.prompts import PREAMBLE
from medanalyzr.references import TABLES, analytes, reference_interval
from medanalyzr.reports import Measurement, Report, format_number
from medanalyzr.rules import interpret, write_measurement

_INSTRUCTIONS = (
    "Interprétez ce compte rendu de laboratoire.",
    "Analysez les résultats biologiques suivants.",
    "Que montrent ces analyses ?",
    "Commentez ce bilan sanguin.",
    "Indiquez pour chaque analyse si elle est basse, normale ou élevée.",
    "Donnez votre lecture de ce bilan.",
)
_SEXES = {"F": "femme", "H": "homme"}


def _measurement(analyte: str, value: str, sex: str | None) -> Measurement:
    known = analytes()[analyte]
    bounds = reference_interval(analyte, sex)
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    text = format_number(float(value), known.decimals)
    return Measurement(analyte, known.name, text, float(value), "", known.unit, low, high)


def write_report(report: Report) -> str:
    """A report as text: a line on the patient when sex or age is known, then a line per measurement."""
    who = [_SEXES[report.sex]] if report.sex else []
    who += [f"{report.age} ans"] if report.age is not None else []
    head = [f"Patient : {', '.join(who)}"] if who else []
    return "\n".join([*head, *map(write_measurement, report.measurements)])


def load_bundled() -> list[dict[str, str]]:
    """The bundled rows: instruction, input, output, prompt, and whence they come (patient, category, source)."""
    rows = []
    with open(TABLES / "bundled_values.csv", encoding="utf-8", newline="") as file:
        for r in csv.DictReader(file):
            sex = r["sex"] or None
            values = (pair.split("=") for pair in r["values"].split(";"))
            report = Report(sex, int(r["age"]) if r["age"] else None, tuple(_measurement(a, v, sex) for a, v in values))
            rows.append(
                {
                    "instruction": random.Random(r["report"]).choice(_INSTRUCTIONS),
                    "input": write_report(report),
                    "output": interpret(report),
                    "prompt": PREAMBLE,
                    "patient": r["patient"],
                    "category": r["category"],
                    "source": r["study"],
                }
            )
    return rows
