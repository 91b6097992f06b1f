"""The stored outputs are those of a run, by nbval."""

import subprocess
import sys
from pathlib import Path

import nbformat
from conftest import copy_of_project


def shortened(folder: Path) -> Path:
    """A copy of notebooks/ in which the training takes three steps and answers are short; nothing that is checked depends on it."""
    notebooks = copy_of_project(folder)
    path = notebooks / "03_train.ipynb"
    text = path.read_text(encoding="utf-8")
    for long, short in (("max_steps: int = -1", "max_steps: int = 3"), ("max_new_tokens: int = 1600", "max_new_tokens: int = 8")):
        assert text.count(long) == 1
        text = text.replace(long, short)
    path.write_text(text, encoding="utf-8")
    return notebooks


CHECKED = ("01_setup", "02_data", "03_train")  # the notebooks with outputs that are the same on every machine


def test_stored_outputs_are_what_a_run_gives(artifacts, tmp_path):
    notebooks = shortened(tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=600",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    command += [
        f"--nbval-sanitize-with={Path(__file__).with_name('nbval_sanitize.cfg')}",
        *(str(notebooks / f"{name}.ipynb") for name in CHECKED),
    ]
    process = subprocess.run(command, cwd=notebooks, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stdout[-4000:]
    marked = sum("NBVAL_CHECK_OUTPUT" in c.source for name in CHECKED for c in nbformat.read(notebooks / f"{name}.ipynb", 4).cells)
    assert marked >= 10
