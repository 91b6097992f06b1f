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
USUAL = {"test_reports": (40, 0), "base_reports": (2, 0), "loss_reports": (8, 0), "perturbations": (2, 40),
         "layout_reports": (1, 40), "evaluation_batch_size": (24, 64)}  # fmt: skip
_CHOICES = {
    "precision": "auto best fp32 fp16 bf16", "float8": "auto on off", "load_in_4bit": "auto on off", "packing": "auto on shared off",
    "checkpointing": "auto on off unsloth", "train_on": "auto answer all", "subset": "auto all measured quick",
    "layouts": "auto own moved composed", "privacy": "auto off warn stop", "guided": "off on", "gate": "warn stop",
}  # fmt: skip
_OR_PROFILE = " (or -1: what the profile says)"
_NUMBERS = (  # parameters, their least and greatest value (both allowed), and what is to be said beside
    ("lora_r lora_alpha evaluations repeats compared_reports", 1, inf, ""),
    ("generation_batch_size max_new_tokens", 1, inf, ""),
    ("early_stopping validation_examples", 0, inf, ""),
    ("max_seq_length", 64, inf, ""),
    ("steps", 3, inf, " (the first two are left out)"),
    ("batch_size gradient_accumulation_steps max_steps", 1, inf, _OR_PROFILE),
    ("composed_examples", 0, inf, _OR_PROFILE),
    ("test_reports base_reports loss_reports perturbations layout_reports", 0, inf, " (or -1: by profile)"),
    ("evaluation_batch_size", 1, inf, " (or -1: by profile)"),
    ("validation_fraction test_fraction", 0, 0.4, _OR_PROFILE),
    ("min_flags min_critical_recall max_false_alarms min_consistency min_abstention max_silent", 0, 1, ""),
    ("seed", 0, 2**32 - 1, ""),
)


def _among(choices: list[str]) -> tuple[Callable[[Any], bool], str]:
    *first, last = map(repr, choices)
    return lambda v: v in choices, f"{', '.join(first)} or {last}"


def _between(least: float, greatest: float, beside: str) -> tuple[Callable[[Any], bool], str]:
    words = f"at least {least}" if greatest == inf else f"between {least} and {greatest}"
    return lambda v: least <= v <= greatest or v == -1 and "-1" in beside, words + beside


_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "learning_rate": (lambda v: v == -1 or 0 < v < 1, f"between 0 and 1{_OR_PROFILE}"),
    "num_train_epochs": (lambda v: v == -1 or 0 < v < inf, f"a number above 0{_OR_PROFILE}"),
}
_LIMITS |= {name: _among(words.split()) for name, words in _CHOICES.items()}
_LIMITS |= {name: _between(*limits) for names, *limits in _NUMBERS for name in names.split()}


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
