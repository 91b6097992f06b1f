"""The language in which the rows of tables/patterns_*.csv say when they hold and what they write.

It has the syntax of Python expressions and an interpreter of its own: `5.5 <= potassium < 6.0 and not hemolyse`. The name of
an analyte is its value in the French unit; what is not in the report has no value, and a comparison with it does not hold.
A censored value stands for all the values it may hide, so a comparison holds only where it holds for each of them:
numbers are kept as pairs (least, greatest).
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, log10, nextafter
from typing import Any

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.references import TABLES, analytes, read_table

Span = tuple[float, float]
LOW, HIGH, NORMAL = "bas", "élevé", "normal"
CONTEXT = ("age", "sexe", "enceinte", "enfant", "adulte", "dfg_calcule", "hemolyse")
_OF_ANALYTE: dict[str, Callable[..., Any]] = {
    "bas": lambda facts, analyte: facts.state(analyte) == LOW,
    "eleve": lambda facts, analyte: facts.state(analyte) == HIGH,
    "normal": lambda facts, analyte: facts.state(analyte) == NORMAL,
    "anormal": lambda facts, analyte: facts.state(analyte) in (LOW, HIGH),
    "rendu": lambda facts, analyte: facts.measured(analyte) is not None,
    "critique": lambda facts, analyte: facts.critical(analyte) is not None,
    "critique_bas": lambda facts, analyte: facts.critical(analyte) == LOW,
    "critique_haut": lambda facts, analyte: facts.critical(analyte) == HIGH,
    "fois": lambda facts, analyte: arithmetic("/", facts.value(analyte), span(facts.bounds(analyte)[1])),
    "borne": lambda facts, analyte, side: span(facts.bounds(analyte)[side == "haut"]),
    "borne_adaptee": lambda facts, analyte, side: span(facts.adapted(analyte)[side == "haut"]),
    "anterieur": lambda facts, analyte: facts.earlier(analyte),
    "jours_depuis": lambda facts, analyte: span(facts.days_since(analyte)),
    "texte": lambda facts, analyte: facts.text(analyte),
    "noms": lambda facts, *names: facts.names(names),
    "noms_eleves": lambda facts, *names: facts.names([name for name in names if facts.state(name) == HIGH]),
    "noms_bas": lambda facts, *names: facts.names([name for name in names if facts.state(name) == LOW]),
}
_OF_TEXT: dict[str, Callable[..., Any]] = {
    "dit": lambda facts, pattern: facts.said(pattern),
    "hors": lambda facts, pattern: facts.outside(pattern),
}
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
          ast.Eq: "==", ast.NotEq: "!="}  # fmt: skip


def span(value: float | None, sign: str = "") -> Span | None:
    """The values that a printed number may stand for: itself, or with the sign "<" or ">" all below or above it."""
    if value is None:
        return None
    if sign == "<":
        return (0.0 if value > 0 else -inf, nextafter(value, -inf))
    return (nextafter(value, inf), inf) if sign == ">" else (value, value)


def arithmetic(sign: str, left: Any, right: Any) -> Span | None:
    """`left` `sign` `right` for spans, truths counting 0 or 1; None where one of them is missing or the divisor may be 0."""
    left, right = (span(float(side)) if isinstance(side, bool) else side for side in (left, right))
    if left is None or right is None or (sign == "/" and right[0] <= 0 <= right[1]):
        return None
    apply = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__, "/": float.__truediv__}[sign]
    corners = [round(apply(float(a), float(b)), 9) for a in left for b in right]
    return min(corners), max(corners)


def holds(sign: str, left: Any, right: Any) -> bool:
    """Whether the comparison holds for every value that both sides may stand for; it never does where one is missing."""
    if left is None or right is None:
        return False
    if isinstance(left, str) or isinstance(right, str):
        return (left == right) == (sign == "==")
    left, right = (span(float(side)) if isinstance(side, bool) else side for side in (left, right))
    if sign in (">", ">="):
        left, right = right, left
    if sign in ("==", "!="):
        same = left == right and left[0] == left[1]
        return same if sign == "==" else left[1] < right[0] or right[1] < left[0]
    return left[1] < right[0] if sign in ("<", ">") else left[1] <= right[0]


def _each(function: Callable, *arguments: Span | None) -> Span | None:
    """A function of numbers, applied to the ends of the spans; None where one has no value or no such value exists."""
    if None in arguments:
        return None
    try:
        ends = [function(*ends) for ends in zip(*arguments, strict=True)]
    except ValueError:
        return None
    return min(ends), max(ends)


_OF_NUMBERS = {
    "abs": lambda x: _each(abs, x) if x is None or x[0] * x[1] >= 0 else (0.0, max(-x[0], x[1])),
    "min": lambda *x: _each(min, *x),
    "max": lambda *x: _each(max, *x),
    "arrondi": lambda x, places: _each(lambda v, n: round(v, int(n)), x, places),
    "log10": lambda x: _each(lambda v: round(log10(v), 9), x),
}


@dataclass(frozen=True)
class Expression:
    """A compiled expression: what it says of facts, and which analytes and other names it speaks of.

    `judged` are the analytes it looks at for their value or flag, beyond whether they are in the report; `reads` whether it
    looks at the words of the report.
    """

    evaluate: Callable[[Any], Any]
    analytes: frozenset[str]
    judged: frozenset[str]
    names: frozenset[str]
    reads: bool


@cache
def expression(text: str, where: str) -> Expression:
    """`text` compiled.

    Raises:
        MedAnalyzrError: `text` is not in the language; the message begins with `where`.
    """
    try:
        tree = ast.parse(text, mode="eval").body
        evaluate = _build(tree)
    except (SyntaxError, ValueError, re.error) as error:
        message = error.msg if isinstance(error, SyntaxError) else error
        raise MedAnalyzrError(f"{where}: «{text}» is not a valid condition: {message}.") from None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    inside = [definition(name) for name in names if name in definitions()]
    uses = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in analytes()]
    for call in calls:
        if call.func.id == "rendu":
            uses.remove(call.args[0].id)
    return Expression(
        evaluate,
        frozenset(names & set(analytes())).union(*(e.analytes for e in inside)),
        frozenset(uses).union(*(e.judged for e in inside)),
        frozenset(names).union(*(e.names for e in inside)),
        any(call.func.id in _OF_TEXT for call in calls) or any(e.reads for e in inside),
    )


@cache
def definitions() -> dict[str, str]:
    """What the names of tables/definitions*.csv stand for.

    Raises:
        MedAnalyzrError: a name is defined twice, or means something already.
    """
    meanings: dict[str, str] = {}
    for file in sorted(path.stem for path in TABLES.glob("definitions*.csv")):
        for row in read_table(file):
            if row["name"] in meanings or row["name"] in CONTEXT or row["name"] in analytes():
                raise MedAnalyzrError(f"tables/{file}.csv, {row['name']}: this name is taken; choose another one.")
            meanings[row["name"]] = row["condition"]
    return meanings


def definition(name: str) -> Expression:
    """The compiled definition of `name` (a key of `definitions`)."""
    return expression(definitions()[name], f"tables/definitions.csv, {name}")


def _build(node: ast.AST) -> Callable[[Any], Any]:
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        value = span(float(node.value)) if isinstance(node.value, (int, float)) else node.value
        return lambda facts: value
    if isinstance(node, ast.Name):
        return _name(node.id)
    if isinstance(node, ast.Call):
        return _call(node)
    if isinstance(node, ast.BoolOp):
        parts = [_build(part) for part in node.values]
        join = all if isinstance(node.op, ast.And) else any
        return lambda facts: join(part(facts) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _build(node.operand)
        return lambda facts: not inner(facts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _build(node.operand)
        return lambda facts: arithmetic("-", span(0.0), inner(facts))
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        left, sign, right = _build(node.left), _SIGNS[type(node.op)], _build(node.right)
        return lambda facts: arithmetic(sign, left(facts), right(facts))
    if isinstance(node, ast.Compare) and all(type(op) in _SIGNS for op in node.ops):
        sides, signs = [_build(side) for side in (node.left, *node.comparators)], [_SIGNS[type(op)] for op in node.ops]
        steps = list(zip(sides, signs, sides[1:], strict=False))
        return lambda facts: all(holds(sign, a(facts), b(facts)) for a, sign, b in steps)
    if isinstance(node, ast.IfExp):
        test, yes, no = _build(node.test), _build(node.body), _build(node.orelse)
        return lambda facts: yes(facts) if test(facts) else no(facts)
    raise ValueError(f"«{ast.unparse(node)}» is not part of the language")


def _name(name: str) -> Callable[[Any], Any]:
    if name in analytes():
        return lambda facts: facts.value(name)
    if name in CONTEXT:
        return lambda facts: getattr(facts, name)
    if name in definitions():
        return lambda facts: facts.defined(name)
    raise ValueError(f"no analyte or name «{name}» is known")


def _call(node: ast.Call) -> Callable[[Any], Any]:
    name = getattr(node.func, "id", "")
    if name in _OF_TEXT and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        pattern, ask = re.compile(node.args[0].value), _OF_TEXT[name]
        return lambda facts: ask(facts, pattern)
    if name in _OF_NUMBERS:
        arguments, apply = [_build(argument) for argument in node.args], _OF_NUMBERS[name]
        return lambda facts: apply(*(argument(facts) for argument in arguments))
    if name not in _OF_ANALYTE or not node.args:
        raise ValueError(f"no function «{name}» is known")
    names = [a.id if isinstance(a, ast.Name) else a.value if isinstance(a, ast.Constant) else None for a in node.args]
    wrong = [a for a in names if a not in analytes() and not (name.startswith("borne") and a in ("haut", "bas"))]
    if wrong:
        raise ValueError(f"{name}() takes analytes, not «{wrong[0]}»")
    if name.startswith("borne") and (len(names) != 2 or names[1] not in ("haut", "bas")):
        raise ValueError(f"{name}() takes an analyte and 'haut' or 'bas'")
    function = _OF_ANALYTE[name]
    return lambda facts: function(facts, *names)


def _written(value: Any, decimals: int | None) -> str | None:
    """A value as a report prints it, with a decimal comma; None where there is none to print."""
    if value is None or isinstance(value, str):
        return value
    sign, number = ("", value[0]) if value[0] == value[1] else ("<", value[1]) if value[1] < inf else (">", value[0])
    text = f"{number:.{decimals}f}" if decimals is not None else f"{number:.6g}"
    return sign + text.replace(".", ",")


def fill(template: str, facts: Any, where: str) -> str:
    """`template` with every {expression} or {expression:decimals} replaced by its value.

    Without `decimals` an analyte alone is written as the report prints it, in the French unit. A bracket whose value is
    missing is left out whole.
    """

    def value(match: re.Match) -> str:
        text, places = (match[1][:-2], int(match[1][-1])) if re.search(r":\d$", match[1]) else (match[1], None)
        if places is None and text.strip() in analytes():
            m = facts.french(text.strip())
            return m.text if m else "\0"
        found = _written(expression(text.strip(), where).evaluate(facts), places)
        return "\0" if found is None else found

    filled = re.sub(r"\{([^{}]*)\}", value, template)
    return re.sub(r"\s*\([^()]*\0[^()]*\)|\0", "", filled)
