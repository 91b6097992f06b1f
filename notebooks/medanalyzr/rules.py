"""The rule engine: flags, critical values and multi-analyte patterns of a parsed report, and the answer they make.

The report's own interval decides a flag; critical values come from the sourced table. Thresholds of the patterns are
named beside each rule. The rules score a data set; they are not a medical device.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from medanalyzr.references import convert, critical_limits
from medanalyzr.reports import CRITICAL, Measurement, Report, format_interval, format_number

UNDETERMINED = "indéterminé"


def flag(m: Measurement) -> str:
    """ "bas", "normal" or "élevé" against the report's interval (bounds included); "indéterminé" when it cannot be told.

    A censored value ("<0,1") is flagged only where every value it may stand for has the same flag.
    """
    if m.low is None and m.high is None:
        return UNDETERMINED
    if m.sign == "<":
        if m.low is not None:
            return "bas" if m.value <= m.low else UNDETERMINED
        return "normal" if m.value <= m.high else UNDETERMINED
    if m.sign == ">":
        if m.high is not None:
            return "élevé" if m.value >= m.high else UNDETERMINED
        return "normal" if m.value >= m.low else UNDETERMINED
    if m.low is not None and m.value < m.low:
        return "bas"
    return "élevé" if m.high is not None and m.value > m.high else "normal"


def is_critical(m: Measurement) -> bool:
    """Whether the value reaches a critical limit (≤ low or ≥ high, in the analyte's French unit)."""
    limits = critical_limits(m.analyte) if m.analyte else None
    if limits is None:
        return False
    try:
        value = convert(m.analyte, m.value, m.unit)
    except KeyError:
        return False
    low = limits.low is not None and value <= limits.low and m.sign != ">"
    high = limits.high is not None and value >= limits.high and m.sign != "<"
    return low or high


def ckd_epi_2009(creatinine: float, age: float, sex: str) -> float:
    """Estimated glomerular filtration rate in mL/min/1,73 m² from creatinine in µmol/L, age in years, sex "H" or "F".

    CKD-EPI 2009 without the ethnicity factor, the equation French laboratories report (Levey et al., Ann Intern Med
    2009;150:604-612).
    """
    kappa, alpha, scale = (0.7, -0.329, 144) if sex == "F" else (0.9, -0.411, 141)
    ratio = creatinine / 88.4 / kappa
    return scale * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.209 * 0.993**age


def dfg_stage(rate: float) -> str:
    """KDIGO stage G1 to G5 of a filtration rate in mL/min/1,73 m²."""
    stages = ((90, "G1"), (60, "G2"), (45, "G3a"), (30, "G3b"), (15, "G4"), (-math.inf, "G5"))
    return next(stage for bound, stage in stages if rate >= bound)


@dataclass(frozen=True)
class Pattern:
    """What several analytes say together, and what to do next (may be empty)."""

    name: str
    next_step: str = ""


class _View:
    """A report by analyte: `view.value("hb")` (None when absent), `view.flag("hb")`."""

    def __init__(self, report: Report):
        self._by_id = {m.analyte: m for m in report.measurements if m.analyte}

    def value(self, analyte: str) -> float | None:
        m = self._by_id.get(analyte)
        return None if m is None or m.sign else m.value

    def flag(self, analyte: str) -> str | None:
        m = self._by_id.get(analyte)
        return flag(m) if m else None

    def times_upper(self, analyte: str) -> float:
        """Value over the upper bound of the report's interval; 0 when either is missing."""
        m = self._by_id.get(analyte)
        return m.value / m.high if m and m.high else 0.0


def _blood_count(v: _View) -> Iterator[Pattern]:
    if v.flag("hb") == "bas":
        size = v.value("vgm")  # bounds 80 and 100 fL: UNF3S, hématologie, item 316
        kind = "" if size is None else " microcytaire" if size < 80 else " macrocytaire" if size > 100 else " normocytaire"
        iron = " compatible avec une carence martiale" if kind == " microcytaire" and v.flag("ferritine") == "bas" else ""
        known = v.flag("ferritine") is not None
        yield Pattern(f"anémie{kind}{iron}", "doser les réticulocytes" if known else "doser la ferritine et les réticulocytes")
    elif v.flag("hb") == "élevé":
        yield Pattern("hémoglobine élevée", "contrôler l'hématocrite")
    if v.flag("plaquettes") == "bas":
        yield Pattern("thrombopénie", "contrôler les plaquettes sur tube citraté")
    if v.flag("leucocytes") == "élevé":
        yield Pattern("hyperleucocytose", "lire la formule leucocytaire")
    elif v.flag("leucocytes") == "bas":
        yield Pattern("leucopénie", "lire la formule leucocytaire")
    if v.flag("ferritine") == "bas" and v.flag("hb") != "bas":
        yield Pattern("réserves en fer basses", "chercher une cause de carence martiale")


def _kidney(v: _View) -> Iterator[Pattern]:
    rate = v.value("dfg")
    if rate is not None and rate < 60:
        step = "avis néphrologique" if rate < 30 else "contrôler le DFG et l'albuminurie à 3 mois"
        yield Pattern(f"DFG abaissé, stade {dfg_stage(rate)}", step)
    elif v.flag("creatinine") == "élevé":
        yield Pattern("créatinine élevée", "contrôler la créatinine")


def _liver(v: _View) -> Iterator[Pattern]:
    if "élevé" in (v.flag("asat"), v.flag("alat")):
        major = max(v.times_upper("asat"), v.times_upper("alat")) > 10  # > 10 N: acute hepatitis
        yield Pattern("cytolyse majeure" if major else "cytolyse", "chercher une cause virale, toxique ou médicamenteuse")
    if v.flag("pal") == "élevé":
        if v.flag("ggt") is None:
            yield Pattern("PAL élevée", "doser la GGT")
        elif v.flag("ggt") == "élevé" and v.times_upper("pal") > 1.5:
            yield Pattern("cholestase", "faire une échographie hépatique")
        elif v.flag("ggt") == "normal":
            yield Pattern("PAL élevée à GGT normale", "chercher une origine osseuse")
    if v.flag("bilirubine_totale") == "élevé":
        yield Pattern("hyperbilirubinémie", "doser la bilirubine conjuguée")
    if v.flag("albumine") == "bas":
        yield Pattern("hypoalbuminémie", "contrôler le TP et la protéinurie")


def _light_chains(v: _View) -> Iterator[Pattern]:
    side = {"élevé": "kappa", "bas": "lambda"}.get(v.flag("ratio_kl"))
    if side:
        yield Pattern(f"excès de chaînes légères {side}", "faire une électrophorèse et une immunofixation")
    elif v.flag("ratio_kl") == "normal" and v.flag("kappa_libre") == v.flag("lambda_libre") == "élevé":
        yield Pattern("élévation polyclonale des chaînes légères", "vérifier la fonction rénale")


def _metabolism(v: _View) -> Iterator[Pattern]:
    glucose = v.value("glucose")  # thresholds in mmol/L: 6.1 and 7.0 (WHO)
    if glucose is not None and glucose >= 7.0:
        yield Pattern("glycémie compatible avec un diabète", "confirmer par un second dosage à jeun")
    elif glucose is not None and glucose >= 6.1:
        yield Pattern("hyperglycémie modérée à jeun", "contrôler la glycémie à jeun")
    elif v.flag("glucose") == "élevé":
        yield Pattern("glycémie au-dessus de l'intervalle", "contrôler la glycémie à jeun")
    elif v.flag("glucose") == "bas":
        yield Pattern("hypoglycémie", "contrôler la glycémie sans attendre")
    if v.flag("cholesterol") == "élevé":
        yield Pattern("hypercholestérolémie", "compléter par HDL et LDL")
    if v.flag("triglycerides") == "élevé":
        yield Pattern("hypertriglycéridémie", "contrôler à jeun")


_FAMILIES: tuple[Callable[[_View], Iterator[Pattern]], ...] = (_blood_count, _kidney, _liver, _light_chains, _metabolism)


def patterns(report: Report) -> list[Pattern]:
    """The patterns a report shows, in a fixed order of organ systems."""
    view = _View(report)
    return [pattern for family in _FAMILIES for pattern in family(view)]


def _decimals(text: str) -> int:
    return len(text.partition(",")[2])


def write_measurement(m: Measurement) -> str:
    """One measurement as a laboratory prints it, without its flag; the interval has the decimals of the value."""
    interval = format_interval(m.low, m.high, _decimals(m.text))
    return f"{m.name} : {m.text} {m.unit}".rstrip() + (f" ({interval})" if interval else "")


def comparison(m: Measurement) -> str:
    """The value among its bounds, in rising order up to its flag: `32 < 35`, `3,5 ≤ 4,2 ≤ 5,0`, `3,5 ≤ 5,0 < 6,8`.

    Written before the flag, it lets a model compare digit by digit instead of all at once. Empty for a value without
    interval; the interval itself for a censored value ("<0,1").
    """
    decimals = _decimals(m.text)
    if m.sign or flag(m) == UNDETERMINED:
        return format_interval(m.low, m.high, decimals)
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (m.low, m.high))
    if flag(m) == "bas":
        return f"{m.text} < {low}"
    if flag(m) == "élevé":
        return (f"{low} ≤ " if low else "") + f"{high} < {m.text}"
    return " ≤ ".join(part for part in (low, m.text, high) if part is not None)


def answer_line(m: Measurement) -> str:
    """The line of the answer for one measurement: value, unit, comparison and flag, with its critical mark."""
    reason = comparison(m)
    line = f"{m.name} : {m.text} {m.unit}".rstrip() + (f" ({reason})" if reason else "")
    return f"{line} : {flag(m)}" + (f", {CRITICAL}" if is_critical(m) else "")


def interpret(report: Report) -> str:
    """The reference answer to a report: a flagged line per analyte, a conclusion and, where useful, the next steps."""
    lines = [answer_line(m) for m in report.measurements]
    found = patterns(report)
    names = [p.name for p in found]
    missing = [m.name for m in report.measurements if flag(m) == UNDETERMINED]
    critical = [m.name for m in report.measurements if is_critical(m)]
    if not found and not missing:
        abnormal = [m.name for m in report.measurements if flag(m) != "normal"]
        names = [f"hors intervalle : {', '.join(abnormal)}"] if abnormal else ["valeurs dans les intervalles"]
    if missing:
        names.append(f"interprétation impossible sans intervalle ni sexe : {', '.join(missing)}")
    lines.append(f"Conclusion : {' ; '.join(names)}.")
    steps = [f"prévenir le médecin sans délai ({', '.join(critical)})"] if critical else []
    steps += [p.next_step for p in found if p.next_step][:1]
    if steps:
        lines.append(f"Suite : {' ; '.join(steps)}.")
    return "\n".join(lines)
