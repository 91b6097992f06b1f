"""What 03_train needs beside the recipe in its cells: the arguments for logging and checkpoints, and a training that may go on."""

import difflib
import errno
import time
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.training_args import OptimizerNames

from medanalyzr.acceleration.compat import require
from medanalyzr.acceleration.float8 import back_from_float8
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.training.record import trainer_steps


def monitoring_arguments(settings, validate: bool, evaluations: int = 4, keep_best: bool = False, early_stopping: int = 0) -> dict:
    """The SFTConfig arguments for logging, validation and checkpoints.

    Loss at every step; `evaluations` validations and checkpoints, evenly spread. With `keep_best` the adapter of the
    lowest validation loss is the one that is kept. Validation keeps no logits, so it needs no more memory than training.

    Raises:
        MedAnalyzrError: transformers knows no optimizer of the name in `settings`, or `keep_best` or `early_stopping` is asked for
            where nothing is validated.
    """
    if (keep_best or early_stopping) and not validate:
        raise MedAnalyzrError(
            "keep_best and early_stopping go by the validation loss and there is no validation row: set validation_examples, and "
            "validation_fraction in 02_data, above 0."
        )
    names, share = [str(name.value) for name in OptimizerNames], min(1 / evaluations, 1 - 1e-9)  # 1 would mean every step
    if settings.optimizer not in names:
        close = ", ".join(difflib.get_close_matches(settings.optimizer, names) or ("adamw_8bit", "adamw_torch"))
        raise MedAnalyzrError(f"optimizer={settings.optimizer!r} does not exist: try {close}.")
    best = {"load_best_model_at_end": keep_best, "metric_for_best_model": "eval_loss", "greater_is_better": False}
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
        **(best if keep_best or early_stopping else {}),
    }


def stopping(patience: int) -> list[TrainerCallback]:
    """The callback that ends a training after `patience` validations without improvement; none for 0."""
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience else []


def adapters_in_float32(model) -> None:
    """Bring the trainable weights back to float32 after TRL cast those of a 4-bit model to bfloat16, and keep a copy of what they begin
    with: a training that was interrupted before its first checkpoint starts again from there.
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
    """Whether `checkpoint` is that of the last step, or of an early stop; then it is loaded, because the trainer itself would take one
    step more.
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


def train(trainer, checkpoint: str | None):
    """`trainer.train`, from `checkpoint` where given; returns the seconds it took.

    A model that trained in 8-bit floats multiplies with its own weights again afterwards.

    Raises:
        MedAnalyzrError: the GPU is out of memory, or the disk is full.
    """
    from safetensors import SafetensorError

    start = time.monotonic()
    try:
        if not (checkpoint and _finished(trainer, checkpoint)):
            if not checkpoint:
                _begin(trainer)
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
    back_from_float8(trainer.model)
    return time.monotonic() - start
