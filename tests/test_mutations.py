"""Do the tests notice? Every interval, limit, conversion, threshold and comparison is changed in turn; one case must fail."""

import ast
import copy
import types
from pathlib import Path

import pytest
from medanalyzr.lab import references, rules
from rule_cases import check, check_tables

SOURCE = Path(rules.__file__).read_text(encoding="utf-8")
SWAPPED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


def module_of(tree: ast.AST) -> types.ModuleType:
    module = types.ModuleType("mutant")
    exec(compile(ast.fix_missing_locations(tree), "mutant", "exec"), module.__dict__)
    return module


def survives(tree: ast.AST) -> bool:
    try:
        check(module_of(tree), references)
    except Exception:
        return False
    return True


def numbers_and_comparisons(tree: ast.AST):
    """Index, in the order of `ast.walk`, of every number but 0 and of every ordering comparison."""
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value:
            yield index, "number"
        elif isinstance(node, ast.Compare) and any(type(op) in SWAPPED for op in node.ops):
            yield index, "comparison"


def mutants(tree: ast.AST, index: int, kind: str):
    changes = (0.99, 1.01) if kind == "number" else (None,)
    for change in changes:
        mutant = copy.deepcopy(tree)
        node = list(ast.walk(mutant))[index]
        if kind == "number":
            before, node.value = node.value, node.value * change
            yield f"line {node.lineno}: {before} -> {node.value}", mutant
        else:
            node.ops = [SWAPPED.get(type(op), type(op))() for op in node.ops]
            yield f"line {node.lineno}: {ast.unparse(node)}", mutant


def test_the_unchanged_rules_pass():
    check(module_of(ast.parse(SOURCE)), references)


def test_every_threshold_and_comparison_of_the_rules_is_tested():
    tree = ast.parse(SOURCE)
    survivors, count = [], 0
    for index, kind in numbers_and_comparisons(tree):
        for name, mutant in mutants(tree, index, kind):
            count += 1
            survivors += [name] if survives(mutant) else []
    assert count > 100
    assert not survivors


@pytest.mark.parametrize(
    ("table", "columns"),
    [("reference_intervals", ("low", "high")), ("critical_values", ("low", "high")), ("conversions", ("factor",))],
)
def test_every_number_of_the_tables_is_tested(monkeypatch, table, columns):
    original, caches = references.read_table, (references._intervals, references._critical, references.conversions)
    survivors, count = [], 0
    for place, row in enumerate(original(table)):
        for column in columns:
            for change in ("1e9",) if not row[column] else (str(float(row[column]) * 1.001), str(float(row[column]) * 0.999), ""):
                mutated = [dict(r) for r in original(table)]
                mutated[place][column] = change
                monkeypatch.setattr(references, "read_table", lambda name, rows=mutated: rows if name == table else original(name))
                for cached in caches:
                    cached.cache_clear()
                count += 1
                try:
                    check_tables(references)
                    survivors.append((table, row["analyte"], column, change))
                except (AssertionError, ValueError):
                    pass
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()
    check_tables(references)
    assert count >= 30 and not survivors
