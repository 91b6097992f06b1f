"""The parameters of a notebook: those that its tagged cell declares, and a check of the ones that papermill injects."""

import ast
import json
from collections.abc import Callable
from math import inf
from typing import Any

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import BUNDLED, SMOLLM2, sources_of
from medanalyzr.core.run_folder import NOTEBOOKS, existing

_PATHS = ("dataset", "base_model", "reports")
# What -1 stands for in 05_evaluation: with profile cpu, and with every other (0: all).
USUAL = {
    "test_reports": (40, 0),
    "base_reports": (3, 0),
    "loss_reports": (8, 0),
    "perturbations": (2, 40),
    "layout_reports": (2, 40),
}
_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lora_r": (lambda v: v >= 1, "at least 1"),
    "lora_alpha": (lambda v: v >= 1, "at least 1"),
    "learning_rate": (lambda v: v == -1 or 0 < v < 1, "between 0 and 1 (or -1: what the profile says)"),
    "batch_size": (lambda v: v == -1 or v >= 1, "at least 1 (or -1: what the profile says)"),
    "gradient_accumulation_steps": (lambda v: v == -1 or v >= 1, "at least 1 (or -1: what the profile says)"),
    "num_train_epochs": (lambda v: v == -1 or 0 < v < inf, "a number above 0 (or -1: what the profile says)"),
    "max_steps": (lambda v: v == -1 or v >= 1, "at least 1 (or -1: what the profile says)"),
    "max_seq_length": (lambda v: v >= 64, "at least 64"),
    "generation_batch_size": (lambda v: v >= 1, "at least 1"),
    "max_new_tokens": (lambda v: v >= 1, "at least 1"),
    "validation_fraction": (lambda v: v == -1 or 0 <= v <= 0.4, "between 0 and 0.4 (or -1: what the profile says)"),
    "test_fraction": (lambda v: v == -1 or 0 <= v <= 0.4, "between 0 and 0.4 (or -1: what the profile says)"),
    "precision": (lambda v: v in ("auto", "best", "fp32", "fp16", "bf16"), "'auto', 'best', 'fp32', 'fp16' or 'bf16'"),
    "float8": (lambda v: v in ("auto", "on", "off"), "'auto', 'on' or 'off'"),
    "load_in_4bit": (lambda v: v in ("auto", "on", "off"), "'auto', 'on' or 'off'"),
    "packing": (lambda v: v in ("auto", "on", "shared", "off"), "'auto', 'on', 'shared' or 'off'"),
    "checkpointing": (lambda v: v in ("auto", "on", "off", "unsloth"), "'auto', 'on', 'off' or 'unsloth'"),
    "evaluations": (lambda v: v >= 1, "at least 1"),
    "early_stopping": (lambda v: v >= 0, "at least 0"),
    "validation_examples": (lambda v: v >= 0, "at least 0"),
    "train_on": (lambda v: v in ("auto", "answer", "all"), "'auto', 'answer' or 'all'"),
    "subset": (lambda v: v in ("auto", "all", "measured", "quick"), "'auto', 'all', 'measured' or 'quick'"),
    "layouts": (lambda v: v in ("auto", "own", "composed"), "'auto', 'own' or 'composed'"),
    "composed_examples": (lambda v: v >= -1, "at least 0 (or -1: what the profile says)"),
    "privacy": (lambda v: v in ("auto", "off", "warn", "stop"), "'auto', 'off', 'warn' or 'stop'"),
    "test_reports": (lambda v: v >= -1, "at least 0 (or -1: by profile)"),
    "base_reports": (lambda v: v >= -1, "at least 0 (or -1: by profile)"),
    "loss_reports": (lambda v: v >= -1, "at least 0 (or -1: by profile)"),
    "perturbations": (lambda v: v >= -1, "at least 0 (or -1: by profile)"),
    "layout_reports": (lambda v: v >= -1, "at least 0 (or -1: by profile)"),
    "evaluation_batch_size": (lambda v: v >= 1, "at least 1"),
    "steps": (lambda v: v >= 3, "at least 3 (the first two are left out)"),
    "repeats": (lambda v: v >= 1, "at least 1"),
    "compared_reports": (lambda v: v >= 1, "at least 1"),
    "min_flags": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "min_critical_recall": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "max_false_alarms": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "min_consistency": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "min_abstention": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "guided": (lambda v: v in ("off", "on"), "'off' or 'on'"),
    "gate": (lambda v: v in ("warn", "stop"), "'warn' or 'stop'"),
    "seed": (lambda v: 0 <= v < 2**32, "between 0 and 4294967295"),
}


def _assignments(source: str) -> dict[str, ast.expr]:
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.value
        elif isinstance(node, ast.Assign):
            found.update((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
    return found


def declared_parameters(notebook: str) -> dict[str, Any]:
    """Names and default values of the cell tagged `parameters` in notebooks/<notebook>.ipynb."""
    content = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    cell = next(c for c in content["cells"] if "parameters" in c["metadata"].get("tags", []))
    return {name: ast.literal_eval(value) for name, value in _assignments("".join(cell["source"])).items()}


def _typed(notebook: str, name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and type(value) is not str:
        raise MedAnalyzrError(
            f"{notebook}: the parameter {name}={value!r} must be text: papermill -p and YAML turn 2024_11 into the number 202411 and "
            f"007 into 7, so pass it unchanged with -r {name} 2024_11, or in quotes in a cell or a YAML file."
        )
    if type(value) is not kind:
        raise MedAnalyzrError(
            f"{notebook}: the parameter {name}={value!r} must be of type {kind.__name__}, like its default {default!r}."
        )
    return value


def _from_here(name: str, value: str) -> str:
    """A file or folder that a parameter names, as an absolute path: the notebooks that get it next run in another folder.

    Of a mixture each part is taken for itself.
    """
    if name not in _PATHS or value in ("auto", BUNDLED, SMOLLM2):
        return value
    parts = sources_of(value) if name == "dataset" else [value]
    return "+".join(part if part == BUNDLED else str(existing(part) or part) for part in parts)


def check_parameters(notebook: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """Check the parameters of a running notebook in place and return them by name, paths absolute.

    `namespace` is the notebook's `globals()`. The injected cell is found in IPython's history by the comment that papermill writes
    at its head.

    Raises:
        MedAnalyzrError: the notebook does not declare a name, or a value has the wrong type or is outside its limits.
    """
    declared = declared_parameters(notebook)
    injected = {}
    for source in namespace.get("In", []):
        if source.startswith("# Parameters\n"):
            injected = _assignments(source)
    if unknown := sorted(set(injected) - set(declared)):
        raise MedAnalyzrError(f"{notebook} has no parameter {', '.join(unknown)}: it knows {', '.join(declared)}.")
    values = {name: _typed(notebook, name, namespace[name], default) for name, default in declared.items()}
    for name, value in values.items():
        allowed, text = _LIMITS.get(name, (lambda _: True, ""))
        if not allowed(value):
            raise MedAnalyzrError(f"{notebook}: the parameter {name}={value!r} must be {text}.")
    values = {name: _from_here(name, value) for name, value in values.items()}
    namespace.update(values)
    return values


def fill_in(namespace: dict[str, Any], profile: str) -> None:
    """Replace, in a notebook's `globals()`, each parameter in `USUAL` that is -1 by its number for `profile`."""
    namespace.update({name: USUAL[name][profile != "cpu"] for name in USUAL if namespace.get(name) == -1})
