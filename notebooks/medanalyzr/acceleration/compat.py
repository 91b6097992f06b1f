"""The private parts of other libraries that this package uses, each with the version it was tested with.

A new version may rename such a part or change its arguments. Then the fast path that needs it is switched off, one line says so, and
training or answering takes the ordinary path. Nothing is assigned to a name that is no longer read.
"""

import importlib
import inspect
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.packages import installed


@dataclass(frozen=True)
class Symbol:
    """A name in a module, its package and tested version, and its first arguments (empty: only its existence is checked)."""

    package: str
    tested: str
    module: str
    name: str
    arguments: tuple[str, ...] = ()


_QKV = ("query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal", "return_debug_mask")
_BACK = ("grad_out", *_QKV[:3], "out", "logsumexp", *_QKV[3:9])
_ATTENTION = Symbol("unsloth", "2026.10.9", "unsloth.utils.attention_dispatch", "_flex_shared_prefix_attention")
_TRAINER = "transformers", "5.17.0", "transformers.trainer"
PARTS: dict[str, tuple[Symbol, ...]] = {
    "packed weights on the CPU": (
        Symbol("torch", "2.13.0", "torch", "ops.mkldnn._reorder_linear_weight", ("self",)),
        Symbol("torch", "2.13.0", "torch", "ops.mkldnn._is_mkldnn_bf16_supported"),
        Symbol("torch", "2.13.0", "torch", "ops.mkldnn._linear_pointwise", ("X", "W", "B", "attr", "scalars", "algorithm")),
    ),
    "the shared beginning of prompts": (
        _ATTENTION,
        Symbol("torch", "2.13.0", "torch", "ops.aten._flash_attention_forward", _QKV),
        Symbol("torch", "2.13.0", "torch", "ops.aten._flash_attention_backward", _BACK),
    ),
    "8-bit float products": (
        Symbol("torch", "2.13.0", "torch", "ops.aten._scaled_mm", ("self", "mat2", "scale_a", "scale_b", "bias", "scale_result", "out_dtype")),
    ),
    "a finished training": (
        Symbol(*_TRAINER, "Trainer.set_initial_training_values", ("self", "args", "dataloader")),
        Symbol(*_TRAINER, "Trainer._load_from_checkpoint", ("self", "resume_from_checkpoint")),
        Symbol(*_TRAINER, "Trainer._load_best_model", ("self",)),
    ),
}  # fmt: skip


def _arguments(found: Any) -> list[str]:
    """The names of the arguments of a Python function or of an operator of torch."""
    if hasattr(found, "overloads"):
        return [argument.name for argument in found.default._schema.arguments]
    return list(inspect.signature(found).parameters)


def fault(symbol: Symbol) -> str:
    """How `symbol` differs in the installed package from the tested one, in words; "" if it does not."""
    where = f"{symbol.module}.{symbol.name} of {symbol.package} {installed(symbol.package)} (tested with {symbol.tested})"
    try:
        found = reduce(getattr, symbol.name.split("."), importlib.import_module(symbol.module))
    except (ImportError, AttributeError):
        return f"{where} is missing"
    if symbol.arguments and _arguments(found)[: len(symbol.arguments)] != list(symbol.arguments):
        return f"{where} takes other arguments"
    return ""


@cache
def usable(part: str) -> bool:
    """Whether everything that `part` (a key of `PARTS`) needs is as tested; if not, one line says what differs, once."""
    wrong = next(filter(None, map(fault, PARTS[part])), "")
    if wrong:
        print(f"Without {part}: {wrong}.")
    return not wrong


def require(part: str) -> None:
    """The same check for a part without an ordinary path to fall back on.

    Raises:
        MedAnalyzrError: something differs from the tested version.
    """
    if wrong := next(filter(None, map(fault, PARTS[part])), ""):
        raise MedAnalyzrError(f"The check for {part} needs another version: {wrong}; install the pinned packages.")


def share_attention(attend: Any) -> None:
    """Make Unsloth's layers use `attend` for the attention of rows with a shared prefix."""
    setattr(importlib.import_module(_ATTENTION.module), _ATTENTION.name, attend)
