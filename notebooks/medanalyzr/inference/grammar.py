"""The grammar of the answers to one report, as GBNF (llama.cpp's form of a grammar, which llguidance reads as well).

What stands in the report is fixed: each line begins with a name, a value and a unit of it, in its order, and compares that value with
its own bounds and the critical limits of its analyte. What is judged stays open: which comparison, the flag, the critical mark, the
conclusion and the next steps. So nothing can be left out or invented, and a wrong flag is still possible: the checks of the
answer hold as before.
"""

import re

from medanalyzr.lab.reader import read_report
from medanalyzr.lab.references import analytes, convert, critical_limits, decimals_in
from medanalyzr.lab.report import CRITICAL, FLAGS, UNDETERMINED, Measurement, Report, decimals_needed, decimals_of, format_number
from medanalyzr.lab.rules import in_interval_unit, interpret

NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)?(?!\w)")
_LETTERS = "A-Za-zÀ-ÖØ-öø-ÿŒœµ"
_WORDS = f"""
letter ::= [{_LETTERS}]
name   ::= letter ([0-9] [0-9]?)?
sign   ::= [{_LETTERS} '’«»,:%/<>≤≥=+×²³°-]
lack   ::= noun " manquant" "e"? "s"? | "limite de mesure non classable"
noun   ::= "intervalle" | "sexe" | "unité" | "intervalle et unité" | "unité commune" | "valeur exacte"
flag   ::= {" | ".join(f'"{flag}"' for flag in (*FLAGS, UNDETERMINED))}
mark   ::= ", {CRITICAL}"
"""


def numbers_in(text: str) -> set[str]:
    """The numbers of a text, with a decimal comma; digits within a word (G3a, B12) are none."""
    return {found.replace(".", ",") for found in NUMBER.findall(text)}


def without_cut_number(text: str) -> str:
    """An answer that was cut at its limit without the number in which it ends: the first digits of 126 are another number."""
    return re.sub(r"[\d,.]+$", "", text).rstrip()


def _literal(text: str) -> str:
    """`text` as a GBNF literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comparisons(m: Measurement) -> list[str]:
    """The ways in which an answer may set the value of `m` among its bounds, right or wrong; none without an interval."""
    converted = in_interval_unit(m)
    if converted is None or (m.low is None and m.high is None):
        return []
    decimals = max(decimals_of(converted.text), decimals_needed(m.low, m.high))
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (m.low, m.high))
    value, less = converted.text.removeprefix(m.sign), "≤" if m.sign else "<"
    forms = [" ≤ ".join(part for part in (low, value, high) if part)]
    if low:
        forms.append(f"{value} {less} {low}")
    if high:
        forms.append((f"{low} ≤ " if low else "") + f"{high} {less} {value}")
    if m.sign and low and high:
        forms.append(f"{low} ≤ {value}")
    return [form + (f" {m.interval_unit}" if m.interval_unit else "") for form in forms]


def _limits(m: Measurement) -> set[str]:
    """The critical limits of an analyte and the value in their unit, as an answer writes them."""
    limits = critical_limits(m.analyte) if m.analyte else None
    if limits is None:
        return set()
    known = analytes()[m.analyte]
    found = {format_number(bound, known.decimals) for bound in (limits.low, limits.high) if bound is not None}
    try:
        return found | {format_number(convert(m.analyte, m.value, m.unit, known.unit), decimals_in(m.analyte, known.unit))}
    except KeyError:
        return found


def _measured(report: Report, reference: str) -> list[tuple[str, str, Measurement]]:
    """Of each line of the rules' answer: its head (name, value, unit), what stands in its brackets, and the measurement."""
    found, left = [], list(report.measurements)
    for line in reference.splitlines():
        head, _, inside = line.rpartition(") : ")[0].rpartition(" (")
        m = next((m for m in left if head.startswith(m.name) and f": {m.text}" in head), None)
        if m is not None:
            left.remove(m)
            found.append((head, inside, m))
    return found


def _text(name: str, numbers: set[str], most: int, more: str) -> str:
    """The rules of words that hold no other numbers than `numbers`; `more` are further signs, "(" among them or not."""
    rules = f"{name} ::= name {name}-piece{{0,{most}}}\n{name}-piece ::= sign | letter [0-9] [0-9]?"
    rules += f" | [{more}]" if more else ""
    if not numbers:
        return rules
    before = "[ (/-]" if "(" in more else "[ /-]"
    return f"{rules} | {before} {name}-number\n{name}-number ::= " + " | ".join(map(_literal, sorted(numbers)))


def grammar_of(report: str, lead: str = "") -> str | None:
    """The grammar of the answers to `report`; None for an empty one (a question), which has no form to keep.

    `lead` is what the model writes before its first word: Mistral's tokens begin with a space.
    """
    if not report.strip():
        return None
    read = read_report(report)
    reference = interpret(read)
    lines, rules = [], []
    for i, (head, inside, m) in enumerate(_measured(read, reference)):
        forms = " | ".join([*map(_literal, comparisons(m)), "lack"])
        rules.append(f'line{i} ::= {_literal(f"{head} (")} ({forms}) (" ; " note{i}){{0,2}} ") : " flag mark? "\\n"')
        rules.append(_text(f"note{i}", numbers_in(inside) | _limits(m) | {m.text.lstrip("<>")}, 40, ""))
        lines.append(f"line{i}")
    concluded = numbers_in(report) | numbers_in(reference)
    rules += [_text("text", concluded, 400, "();.")]
    root = f'root ::= {_literal(lead) + " " if lead else ""}{" ".join(lines)} "Conclusion : " text ("\\nSuite : " text)?'
    return "\n".join([root, *rules]) + _WORDS
