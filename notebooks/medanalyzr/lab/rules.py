"""The correct answer to a parsed report: a line per analyte with its comparisons and flag, the conclusion, the next steps.

The report's own interval decides the flag of a line; critical values come from the sourced table, with its exceptions. The
patterns may use the adult table, too, but never under 18 years, in pregnancy or for another specimen than blood. The rules
score a data set; they are not a medical device.
"""

import re
from collections.abc import Iterator, Sequence

from medanalyzr.lab.engine import patterns
from medanalyzr.lab.engine.conditions import HIGH, LOW, NORMAL
from medanalyzr.lab.engine.facts import BLOOD, Facts, agreed, answered, flag, in_french_unit, in_interval_unit, short_name
from medanalyzr.lab.engine.patterns import Finding
from medanalyzr.lab.references import analytes, critical_limits, depends_on_sex, find_analyte, fold
from medanalyzr.lab.report import CRITICAL, UNDETERMINED, Measurement, Report, decimals_needed, decimals_of, format_number

_LACKING = {  # what is missing: how the line says it, how the conclusion does, its rank, and what it asks for
    "intervalle": ("intervalle manquant", "intervalle manquant : {}", 5, "demander l'intervalle du laboratoire"),
    "sexe": ("sexe manquant", "sexe manquant : {}", 5, "préciser le sexe"),
    "unité": ("unité manquante", "unité manquante : {}", 4, "demander l'unité avant toute conclusion"),
    "intervalle et unité": (
        "intervalle et unité manquants", "intervalle et unité manquants : {}", 4, "demander l'intervalle et l'unité"),
    "unité commune": (
        "unité commune manquante", "unité commune manquante : {}", 4, "demander l'intervalle dans l'unité du résultat"),
    "mesure": ("limite de mesure non classable", "{} : limite de mesure de part et d'autre de la borne, non classable", 5,
               "contrôler par une méthode plus sensible si la clinique le demande"),
    "enfant": ("intervalle manquant", "intervalles de l'adulte non applicables avant 18 ans : {}", 4,
               "demander {} du laboratoire pour l'âge"),
    "grossesse": ("intervalle manquant", "intervalles hors grossesse non applicables : {}", 4,
                  "demander les intervalles du trimestre ({})"),
}  # fmt: skip
LACKS = tuple(dict.fromkeys(line for line, *_ in _LACKING.values()))  # how a line may say what is missing
LACKING_WORDS = tuple(words for _, words, *_ in _LACKING.values())  # how the conclusion does
_CALL = "prévenir le médecin"
_INSIDE = "{} dans les intervalles"
_OUTSIDE = "autres valeurs hors intervalle : {}"
_FOREIGN = "résultats non sanguins non interprétés ici ({})"
_REPEAT = "contrôler sans délai ({})"
_FOR_CHILD, _FOR_TERM = "faire interpréter par un pédiatre", "interpréter selon le terme de la grossesse"
WORDINGS = tuple(  # what an answer may say beside the patterns
    dict.fromkeys((*LACKING_WORDS, *(step for *_, step in _LACKING.values()), f"{_CALL} sans délai ({{}})", _INSIDE.format("valeurs"),
                   _INSIDE.format("autres valeurs"), _OUTSIDE, _FOREIGN, _REPEAT, _FOR_CHILD, _FOR_TERM)))  # fmt: skip
_CALCIUM = analytes()["calcium"]
FLUIDS = {"urine": "urines", "lcr": "LCR"}
_NOT_GIVEN = re.compile(r"^\W*([^:\n]{2,60}?)\s*:.*?\b(non rendue?|annulée?|voir commentaire|(?:échantillon|prélèvement) insuffisant)\b",
                        re.IGNORECASE)  # fmt: skip


def missing(m: Measurement, sex: str | None) -> str:
    """What a flag, or the check for a critical value, would still need; "" when nothing is missing.

    One of "intervalle", "sexe" (the interval depends on it and neither is printed), "unité", "intervalle et unité",
    "unité commune" (value and interval in units that cannot be converted), "mesure" (a censored value on both sides of a bound).
    """
    known = analytes().get(m.analyte or "")
    unit = "unité" if known and known.unit and not m.unit else ""
    if m.low is None and m.high is None:
        return "sexe" if known and sex is None and depends_on_sex(known.id) else "intervalle et unité" if unit else "intervalle"
    if in_interval_unit(m) is None:
        return unit or "unité commune"
    return "mesure" if flag(m) == UNDETERMINED else unit


def is_critical(m: Measurement) -> bool:
    """Whether a measurement by itself reaches a critical limit (≤ low or ≥ high, in the analyte's French unit)."""
    facts = Facts(Report(None, None, (m,)))
    return any(map(facts.critical_side, facts.blood))


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
    if flag(m) == LOW:
        return f"{text} {less} {low}{unit}"
    if flag(m) == HIGH:
        return (f"{low} ≤ " if low else "") + f"{high} {less} {text}{unit}"
    return " ≤ ".join(part for part in ((low, text) if m.sign == ">" else (low, text, high)) if part is not None) + unit


def critical_comparison(m: Measurement, facts: Facts) -> str:
    """How a value stands to the critical limit that it reaches, `critique 6,0 ≤ 6,8`, or the one from which to call, `appel dès 6,0`.

    The latter is written for a value out of its interval, on that side, and on both sides of one without a flag: no report
    prints these limits, so a model can learn them only here. The word «critique» stands for a reached limit alone.
    """
    limits = critical_limits(m.analyte) if m.analyte else None
    converted = in_french_unit(m) if limits else None
    if converted is None or facts.lifted(m):
        return ""
    decimals = analytes()[m.analyte].decimals
    low, high = (None if b is None else format_number(b, decimals) for b in (limits.low, limits.high))
    unit = "" if converted is m else f" {converted.unit}"
    if side := facts.critical_side(m):
        text = facts.corrected(m) or converted.text.removeprefix(m.sign)
        return f"{CRITICAL} " + (f"{low} ≥ {text}" if side == LOW else f"{high} ≤ {text}") + unit
    state = flag(m)
    calls = [f"sous {low}"] if low and state in (LOW, UNDETERMINED) else []
    calls += [f"dès {high}"] if high and state in (HIGH, UNDETERMINED) else []
    return f"appel {' ou '.join(calls)}{unit}" if calls else ""


def remarks(m: Measurement, facts: Facts) -> Iterator[str]:
    """What else decides: why a critical limit does not count, the corrected calcium, a bound that follows from the age."""
    if lifted := facts.lifted(m):
        yield lifted["remark"]
    if corrected := facts.corrected(m):
        yield f"corrigé {corrected}" + ("" if m.unit == _CALCIUM.unit else f" {_CALCIUM.unit}")
    if m.analyte == "ddimeres" and m.high is not None and facts.adapted("ddimeres")[1] == m.high:
        yield f"seuil adapté : {facts.report.age:g} x 10"


def answer_name(m: Measurement) -> str:
    """The name in the answer: as printed, with the specimen where it is not blood and the name does not tell."""
    return f"{m.name} ({FLUIDS.get(m.specimen, 'autre')})" if m.specimen != BLOOD and find_analyte(m.name) else m.name


def answer_key(m: Measurement) -> str:
    """The key (see `Measurement.key`) of the line that an answer gives to `m`."""
    return m.key if m.specimen == BLOOD else fold(answer_name(m))


def answer_line(m: Measurement, facts: Facts) -> str:
    """The line of the answer for one measurement: value, unit, comparisons and flag, with its critical mark."""
    parts = [comparison(m, facts.sexe if facts.adulte else "")]
    if m.specimen == BLOOD:
        parts += [*remarks(m, facts), critical_comparison(m, facts)]
    line = f"{answer_name(m)} : {m.text} {m.unit}".rstrip() + f" ({' ; '.join(filter(None, parts))})"
    return f"{line} : {flag(m)}" + (f", {CRITICAL}" if facts.critical_side(m) else "")


def _joined(measurements: Sequence[Measurement]) -> str:
    return ", ".join(map(short_name, measurements))


def _lacks(facts: Facts, explained: frozenset[str]) -> Iterator[Finding]:
    """What is missing for a flag, and who the tables do not speak for."""
    lacking: dict[str, list[Measurement]] = {}
    for m in facts.blood:
        lack = missing(m, facts.sexe if facts.adulte else "")
        if lack == "intervalle" and not facts.adulte and facts.adapted(m.analyte) == (None, None):
            lack = "enfant" if facts.enfant else "grossesse"
        told = facts.critical_side(m) or (m.analyte in explained and lack in ("intervalle", "sexe", "mesure"))
        if lack and not told:
            lacking.setdefault(lack, []).append(m)
    for lack, of in lacking.items():
        _, wording, rank, step = _LACKING[lack]
        if lack == "enfant":
            wording = wording.removesuffix(" : {}") if len(of) == len(facts.blood) else wording
            step = step.format("l'intervalle" if len(of) == 1 else "les intervalles")
        yield Finding(rank, wording.format(_joined(of)), step.format(_joined(of)))


def _outside(m: Measurement, side: str) -> str:
    """`zinc bas`, `protéines (LCR) élevées`."""
    return f"{short_name(m)}{answer_name(m).removeprefix(m.name)} {agreed(side, m)}"


def _rest(facts: Facts, drawn: Sequence[Finding]) -> Iterator[Finding]:
    """What no pattern says: all is normal, other specimens, results not given, what is missing, other values out of their interval."""
    explained = frozenset().union(*(f.explains for f in drawn))
    mentioned = frozenset().union(*(f.mentions for f in drawn if f.wording))
    sides = {id(m): (facts.critical_side(m), flag(m)) for m in facts.blood}
    abnormal = [m for m in facts.blood if sides[id(m)][0] or sides[id(m)][1] in (LOW, HIGH)]
    lacks = list(_lacks(facts, explained))
    if not abnormal and any(sides[id(m)][1] == NORMAL and m.analyte not in mentioned for m in facts.blood):
        said = any(f.wording for f in drawn) or (lacks and not facts.adulte)
        yield Finding(5, _INSIDE.format("autres valeurs" if said else "valeurs sanguines" if facts.others else "valeurs"))
    if facts.others:
        fluids = dict.fromkeys(FLUIDS.get(m.specimen, "autre prélèvement") for m in facts.others)
        yield Finding(5, _FOREIGN.format(", ".join(fluids)))
    for line in facts.report.text.splitlines():
        if (found := _NOT_GIVEN.match(line.strip())) and (known := find_analyte(found[1])) and not facts.measured(known.id):
            yield Finding(4, f"{found[1].strip()} non rendu ({found[2].lower()})", f"refaire le prélèvement ({found[1].strip()})")
    yield from lacks
    served = frozenset().union(*(f.explains for f in drawn if f.step))
    unserved = [m for m in abnormal if sides[id(m)][0] and m.analyte not in served]
    if unserved:
        yield Finding(1, step=_REPEAT.format(_joined(unserved)))
    others = [m for m in abnormal if m.analyte not in explained] + [m for m in facts.others if flag(m) in (LOW, HIGH)]
    if not facts.adulte and any(m.specimen == BLOOD for m in others):
        yield Finding(5, step=_FOR_CHILD if facts.enfant else _FOR_TERM)
    if others:
        words = (_outside(m, flag(m) if flag(m) in (LOW, HIGH) else facts.critical_side(m)) for m in others)
        yield Finding(6, _OUTSIDE.format(", ".join(words)))


def _steps(facts: Facts, findings: Sequence[Finding]) -> list[str]:
    """The next steps, before them «prévenir le médecin sans délai» with every value for which to call at once.

    A step that itself says whom to call («prévenir le médecin et refaire…») stands for its values where no other one is called.
    """
    steps = patterns.next_steps(findings, facts)
    urgent = [f for f in findings if f.rank == 1]
    called = frozenset().union(*(f.called for f in urgent))
    told = frozenset().union(*(f.explains for f in urgent if f.step.startswith(_CALL)))
    values: dict[str, bool] = {}  # the value as the call writes it, and whether it takes the call
    for m in facts.blood:
        if facts.critical_side(m) or m.analyte in called:
            corrected = facts.corrected(m)
            value = f"calcium corrigé {corrected} {_CALCIUM.unit}" if corrected else f"{short_name(m)} {m.text} {m.unit}"
            values[value.rstrip()] = m.analyte not in told
    if not any(values.values()) and (told or not urgent):
        return steps
    call = f"{_CALL} sans délai" + (f" ({', '.join(values)})" if values else "")
    return [call, *(step.removeprefix(f"{_CALL} et ") for step in steps)]


def interpret(report: Report) -> str:
    """The reference answer: a flagged line per analyte in the order of the text, a conclusion and, where useful, next steps by urgency."""
    facts = Facts(report)
    drawn = patterns.draw(facts)
    findings = [*drawn, *_rest(facts, drawn)]
    lines = [answer_line(m, facts) for m in facts.measurements if answered(m)]
    lines.append(f"Conclusion : {' ; '.join(patterns.conclude(findings))}.")
    if steps := _steps(facts, findings):
        lines.append(f"Suite : {' ; '.join(steps)}.")
    return "\n".join(lines)
