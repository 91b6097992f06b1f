"""What 03_train needs beside the recipe in its cells: guards, progress, checkpoints, history."""

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from medanalyzr.errors import MedAnalyzrError
from medanalyzr.progress import Progress
from medanalyzr.prompts import IGNORED, encode
from medanalyzr.runs import read_json, show_path, write_json


def check_examples(examples: Sequence[dict], answers: Sequence[str], tokenizer, train_on: str = "answer") -> dict[str, str]:
    """Named checks of encoded examples against the answers they teach; returns what each one found.

    Raises:
        MedAnalyzrError: padding equals the end token, an example does not end with EOS, nothing is learnt, or the learnt
            tokens do not spell the answer.
    """
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        raise MedAnalyzrError(
            "The tokenizer pads with its end token, so the model would never learn to stop: set another pad_token."
        )
    for i, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        learnt = [label for label in example["labels"] if label != IGNORED]
        if not learnt:
            raise MedAnalyzrError(f"Training row {i}: every label is masked, nothing would be learnt from it.")
        if learnt[-1] != tokenizer.eos_token_id:
            raise MedAnalyzrError(f"Training row {i} does not end with {tokenizer.eos_token}: the model would not learn to stop.")
        text = tokenizer.decode(learnt[:-1])
        if (text.strip() != answer.strip()) if train_on == "answer" else (answer.strip() not in text):
            raise MedAnalyzrError(f"Training row {i}: the learnt tokens do not spell its answer: {text[:80]!r}.")
    return {
        "end of text": f"every example ends with {tokenizer.eos_token}",
        "padding": f"{tokenizer.pad_token}, not the end token",
        "labels": f"{len(examples)} of {len(examples)} spell their answer",
    }


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

    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def watching(settings, validate: bool) -> dict:
    """The SFTConfig arguments that watch and save a training: loss every step, four checkpoints, four validations if asked."""
    return {
        "logging_steps": 1,
        "eval_strategy": "steps" if validate else "no",
        "eval_steps": 0.25,
        "per_device_eval_batch_size": min(4, settings.batch_size),
        "save_strategy": "steps",
        "save_steps": 0.25,
        "save_total_limit": 2,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
        "disable_tqdm": True,
    }


def adapters_in_float32(model) -> None:
    """Bring the trainable weights back to float32 after TRL cast those of a 4-bit model to bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def effective_settings(trainer) -> dict:
    """What the trainer will really do, read from the trainer and the model it holds."""
    args, model = trainer.args, trainer.model
    return {
        "optimizer": str(getattr(args.optim, "value", args.optim)),
        "examples per step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "packing": bool(getattr(args, "packing", False)),
        "mixed precision": "fp16" if args.fp16 else "bf16" if args.bf16 else "none",
        "base model dtype": str(model.dtype).removeprefix("torch."),
        "adapter dtype": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad})),
        "4-bit": bool(getattr(model, "is_loaded_in_4bit", False)),
        "gradient checkpointing": any(getattr(module, "gradient_checkpointing", False) for module in model.modules()),
        "processes": args.world_size,
    }


def peak_memory_gib() -> float:
    """Peak memory so far in GiB: of the GPU where there is one, else of this process."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 2**30
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return info.peak_wset / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class ShowProgress(TrainerCallback):
    """A bar with the time left and the last loss; stops a run whose loss is not finite."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar, self.note = Progress("training", state.max_steps), ""
        self.tokens_before = int(state.num_input_tokens_seen)
        self.bar.resume_at(state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update(state.global_step, self.note)

    def on_log(self, args, state, control, logs=None, **kwargs):
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(float(loss)):
            raise MedAnalyzrError(
                f"The loss is {loss} at step {state.global_step}: lower learning_rate; the last checkpoint is kept in checkpoints/."
            )
        self.note = f"loss {float(loss):.3f}"
        self.bar.update(state.global_step, self.note)


def find_checkpoint(folder: Path, settings: dict, resume: bool) -> str | None:
    """The checkpoint to go on from, or None for a fresh start; records `settings` beside the checkpoints.

    With `resume=False` older checkpoints are removed.

    Raises:
        MedAnalyzrError: the checkpoints were made with other settings (names those that differ).
    """
    record = folder / "settings.json"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if found:
        before = read_json(record, "03_train") if record.is_file() else {}
        now = json.loads(json.dumps(settings))
        changed = [f"{k}: {before.get(k)} -> {v}" for k, v in now.items() if before.get(k) != v]
        if changed:
            raise MedAnalyzrError(
                f"{show_path(folder)} holds a training with other settings ({'; '.join(changed)}): "
                "set resume=False to start over, or choose another run."
            )
    write_json(record, settings)
    return found


def train(trainer, checkpoint: str | None):
    """`trainer.train`, from `checkpoint` where given; out of memory becomes one sentence.

    Returns the seconds it took.
    """
    import torch

    start = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError:
        raise MedAnalyzrError(
            "The GPU is out of memory: lower batch_size or max_seq_length; the last checkpoint is kept."
        ) from None
    return time.monotonic() - start


def history(log: Sequence[dict]) -> list[dict[str, float]]:
    """A trainer's log by step: step, loss, eval_loss, learning_rate, grad_norm (only those that were logged)."""
    steps: dict[int, dict] = {}
    for entry in log:
        kept = {k: float(entry[k]) for k in ("loss", "eval_loss", "learning_rate", "grad_norm") if k in entry}
        if kept:
            steps.setdefault(entry["step"], {"step": entry["step"]}).update(kept)
    return [steps[step] for step in sorted(steps)]


def checkpoint_name(checkpoint: str | None) -> str | None:
    """The folder name of a checkpoint, without the path of this machine."""
    return Path(checkpoint).name if checkpoint else None


def answer_limits(references: Sequence[str], tokenizer, margin: int = 16) -> list[int]:
    """Tokens each answer may take: those of its reference answer plus a margin."""
    return [len(tokenizer(reference, add_special_tokens=False).input_ids) + margin for reference in references]


def summary(trainer, seconds: float, curve: Sequence[dict]) -> dict:
    """Tokens, seconds and losses of a finished training.

    `tokens` counts the whole training (padding left out), `seconds` and `tokens_per_second` this session of it;
    `train_loss` is the mean of the last five logged steps.
    """
    tokens = int(trainer.state.num_input_tokens_seen)
    before = next(c.tokens_before for c in trainer.callback_handler.callbacks if isinstance(c, ShowProgress))
    validation = [row["eval_loss"] for row in curve if "eval_loss" in row]
    losses = [row["loss"] for row in curve if "loss" in row]
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": (tokens - before) / seconds,
        "train_loss": sum(losses[-5:]) / len(losses[-5:]),
        "eval_loss": validation[-1] if validation else None,
    }
