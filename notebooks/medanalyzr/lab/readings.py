"""One patient's results as a reading: today's results in order, what is doubtful as codes, and the report as plain text."""

import re
from dataclasses import dataclass, replace
from datetime import date

from medanalyzr.lab.references import analytes, find_analyte, fold
from medanalyzr.lab.report import Measurement, Report, decimals_of, format_interval
from medanalyzr.lab.results import Result, identify, measure

SEXES = {"F": "F", "M": "H", "female": "F", "male": "H", "2": "F", "1": "H"}
_READ = ("final", "corrected", "preliminary")
_SUFFIX = {"sang": "", "urine": " (urines)", "lcr": " (LCR)", "autre": " (autre prélèvement)"}


@dataclass(frozen=True)
class Reading:
    """One patient's report; `errors` are codes, `code` or `code: name`, that `lab.formats.sentence` puts into words."""

    report: Report
    errors: tuple[str, ...] = ()


def day_of(text: str) -> str:
    """YYYYMMDD of a day or time as HL7 and FHIR write it, "" where it is no full date."""
    digits = text.replace("-", "")[:8]
    try:
        return date.fromisoformat(digits).strftime("%Y%m%d") if re.fullmatch("[12][0-9]{7}", digits) else ""
    except ValueError:
        return ""


def _age(born: str, day: str) -> int | None:
    """Whole years between two days, YYYYMMDD; None where one is missing or the age is no person's."""
    years = int(day[:4]) - int(born[:4]) - (day[4:] < born[4:]) if born and day else -1
    return years if 0 <= years <= 130 else None


def _line(m: Measurement) -> str:
    """A result as a line of text: name, value, unit, interval. The table's name stands for one that it does not list."""
    name = re.split(r"\s*\[", m.name)[0]
    if m.analyte is None:
        name = m.name.replace(" ;", ",") + _SUFFIX[m.specimen]
    elif (known := find_analyte(name)) is None or known.id != m.analyte:
        name = analytes()[m.analyte].name
    interval = format_interval(m.low, m.high, 0 if m.value is None else decimals_of(m.text))
    return f"{name} : {m.text} {m.unit}".rstrip() + (f" ({f'{interval} {m.interval_unit}'.strip()})" if interval else "")


def patient_line(sex: str | None, age: int | None) -> str:
    """`Patient : femme, 66 ans`, "" where neither is known."""
    known = [{"F": "femme", "H": "homme"}[sex]] if sex else []
    return "Patient : " + ", ".join(known + [f"{age} ans"] * (age is not None)) if known or age is not None else ""


def is_before(day: str, sampled: str) -> bool:
    """Whether a result's day lies more than two days before that of the report's sample; both YYYYMMDD or ""."""
    return bool(day and sampled) and (date.fromisoformat(sampled) - date.fromisoformat(day)).days > 2


def who(sex: str, born: str, day: str) -> tuple[str | None, int | None, list[str]]:
    """Sex ("F", "H" or None), age in whole years on `day`, and the codes of what is wrong with the birth date."""
    return SEXES.get(sex), _age(day_of(born), day_of(day)), ["birth_date_incomplete"] * bool(born.strip() and not day_of(born))


def make_reading(results: list[Result], patient: tuple, errors=(), remarks=()) -> Reading:
    """The reading of one patient (see `who`).

    No result is one that is cancelled, pending, mistaken, previous, older than another of its kind or replaced by a corrected one.
    """
    sex, age, said = patient
    codes, kept, kinds = [*said, *errors], [], [(fold(r.name), identify(r)[1]) for r in results]
    read = [(kind, r) for kind, r in zip(kinds, results, strict=True) if r.status in _READ]
    newest, corrected = {}, {(kind, r.day) for kind, r in read if r.status == "corrected"}
    for kind, r in read:
        newest[kind] = max(newest.get(kind, ""), r.day)
    for kind, r in zip(kinds, results, strict=True):
        if r.status not in _READ or r.day and r.day < newest[kind]:
            codes.append(f"{r.status if r.status not in _READ else 'previous_result'}: {r.name}")
        elif r.status == "corrected" or not corrected & {(kind, r.day), (kind, "")}:
            m, doubts = measure(r)
            kept += [m] if m else []
            codes += [f"{code}: {r.name}" for code in ([r.status] if r.status != "final" else []) + doubts]
    if not results and not codes:
        codes.append("no_result")
    first = patient_line(sex, age)
    lines = [*([first] if first else []), *map(_line, kept), *remarks]
    numbered = (replace(m, line=i) for i, m in enumerate(kept, 1 + bool(first)))
    return Reading(Report(sex, age, tuple(numbered), text="\n".join(lines)), tuple(codes))
