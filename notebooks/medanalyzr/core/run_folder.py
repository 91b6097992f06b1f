"""Run folders: where artifacts lie, and how their JSON files are written and read."""

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

NOTEBOOKS = Path(__file__).parents[2]


def artifacts_folder() -> Path:
    """The artifacts folder: beside notebooks/, or where the environment variable MEDANALYZR_ARTIFACTS says."""
    return Path(os.environ.get("MEDANALYZR_ARTIFACTS") or NOTEBOOKS.parent / "artifacts").absolute()


def cache_folder() -> Path:
    """Where files made once and used by every run lie (the converted base model)."""
    return artifacts_folder() / "cache"


def run_folder(run: str) -> Path:
    """The folder of `run` (a name under artifacts/runs/, or an absolute path), made when missing.

    Raises:
        MedAnalyzrError: the name leaves artifacts/runs/, or the folder cannot be written.
    """
    path = Path(run)
    if not path.is_absolute():
        if not run or path.name != run or run in (".", ".."):
            raise MedAnalyzrError(f"run={run!r} is not a folder name: give a plain name such as 'demo', or an absolute path.")
        path = artifacts_folder() / "runs" / run
    try:
        (path / "figures").mkdir(parents=True, exist_ok=True)
        write_text(path / "figures" / ".writable", "")
        (path / "figures" / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise MedAnalyzrError(f"The run folder {path} cannot be written ({error.strerror}): set MEDANALYZR_ARTIFACTS.") from None
    return path


def show_path(path: Path) -> str:
    """`path` as a reader of the notebook may see it: from artifacts/ on where it lies there."""
    base = artifacts_folder()
    return f"artifacts/{path.relative_to(base).as_posix()}" if path.is_relative_to(base) else path.as_posix()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: first beside it, then renamed. Of several processes the first alone writes."""
    if not is_first():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


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
    for path in (partial, old):
        shutil.rmtree(path, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    if folder.is_dir():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented UTF-8 JSON (NaN is refused: ValueError)."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _loads(text: str, where: str) -> dict:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MedAnalyzrError(f"{where} is not valid JSON ({error}): delete it and run its notebook again.") from None


def read_json(path: Path, made_by: str) -> dict:
    """The JSON file at `path`.

    Raises:
        MedAnalyzrError: it is missing (names `made_by`, the notebook that writes it) or broken.
    """
    if not path.is_file():
        raise MedAnalyzrError(f"{show_path(path)} is missing: run {made_by} with the same run parameter first.")
    return _loads(path.read_text(encoding="utf-8"), show_path(path))


def read_jsonl(path: Path, made_by: str) -> list[dict]:
    """The rows of a JSON-lines file; raises as `read_json`."""
    if not path.is_file():
        raise MedAnalyzrError(f"{show_path(path)} is missing: run {made_by} with the same run parameter first.")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_loads(line, f"{show_path(path)}, line {i}") for i, line in enumerate(lines, 1)]


def git_commit() -> str | None:
    """The commit of the project's checkout, with "+" where files differ from it; None where there is no git."""
    ask = ["git", "-C", str(NOTEBOOKS)]
    try:
        head = subprocess.run([*ask, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
