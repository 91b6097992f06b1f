"""Several processes train together: the same steps as one process, written once."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from conftest import NOTEBOOKS, last_line, papermill
from medanalyzr import MedAnalyzrError
from medanalyzr.core.processes import in_shares, shared
from medanalyzr.notebook.launch import _reason, launch
from medanalyzr.training.profiles import PROFILES, override, planned_steps


def test_the_batch_is_shared(monkeypatch):
    assert shared(2, 4) == (2, 4)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert shared(2, 4) == (2, 1) and shared(4, 1) == (1, 1)
    assert planned_steps(override(PROFILES["recipe"], {}), 2182) == 272
    with pytest.raises(MedAnalyzrError, match="4 processes cannot share batch_size=2 × gradient_accumulation_steps=1"):
        shared(2, 1)


def test_the_reason_of_a_failure_is_found_among_warnings():
    first = [
        "Traceback (most recent call last):",
        "NameError: name 'curve' is not defined",
        "",
        "[rank0]:[W1125] Warning: unused parameters",
    ]
    ours = ["RuntimeError: peer closed", "MedAnalyzrError: batch_size=3 cannot be shared: set 4"]
    assert _reason([first]) == "NameError: name 'curve' is not defined"
    assert _reason([first, ours]) == "batch_size=3 cannot be shared: set 4"
    assert _reason([["only warnings"], []]) == "no process gave a reason"


def launched(out, *parameters):
    command = [sys.executable, "-m", "medanalyzr.notebook.launch", "2", "03_train.ipynb", str(out), *map(str, parameters)]
    return subprocess.run(command, cwd=NOTEBOOKS, capture_output=True, text=True, timeout=600)


def test_the_first_process_really_goes_first(tmp_path):
    script = tmp_path / "order.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom medanalyzr.core.processes import first_process_first, is_first\n"
        "with first_process_first():\n"
        "    if is_first():\n        time.sleep(2)\n        Path(sys.argv[1]).touch()\n"
        "    assert Path(sys.argv[1]).is_file()\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
        str(tmp_path / "made"),
    ]
    process = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(NOTEBOOKS)}, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr[-2000:]


def test_processes_make_their_shares(tmp_path):
    script = tmp_path / "shares.py"
    script.write_text(
        "from medanalyzr.core.processes import in_shares, own_share, processes\n"
        "for count in (0, 1, 7):\n"
        "    made = in_shares(lambda share: [(i, processes(), len(share)) for i in share], range(count))\n"
        "    assert [i for i, *_ in made] == list(range(count)), made\n"
        "    assert all(n == 2 for _, n, _ in made) and max((size for *_, size in made), default=0) == -(-count // 2), made\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    process = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(NOTEBOOKS)}, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr[-2000:]
    assert in_shares(list, range(7)) == list(range(7))  # one process


def test_two_processes_take_the_steps_of_one(tiny_mistral, artifacts, tmp_path):
    options = {
        "base_model": tiny_mistral,
        "max_steps": 6,
        "gradient_accumulation_steps": 2,
        "load_in_4bit": "off",
        "evaluations": 2,
        "validation_examples": 2,
        "max_new_tokens": 8,
    }
    alone = papermill("03_train.ipynb", tmp_path / "alone.ipynb", run="alone", **options)
    assert alone.returncode == 0, alone.stderr[-2000:]
    given = [part for name, value in options.items() for part in ("-p", name, value)]
    two = launched(tmp_path / "two.ipynb", "-p", "run", "two", *given)
    assert two.returncode == 0, two.stderr[-2000:]
    one, both = (json.loads((artifacts / "runs" / run / "training.json").read_text(encoding="utf-8")) for run in ("alone", "two"))
    assert (
        both["effective"]["processes"] == 2 and both["effective"]["examples per step"] == one["effective"]["examples per step"] == 2
    )
    assert one["effective"]["4-bit"] is both["effective"]["4-bit"] is False
    assert both["steps"] == one["steps"] == 6 and both["tokens"] == one["tokens"]
    assert [row["loss"] for row in both["history"]] == pytest.approx([row["loss"] for row in one["history"]], rel=1e-3)
    assert both["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-3)


def notebook_of(folder, source):
    """A notebook with one cell, which needs no model."""
    path = folder / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=KERNEL), path)
    return path


KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def test_the_first_process_shows_its_progress_and_the_others_do_not(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    launch(2, [str(notebook_of(tmp_path, "print('done')")), str(tmp_path / "out.ipynb")])
    shown = capsys.readouterr().err
    assert shown.count("Output Notebook:") == 1 and "1/1" in shown
    assert "done" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


def test_a_mistake_costs_one_sentence_here_too(tmp_path):
    failed = launched(tmp_path / "out.ipynb", "-p", "profile", "huge", "-p", "run", "wrong")
    assert failed.returncode != 0 and last_line(failed).startswith("MedAnalyzrError: ")
    assert "profile='huge' does not exist" in failed.stderr and "Traceback" not in failed.stderr
    assert failed.stderr.count("does not exist") == 1
