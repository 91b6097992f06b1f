"""Do the tests notice? Every number of the tables, and every number and comparison of the code of the rules, is changed in turn."""

import ast
import copy
import re
import sys
import types
from pathlib import Path

import pytest
from medanalyzr.lab import references, rules
from medanalyzr.lab.engine import conditions, facts, patterns
from rule_cases import check, check_definitions, check_row, check_tables, expected_numbers, expected_patterns, numbers_of_tables

SWAPPED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
NUMBER = re.compile(r"(?<![\w.{])\d+(?:\.\d+)?")


def module_of(name: str, tree: ast.AST) -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name], before = module, sys.modules[name]  # dataclasses look their module up
    try:
        exec(compile(ast.fix_missing_locations(tree), name, "exec"), module.__dict__)
    finally:
        sys.modules[name] = before
    return module


def survives(monkeypatch, changed: str, tree: ast.AST) -> bool:
    """Whether every case passes with the module `changed` made of `tree`, and those that import from it made anew."""
    with monkeypatch.context() as patch:
        made = {}
        for original in (facts, patterns, rules):
            name = original.__name__
            source = tree if name == changed else ast.parse(Path(original.__file__).read_text(encoding="utf-8"))
            try:
                made[name] = module_of(name, source)
            except Exception:
                return False
            patch.setitem(sys.modules, name, made[name])
            room, _, last = name.rpartition(".")
            patch.setattr(sys.modules[room], last, made[name])
        try:
            check(made[rules.__name__], made[facts.__name__])
        except Exception:
            return False
        return True


def mutants(tree: ast.AST):
    """Every copy of `tree` with one number but 0 changed, or one ordering comparison made to hold, or not, at equality."""
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Constant) and type(node.value) is float and node.value:
            changes = [node.value * 0.99, node.value * 1.01]
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value > 1:
            changes = [node.value - 1, node.value + 1]
        elif isinstance(node, ast.Compare) and any(type(op) in SWAPPED for op in node.ops):
            changes = [None]
        else:
            continue
        for change in changes:
            mutant = copy.deepcopy(tree)
            there = list(ast.walk(mutant))[index]
            if change is None:
                there.ops = [SWAPPED.get(type(op), type(op))() for op in there.ops]
            else:
                there.value = change
            yield f"line {node.lineno}: {ast.unparse(node)} -> {ast.unparse(there)}", mutant


def test_the_unchanged_rules_pass(monkeypatch):
    assert survives(monkeypatch, "", ast.Module([], []))


@pytest.mark.parametrize(("module", "count"), [(facts, 30), (patterns, 20)], ids=["facts", "patterns"])
def test_every_number_and_comparison_of_the_code_is_tested(monkeypatch, module, count):
    found = list(mutants(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))))
    survivors = [name for name, mutant in found if survives(monkeypatch, module.__name__, mutant)]
    assert len(found) >= count
    assert not survivors


TABLES = {"reference_intervals": ("low", "high"), "critical_values": ("low", "high"), "conversions": ("factor", "offset", "decimals"),
          "analytes": ("decimals",), "simulated_intervals": ("low", "high"), "conditional_intervals": ("condition", "low", "high"),
          "definitions": ("condition",), "definitions_b": ("condition",), "definitions_e": ("condition",),
          "definitions_j": ("condition",)}  # fmt: skip
CACHED = (references._intervals, references._critical, references.conversions, references.analytes)


def changes(text: str) -> list[str]:
    """A cell with one of its numbers moved by a thousandth, up and down; a number where there was none."""
    found = list(NUMBER.finditer(text))
    moved = [f"{text[: m.start()]}{float(m[0]) * by or by:.9g}{text[m.end() :]}" for m in found for by in (0.999, 1.001)]
    return moved if found else [f"{text} 1000000".strip()]


@pytest.mark.parametrize("table", TABLES)
def test_every_number_of_the_tables_is_tested(monkeypatch, table):
    original, survivors, count = references.read_table, [], 0
    rows = {name: original(name) for name in TABLES}
    expected = expected_numbers()
    for place, row in enumerate(rows[table]):
        if table == "conversions" and not (row["unit"] and row["factor"]):
            continue  # no matter of a factor
        for column in TABLES[table]:
            for change in changes(row[column]) if column != "decimals" else [str(int(row[column] or 0) + 1)]:
                mutated = rows | {table: [*rows[table][:place], row | {column: change}, *rows[table][place + 1 :]]}
                monkeypatch.setattr(references, "read_table", lambda name, of=mutated: of[name] if name in of else original(name))
                for cached in CACHED:
                    cached.cache_clear()
                count += 1
                if numbers_of_tables(references) == expected:
                    survivors.append((row, column, change))
    monkeypatch.undo()
    for cached in CACHED:
        cached.cache_clear()
    check_tables(references)
    assert count >= 6 and not survivors


def test_every_number_of_the_patterns_is_tested():
    expected, survivors, count = expected_patterns(), [], 0
    for file in sorted(references.TABLES.glob("patterns_*.csv")):
        for row in references.read_table(file.stem):
            check_row(row, expected)
            for column in ("condition", "wording", "next_step", "rank"):
                holders = [row[column]] if column in ("condition", "rank") else re.findall(r"\{[^{}]*\}", row[column])
                for holder in holders:
                    for change in moved_numbers(holder) if column != "rank" else [str(int(holder) + 1), str(int(holder) - 1)]:
                        count += 1
                        try:
                            check_row(row | {column: row[column].replace(holder, change)}, expected)
                            survivors.append((row["id"], column, change))
                        except (AssertionError, SyntaxError):
                            pass
    assert count >= 1000
    assert not [s for s in survivors if s[1] != "rank"]


def moved_numbers(text: str) -> list[str]:
    """An expression, in braces or bare, with each of its numbers other than 0 and 1 (counts, signs) moved by a thousandth."""
    inside = text[1:-1] if text.startswith("{") else text
    inside = re.sub(r":\d$", "", inside).strip()
    tree, found = ast.parse(inside, mode="eval"), []
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value not in (0, 1):
            mutant = copy.deepcopy(tree)
            list(ast.walk(mutant))[index].value = node.value * 1.001
            found.append(text.replace(inside, ast.unparse(mutant)))
    return found


@pytest.mark.parametrize("name", ["corrige", "trou"])
def test_every_number_of_the_definitions_is_tested(monkeypatch, name):
    condition, survivors = conditions.definitions()[name], []
    tree = ast.parse(condition, mode="eval")
    for what, mutant in mutants(tree):
        if "<" in what:
            continue  # at 40 g/L the correction is nothing
        changed = conditions.definitions() | {name: ast.unparse(mutant)}
        monkeypatch.setattr(conditions, "definitions", lambda of=changed: of)
        try:
            check_definitions(facts)
            survivors.append(what)
        except AssertionError:
            pass
    monkeypatch.undo()
    check_definitions(facts)
    assert not survivors
