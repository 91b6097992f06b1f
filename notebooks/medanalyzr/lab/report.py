"""Laboratory reports as text: one parser for data, evaluation and inference, and the writer of the same layout.

A measurement line reads `Potassium : 6,8 mmol/L (3,5 - 5,0)`; an answer gives the comparison and the flag:
`Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé, critique`.
Bounds are part of the interval: a value equal to a bound is normal.
"""

import re
from dataclasses import dataclass, replace

from medanalyzr.lab.reading.names import specimen_of
from medanalyzr.lab.reading.patient import read_patient
from medanalyzr.lab.references import convert, decimals_in, find_analyte, fold, never

FLAGS = ("bas", "normal", "élevé")
UNDETERMINED = "indéterminé"
CRITICAL = "critique"
LONGEST_LINE = 400  # characters; a longer line is not a measurement


@dataclass(frozen=True)
class Measurement:
    """One line of a report. `text` is the value as printed (with a decimal comma), `value` its number; `sign` is "<", ">" or "".

    `interval_unit` is the unit printed in the interval, "" when it is that of the value. `specimen` is "sang", "urine", "lcr" or
    "autre"; `line` is the number, from 1, of the line of the report that holds the value (None where there are no lines).
    """

    analyte: str | None
    name: str
    text: str
    value: float | None  # None where the result is a word, which `text` holds
    sign: str
    unit: str
    low: float | None
    high: float | None
    flag: str | None = None
    critical: bool = False
    interval_unit: str = ""
    specimen: str = "sang"
    line: int | None = None

    @property
    def key(self) -> str:
        """What identifies the analyte: its identifier, or its folded name when it is not in our tables."""
        return self.analyte or fold(self.name)


@dataclass(frozen=True)
class Unread:
    """A line that looks like a result and was not read: its number from 1, its text, and why, in words."""

    line: int
    text: str
    why: str


@dataclass(frozen=True)
class Report:
    """A parsed report: sex ("H", "F" or None), age in years (a fraction under two years; or None), its measurements in order.

    `unread` are the lines that look like results and were refused; `pregnant` whether the report says so; `text` the report itself,
    in which rules look for what is said beside the values (haemolysis, fasting, treatments); `comments` are its lines that hold
    neither patient nor values, as `write_report` prints them.
    """

    sex: str | None
    age: float | None
    measurements: tuple[Measurement, ...]
    unread: tuple[Unread, ...] = ()
    pregnant: bool = False
    text: str = ""
    comments: tuple[str, ...] = ()


_NUMBER = r"\d+(?:[.,]\d+)?"
_LINE = re.compile(
    rf"""^[\s\-*•|]*(?P<name>[^:\n]*?[^\W\d_][^:\n]*?)\s*:\s*
    (?P<sign>[<>]?)\s*(?P<value>-?{_NUMBER})\s*
    (?P<unit>[^():]*?)\s*
    (?:\((?P<interval>[^)]*)\)\s*)?
    (?::\s*(?P<flag>[^\W\d]+)(?P<critical>,\s*critique)?\W*)?$""",
    re.VERBOSE,
)
_EARLIER = re.compile(r"[\s;,(\[]*\b(?:ant[ée]rieur|ant[ée]riorit|pr[ée]c[ée]dent|ant\.).*$", re.IGNORECASE)
FIGURES = r"[+-]?[0-9]{1,9}(?:[.,][0-9]{1,9})?"
_BETWEEN = re.compile(rf"({FIGURES})\s*(?:-|–|—|[àa])\s*({FIGURES})\s*((?:[^\s\d]|10[*^]).*)?")
_BOUND = re.compile(rf"(?:(<=?|≤|inf[^\d<>-]*|jusqu'à)|>=?|≥|sup[^\d<>-]*)\s*({FIGURES})\s*((?:[^\s\d]|10[*^]).*)?", re.IGNORECASE)
_FLAG_BY_FOLD = {fold(flag): flag for flag in (*FLAGS, UNDETERMINED)}


def number(text: str) -> float:
    """The number a French report prints (`6,8`)."""
    return float(text.replace(",", "."))


def format_number(value: float, decimals: int) -> str:
    """`value` as a French report prints it: decimal comma, fixed decimals."""
    return f"{value:.{decimals}f}".replace(".", ",")


def decimals_needed(*bounds: float | None) -> int:
    """The decimals it takes to print every one of `bounds` (None does not count)."""
    return max((len(f"{bound:.6f}".rstrip("0").partition(".")[2]) for bound in bounds if bound is not None), default=0)


def format_interval(low: float | None, high: float | None, decimals: int) -> str:
    """`3,5 - 5,0`, `≤ 35` or `≥ 90`, with `decimals` or as many as its bounds need; empty when there is no bound."""
    decimals = max(decimals, decimals_needed(low, high))
    if low is None:
        return "" if high is None else f"≤ {format_number(high, decimals)}"
    if high is None:
        return f"≥ {format_number(low, decimals)}"
    return f"{format_number(low, decimals)} - {format_number(high, decimals)}"


def interval_of(text: str) -> tuple[str, str, str]:
    """Low bound, high bound and unit as strings of a printed interval (`3,5 à 5,0 mmol/L`, `<5`, `inf. à 190`, `-2-2`)."""
    text = re.sub(r"^\s*(?:VR|N)\s*:\s*|[()]", "", text).strip()
    if match := _BETWEEN.fullmatch(text):
        return match[1], match[2], match[3] or ""
    match = _BOUND.fullmatch(text)
    return ("", "", "") if not match else ("", match[2], match[3] or "") if match[1] else (match[2], "", match[3] or "")


def parse_line(line: str) -> Measurement | None:
    """The measurement on one line of a report or an answer, or None when the line holds none."""
    match = _LINE.match(_EARLIER.sub("", line).strip()) if len(line) <= LONGEST_LINE else None
    if not match:
        return None
    *bounds, interval_unit = interval_of(match["interval"] or "")
    low, high = (number(bound) if bound else None for bound in bounds)
    unit = match["unit"].strip()
    name, known = match["name"].strip(), find_analyte(match["name"])
    specimen = specimen_of(fold(f"{name} {never().get(fold(name), '')}")) or "sang"
    if known is None and specimen == "sang" and (low, high) == (None, None) and match["flag"] is None:
        return None
    return Measurement(
        analyte=known.id if known else None,
        name=name,
        text=match["sign"] + match["value"].replace(".", ","),
        value=number(match["value"]),
        sign=match["sign"],
        unit=unit,
        low=low,
        high=high,
        flag=_FLAG_BY_FOLD.get(fold(match["flag"] or "")),
        critical=match["critical"] is not None,
        interval_unit="" if interval_unit == unit else interval_unit,
        specimen=specimen,
    )


_SEXES = {"F": ("femme", "fille"), "H": ("homme", "garçon")}
_SPECIMEN = {  # a line that says no more than one of these words names the specimen of what follows
    "sang": r"sang|serum|plasma|sang (?:arteriel|veineux|total)",
    "urine": r"urines?|urines? (?:des )?24 ?h(?:eures)?|examen des urines|biochimie urinaire",
    "lcr": r"lcr|liquide cephalo-?rachidien",
    "autre": r"(?:liquide )?(?:d')?ascite|liquide (?:pleural|articulaire|d'ascite)|selles|salive",
}
_HEADINGS = {"sang": "SANG", "urine": "URINES", "lcr": "LCR", "autre": "AUTRE LIQUIDE"}


def _heading(line: str) -> str | None:
    """The specimen that a line without a value names, or None."""
    text = re.sub(r"^(?:prelevement|nature|echantillon)\s*:?\s*", "", fold(line)).strip(" :-*=.")
    found = (name for name, words in _SPECIMEN.items() if re.fullmatch(words, text) or text == fold(_HEADINGS[name]))
    return next(found, None)


def parse_report(text: str) -> Report:
    """Read a report in the layout of the training data: the patient, every measurement line, and the other lines.

    A line that only names a specimen counts for what follows.
    """
    who = read_patient(text)
    specimen, measurements, comments = "sang", [], []
    for place, line in enumerate(text.splitlines(), 1):
        if m := parse_line(line):
            specimen_of_it = m.specimen if specimen == "sang" else specimen
            measurements.append(replace(m, specimen=specimen_of_it, line=place))
        elif heading := _heading(line):
            specimen = heading
        elif line.strip() and not fold(line).startswith("patient :"):
            comments.append(line.strip())
    return Report(who.sex, who.age, tuple(measurements), pregnant=who.pregnant, text=text, comments=tuple(comments))


def parse_answer(text: str) -> dict[str, Measurement]:
    """The flagged lines of an answer by analyte (see `Measurement.key`). The first line of an analyte counts."""
    by_key: dict[str, Measurement] = {}
    for line in text.splitlines():
        measurement = parse_line(line)
        if measurement and measurement.flag:
            by_key.setdefault(measurement.key, measurement)
    return by_key


def decimals_of(text: str) -> int:
    """The decimals a French number is printed with."""
    return len(text.partition(",")[2])


def write_measurement(m: Measurement) -> str:
    """One measurement as a laboratory prints it, without its flag; the interval has the decimals of the value in its unit."""
    decimals = decimals_in(m.analyte, m.interval_unit) if m.interval_unit else decimals_of(m.text)
    interval = f"{format_interval(m.low, m.high, decimals)} {m.interval_unit}".strip()
    return f"{m.name} : {m.text} {m.unit}".rstrip() + (f" ({interval})" if interval else "")


# The second unit in use for an analyte, beside the one of our tables.
FRENCH_HABITS = {
    "glucose": "g/L", "hgpo_2h": "mg/dL", "creatinine": "mg/L", "cholesterol": "g/L", "triglycerides": "g/L", "uree": "g/L",
    "calcium": "mg/L", "bilirubine_totale": "mg/L", "hb": "g/dL", "albumine": "g/dL", "paco2": "kPa", "pao2": "kPa",
}  # fmt: skip


def in_unit(m: Measurement, unit: str, interval_too: bool) -> Measurement:
    """`m` with its value in `unit`; its interval converted as well, or left in the French unit, which is then printed."""
    decimals = decimals_in(m.analyte, unit)
    text = format_number(convert(m.analyte, m.value, m.unit, unit), decimals)
    moved = replace(m, text=m.sign + text, value=number(text), unit=unit)
    if not interval_too:
        return replace(moved, interval_unit=m.unit)
    bounds = (None if b is None else round(convert(m.analyte, b, m.unit, unit), decimals) for b in (m.low, m.high))
    return replace(moved, **dict(zip(("low", "high"), bounds, strict=True)))


def write_patient(report: Report) -> str:
    """`Patient : femme enceinte, 31 ans`, `Patient : garçon, 4 ans`, `Patient : nourrisson (fille), 8 mois`; "" where nothing is known."""
    age, young = report.age, report.age is not None and report.age < 18
    word = _SEXES[report.sex][young] if report.sex else "enfant" if young else ""
    if age is not None and age < 2:
        word = f"nourrisson ({word})" if report.sex else "nourrisson"
    word = f"{word} enceinte".strip() if report.pregnant else word
    years = "" if age is None else f"{round(age * 12)} mois" if age < 2 else f"{age:.0f} ans"
    who = [part for part in (word, years) if part]
    return f"Patient : {', '.join(who)}" if who else ""


def write_report(report: Report) -> str:
    """A report as text: a line on the patient, the comments, then a line per measurement; other specimens under their name."""
    lines, specimen = [write_patient(report), *report.comments], "sang"
    for m in report.measurements:
        if m.specimen != specimen:
            specimen = m.specimen
            lines.append(_HEADINGS[specimen])
        lines.append(write_measurement(m))
    return "\n".join(filter(None, lines))
