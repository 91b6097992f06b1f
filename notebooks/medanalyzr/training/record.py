"""What a training did and where it came from, as stored in training.json."""

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch

from medanalyzr.acceleration.fused import fused
from medanalyzr.core.packages import describe
from medanalyzr.core.run_folder import git_commit
from medanalyzr.dataset.prompts import PREAMBLE, PROMPT
from medanalyzr.training.callbacks import ShowProgress
from medanalyzr.training.profiles import Profile

_CHOSEN = ("start_from", "lora_r", "lora_alpha", "max_seq_length", "seed", "evaluations", "keep_best", "early_stopping")
PUBLISHED = {"steps": 272, "minutes": 34, "final loss": 0.3}  # the recipe on a small GPU, as its author published it


def attention(padding_free: bool) -> str:
    """The attention kernel that Unsloth chooses on this machine: flash_varlen, flash_dense, xformers or sdpa (torch's own)."""
    if not torch.cuda.is_available():
        return "sdpa"
    from unsloth.utils.attention_dispatch import select_attention_backend

    return select_attention_backend(use_varlen=padding_free)


def effective_settings(trainer) -> dict:
    """The settings in effect, read from the trainer and its model."""
    args, model = trainer.args, trainer.model
    padding_free = bool(getattr(trainer.data_collator, "padding_free", False))
    return {
        "planned steps": trainer_steps(trainer),
        "optimizer": str(getattr(args.optim, "value", args.optim)),
        "examples per step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "packing": bool(getattr(args, "packing", False)),
        "padding-free": padding_free,
        "prefix shared, tokens": len(getattr(trainer.data_collator, "ids", ())),
        "attention": "flash_varlen" if hasattr(trainer.data_collator, "ids") else attention(padding_free),
        "mixed precision": "fp16" if args.fp16 else "bf16" if args.bf16 else "none",
        "base model dtype": str(model.dtype).removeprefix("torch."),
        "adapter dtype": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad})),
        "4-bit": bool(getattr(model, "is_loaded_in_4bit", False)),
        "fused projections": fused(model),
        "gradient checkpointing": getattr(model, "_unsloth_gradient_checkpointing", False),
        "processes": args.world_size,
    }


def peak_memory_gib() -> float:
    """Peak memory so far in GiB: of the GPU where there is one, else of this process."""
    import psutil

    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 2**30
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return info.peak_wset / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def trainer_steps(trainer) -> int:
    """The optimizer steps that `trainer` plans."""
    return trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]


HISTORY = ("loss", "eval_loss", "learning_rate", "grad_norm", "seconds", "num_input_tokens_seen")


def history(log: Sequence[dict]) -> list[dict[str, float]]:
    """A trainer's log by step: the step and the finite values of `HISTORY`."""
    steps: dict[int, dict] = {}
    for entry in log:
        kept = {k: float(entry[k]) for k in HISTORY if k in entry}
        kept = {k: v for k, v in kept.items() if math.isfinite(v)}
        if kept:
            steps.setdefault(entry["step"], {"step": entry["step"]}).update(kept)
    return [steps[step] for step in sorted(steps)]


def summary(trainer, seconds: float, curve: Sequence[dict]) -> dict:
    """Tokens, seconds, losses and trainable parameters of a finished training.

    `tokens` counts the whole training, without padding; `seconds` and `tokens_per_second` cover only the part since the last
    resume. `train_loss` is the mean of the last five logged steps. `gradient_checkpointing_seen` says whether the layers used it
    (None if no step was left).
    """
    tokens = int(trainer.state.num_input_tokens_seen)
    shown = next(c for c in trainer.callback_handler.callbacks if isinstance(c, ShowProgress))
    validation = [row["eval_loss"] for row in curve if "eval_loss" in row]
    losses = [row["loss"] for row in curve if "loss" in row]
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": (tokens - getattr(shown, "tokens_before", tokens)) / seconds,
        "gradient_checkpointing_seen": getattr(shown, "checkpointing", None),
        "train_loss": sum(losses[-5:]) / len(losses[-5:]),
        "eval_loss": validation[-1] if validation else None,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }


def identity(settings: Profile, parameters: Mapping, examples: Mapping[str, Sequence], origin: Mapping, dtype: torch.dtype) -> dict:
    """What identifies a training: a checkpoint is resumed only if all of it is equal.

    `parameters` are those of 03_train, `examples` the encoded ones of each split, `origin` what `provenance` gives, `dtype` the
    number format of the model.
    """
    chosen = {name: parameters[name] for name in _CHOSEN} | {"precision": str(dtype)}
    counts = {split: len(part) for split, part in examples.items()}
    return asdict(settings) | chosen | counts | {"data": origin["data"], "prompt": origin["prompt"]}


def beside_expected(result: Mapping, steps: int, memory_gib: float, planned: int, expected: Mapping) -> dict[str, dict]:
    """The columns of a table: this run (what `summary` gives), what was expected before it, and what the recipe's author published."""
    mine = {"steps": steps, "minutes": result["seconds"] / 60, "final loss": result["train_loss"], "tokens": result["tokens"]}
    mine |= {"tokens per second": result["tokens_per_second"], "peak memory, GiB": memory_gib}
    before = {"steps": planned, "minutes": expected["minutes"], "peak memory, GiB": expected["memory_gib"]}
    return {"this run": mine, "expected before": before, "published recipe, small GPU": PUBLISHED}


def provenance(report: Mapping, seed: int) -> dict:
    """What a training came from: hashes of data, split and prompt, packages, device, seed, git commit (None without git).

    Of a mixture also each source: its name, rows, hash, and how often its training rows are repeated.
    """
    about = describe()
    kept = ("dataset", "rows_used", "rows", "repeated", "fingerprint")
    sources = {name: {key: one[key] for key in kept} for name, one in report.get("sources", {}).items()}
    return {
        "data": report["fingerprint"],
        "split": {name: report[name] for name in ("seed", "rows", "grouped_by")},
        "prompt": hashlib.sha256((PREAMBLE + PROMPT).encode()).hexdigest()[:16],
        "packages": about["packages"],
        "python": about["python"],
        "device": about["device"],
        "seed": seed,
        "git_commit": git_commit(),
    } | ({"sources": sources} if sources else {})
