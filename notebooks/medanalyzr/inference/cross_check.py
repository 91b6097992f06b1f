"""The rules beside the model: for each analyte of a report what the rules say, what the model says, and whether they agree."""

import html
from dataclasses import dataclass, replace

from medanalyzr.lab.engine.facts import Facts
from medanalyzr.lab.references import analytes, convert, decimals_in
from medanalyzr.lab.report import CRITICAL, UNDETERMINED, Measurement, Report, format_interval, parse_answer, parse_report
from medanalyzr.lab.rules import answer_key, flag, is_critical

NOT_A_DEVICE = "Pas un dispositif médical : pour l'étude seulement. Un biologiste décide."
AGREES, DIFFERS, ABSTAINS, SILENT, UNKNOWN, INVENTED = (
    "accord",
    "DÉSACCORD",
    "le modèle s'abstient",
    "le modèle ne dit rien",
    "sans intervalle connu",
    "absent du compte rendu",
)
_COLOURS = {AGREES: "#e3f4e3", DIFFERS: "#f9d6d5", ABSTAINS: "#fdf3d0", SILENT: "#f9d6d5", UNKNOWN: "#eeeeee", INVENTED: "#f9d6d5"}


@dataclass(frozen=True)
class Check:
    """One analyte: value and interval as text, flags of rules and model (with «critique»), and the verdict in words.

    `source` is "compte rendu" or "table" (whose interval was used), "" where none is known.
    """

    name: str
    value: str
    interval: str
    source: str
    rules: str
    model: str
    verdict: str
    critical: bool = False


def _with_interval(m: Measurement, facts: Facts) -> tuple[Measurement, str]:
    """`m` with an interval, and whose: the report's own, else that of the sourced tables in the unit of the value.

    The tables speak for blood of adults alone; those for age, pregnancy and treatment come before the general one.
    """
    if m.low is not None or m.high is not None:
        return m, "compte rendu"
    known = analytes().get(m.analyte or "") if m.specimen == "sang" else None
    bounds = facts.bounds(known.id) if known else (None, None)
    if bounds == (None, None) or (known.unit and not m.unit):
        return m, ""
    try:
        decimals = decimals_in(known.id, m.unit)
        low, high = (None if b is None else round(convert(known.id, b, known.unit, m.unit), decimals) for b in bounds)
    except KeyError:
        return m, ""
    return replace(m, low=low, high=high), "table"


def _words(flag_given: str, critical: bool) -> str:
    return f"{flag_given}, {CRITICAL}" if critical else flag_given


def cross_check(report: Report | str, answer: str) -> list[Check]:
    """Every analyte of `report` (text in our layout, or parsed), then those that only the answer has.

    A verdict is agreement only where flag and critical mark are the same.
    """
    report = parse_report(report) if isinstance(report, str) else report
    given, checks, facts = parse_answer(answer), [], Facts(report)
    for key, m in {answer_key(m): m for m in reversed(report.measurements)}.items():
        with_bounds, source = _with_interval(m, facts)
        expected, critical = flag(with_bounds), is_critical(m, report)
        found = given.pop(key, None)
        if found is None:
            verdict = SILENT
        elif found.flag == UNDETERMINED and found.critical == critical:
            verdict = AGREES if expected == UNDETERMINED else ABSTAINS
        elif expected == UNDETERMINED and found.critical == critical:
            verdict = UNKNOWN
        else:
            verdict = AGREES if (found.flag, found.critical) == (expected, critical) else DIFFERS
        interval = format_interval(with_bounds.low, with_bounds.high, len(m.text.partition(",")[2]))
        checks.append(
            Check(
                name=m.name,
                value=f"{m.text} {m.unit}".strip(),
                interval=f"{interval} {m.interval_unit}".strip(),
                source=source,
                rules=_words(expected, critical),
                model=_words(found.flag, found.critical) if found else "—",
                verdict=verdict,
                critical=critical,
            )
        )
    checks.reverse()
    checks += [
        Check(m.name, f"{m.text} {m.unit}".strip(), "", "", "—", _words(m.flag, m.critical), INVENTED) for m in given.values()
    ]
    return checks


def check_html(checks: list[Check]) -> str:
    """The checks as an HTML table, all text escaped: verdicts in colour and in words, critical values first in a sentence."""
    if not checks:
        return f"<p>Aucune analyse reconnue dans ce texte. <b>{NOT_A_DEVICE}</b></p>"
    urgent = [f"{check.name} {check.value}" for check in checks if check.critical]
    lines = []
    if urgent:
        lines.append(f"<p style='color:#a00000'><b>Valeur critique selon les règles : {html.escape(', '.join(urgent))}</b></p>")
    heads = ("analyse", "valeur", "intervalle", "selon", "règles", "modèle", "verdict")
    lines.append("<table><tr>" + "".join(f"<th style='text-align:left'>{head}</th>" for head in heads) + "</tr>")
    for c in checks:
        cells = (c.name, c.value, c.interval or "—", c.source or "—", c.rules, c.model, c.verdict)
        row = "".join(f"<td style='text-align:left;padding:2px 10px;white-space:nowrap'>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f"<tr style='background:{_COLOURS[c.verdict]};color:#222'>{row}</tr>")
    return "".join(lines) + f"</table><p><b>{NOT_A_DEVICE}</b></p>"
