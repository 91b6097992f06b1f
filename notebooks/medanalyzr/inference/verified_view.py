"""The result of the checks of an answer as HTML, with all text escaped."""

from html import escape

from medanalyzr.inference.verify import Result, Verified
from medanalyzr.lab.report import CRITICAL, decimals_of, format_interval

NOT_A_DEVICE = "Pas un dispositif médical : pour l'étude seulement. Un biologiste décide."
_VERIFIED, _DOUBTFUL, _LEFT_OUT = "#e3f4e3", "#f9d6d5", "#fdf3d0"
_HEADS = ("analyse", "valeur", "intervalle", "indicateur", "contrôle")


def _row(result: Result, colour: str) -> str:
    name = result.name if result.specimen == "sang" or result.value is None else f"{result.name} ({result.specimen})"
    value = f"{result.value or '—'} {result.unit}".strip()
    interval = f"{format_interval(result.low, result.high, decimals_of(result.value or ''))} {result.interval_unit}".strip() or "—"
    flag = f"{result.flag}, {CRITICAL}" if result.critical else result.flag
    cells = (name, value, interval, flag, result.why or "vérifié")
    row = "".join(f"<td style='text-align:left;padding:2px 10px'>{escape(cell)}</td>" for cell in cells)
    return f"<tr style='background:{colour};color:#222'>{row}</tr>"


def verified_html(verified: Verified) -> str:
    """Critical values first; then each result with its flag and «vérifié» or the reason why not; what the answer leaves out; unread
    lines; conclusion and next steps of the rules.
    """
    urgent = escape(", ".join(verified.urgent))
    heading = "Valeurs critiques" if len(verified.urgent) > 1 else "Valeur critique"
    parts = [f"<p style='color:#a00000'><b>{heading} : {urgent}</b></p>"] if urgent else []
    rows = [_row(r, _VERIFIED if r.verified else _DOUBTFUL) for r in verified.results]
    rows += [_row(r, _LEFT_OUT) for r in verified.left_out]
    if rows:
        heads = "".join(f"<th style='text-align:left'>{head}</th>" for head in _HEADS)
        parts.append(f"<table><tr>{heads}</tr>{''.join(rows)}</table>")
    else:
        parts.append("<p>Aucun résultat reconnu dans ce texte.</p>")
    if verified.unread:
        lines = (f"<li>ligne {u['line']} : {escape(u['text'])} — {escape(u['why'])}</li>" for u in verified.unread)
        parts.append(f"<p><b>Lignes non lues</b></p><ul>{''.join(lines)}</ul>")
    if verified.conclusion:
        parts.append(f"<p><b>Conclusion des règles, d'après les lignes vérifiées :</b> {escape(verified.conclusion)}</p>")
    if verified.next_steps:
        steps = "".join(f"<li>{escape(step)}</li>" for step in verified.next_steps)
        parts.append(f"<p><b>Suite, la plus urgente d'abord</b></p><ol>{steps}</ol>")
    return "".join(parts) + f"<p><b>{NOT_A_DEVICE}</b></p>"
