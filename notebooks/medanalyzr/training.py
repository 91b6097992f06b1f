"""What 03_train needs beside the recipe in its cells: encoding, schedules, progress, history, the record of a run."""

import difflib
import errno
import hashlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import reduce
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.training_args import OptimizerNames

from medanalyzr.environment import describe
from medanalyzr.errors import MedAnalyzrError
from medanalyzr.float8 import in_float8
from medanalyzr.progress import Progress
from medanalyzr.prompts import PREAMBLE, PROMPT, encode, tokens
from medanalyzr.runs import git_commit


def encode_rows(
    rows: Sequence[Mapping[str, str]], tokenizer, train_on: str, max_seq_length: int
) -> tuple[list[dict], list[Mapping[str, str]]]:
    """The examples of `rows` that fit `max_seq_length` tokens, and the rows they come from.

    Longer ones are left out: a cut answer would lose its end token.

    Raises:
        MedAnalyzrError: there are rows and none of them fits.
    """
    pairs = [(encode(row, tokenizer, train_on), row) for row in rows]
    fitting = [(example, row) for example, row in pairs if len(example["input_ids"]) <= max_seq_length]
    if pairs and not fitting:
        raise MedAnalyzrError(f"None of {len(pairs)} rows fits max_seq_length={max_seq_length} tokens: raise it.")
    return [example for example, _ in fitting], [row for _, row in fitting]


def quiet() -> None:
    """No bars while weights load and rows are tokenized: they would be stored in the notebook as broken widgets."""
    import datasets
    import transformers
    from tqdm import tqdm
    from transformers import modeling_gguf_pytorch_utils

    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)  # its bar has no other switch
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def watching(settings, validate: bool, evaluations: int = 4, keep_best: bool = False) -> dict:
    """The SFTConfig arguments that watch and save a training.

    Loss at every step; `evaluations` validations and checkpoints, evenly spread. With `keep_best` the adapter of the
    lowest validation loss is the one that is kept. Validation keeps no logits, so it needs no more memory than training.

    Raises:
        MedAnalyzrError: transformers knows no optimizer of the name in `settings`.
    """
    names, share = [str(name.value) for name in OptimizerNames], min(1 / evaluations, 1 - 1e-9)  # 1 would mean every step
    if settings.optimizer not in names:
        close = ", ".join(difflib.get_close_matches(settings.optimizer, names) or ("adamw_8bit", "adamw_torch"))
        raise MedAnalyzrError(f"optimizer={settings.optimizer!r} does not exist: try {close}.")
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    return {
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would log a loss that is not a number as 0, and wait for the GPU to look at it
        "eval_strategy": "steps" if validate else "no",
        "eval_steps": share,
        "per_device_eval_batch_size": min(4, settings.batch_size),
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": share,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,  # several processes: every adapter weight is used in every step
        **(best if keep_best and validate else {}),
    }


def stopping(patience: int) -> list[TrainerCallback]:
    """The callback that ends a training after `patience` validations without improvement; none for 0."""
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience else []


def adapters_in_float32(model) -> None:
    """Bring the trainable weights back to float32 after TRL cast those of a 4-bit model to bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def attention(padding_free: bool) -> str:
    """The attention kernel that Unsloth takes on this machine: flash_varlen, flash_dense, xformers or sdpa (torch's own)."""
    if not torch.cuda.is_available():
        return "sdpa"
    from unsloth.utils.attention_dispatch import select_attention_backend

    return select_attention_backend(use_varlen=padding_free)


def effective_settings(trainer) -> dict:
    """What the trainer will really do, read from the trainer and the model it holds."""
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
        "8-bit float products": in_float8(model),
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


LOSS_FLOOR, FIRST_STEPS = 1e-3, 10  # a loss this low this early: labels or weights are wrong (unsloth issue 2957)
FP16_SKIPS = 20  # in fp16 the loss scale is found by skipping steps with infinite gradients; more in a row are a fault


class ShowProgress(TrainerCallback):
    """A bar with the time left and the last loss; adds seconds and tokens to each logged step; stops a training gone wrong.

    The tokens (padding left out, a shared prefix counted with each example) are added up on the device and read when the loss is, so
    that no step waits for its count. The seconds of a step run from one log to the next: loading of the batch included, validation and
    saving not.
    """

    hook = None

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        if self.hook:
            self.hook.remove()  # of a training that was interrupted in this process
        self.bar, self.skipped = Progress("training", state.max_steps), 0
        self.bar.resume_at(state.global_step)
        self.tokens_before, self.counted, self.checkpointing = int(state.num_input_tokens_seen), 0, None
        pad = processing_class.pad_token_id

        def count(module, arguments, inputs):
            if module.training:
                mask = inputs.get("attention_mask")
                self.counted += (inputs["input_ids"] != pad if mask is None else mask).sum()
                self.counted += getattr(inputs.get("prefix_seg_info"), "spared", 0)

        self.hook = model.register_forward_pre_hook(count, with_kwargs=True)
        self.began = time.monotonic()

    def on_train_end(self, args, state, control, **kwargs):
        self.hook.remove()

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.checkpointing is None:
            self.checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())

    def on_evaluate(self, args, state, control, **kwargs):
        self.began = time.monotonic()

    def on_save(self, args, state, control, **kwargs):
        self.began = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in (logs or {}):
            return
        state.num_input_tokens_seen = self.tokens_before + int(reduce(self.counted, "sum"))
        now = time.monotonic()
        state.log_history[-1] |= {"seconds": round(now - self.began, 4), "num_input_tokens_seen": state.num_input_tokens_seen}
        self.began = now
        loss, gradient = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
        if not math.isfinite(loss):
            self._stop(state, f"The loss is {loss}", "lower learning_rate")
        if loss < LOSS_FLOOR and state.global_step <= FIRST_STEPS:
            self._stop(state, f"The loss is {loss:.5f}, which no model reaches so early", "look at the labels and the base model")
        self.skipped = 0 if math.isfinite(gradient) else self.skipped + 1
        if self.skipped > (FP16_SKIPS if args.fp16 else 0):
            self._stop(state, f"The gradient norm is {gradient}", "lower learning_rate, or use another precision")
        self.bar.update(state.global_step, f"loss {loss:.3f}")

    @staticmethod
    def _stop(state, what: str, do: str) -> None:
        raise MedAnalyzrError(f"{what} at step {state.global_step}: {do}; the last checkpoint is kept in checkpoints/.")


def trainer_steps(trainer) -> int:
    """The optimizer steps that `trainer` plans."""
    return trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]


def _finished(trainer, checkpoint: str) -> bool:
    """Whether `checkpoint` is that of the last step; then it is loaded, because the trainer itself would take one step more."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    if state.global_step < trainer_steps(trainer):
        return False
    trainer.state = state
    trainer._load_from_checkpoint(checkpoint)
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint:
        trainer._load_best_model()
    return True


def train(trainer, checkpoint: str | None):
    """`trainer.train`, from `checkpoint` where given; returns the seconds it took.

    Raises:
        MedAnalyzrError: the GPU is out of memory, or the disk is full.
    """
    from safetensors import SafetensorError

    start = time.monotonic()
    try:
        if checkpoint and _finished(trainer, checkpoint):
            return time.monotonic() - start
        trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError:
        raise MedAnalyzrError(
            "The GPU is out of memory: lower batch_size or max_seq_length; the last checkpoint is kept."
        ) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        if (
            getattr(error, "errno", None) != errno.ENOSPC
            and "No space left" not in str(error)
            and "file write failed" not in str(error)
        ):
            raise
        raise MedAnalyzrError(
            f"The disk is full, so the checkpoint of step {trainer.state.global_step} could not be written; the one before it is "
            "kept: free space and run this notebook again."
        ) from None
    return time.monotonic() - start


HISTORY = ("loss", "eval_loss", "learning_rate", "grad_norm", "seconds", "num_input_tokens_seen")


def history(log: Sequence[dict]) -> list[dict[str, float]]:
    """A trainer's log by step: step and those of `HISTORY` that were logged and are finite."""
    steps: dict[int, dict] = {}
    for entry in log:
        kept = {k: float(entry[k]) for k in HISTORY if k in entry}
        kept = {k: v for k, v in kept.items() if math.isfinite(v)}
        if kept:
            steps.setdefault(entry["step"], {"step": entry["step"]}).update(kept)
    return [steps[step] for step in sorted(steps)]


def answer_limits(references: Sequence[str], tokenizer, margin: int = 16, longest: float = math.inf) -> list[int]:
    """Tokens each answer may take: those of its reference answer plus a margin, and at most `longest`."""
    lengths = (len(tokens(reference, tokenizer, add_special_tokens=False).input_ids) for reference in references)
    return [min(length + margin, longest) for length in lengths]


def summary(trainer, seconds: float, curve: Sequence[dict]) -> dict:
    """Tokens, seconds, losses and trainable parameters of a finished training.

    `tokens` counts the whole training (padding left out), `seconds` and `tokens_per_second` this session of it;
    `train_loss` is the mean of the last five logged steps; `gradient_checkpointing_seen` is what the layers did while they
    trained (None when no step was left to train).
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


def provenance(report: Mapping, seed: int) -> dict:
    """What a training came from: hashes of data, split and prompt, packages, device, seed, git commit (None without git)."""
    about = describe()
    return {
        "data": report["fingerprint"],
        "split": {name: report[name] for name in ("seed", "rows", "grouped_by")},
        "prompt": hashlib.sha256((PREAMBLE + PROMPT).encode()).hexdigest()[:16],
        "packages": about["packages"],
        "python": about["python"],
        "device": about["device"],
        "seed": seed,
        "git_commit": git_commit(),
    }
