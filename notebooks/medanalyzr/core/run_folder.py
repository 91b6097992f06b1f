"""Run folders: where artifacts lie, and how their JSON files are written and read."""

import filecmp
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.processes import is_first

NOTEBOOKS = Path(__file__).resolve().parents[2]
REFERENCE = "reference"  # the run that answers with the adapter that comes with the project


class Record(dict):
    """The content of a JSON file of a run. A missing name is reported to the user as a MedAnalyzrError."""

    def __init__(self, content: dict, where: str, made_by: str):
        super().__init__(content)
        self._where, self._made_by = where, made_by

    def __missing__(self, name: str):
        raise MedAnalyzrError(f"{self._where} has no {name!r}: run {self._made_by} again.")


def artifacts_folder() -> Path:
    """The artifacts folder: beside notebooks/, or where the environment variable MEDANALYZR_ARTIFACTS says.

    A relative path counts from the folder in which the first process was started; its children, which start elsewhere, inherit it
    absolute.
    """
    given = os.environ.get("MEDANALYZR_ARTIFACTS")
    if not given:
        return NOTEBOOKS.parent / "artifacts"
    path = Path(given).expanduser().absolute()
    os.environ["MEDANALYZR_ARTIFACTS"] = str(path)
    return path


def existing(name: str) -> Path | None:
    """The absolute path of the file or folder that `name` is, seen from the current folder; None where there is none."""
    path = Path(name).expanduser()
    try:
        return path.absolute() if name and path.exists() else None
    except (OSError, ValueError):  # too long for a path, or a null character in it
        return None


def cache_folder() -> Path:
    """The folder of files that are made once and used by every run (the converted base model)."""
    return artifacts_folder() / "cache"


def run_folder(run: str) -> Path:
    """The folder of `run` (a name under artifacts/runs/, or an absolute path), made when missing.

    That of the run `REFERENCE` holds the adapter of artifacts/reference and the record of its training.

    Raises:
        MedAnalyzrError: the name leaves artifacts/runs/ or holds control characters, the folder cannot be written, or there is no
            reference adapter.
    """
    path = Path(run).expanduser()
    if not run.isprintable() or not path.is_absolute() and (not run.strip() or path.name != run or run in (".", "..")):
        raise MedAnalyzrError(f"run={run!r} is not a folder name: give a plain name such as 'demo', or an absolute path.")
    path = artifacts_folder() / "runs" / path
    try:
        (path / "figures").mkdir(parents=True, exist_ok=True)
        write_text(path / "figures" / ".writable", "")
        (path / "figures" / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise MedAnalyzrError(
            f"The run folder {path} cannot be written ({error.strerror}): set MEDANALYZR_ARTIFACTS, or choose another run."
        ) from None
    if run == REFERENCE:
        _take_reference(path)
    return path


def reference_source() -> Path:
    """artifacts/reference of the project, wherever the runs lie: adapter, record of its training, and its answers."""
    return NOTEBOOKS.parent / "artifacts" / REFERENCE


def is_reference(folder: Path) -> bool:
    """Whether `folder` is that of the run `REFERENCE`."""
    return folder == artifacts_folder() / "runs" / REFERENCE


def _take_reference(folder: Path) -> None:
    """Bring the adapter and the training record of the project's artifacts/reference into `folder` where it has not the same ones."""
    source, weights = reference_source(), Path("adapter/adapter_model.safetensors")
    if lacking := [name for name in (weights, Path("training.json")) if not (source / name).is_file()]:
        raise MedAnalyzrError(
            f"run={REFERENCE!r} needs artifacts/{REFERENCE}/{lacking[0].as_posix()}, which this copy of the project does not hold: "
            "get the project with its artifacts, or train with 03_train and name that run."
        )
    if not (folder / weights).is_file() or not filecmp.cmp(source / weights, folder / weights, shallow=False):
        with replacing(folder / "adapter") as target:
            shutil.copytree(source / "adapter", target, dirs_exist_ok=True)
    write_text(folder / "training.json", (source / "training.json").read_text(encoding="utf-8"))


def show_path(path: Path) -> str:
    """`path` as a reader of the notebook may see it: from artifacts/ on where it lies there."""
    base = artifacts_folder()
    return f"artifacts/{path.relative_to(base).as_posix()}" if path.is_relative_to(base) else path.as_posix()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: first beside it, then renamed. Of several processes the first alone writes."""
    if not is_first():
        return
    content = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends without an error: all of it or nothing.

    Of several processes only the first one's folder does.
    """
    if not is_first():
        with tempfile.TemporaryDirectory() as other:
            yield Path(other)
        return
    partial, old = folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():  # cut between the two renamings
        old.rename(folder)
    for path in (partial, old):
        shutil.rmtree(path, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.is_dir():
            folder.rename(old)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented UTF-8 JSON (NaN is refused: ValueError)."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object per line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def json_lines(content: bytes) -> list[bytes]:
    """The lines of a JSON-lines file that hold something. Only a line feed ends a line: U+2028, U+0085 and others may stand in a text."""
    return [line for line in content.split(b"\n") if line.strip()]


def _record(content: bytes, where: str, made_by: str) -> Record:
    try:
        found = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise MedAnalyzrError(f"{where} is not valid JSON ({error}): delete it and run {made_by} again.") from None
    if not isinstance(found, dict):
        raise MedAnalyzrError(f"{where} holds a {type(found).__name__}, not an object: delete it and run {made_by} again.")
    return Record(found, where, made_by)


def _content(path: Path, made_by: str) -> bytes:
    if not path.is_file():
        raise MedAnalyzrError(f"{show_path(path)} is missing: run {made_by} with the same run parameter first.")
    return path.read_bytes()


def read_json(path: Path, made_by: str) -> Record:
    """The object in the JSON file at `path`.

    Raises:
        MedAnalyzrError: it is missing (names `made_by`, the notebook that writes it) or broken; later, where a name is asked
            for that it lacks.
    """
    return _record(_content(path, made_by), show_path(path), made_by)


def read_jsonl(path: Path, made_by: str) -> list[Record]:
    """The rows of a JSON-lines file; raises as `read_json`."""
    lines = json_lines(_content(path, made_by))
    return [_record(line, f"{show_path(path)}, line {i}", made_by) for i, line in enumerate(lines, 1)]


def git_commit() -> str | None:
    """The commit of the project's checkout, with "+" where files differ from it; None where there is no git."""
    ask = ["git", "-C", str(NOTEBOOKS)]
    try:
        head = subprocess.run([*ask, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
