"""One patient's results as a reading: today's results in order, what is doubtful as codes, and the report as plain text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from medanalyzr.lab.dates import age_on
from medanalyzr.lab.formats.results import Result, identify, measure
from medanalyzr.lab.reading.lines.results import same
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.references import analytes, find_analyte, fold
from medanalyzr.lab.report import Measurement, Report, decimals_of, format_interval, write_patient

_SEXES = {"F": "F", "M": "H", "female": "F", "male": "H", "2": "F", "1": "H"}
_SUFFIX = {"sang": "", "urine": " (urines)", "lcr": " (LCR)", "autre": " (autre prélèvement)"}
READ = ("final", "corrected", "preliminary")
Patient = tuple[str | None, float | None, list[str]]


@dataclass(frozen=True)
class Reading:
    """One patient's report; `errors` are codes, `code` or `code: name`, that `lab.formats.sentence` puts into words."""

    report: Report
    errors: tuple[str, ...] = ()


def day_of(text: str) -> str:
    """YYYYMMDD of a day or time as HL7 and FHIR write it, "" where it is no full date."""
    try:
        digits = re.fullmatch("[12][0-9]{7}", text.replace("-", "")[:8])
        return date.fromisoformat(digits[0]).strftime("%Y%m%d") if digits else ""
    except ValueError:
        return ""


def is_before(day: str, sampled: str) -> bool:
    """Whether a result's day lies more than two days before that of the report's sample; both YYYYMMDD or ""."""
    return bool(day and sampled) and (date.fromisoformat(sampled) - date.fromisoformat(day)).days > 2


def who(sex: str, born: str, sampled: str) -> Patient:
    """Sex ("F", "H", None), age in years on the day of sampling (see `age_on`; or None), and the codes of a wrong birth date."""
    birth, day = day_of(born), day_of(sampled)
    age = age_on(date.fromisoformat(day), date.fromisoformat(birth)) if birth and day else None
    return _SEXES.get(sex), age, ["birth_date_incomplete"] * bool(born.strip() and not birth)


def patient_lines(patient: Patient) -> list[str]:
    """[`Patient : femme, 66 ans`], empty where neither is known."""
    line = write_patient(Report(patient[0], patient[1], ()))
    return [line] if line else []


def _line(m: Measurement) -> str:
    """A result as a line of text: name, value, unit, interval. The table's name stands for one that it does not list."""
    name = re.split(r"\s*\[", m.name)[0]
    if m.analyte is None:
        name = m.name.replace(" ;", ",") + _SUFFIX[m.specimen]
    elif (known := find_analyte(name)) is None or known.id != m.analyte:
        name = analytes()[m.analyte].name
    interval = format_interval(m.low, m.high, 0 if m.value is None else decimals_of(m.text))
    return f"{name} : {m.text} {m.unit}".rstrip() + (f" ({f'{interval} {m.interval_unit}'.strip()})" if interval else "")


def _agreeing(measured: list[tuple[Measurement, str]]) -> tuple[list[Measurement], list[str]]:
    """The measurements, each with its moment, that no other of the same analyte and moment contradicts, and the names of the others."""
    groups: dict[tuple, list[Measurement]] = {}
    for m, moment in measured:
        by_name = m.analyte is None or m.analyte == "dfg" or m.analyte.startswith("troponine")  # several formulas, several kinds
        groups.setdefault((key(m.name) if by_name else m.analyte, m.specimen, m.unit == "%", moment), []).append(m)
    doubtful = [group for group in groups.values() if any(not _agree(m, group[0]) for m in group)]
    dropped = {id(m) for group in doubtful for m in group}
    return [m for m, _ in measured if id(m) not in dropped], [group[0].name for group in doubtful]


def _agree(m: Measurement, other: Measurement) -> bool:
    if m.value is None or other.value is None:
        return fold(m.text) == fold(other.text)
    return m.sign == other.sign and same(m.analyte, m.value, m.unit, other.value, other.unit)


def make_reading(results: list[Result], patient: Patient, errors: Iterable[str] = (), remarks: Iterable[str] = ()) -> Reading:
    """The reading of one patient (see `who`).

    No result is one that is cancelled, pending, mistaken, previous, older than another of its kind, replaced by a corrected one or
    contradicted by another of the same time.
    """
    kinds, newest, corrected = [(fold(r.name), identify(r)[1]) for r in results], {}, set()
    for kind, r in zip(kinds, results, strict=True):
        newest[kind] = max(newest.get(kind, ""), r.day if r.status in READ else "")
        corrected |= {(kind, r.day)} if r.status == "corrected" else set()
    codes, measured = [*patient[2], *errors], []
    for kind, r in zip(kinds, results, strict=True):
        if r.status not in READ or r.day and r.day < newest[kind]:
            codes.append(f"{'previous_result' if r.status in READ else r.status}: {r.name}")
        elif r.status == "corrected" or corrected.isdisjoint({(kind, r.day), (kind, "")}):
            m, doubts = measure(r)
            measured += [(m, r.moment)] if m else []
            codes += [f"{code}: {r.name}" for code in [r.status] * (r.status != "final") + doubts]
    kept, doubtful = _agreeing(measured)
    codes += [f"two_results: {name}" for name in doubtful]
    if not results and not codes:
        codes.append("no_result")
    first = patient_lines(patient)
    lines = [*first, *map(_line, kept), *remarks]
    numbered = (replace(m, line=i) for i, m in enumerate(kept, 1 + len(first)))
    return Reading(Report(patient[0], patient[1], tuple(numbered), text="\n".join(lines)), tuple(codes))
