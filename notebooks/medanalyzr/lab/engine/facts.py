"""What is known about a report, in the terms of the conditions: values in French units, flags, critical sides, the patient."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

from medanalyzr.lab.dates import DATE, dates_in
from medanalyzr.lab.engine.conditions import HIGH, LOW, NORMAL, Expression, Span, definition, expression, span
from medanalyzr.lab.references import analytes, convert, critical_limits, find_analyte, fold, read_table, reference_interval
from medanalyzr.lab.report import UNDETERMINED, Measurement, Report, format_number, in_unit, number, write_report

BLOOD = "sang"
_NEGATED = re.compile(r"\b(?:pas|sans|absence|aucune?s?|non|ni|hors)\b[^.;,:\n]{0,25}$")
_EARLIER = re.compile(r"(?:anteri\w*|preced\w*|ant\.)\D*?(\d+(?:[.,]\d+)?)")
_VENOUS = re.compile(r"\b(?:gaz|sang|prelevement)[^.;\n]{0,20}\bveineux")
_OF_VEINS = {"ph": "ph_v", "paco2": "pvco2", "pao2": "pvo2", "hco3_art": "hco3_v", "bicarbonates": "hco3_v"}
# Words that laboratories add to a name: methods, footnotes.
_ADDED = re.compile(r"\s*(?:\([^)]*\)|\[[^\]]*\]|\*|\b(?:hs|us|ultrasensible)\b)")


def in_interval_unit(m: Measurement) -> Measurement | None:
    """`m` with its value in the unit of its interval, rounded as a report prints that unit.

    None when the report prints value and interval in units between which no conversion is known.
    """
    if not m.interval_unit:
        return m
    try:
        moved = in_unit(m, m.interval_unit, interval_too=False)
    except KeyError:
        return None
    return replace(moved, interval_unit="")


def in_french_unit(m: Measurement) -> Measurement | None:
    """A known analyte's measurement in its French unit (see `in_interval_unit`); None in a unit that cannot be converted."""
    unit = analytes()[m.analyte].unit
    return m if m.unit == unit else in_interval_unit(replace(m, interval_unit=unit))


def french_span(m: Measurement | None) -> Span | None:
    """What the value of `m` may stand for in the French unit; None without a known analyte, or in a unit that cannot be converted."""
    french = in_french_unit(m) if m and m.analyte in analytes() else None
    return span(french.value, french.sign) if french else None


def side(value: Span, low: float | None, high: float | None) -> str:
    """ "bas", "normal" or "élevé" where all that `value` stands for has that flag (bounds are inside), else "indéterminé"."""
    if low is not None and value[1] < low:
        return LOW
    if high is not None and value[0] > high:
        return HIGH
    inside = (low is None or low <= value[0]) and (high is None or value[1] <= high)
    return NORMAL if inside else UNDETERMINED


def flag(m: Measurement) -> str:
    """ "bas", "normal" or "élevé" against the report's interval (bounds included); "indéterminé" when it cannot be told.

    A value printed in another unit than its interval is converted first. A censored value ("<0,1") is flagged only
    where every value it may stand for has the same flag.
    """
    m = in_interval_unit(m) if m.value is not None else None
    if m is None or (m.low is None and m.high is None):
        return UNDETERMINED
    return side(span(m.value, m.sign), m.low, m.high)


def reached(analyte: str, value: Span | None) -> str | None:
    """The side, "bas" or "élevé", on which a value in the French unit reaches the critical limit of `analyte`, or None."""
    limits = critical_limits(analyte)
    if limits is None or value is None:
        return None
    if limits.low is not None and value[1] <= limits.low:
        return LOW
    return HIGH if limits.high is not None and value[0] >= limits.high else None


def limit_reached(m: Measurement) -> str | None:
    """The side, "bas" or "élevé", on which the printed value alone reaches the critical limit of its analyte, or None."""
    return reached(m.analyte, french_span(m))


def answered(m: Measurement) -> bool:
    """Whether an answer has a line for `m`: for every result in blood, and for one of another specimen if it has a flag."""
    return m.specimen == BLOOD or flag(m) != UNDETERMINED


def ckd_epi_2009(creatinine: float, age: float, sex: str) -> float:
    """Estimated glomerular filtration rate in mL/min/1,73 m² from creatinine in µmol/L, age in years, sex "H" or "F".

    CKD-EPI 2009 without the ethnicity factor, the equation French laboratories report (Levey et al., Ann Intern Med
    2009;150:604-612).
    """
    kappa, alpha, scale = (0.7, -0.329, 144) if sex == "F" else (0.9, -0.411, 141)
    ratio = creatinine / 88.4 / kappa
    return scale * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.209 * 0.993**age


@cache
def _conditional(table: str) -> dict[str, list[tuple[dict[str, str], Expression]]]:
    """The rows of a table with conditions by analyte, each with its condition compiled."""
    by_analyte: dict[str, list[tuple[dict[str, str], Expression]]] = {}
    for row in read_table(table):
        condition = expression(row["condition"], f"tables/{table}.csv, {row['analyte']}")
        by_analyte.setdefault(row["analyte"], []).append((row, condition))
    return by_analyte


def own_troponin(m: Measurement) -> Measurement:
    """A troponin, whose kinds the reader does not tell apart, as T or I where its printed name says which."""
    kind = re.search(r"(?:tropon\w*\W+|\b(?:hs-?c?)?tn)([ti])\b", fold(m.name)) if m.analyte == "troponine" else None
    return replace(m, analyte=f"troponine_{kind[1]}") if kind else m


def with_own_analytes(report: Report) -> Report:
    """`report` with the gases of venous blood, which the reader keeps apart from arterial ones, and with troponins T and I, which it
    does not tell apart, under their own analytes.
    """
    said = _VENOUS.search(fold(report.text or write_report(report)))

    def named(m: Measurement) -> Measurement:
        known = find_analyte(m.name) if m.specimen == "autre" and m.analyte is None else None
        analyte = known and (_OF_VEINS.get(known.id, known.id) if said else known.id)
        return replace(m, analyte=analyte, specimen=BLOOD) if analyte in _OF_VEINS.values() else own_troponin(m)

    return replace(report, measurements=tuple(map(named, report.measurements)))


class Facts:
    """A report as conditions ask for it. Of an analyte printed twice the first value in blood counts.

    `measurements` are all in the order of the report, `blood` and `others` those in blood and in other specimens.
    """

    def __init__(self, report: Report):
        report = with_own_analytes(report)
        self.report = report
        self.blood = [m for m in report.measurements if m.specimen == BLOOD]
        self._by_id: dict[str, Measurement] = {}
        renamed = self._renamed()
        self.measurements = [
            replace(m, analyte=renamed.get(m.analyte, m.analyte)) if m.specimen == BLOOD else m for m in report.measurements
        ]
        self.blood = [m for m in self.measurements if m.specimen == BLOOD]
        self.others = [m for m in self.measurements if m.specimen != BLOOD]
        for m in self.blood:
            self._by_id.setdefault(m.analyte or "", m)
        self.sexe, self.enceinte, self.age = report.sex, report.pregnant, span(report.age)
        self.enfant = report.age is not None and report.age < 18
        self.adulte = not self.enfant and not self.enceinte
        self._defined: dict[str, Any] = {}

    def _renamed(self) -> dict[str, str]:
        """What the analytes of a blood gas are: venous where the report says so; with a pH, bicarbonates are arterial."""
        if self.said(_VENOUS):
            return _OF_VEINS
        given = {m.analyte for m in self.blood}
        return {"bicarbonates": "hco3_art"} if "ph" in given and "hco3_art" not in given else {}

    def without(self, analytes_left_out: set[str]) -> "Facts":
        """The same facts without the values of some analytes; itself where there are none of them."""
        if not analytes_left_out & set(self._by_id):
            return self
        kept = (m for m in self.report.measurements if m.specimen != BLOOD or m.analyte not in analytes_left_out)
        return Facts(replace(self.report, text=self.report.text or write_report(self.report), measurements=tuple(kept)))

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the report, folded."""
        return [fold(line) for line in (self.report.text or write_report(self.report)).splitlines()]

    @cached_property
    def _text(self) -> str:
        return "\n".join(self.lines)

    def said(self, pattern: re.Pattern) -> bool:
        """Whether the folded text says `pattern` without denying it in the same clause."""
        return any(not _NEGATED.search(self._text, 0, match.start()) for match in pattern.finditer(self._text))

    @cached_property
    def hemolyse(self) -> bool:
        """Whether the sample is called haemolysed: in words, or by an index above its interval."""
        indices = [m for m in self.report.measurements if "hemoly" in fold(m.name)]
        words = re.compile(r"hemolys[^:\n]*(?!\s*:\s*(?:non|abs|neg|0|-))(?:$|[:\n])", re.MULTILINE)
        return any(flag(m) == HIGH for m in indices) or (not indices and self.said(words))

    def measured(self, analyte: str) -> Measurement | None:
        """The first measurement of `analyte` in blood, in the unit of the report; None where it is absent."""
        return self._by_id.get(analyte)

    def french(self, analyte: str) -> Measurement | None:
        """The measurement in its French unit; None where it is absent or in another unit that cannot be converted."""
        m = self._by_id.get(analyte)
        return in_french_unit(m) if m else None

    def value(self, analyte: str) -> Span | None:
        """What the printed value may stand for, in the French unit (see `french_span`)."""
        return french_span(self._by_id.get(analyte))

    def text(self, analyte: str) -> str | None:
        """The value as printed."""
        m = self._by_id.get(analyte)
        return m.text if m else None

    def names(self, wanted: Iterable[str]) -> str:
        """The names of the analytes that are in the report, as it prints them: `potassium, LDH et ASAT`."""
        *first, last = [short_name(self._by_id[name]) for name in wanted if name in self._by_id] or [""]
        return f"{', '.join(first)} et {last}" if first else last

    def outside(self, pattern: re.Pattern) -> bool:
        """Whether a measurement of any specimen, its folded name as `pattern`, lies outside its printed interval."""
        return any(flag(m) in (LOW, HIGH) and pattern.search(fold(m.name)) for m in self.report.measurements)

    def _line(self, analyte: str) -> str:
        m = self._by_id.get(analyte)
        return self.lines[m.line - 1] if m and m.line else ""

    def earlier(self, analyte: str) -> Span | None:
        """The earlier value that the line of `analyte` prints («antériorité : 131»), in the French unit."""
        m, match = self._by_id.get(analyte), _EARLIER.search(DATE.sub("", self._line(analyte)))
        return french_span(replace(m, sign="", value=number(match[1]), text=match[1])) if match else None

    def days_since(self, analyte: str) -> float | None:
        """Days between the date on the line of `analyte` and the latest date of the report; None without either."""
        own, dates = (sorted(dates_in(text)) for text in (self._line(analyte), self._text))
        return (dates[-1] - own[0]).days if own and dates[-1] != own[0] else None

    def adapted(self, analyte: str) -> tuple[float | None, float | None]:
        """The bounds of conditional_intervals.csv that hold for this patient (age, pregnancy, treatment), or None, None."""
        for row, condition in _conditional("conditional_intervals").get(analyte, ()):
            fits = (self.sexe or "") in row["sex"] and not (self.enceinte and "enceinte" not in condition.names)
            if fits and condition.evaluate(self):
                ends = [
                    expression(row[end], "conditional_intervals").evaluate(self) if row[end] else None for end in ("low", "high")
                ]
                return tuple(end and end[0] for end in ends)
        return None, None

    def bounds(self, analyte: str) -> tuple[float | None, float | None]:
        """The interval in the French unit: printed, else adapted to the patient, else for adults that of the table."""
        m = self._by_id.get(analyte)
        if m and (m.low is not None or m.high is not None):
            unit, french = m.interval_unit or m.unit, analytes()[analyte].unit
            try:
                return tuple(None if b is None else convert(analyte, b, unit, french) for b in (m.low, m.high))
            except KeyError:
                return None, None
        adapted = (None, None) if self.enfant else self.adapted(analyte)
        table = reference_interval(analyte, self.sexe) if self.adulte and adapted == (None, None) else None
        return (table.low, table.high) if table else adapted

    def state(self, analyte: str) -> str | None:
        """The flag on which patterns rest: of the printed interval, else of `bounds`; a reached critical limit counts, too."""
        m = self._by_id.get(analyte)
        if m is None:
            return None
        judged, value = flag(m), self.value(analyte)
        if m.low is None and m.high is None and value is not None and self.bounds(analyte) != (None, None):
            judged = side(value, *self.bounds(analyte))
        return judged if judged in (LOW, HIGH) else self.critical(analyte) or judged

    def defined(self, name: str) -> Any:
        """The value of a name of definitions.csv."""
        if name not in self._defined:
            self._defined[name] = definition(name).evaluate(self)
        return self._defined[name]

    @cached_property
    def dfg_calcule(self) -> Span | None:
        """CKD-EPI 2009 of an adult whose age and sex are known, mL/min/1,73 m², a whole number."""
        creatinine = self.value("creatinine")
        if not (creatinine and creatinine[0] == creatinine[1] and self.age and self.sexe and self.adulte):
            return None
        return span(float(round(ckd_epi_2009(creatinine[0], self.age[0], self.sexe))))

    @property
    def calcium(self) -> Span | None:
        """The calcium that decides, mmol/L: the corrected one where there is one (see definitions.csv)."""
        return self.defined("corrige")

    def deciding(self, m: Measurement) -> Span | None:
        """The value that is compared with the critical limit: in the French unit; for calcium, the corrected one."""
        if m.analyte == "calcium" and m is self._by_id.get("calcium"):
            return self.calcium
        return french_span(m)

    def corrected(self, m: Measurement) -> str:
        """The corrected calcium as a report prints it, where it decides instead of the calcium `m`; else ""."""
        other = m.analyte == "calcium" and self.calcium != self.value("calcium")
        return format_number(self.calcium[0], analytes()["calcium"].decimals) if other and self.calcium else ""

    def critical_side(self, m: Measurement) -> str | None:
        """The side on which a measurement in blood reaches its critical limit and no exception lifts it, or None."""
        reached_side = reached(m.analyte, self.deciding(m)) if m.analyte and m.specimen == BLOOD else None
        return None if reached_side and self.lifted(m) else reached_side

    def lifted(self, m: Measurement) -> dict[str, str] | None:
        """The row of critical_exceptions.csv that lifts the critical limit which `m` reaches, or None."""
        reached_side = reached(m.analyte, self.deciding(m)) if m.analyte else None
        rows = _conditional("critical_exceptions").get(m.analyte, ()) if reached_side else ()
        return next((row for row, condition in rows if row["side"] == reached_side and condition.evaluate(self)), None)

    def critical(self, analyte: str) -> str | None:
        """The side on which the first value of `analyte` reaches its critical limit, or None."""
        m = self._by_id.get(analyte)
        return self.critical_side(m) if m else None


def agreed(word: str, m: Measurement) -> str:
    """ "bas" or "élevé" as it agrees with the name of a measurement: `chlorures bas`, `créatinine élevée`."""
    gender = "f" if fold(m.name).split()[0].endswith(("emie", "urie")) else analytes()[m.analyte].gender if m.analyte else "m"
    forms = {"bas": {"f": "basse", "fp": "basses"}, "élevé": {"f": "élevée", "fp": "élevées", "mp": "élevés"}}
    return forms[word].get(gender, word)


def short_name(m: Measurement) -> str:
    """The name as a sentence holds it: without method and brackets, a small first letter unless it is an abbreviation."""
    name = _ADDED.sub("", m.name).strip() or m.name
    first = name.split()[0]
    plain = first.isalpha() and len(first) > 2 and (first[1:].islower() or (first.isupper() and len(first) >= 6))
    return first.lower() + name[len(first) :] if plain else name
