"""The rule engine: flags, critical values and multi-analyte patterns of a parsed report, and the answer they make.

The report's own interval decides a flag; critical values come from the sourced table. Thresholds of the patterns are
named beside each rule. The rules score a data set; they are not a medical device.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from medanalyzr.lab.references import analytes, convert, critical_limits, decimals_in, depends_on_sex, reference_interval
from medanalyzr.lab.report import CRITICAL, UNDETERMINED, Measurement, Report, decimals_needed, decimals_of, format_number, number


def in_interval_unit(m: Measurement) -> Measurement | None:
    """`m` with its value in the unit of its interval, rounded as a report prints that unit.

    None when the report prints value and interval in units between which no conversion is known.
    """
    if not m.interval_unit:
        return m
    try:
        value = convert(m.analyte or "", m.value, m.unit, m.interval_unit)
    except KeyError:
        return None
    text = format_number(value, decimals_in(m.analyte, m.interval_unit))
    return replace(m, text=m.sign + text, value=number(text), unit=m.interval_unit, interval_unit="")


def flag(m: Measurement) -> str:
    """ "bas", "normal" or "élevé" against the report's interval (bounds included); "indéterminé" when it cannot be told.

    A value printed in another unit than its interval is converted first. A censored value ("<0,1") is flagged only
    where every value it may stand for has the same flag.
    """
    m = in_interval_unit(m)
    if m is None or (m.low is None and m.high is None):
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


def missing(m: Measurement, sex: str | None) -> str:
    """What a flag, or the check for a critical value, would still need; "" when nothing is missing.

    One of "intervalle", "sexe" (the interval depends on it and neither is printed), "unité", "intervalle et unité",
    "unité commune" (value and interval in units that cannot be converted), "valeur exacte" (a censored value).
    """
    known = analytes().get(m.analyte or "")
    unit = "unité" if known and known.unit and not m.unit else ""
    if m.low is None and m.high is None:
        return "sexe" if known and sex is None and depends_on_sex(known.id) else "intervalle et unité" if unit else "intervalle"
    if in_interval_unit(m) is None:
        return unit or "unité commune"
    return "valeur exacte" if flag(m) == UNDETERMINED else unit


def _in_french_unit(m: Measurement) -> Measurement | None:
    """A known analyte's measurement in its French unit (see `in_interval_unit`); None in a unit that cannot be converted."""
    unit = analytes()[m.analyte].unit
    return m if m.unit == unit else in_interval_unit(replace(m, interval_unit=unit))


def _critical_limit(m: Measurement) -> float | None:
    """The critical limit that a value reaches (≤ low or ≥ high, in the analyte's French unit), or None."""
    limits = critical_limits(m.analyte) if m.analyte else None
    if limits is None or (m := _in_french_unit(m)) is None:
        return None
    if limits.low is not None and m.value <= limits.low and m.sign != ">":
        return limits.low
    return limits.high if limits.high is not None and m.value >= limits.high and m.sign != "<" else None


def is_critical(m: Measurement) -> bool:
    """Whether the value reaches a critical limit (≤ low or ≥ high, in the analyte's French unit)."""
    return _critical_limit(m) is not None


def ckd_epi_2009(creatinine: float, age: float, sex: str) -> float:
    """Estimated glomerular filtration rate in mL/min/1,73 m² from creatinine in µmol/L, age in years, sex "H" or "F".

    CKD-EPI 2009 without the ethnicity factor, the equation French laboratories report (Levey et al., Ann Intern Med
    2009;150:604-612).
    """
    kappa, alpha, scale = (0.7, -0.329, 144) if sex == "F" else (0.9, -0.411, 141)
    ratio = creatinine / 88.4 / kappa
    return scale * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.209 * 0.993**age


def dfg_stage(rate: float) -> tuple[int, str, int | None]:
    """KDIGO stage G1 to G5 of a filtration rate in mL/min/1,73 m², between the bounds of the stage (the upper one excluded)."""
    bounds, names = (90, 60, 45, 30, 15, 0), ("G1", "G2", "G3a", "G3b", "G4", "G5")
    place = next(i for i, bound in enumerate(bounds) if rate >= bound)
    return bounds[place], names[place], bounds[place - 1] if place else None


@dataclass(frozen=True)
class Pattern:
    """What several analytes say together, and what to do next (may be empty)."""

    name: str
    next_step: str = ""
    critical: str = ""


class _View:
    """A report by analyte: `view.value("hb")` (None when absent, censored or in another unit), `view.flag("hb")`."""

    def __init__(self, report: Report):
        self._by_id = {m.analyte: m for m in report.measurements if m.analyte}

    def value(self, analyte: str) -> float | None:
        m = self._by_id.get(analyte)
        m = None if m is None or m.sign else _in_french_unit(m)
        return m.value if m else None

    def text(self, analyte: str) -> str:
        return self._by_id[analyte].text

    def flag(self, analyte: str) -> str | None:
        m = self._by_id.get(analyte)
        return flag(m) if m else None

    def flags(self, *names: str) -> tuple[str | None, ...]:
        return tuple(self.flag(name) for name in names)

    def times_upper(self, analyte: str) -> float:
        """Value over the upper bound of the report's interval; 0 when either is missing."""
        m = self._by_id.get(analyte)
        m = in_interval_unit(m) if m else None
        return m.value / m.high if m and m.high else 0.0


def _blood_count(v: _View) -> Iterator[Pattern]:
    hb, ferritin = v.flags("hb", "ferritine")
    if hb == "bas":
        size = v.value("vgm")  # bounds 80 and 100 fL: UNF3S, hématologie, item 316
        kind = "" if size is None else " microcytaire" if size < 80 else " macrocytaire" if size > 100 else " normocytaire"
        cause = ""
        if kind == " microcytaire" and ferritin == "bas":
            cause = " compatible avec une carence martiale"
        elif kind in (" microcytaire", " normocytaire") and ferritin in ("normal", "élevé") and v.flag("crp") == "élevé":
            cause = " compatible avec une inflammation"
        step = "doser la ferritine et les réticulocytes" if ferritin is None else "doser les réticulocytes"
        yield Pattern(f"anémie{kind}{cause}", step)
    elif hb == "élevé":
        yield Pattern("hémoglobine élevée", "contrôler l'hématocrite")
    if v.flag("plaquettes") == "bas":
        yield Pattern("thrombopénie", "contrôler les plaquettes sur tube citraté")
    elif v.flag("plaquettes") == "élevé":
        yield Pattern("thrombocytose", "chercher une inflammation ou une carence en fer")
    if v.flag("leucocytes") == "élevé":
        yield Pattern("hyperleucocytose", "lire la formule leucocytaire")
    elif v.flag("leucocytes") == "bas":
        yield Pattern("leucopénie", "lire la formule leucocytaire")


def _iron(v: _View) -> Iterator[Pattern]:
    ferritin, saturation, transferrin = v.flags("ferritine", "cst", "transferrine")
    if ferritin == "bas" or (saturation == "bas" and transferrin == "élevé"):
        if v.flag("hb") != "bas":
            yield Pattern("réserves en fer basses", "chercher une cause de carence martiale")
    elif saturation == "bas":
        yield Pattern("fer peu disponible", "doser la CRP")
    if ferritin == "élevé" and saturation == "élevé":
        yield Pattern("surcharge en fer possible", "contrôler la saturation de la transferrine à jeun")
    elif ferritin == "élevé":
        yield Pattern("hyperferritinémie", "chercher inflammation, cytolyse, alcool et syndrome métabolique")


def _kidney(v: _View) -> Iterator[Pattern]:
    rate = v.value("dfg")
    if rate is not None and rate < 60:
        step = "avis néphrologique" if rate < 30 else "contrôler le DFG et l'albuminurie à 3 mois"
        low, stage, high = dfg_stage(rate)
        bounds = f"({f'{low} ≤ ' if low else ''}{v.text('dfg')} < {high})"
        yield Pattern(f"DFG abaissé {bounds}, stade {stage}", step)
    elif v.flag("creatinine") == "élevé":
        yield Pattern("créatinine élevée", "contrôler la créatinine")


def _severity(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    """The word of the highest step that `value` reaches, or ""."""
    return next((f" {word}" for bound, word in reversed(steps) if value >= bound), "")


def _electrolytes(v: _View) -> Iterator[Pattern]:
    if (sodium := v.flag("sodium")) in ("bas", "élevé"):
        name, step = ("hyponatrémie", "mesurer l'osmolalité") if sodium == "bas" else ("hypernatrémie", "évaluer l'hydratation")
        yield Pattern(name, step)
    if v.flag("potassium") == "élevé":
        degrees = ((5.5, "légère"), (6.0, "modérée"), (6.5, "sévère"))  # mmol/L: gpnotebook, hyperkaliémie
        degree = _severity(v.value("potassium") or 0.0, degrees)
        yield Pattern(f"hyperkaliémie{degree}", "faire un ECG et écarter une hémolyse du tube")
    elif v.flag("potassium") == "bas":
        yield Pattern("hypokaliémie", "faire un ECG et doser le magnésium")
    yield from _calcium(v)
    yield from _anion_gap(v)


def _calcium(v: _View) -> Iterator[Pattern]:
    calcium, albumin = v.value("calcium"), v.value("albumine")
    state, corrected = v.flag("calcium"), ""
    if calcium is not None and albumin is not None and albumin < 40:
        calcium += 0.025 * (40 - albumin)  # corrected only below 40 g/L: Ann Biol Clin 2009;67(4)
        bounds = reference_interval("calcium", None)
        state = "bas" if calcium < bounds.low else "élevé" if calcium > bounds.high else "normal"
        corrected = f" (calcium corrigé {format_number(calcium, 2)} mmol/L)"
    if state == "élevé":
        yield Pattern(f"hypercalcémie{corrected}", "doser la PTH")
    elif state == "bas":
        yield Pattern(f"hypocalcémie{corrected}", "doser magnésium, phosphore et PTH")
    elif v.flag("calcium") == "bas" and corrected:
        yield Pattern(f"calcium bas par hypoalbuminémie{corrected}")


def _anion_gap(v: _View) -> Iterator[Pattern]:
    parts = [v.value(name) for name in ("sodium", "chlore", "bicarbonates")]
    if None in parts or v.flag("bicarbonates") != "bas":
        return
    gap = parts[0] - parts[1] - parts[2]
    shown = format_number(gap, 0)
    if gap > 16:  # 12 ± 4 mmol/L: SRLF/SFMU 2019
        critical = "trou anionique" if gap >= critical_limits("trou_anionique").high else ""
        yield Pattern(f"bicarbonates bas à trou anionique élevé ({shown})", "faire des gaz du sang et doser le lactate", critical)
    else:
        yield Pattern(f"bicarbonates bas à trou anionique normal ({shown})", "faire des gaz du sang")


def _blood_gases(v: _View) -> Iterator[Pattern]:
    ph, gas, base = v.flags("ph", "paco2", "hco3_art")
    if ph == "bas" and base == "bas":
        measured, expected = v.value("paco2"), 1.5 * (v.value("hco3_art") or math.nan) + 8  # ± 2 mmHg: CUEN, item 265
        also = ""
        if measured is not None and measured > expected + 2:
            also = " avec acidose respiratoire associée"
        elif measured is not None and measured < expected - 2:
            also = " avec alcalose respiratoire associée"
        yield Pattern(f"acidose métabolique{also}", "calculer le trou anionique et doser le lactate")
    elif ph == "bas" and gas == "élevé":
        yield Pattern("acidose respiratoire", "évaluer la ventilation sans délai")
    elif ph == "élevé" and base == "élevé":
        yield Pattern("alcalose métabolique", "doser potassium et chlorures")
    elif ph == "élevé" and gas == "bas":
        yield Pattern("alcalose respiratoire", "chercher la cause de l'hyperventilation")
    oxygen = v.value("pao2")
    if oxygen is not None and oxygen < 80:  # 80, 60 and 40 mmHg: oncorea
        degree = "modérée" if oxygen >= 60 else "moyenne" if oxygen >= 40 else "sévère"
        yield Pattern(f"hypoxémie {degree}", "évaluer le besoin en oxygène")
    if v.flag("lactate") == "élevé":
        yield Pattern("hyperlactatémie", "chercher une hypoperfusion")


def _coagulation(v: _View) -> Iterator[Pattern]:
    if v.flag("tp") == "bas" or v.flag("inr") == "élevé":
        yield Pattern("TP abaissé", "chercher un traitement par AVK, une atteinte hépatique, doser le facteur V")
    if v.flag("fibrinogene") == "bas":
        yield Pattern("hypofibrinogénémie", "contrôler les plaquettes et les D-dimères")
    elif v.flag("fibrinogene") == "élevé" and v.flag("crp") != "élevé":
        yield Pattern("fibrinogène élevé", "doser la CRP")
    if v.flag("ddimeres") == "élevé":
        yield Pattern("D-dimères élevés", "interpréter selon la probabilité clinique de thrombose")


def _thyroid(v: _View) -> Iterator[Pattern]:
    name, step = {
        ("élevé", "bas"): ("hypothyroïdie avérée", "doser les anticorps anti-TPO"),
        ("élevé", "normal"): ("hypothyroïdie fruste", "contrôler la TSH à 3 mois"),
        ("bas", "élevé"): ("hyperthyroïdie avérée", "doser les anticorps anti-récepteur de la TSH"),
        ("bas", "normal"): ("hyperthyroïdie fruste", "contrôler la TSH et la T4 libre"),
        ("bas", "bas"): ("atteinte centrale ou affection intercurrente", "explorer l'hypophyse"),
        ("élevé", None): ("TSH élevée", "doser la T4 libre"),
        ("bas", None): ("TSH basse", "doser la T4 libre"),
    }.get(v.flags("tsh", "t4l"), ("", ""))
    if name:
        yield Pattern(name, step)


def _inflammation(v: _View) -> Iterator[Pattern]:
    if v.flag("pct") == "élevé":
        yield Pattern("procalcitonine élevée, infection bactérienne possible", "chercher un foyer infectieux")
    if v.flag("crp") == "élevé":
        yield Pattern("syndrome inflammatoire", "chercher la cause de l'inflammation")
    elif v.flag("vs") == "élevé":
        yield Pattern("VS élevée à CRP normale" if v.flag("crp") else "VS élevée", "faire une électrophorèse des protéines")


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
    loaded = v.value("hgpo_2h")  # two hours after 75 g of glucose, mmol/L: 7.8 and 11.1 (WHO)
    if loaded is not None and loaded >= 11.1:
        yield Pattern("HGPO compatible avec un diabète", "confirmer par une glycémie à jeun")
    elif loaded is not None and loaded >= 7.8:
        yield Pattern("intolérance au glucose", "contrôler la glycémie à jeun dans un an")
    if v.flag("cholesterol") == "élevé":
        yield Pattern("hypercholestérolémie", "compléter par HDL et LDL")
    if v.flag("triglycerides") == "élevé":
        yield Pattern("hypertriglycéridémie", "contrôler à jeun")


_FAMILIES: tuple[Callable[[_View], Iterator[Pattern]], ...] = (
    _blood_gases,
    _electrolytes,
    _blood_count,
    _iron,
    _inflammation,
    _coagulation,
    _kidney,
    _liver,
    _light_chains,
    _metabolism,
    _thyroid,
)


def patterns(report: Report) -> list[Pattern]:
    """The patterns a report shows, in a fixed order of organ systems."""
    view = _View(report)
    return [pattern for family in _FAMILIES for pattern in family(view)]


_LACKING = {  # what is missing: how the answer says it, and what it asks for
    "intervalle": ("intervalle manquant", "demander l'intervalle du laboratoire"),
    "sexe": ("sexe manquant", "préciser le sexe"),
    "unité": ("unité manquante", "demander l'unité"),
    "intervalle et unité": ("intervalle et unité manquants", "demander l'intervalle et l'unité"),
    "unité commune": ("unité commune manquante", "demander l'intervalle dans l'unité du résultat"),
    "valeur exacte": ("valeur exacte manquante", "demander la valeur exacte"),
}


def comparison(m: Measurement, sex: str | None = None) -> str:
    """The value among its bounds, in rising order up to its flag: `32 < 35`, `3,5 ≤ 4,2 ≤ 5,0`, `3,5 ≤ 5,0 < 6,8`.

    Written before the flag, it lets a model compare digit by digit instead of all at once. A value in another unit than
    its interval appears converted, with the unit; of `<0,01` the number, which decides: `0,01 ≤ 0,40`. Where no flag can be
    given: what is missing.
    """
    if flag(m) == UNDETERMINED:
        return _LACKING[missing(m, sex)][0]
    converted = in_interval_unit(m)
    unit = f" {m.interval_unit}" if m.interval_unit else ""
    decimals = max(decimals_of(converted.text), decimals_needed(m.low, m.high))
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (m.low, m.high))
    text, less = converted.text.removeprefix(m.sign), "≤" if m.sign else "<"
    if flag(m) == "bas":
        return f"{text} {less} {low}{unit}"
    if flag(m) == "élevé":
        return (f"{low} ≤ " if low else "") + f"{high} {less} {text}{unit}"
    return " ≤ ".join(part for part in (low, text, high) if part is not None) + unit


def critical_comparison(m: Measurement) -> str:
    """How a value stands to the critical limit that it reaches or, when low or high, might reach: `critique 6,2 ≤ 6,8`,
    `critique 6,2 > 5,4`; without a flag, to both: `critique 2,8 < 5,4 < 6,2`.

    No report prints that limit: written out at each value, a model meets it often enough to know it. Empty for a normal
    value, for a censored one that does not reach it, and where there is no limit.
    """
    limits = critical_limits(m.analyte) if m.analyte else None
    converted = _in_french_unit(m) if limits else None
    reached, state = _critical_limit(m), flag(m)
    if converted is None or (m.sign and reached is None):
        return ""
    low, high = (None if b is None else format_number(b, analytes()[m.analyte].decimals) for b in (limits.low, limits.high))
    text = converted.text.removeprefix(m.sign)
    if reached is not None:
        compared = f"{low} ≥ {text}" if reached == limits.low else f"{high} ≤ {text}"
    elif state == UNDETERMINED:
        compared = (f"{low} < " if low else "") + text + (f" < {high}" if high else "")
    else:
        sides = {"bas": low and f"{low} < {text}", "élevé": high and f"{high} > {text}"}
        compared = sides.get(state)
    return f"{CRITICAL} {compared}" + ("" if converted is m else f" {converted.unit}") if compared else ""


def answer_line(m: Measurement, sex: str | None = None) -> str:
    """The line of the answer for one measurement: value, unit, comparisons and flag, with its critical mark."""
    compared = " ; ".join(part for part in (comparison(m, sex), critical_comparison(m)) if part)
    line = f"{m.name} : {m.text} {m.unit}".rstrip() + f" ({compared})"
    return f"{line} : {flag(m)}" + (f", {CRITICAL}" if is_critical(m) else "")


def interpret(report: Report) -> str:
    """The reference answer to a report: a flagged line per analyte, a conclusion and, where useful, the next steps."""
    found = patterns(report)
    names = [p.name for p in found]
    lacking: dict[str, list[str]] = {}
    for m in report.measurements:
        if lack := missing(m, report.sex):
            lacking.setdefault(lack, []).append(m.name)
    if not found:
        abnormal = [m.name for m in report.measurements if flag(m) in ("bas", "élevé")]
        determined = [m for m in report.measurements if flag(m) != UNDETERMINED]
        names = [f"hors intervalle : {', '.join(abnormal)}"] if abnormal else ["valeurs dans les intervalles"] if determined else []
    names += [f"{_LACKING[lack][0]} : {', '.join(of)}" for lack, of in lacking.items()]
    critical = [m.name for m in report.measurements if is_critical(m)] + [p.critical for p in found if p.critical]
    steps = [f"prévenir le médecin sans délai ({', '.join(critical)})"] if critical else []
    steps += [p.next_step for p in found if p.next_step][:1]
    steps += [_LACKING[lack][1] for lack in lacking]
    lines = [answer_line(m, report.sex) for m in report.measurements]
    lines.append(f"Conclusion : {' ; '.join(names)}.")
    if steps:
        lines.append(f"Suite : {' ; '.join(steps)}.")
    return "\n".join(lines)
