"""HPRIM Médecin, what laboratories send to French practices: twelve header lines, the report as text, the results by line.

Source: HPRIM Médecin 3.0 (March 1997) as its readers implement it (MedShakeEHR, FreeHealth, Mediboard).
"""

import html
import re
from dataclasses import replace

from medanalyzr.lab import reader
from medanalyzr.lab.formats.readings import Reading, make_reading, patient_lines, who
from medanalyzr.lab.formats.results import STATUSES, Result, specimen_of
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import interval_of

_DATE = re.compile(r"\s*(?:(?P<d>[0-9]{2})/(?P<m>[0-9]{2})/(?P<y>[0-9]{4}|[0-9]{2})|[12][0-9]{3}-[0-9]{2}-[0-9]{2})\s*")
_TITLE = re.compile(
    r"\W*(?:bilan|(?:bio)?chimie|hemato|hemo|iono|immuno|sero|hormon|ecbu|liquide|urine|sang|lcr|numeration|coagul)"
)
_WITHIN = re.compile(r"\W*(?:chimie|cyto|bacterio|examen|culture|identif|antibio|sediment|bandelette|aspect)")


def _date(text: str, until: str = "2100") -> str:
    """A date of the header as YYYY-MM-DD, "" where `text` is none; one with two digits for the year is of the century to `until`."""
    match = _DATE.fullmatch(text)
    if not match or not match["y"]:
        return match[0].strip() if match else ""
    full = f"20{match['y']}-{match['m']}-{match['d']}" if len(match["y"]) == 2 else f"{match['y']}-{match['m']}-{match['d']}"
    return full if full <= until or len(match["y"]) == 4 else "19" + full[2:]


def _header(lines: list[str]) -> tuple[tuple, int]:
    """The patient (see `readings.who`; the sex is the first digit of the social security number), and how many lines it takes."""
    dated = [i for i, line in enumerate(lines[:14]) if _DATE.fullmatch(line)]
    at = 6 if not dated or {6, 9} & set(dated) else dated[0]
    born, number, _, day = [*lines[at : at + 4], "", "", "", ""][:4]
    sex, age, codes = who(number.strip()[:1], _date(born, _date(day) or "2000") or born, _date(day))
    short = any(match and match["y"] and len(match["y"]) == 2 for match in map(_DATE.fullmatch, (born, day)))
    return (sex, age, codes + ["two_digit_year"] * short), at + 6 if dated else 0


def _heading(text: str, before: str | None) -> str | None:
    """The specimen that holds from a line on: a title sets it anew, a remark or a title within (CYTOLOGIE) at most to no blood."""
    named, words = specimen_of(text), fold(text)
    is_title = len(text) <= 60 and not text.endswith(".") and (text.isupper() or _TITLE.match(words))
    if is_title and not _WITHIN.match(words):
        return named
    return named if named not in (None, "sang") and not text.endswith(".") else before


def _patient(part: str, is_cut: bool) -> Reading:
    """The reading of one patient; `is_cut`: the file ends within it."""
    lines, results, remarks, heading = part.split("\n"), [], [], None
    patient, head = _header(lines)
    codes = ["truncated"] * is_cut
    if not any(line.startswith("RES|") for line in lines):
        body = "\n".join([*patient_lines(patient), *lines[head:]]).strip()
        report = replace(reader.read_report(body), sex=patient[0], age=patient[1], text=body)
        codes.append("no_structured_block" if report.measurements or report.unread else "no_result")
        return Reading(report, (*codes, *patient[2]))
    for i, line in enumerate(lines):
        kind, *fields = (html.unescape(field).strip() for field in line.split("|"))
        if kind == "TEX" and fields:
            heading = _heading(fields[0], heading)
            remarks += [fields[0]] if fields[0].endswith(".") or len(fields[0]) > 60 else []
        if kind != "RES" or not fields:
            continue
        label, code, kind, value, unit, low, high, flag, status = [*fields, *[""] * 9][:9]
        is_number = kind.upper() == "N"
        name = label.strip(" -*•.:") or code or "RES"
        if is_cut and i == len(lines) - 1 or is_number and len(fields) < 5:
            codes.append(f"incomplete_line: {name}")
        elif value or is_number:
            both = interval_of(low or high) if not (low and high) else ("", "", "")
            interval = both if any(both) else (low, high, "")
            status = STATUSES.get(status.upper(), "preliminary")
            results.append(Result(name, value, unit, interval, (flag.upper(),), "", status, is_number, (), heading))
        else:
            heading = specimen_of(name) or heading
    return make_reading(results, patient, codes, remarks)


def read_hprim(text: str) -> list[Reading]:
    """The readings of an HPRIM Médecin file, one for each patient, whose part ends with `****FIN****`."""
    *parts, rest = re.split(r"\*{4}FIN\*{4}[^\n]*\n?", re.sub(r"\r\n?", "\n", text.replace("\x1a", "")))
    rest = re.sub(r"\*{4}(?:FINFICHIER\*{4}\s*|[A-Z]*\**)\Z", "", rest)
    return [_patient(part, False) for part in parts] + [_patient(rest, True)] * bool(rest.strip())
