"""The bundled data: values of published studies, simulated ones where none are public, written as French reports.

The values lie in tables/bundled_values.csv (tables/studies.csv names their origin), the free questions in
tables/questions.csv; the texts are composed here, the same on every machine, and the answers follow from the rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from random import Random

from medanalyzr.dataset.prompts import PREAMBLE
from medanalyzr.dataset.sources.special import CHILD, COMMENT, OTHER, PREGNANT, printed_intervals, who_is
from medanalyzr.lab.references import (
    analytes,
    cited,
    conversions,
    convert,
    critical_limits,
    decimals_in,
    depends_on_sex,
    read_table,
    reference_interval,
)
from medanalyzr.lab.report import FRENCH_HABITS, Measurement, Report, format_interval, format_number, in_unit, number, write_report
from medanalyzr.lab.rules import interpret

SIMULATED = "simulated"
PLAIN = {"glycemie": "glucose"}  # a value printed under a name that does not say what the analyte's own name does (fasting)
_PLAIN_NAMES = {"glycemie": "Glycémie", "lcr:glucose": "Glucose", "lcr:proteines": "Protéines", "urine:proteines": "Protéines"}
ORIGINS = ("measured", SIMULATED, "reference")
KINDS = {
    "": "complete report",
    "sans sexe": "sex not given, so no interval for the analytes whose interval depends on it",
    "sans intervalle": "one or more intervals missing",
    "sans unité": "the unit of one value missing, in half of them its interval too",
    "autre unité": "another unit, for value and interval alike (g/L for mmol/L…)",
    "unités mêlées": "value in one unit, interval in another",
    "borne": "a value on a limit, or one printed step beyond",
    "censuré": "a value printed as <0,01 or >300",
    CHILD: "a child: the intervals of its age are printed, or none",
    PREGNANT: "a pregnant woman: the intervals of the term are printed, or none",
    OTHER: "urine or cerebrospinal fluid, beside blood or alone",
    COMMENT: "what is said beside the values decides: haemolysis, clumps, AVK, dialysis, fasting, venous gas",
    "question": "free question without a report",
}
_INSTRUCTIONS = (
    "Interprétez ce compte rendu de laboratoire.",
    "Analysez les résultats biologiques suivants.",
    "Que montrent ces analyses ?",
    "Commentez ce bilan sanguin.",
    "Indiquez pour chaque analyse si elle est basse, normale ou élevée.",
    "Donnez votre lecture de ce bilan.",
    "Ces résultats sont-ils normaux ?",
    "Y a-t-il une valeur critique dans ce bilan ?",
)


def is_measured(row: Mapping[str, str]) -> bool:
    """Whether a row is a complete report of measured values."""
    return row.get("origin") == "measured" and not row.get("kind")


def _measurement(name: str, text: str, r: Mapping[str, str]) -> Measurement:
    """One value of the row `r` with the interval that a laboratory prints for this patient."""
    specimen, _, analyte = name.rpartition(":")
    known = analytes()[PLAIN.get(analyte, analyte)]
    sign = text[0] if text[0] in "<>" else ""
    value = float(text.removeprefix(sign))
    decimals = max(known.decimals, len(text.partition(".")[2]) if specimen else 0)
    m = Measurement(known.id, known.name, sign + format_number(value, decimals), value, sign, known.unit, None, None)
    m = replace(m, specimen=specimen or "sang", name=_PLAIN_NAMES.get(name, known.name))
    others = {"inr": "avk", "pvo2": "veineux"} if r["kind"] == COMMENT else {}
    who = specimen or {CHILD: who_is(float(r["age"] or 0)), PREGNANT: "grossesse"}.get(r["kind"], others.get(known.id, ""))
    if who and known.id in (bounds := printed_intervals(who, r["sex"])):
        return replace(m, low=bounds[known.id][0], high=bounds[known.id][1])
    bounds = reference_interval(known.id, None if r["kind"] == "sans sexe" else r["sex"] or None)
    return replace(m, low=bounds.low, high=bounds.high) if bounds else m


def as_kind(kind: str, measurements: list[Measurement], rng: Random) -> list[Measurement]:
    """The measurements as a report of `kind` (a key of `KINDS`) prints them."""
    if kind == "sans intervalle":
        chosen = set(rng.sample(range(len(measurements)), rng.randint(1, max(1, len(measurements) // 2))))
        return [replace(m, low=None, high=None) if i in chosen else m for i, m in enumerate(measurements)]
    if kind == "sans unité":
        place = rng.choice([i for i, m in enumerate(measurements) if m.unit])
        bare = replace(measurements[place], unit="")
        measurements[place] = replace(bare, low=None, high=None) if rng.random() < 0.5 else bare
    elif kind in ("autre unité", "unités mêlées"):
        place = rng.choice([i for i, m in enumerate(measurements) if m.analyte in FRENCH_HABITS])
        m = measurements[place]
        measurements[place] = in_unit(m, FRENCH_HABITS[m.analyte], interval_too=kind == "autre unité")
    elif kind == COMMENT and rng.random() < 0.5:
        return [replace(m, low=None, high=None) if m.analyte == "pvo2" else m for m in measurements]
    elif kind in (CHILD, PREGNANT) and rng.random() < 0.5:
        spared = rng.choice((0, 0, 1, 2))
        return [m if i < spared else replace(m, low=None, high=None) for i, m in enumerate(measurements)]
    return measurements


def _reports() -> Iterator[dict[str, str]]:
    for r in read_table("bundled_values"):
        rng = Random(r["report"])
        sex = None if r["kind"] == "sans sexe" else r["sex"] or None
        pairs = (pair.split("=") for pair in r["values"].split(";"))
        measurements = as_kind(r["kind"], [_measurement(a, v, r) for a, v in pairs], rng)
        comments = (r["comment"],) if r["comment"] else ()
        age, pregnant = float(r["age"]) if r["age"] else None, r["kind"] == PREGNANT
        report = Report(sex, age, tuple(measurements), pregnant=pregnant, comments=comments)
        text = write_report(report)
        yield {
            "instruction": rng.choice(_INSTRUCTIONS),
            "input": text,
            "output": interpret(replace(report, text=text)),
            "patient": r["patient"],
            "category": r["category"],
            "kind": r["kind"],
            "origin": SIMULATED if r["study"] == SIMULATED else "measured",
            "source": r["study"],
        }


def _asked_of_tables() -> Iterator[tuple[str, str, str]]:
    """Analyte, question and answer for what the tables say: intervals, critical limits, conversions."""
    for a in analytes().values():
        texts = []
        for sex, who in (("H", "homme"), ("F", "femme")) if depends_on_sex(a.id) else ((None, "adulte"),):
            bounds = reference_interval(a.id, sex)
            if bounds and (bounds.low, bounds.high) != (None, None):
                texts.append(f"{format_interval(bounds.low, bounds.high, a.decimals)} {a.unit}".strip() + f" ({who})")
        question = f"Quel est l'intervalle de référence de l'analyse « {a.name} » chez l'adulte ?"
        if texts:
            source = cited((reference_interval(a.id, "F") or reference_interval(a.id, "H")).source)
            yield a.id, question, f"{a.name} : {' ; '.join(texts)}. Source : {source}."
        if limits := critical_limits(a.id):
            sides = [f"≤ {format_number(limits.low, a.decimals)}"] if limits.low is not None else []
            sides += [f"≥ {format_number(limits.high, a.decimals)}"] if limits.high is not None else []
            text = f"{a.name} : valeur critique {' ou '.join(sides)} {a.unit}".rstrip()
            question = f"À partir de quelle valeur l'analyse « {a.name} » est-elle critique ?"
            yield a.id, question, f"{text}. Source : {cited(limits.source)}."
    for a, unit in FRENCH_HABITS.items():
        known, factor = analytes()[a], conversions()[a, unit].factor
        bounds = reference_interval(a, "F")
        value = format_number(convert(a, bounds.high, known.unit, unit), decimals_in(a, unit))
        result = format_number(convert(a, number(value), unit), known.decimals)
        question = f"Convertissez {value} {unit} de l'analyse « {known.name} » en {known.unit}."
        times = f"{factor:g}".replace(".", ",")
        yield a, question, f"{value} {unit} × {times} = {result} {known.unit}."


def _questions() -> Iterator[dict[str, str]]:
    written = [(r["topic"], r["question"], r["answer"]) for r in read_table("questions")]
    for topic, question, answer in (*written, *_asked_of_tables()):
        yield {
            "instruction": question,
            "input": "",
            "output": answer,
            "patient": f"question-{topic}",
            "category": "question",
            "kind": "question",
            "origin": "reference",
            "source": "tables",
        }


@cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(row | {"prompt": PREAMBLE} for row in (*_reports(), *_questions()))


def load_bundled() -> list[dict[str, str]]:
    """The bundled rows: instruction, input, output, prompt, and their origin.

    `patient` groups the rows of one person (or of one question topic); `category` is the panel, `kind` a key of
    `KINDS`, `origin` "measured", "simulated" or "reference", `source` the study.
    """
    return [dict(row) for row in _rows()]
