"""HPRIM Médecin, what laboratories send to French practices: twelve header lines, the report as text, the results by line.

Source: the description in HPRIM Médecin 3.0 (March 1997) as its readers implement it (MedShakeEHR, FreeHealth, Mediboard).
"""

import html
import re
from dataclasses import replace

from medanalyzr.lab.reader import read_report
from medanalyzr.lab.readings import Reading, make_reading, patient_line, who
from medanalyzr.lab.references import fold
from medanalyzr.lab.results import STATUSES, Result, interval_of, specimen_of

_DATE = re.compile(r"\s*(?:(?P<d>[0-9]{2})/(?P<m>[0-9]{2})/(?P<y>[0-9]{4}|[0-9]{2})|[12][0-9]{3}-[0-9]{2}-[0-9]{2})\s*")
_TITLE = re.compile(r"\W*(?:bilan|(?:bio)?chimie|hemato|hemo|iono|immuno|sero|hormon|ecbu|liquide|urine|sang|lcr|numeration|coagul)")
_WITHIN = re.compile(r"\W*(?:chimie|cyto|bacterio|examen|culture|identif|antibio|sediment|bandelette|aspect)")


def _date(text: str) -> tuple[str, bool]:
    """A date as YYYY-MM-DD ("" where `text` is none), and whether its year has two digits."""
    match = _DATE.fullmatch(text)
    if not match or match["y"] is None:
        return match[0].strip() if match else "", False
    return f"{match['y']:0>4}-{match['m']}-{match['d']}", len(match["y"]) == 2


def _header(lines: list[str]) -> tuple[str, str, str, int, list[str]]:
    """First digit of the social security number, birth date, date of the report, number of header lines, and codes.

    A birth date with two digits is of the hundred years before the report.
    """
    dated = [i for i, line in enumerate(lines[:14]) if _DATE.fullmatch(line)]
    at = 6 if not dated or {6, 9} & set(dated) else dated[0]
    lines = lines + [""] * (at + 6)
    (born, short), (day, short_day) = _date(lines[at]), _date(lines[at + 3])
    if short_day:
        day = "20" + day[2:]
    if short:
        born = ("20" if "20" + born[2:] <= (day or "2000") else "19") + born[2:]
    unknown = [] if born or not lines[at].strip() else ["birth_date_incomplete"]
    return lines[at + 1].strip()[:1], born, day, at + 6 if dated else 0, ["two_digit_year"] * (short or short_day) + unknown


def _title(text: str, before: str | None) -> str | None:
    """The specimen that holds from a line on: a title sets it anew, a remark or a title within (CYTOLOGIE) at most to no blood."""
    named, words = specimen_of(text), fold(text)
    title = len(text) <= 60 and not text.endswith(".") and (text.isupper() or _TITLE.match(words))
    if title and not _WITHIN.match(words):
        return named
    return named if named not in (None, "sang") and not text.endswith(".") else before


def _result(fields: list[str], heading: str | None) -> Result:
    name, code, kind, value, unit, low, high, flag, status = fields[1:10]
    both = interval_of(low or high) if not (low and high) else ("", "", "")
    return Result(
        name=name.strip(" -*•.:") or code,
        value=value,
        unit=unit,
        interval=both if any(both) else (low, high, ""),
        flags=(flag.upper(),),
        status=STATUSES.get(status.upper(), "preliminary"),
        number=kind.upper() == "N",
        heading=heading,
    )


def _patient(part: str, cut: bool) -> Reading:
    """The reading of one patient; `cut`: the file ends within it."""
    lines = part.split("\n")
    digit, born, day, head, codes = _header(lines)
    sex, age, said = who(digit, born, day)
    codes = ["truncated"] * cut + codes
    if not any(line.startswith("RES|") for line in lines):
        body = "\n".join([patient_line(sex, age), *lines[head:]]).strip()
        report = read_report(body)
        codes.append("no_structured_block" if report.measurements or report.unread else "no_result")
        return Reading(replace(report, sex=sex, age=age, text=body), (*codes, *said))
    results, remarks, heading = [], [], None
    for i, line in enumerate(lines):
        kind, *fields = (html.unescape(field).strip() for field in line.split("|"))
        if kind == "TEX" and fields:
            heading, text = _title(fields[0], heading), fields[0]
            remarks += [text] if text.endswith(".") or len(text) > 60 else []
        elif kind == "RES":
            fields = [kind, *fields]
            if (cut and i == len(lines) - 1) or (len(fields) < 6 and fields[3:4] == ["N"]):
                codes.append(f"incomplete_line: {fields[1]}")
                continue
            result = _result(fields + [""] * 10, heading)
            if result.value or result.number:
                results.append(result)
            else:
                heading = specimen_of(result.name) or heading
    return make_reading(results, (sex, age, said), codes, remarks)


def read_hprim(text: str) -> list[Reading]:
    """The readings of an HPRIM Médecin file, one for each patient, whose part ends with `****FIN****`."""
    text = re.sub(r"\r\n?", "\n", text).replace("\x1a", "")
    *parts, rest = re.split(r"\*{4}FIN\*{4}[^\n]*\n?", text)
    rest = re.sub(r"\*{4}(?:FINFICHIER\*{4}\s*|[A-Z]*\**)\Z", "", rest)
    return [_patient(part, False) for part in parts] + ([_patient(rest, True)] if rest.strip() else [])
