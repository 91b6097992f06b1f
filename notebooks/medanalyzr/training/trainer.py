"""Helpers of 03_train around the recipe in its cells: checks of arguments, initial adapter weights, a guarded training."""

import difflib
import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.helpers import disable_input_dtype_casting
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.training_args import OptimizerNames

from medanalyzr.acceleration.compat import require
from medanalyzr.acceleration.fused import restore_projections
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.training.record import trainer_steps


def known_optimizer(name: str) -> str:
    """`name`, if transformers has an optimizer of that name.

    Raises:
        MedAnalyzrError: it has none (the message proposes similar names).
    """
    names = [str(optimizer.value) for optimizer in OptimizerNames]
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names) or ("adamw_8bit", "adamw_torch"))
        raise MedAnalyzrError(f"optimizer={name!r} does not exist: try {close}.")
    return name


def share_of_steps(evaluations: int) -> float:
    """The share of the steps between two of `evaluations` validations; always below 1, which the trainer would read as every step."""
    return min(1 / evaluations, 1 - 1e-9)


def best_by(validate: bool, keep_best: bool, early_stopping: int) -> str | None:
    """The metric that decides which adapter is the best: the validation loss, or None if no parameter requires the best one.

    Raises:
        MedAnalyzrError: `keep_best` or `early_stopping` is set and there is nothing to validate on.
    """
    if not (keep_best or early_stopping):
        return None
    if not validate:
        raise MedAnalyzrError(
            "keep_best and early_stopping use the validation loss, but there is no validation row: set validation_examples, and "
            "validation_fraction in 02_data, above 0."
        )
    return "eval_loss"


def stopping(patience: int) -> list[TrainerCallback]:
    """The callback that ends a training after `patience` validations without improvement; none for 0."""
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience else []


def adapters_in_float32(model) -> None:
    """Convert the trainable weights back to float32 after TRL cast those of a 4-bit model to bfloat16, and keep a copy of their initial
    values: a training that was interrupted before its first checkpoint starts again from them.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if not hasattr(model, "beginning"):
        model.beginning = {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters() if p.requires_grad}


def _begin(trainer) -> None:
    """Adapter, optimizer and counters as they were before any step."""
    for name, parameter in trainer.model.named_parameters():
        if name in getattr(trainer.model, "beginning", {}):
            parameter.data.copy_(trainer.model.beginning[name])
    trainer.optimizer = trainer.lr_scheduler = None


def _finished(trainer, checkpoint: str) -> bool:
    """Whether `checkpoint` is that of the last step, or of an early stop. If so it is loaded here, because the trainer itself would take
    one more step.
    """
    require("a finished training")
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    waited = state.stateful_callbacks.get("EarlyStoppingCallback", {})
    stopped = waited and waited["attributes"]["early_stopping_patience_counter"] >= waited["args"]["early_stopping_patience"]
    if state.global_step < trainer_steps(trainer) and not stopped:
        return False
    trainer.state = state
    trainer._load_from_checkpoint(checkpoint)
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint:
        trainer._load_best_model()
    return True


@dataclass
class GuardedTraining:
    """What `training_guard` knows: whether a step is left to take, and, after its block, the seconds that the block took."""

    steps_left: bool = True
    seconds: float = 0.0


def _disk_is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or any(
        words in str(error) for words in ("No space left", "file write failed")
    )


@contextmanager
def training_guard(trainer, checkpoint: str | None) -> Iterator[GuardedTraining]:
    """A block that trains: it prepares `trainer` to start, or to resume from `checkpoint`, and reports errors in one sentence.

    Without a checkpoint the adapter gets its initial weights again, because an interrupted training may have changed them. A finished
    training is loaded, with no step left. After the block each projection is computed by itself again. On a CPU PEFT makes no float32
    copies of what the adapter reads: autocast would turn them back into the same bfloat16 at once.

    Raises:
        MedAnalyzrError: the GPU is out of memory, or the disk is full.
    """
    from safetensors import SafetensorError

    training, start = GuardedTraining(), time.monotonic()
    try:
        if checkpoint:
            training.steps_left = not _finished(trainer, checkpoint)
        else:
            _begin(trainer)
        with disable_input_dtype_casting(trainer.model, trainer.args.use_cpu and trainer.args.bf16):
            yield training
    except torch.OutOfMemoryError:
        raise MedAnalyzrError(
            "The GPU is out of memory: lower batch_size or max_seq_length; the last checkpoint is kept."
        ) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _disk_is_full(error):
            raise
        raise MedAnalyzrError(
            f"The disk is full, so the checkpoint of step {trainer.state.global_step} could not be written; the one before it is "
            "kept: free space and run this notebook again."
        ) from None
    restore_projections(trainer.model)
    training.seconds = time.monotonic() - start
