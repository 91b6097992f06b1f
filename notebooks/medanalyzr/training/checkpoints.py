"""Checkpoints that survive a crash: sealed when complete, found again, and refused if the settings have changed."""

import hashlib
import json
import shutil
from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.processes import is_first, wait_for_all
from medanalyzr.core.run_folder import read_json, show_path, write_json

SEAL = "seal.json"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(checkpoint: Path) -> None:
    """Write the hash of every file of a finished checkpoint beside them. Only a sealed checkpoint is used."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL)
    write_json(checkpoint / SEAL, {path.relative_to(checkpoint).as_posix(): _digest(path) for path in files})


def damage(checkpoint: Path) -> str:
    """What is wrong with a sealed checkpoint (a missing or changed file), or ""."""
    for name, digest in read_json(checkpoint / SEAL, "03_train").items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if _digest(path) != digest:
            return f"{name} was changed"
    return ""


class SealCheckpoints(TrainerCallback):
    """Seals each checkpoint after the trainer has written it."""

    def on_save(self, args, state, control, **kwargs):
        wait_for_all()  # each process writes the state of its random numbers
        if state.is_world_process_zero:
            seal(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


def _steps(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def find_checkpoint(folder: Path, settings: dict, resume: bool) -> str | None:
    """The last complete checkpoint to resume from, or None for a fresh start; records `settings` beside the checkpoints.

    A checkpoint without a seal is incomplete and is removed. With `resume=False` all are removed.

    Raises:
        MedAnalyzrError: the checkpoints were made with other settings (the message names them), or a file was changed.
    """
    record = folder / "settings.json"
    if not resume and is_first():
        shutil.rmtree(folder, ignore_errors=True)
    wait_for_all()
    found = _steps(folder)
    whole = [path for path in found if (path / SEAL).is_file()]
    for path in set(found) - set(whole) if is_first() else ():
        shutil.rmtree(path)
    if whole:
        before = read_json(record, "03_train") if record.is_file() else {}
        now = json.loads(json.dumps(settings))
        changed = [f"{k}: {before.get(k)} -> {v}" for k, v in now.items() if before.get(k) != v]
        if changed:
            raise MedAnalyzrError(
                f"{show_path(folder)} holds a training with other settings ({'; '.join(changed)}): "
                "set resume=False to start over, or choose another run."
            )
        if wrong := damage(whole[0]):
            raise MedAnalyzrError(
                f"{show_path(whole[0])} is damaged ({wrong}): delete that folder to resume from the checkpoint before it, "
                "or set resume=False to start over."
            )
    write_json(record, settings)
    return str(whole[0]) if whole else None


def checkpoint_name(checkpoint: str | None) -> str | None:
    """The folder name of a checkpoint, without the path of this machine."""
    return Path(checkpoint).name if checkpoint else None
