"""kill -9 in the middle of a training, again and again: it goes on and ends with the weights of an uncut run.

MEDANALYZR_KILLS=20 cuts twenty times instead of twice.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from conftest import NOTEBOOKS, last_line, papermill
from medanalyzr import MedAnalyzrError
from medanalyzr.training.checkpoints import SEAL, find_checkpoint, seal

KILLS = int(os.environ.get("MEDANALYZR_KILLS", 2))
STEPS = max(60, 15 * KILLS)
OPTIONS = {"max_steps": STEPS, "evaluations": STEPS // 5, "batch_size": 2, "max_new_tokens": 8}


def start(run, base_model, out, **parameters):
    options = {"run": run, "base_model": base_model} | OPTIONS | parameters
    arguments = [str(part) for name, value in options.items() for part in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", "03_train.ipynb", str(out), *arguments, "--no-progress-bar"]
    return subprocess.Popen(command, cwd=NOTEBOOKS, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-2000:]


def kill_while_training(process, folder, delay):
    """kill -9 of the notebook and its kernel, `delay` seconds after the training began; False when it ended before."""
    began, record = time.time(), folder / "checkpoints" / "settings.json"
    while not record.is_file() or record.stat().st_mtime < began - 1:
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.05)
    time.sleep(delay)
    alive = process.poll() is None
    family = [*psutil.Process(process.pid).children(recursive=True), process] if alive else []
    for member in family:
        member.kill()
    process.wait()
    return alive


def outcome(folder):
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in record["history"]]
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes(), history, record


@pytest.fixture(scope="module")
def uncut(tiny_mistral, artifacts, tmp_path_factory):
    began = time.monotonic()
    finish(start("uncut", tiny_mistral, tmp_path_factory.mktemp("uncut") / "out.ipynb"))
    return *outcome(artifacts / "runs" / "uncut"), time.monotonic() - began


def test_a_killed_training_ends_like_an_uncut_one(uncut, tiny_mistral, artifacts, tmp_path):
    folder, rng, cuts = artifacts / "runs" / "cut", random.Random(7), 0
    weights, history, record, _ = uncut
    for _ in range(KILLS):
        process = start("cut", tiny_mistral, tmp_path / "out.ipynb")
        cuts += kill_while_training(process, folder, rng.uniform(0, 2 * record["seconds"] / KILLS))
    finish(start("cut", tiny_mistral, tmp_path / "out.ipynb"))
    again, same_history, last = outcome(folder)
    assert again == weights and same_history == history
    assert cuts == KILLS
    assert last["steps"] == STEPS and last["resumed_from"] and last["effective"]["adapter dtype"] == "float32"


def test_another_seed_gives_another_training(uncut, tiny_mistral, artifacts, tmp_path):
    _, history, _, _ = uncut
    finish(start("other", tiny_mistral, tmp_path / "out.ipynb", seed=1, max_steps=1))
    _, other, _ = outcome(artifacts / "runs" / "other")
    assert other[0]["loss"] != history[0]["loss"]


def test_other_settings_do_not_go_on(uncut, tiny_mistral, tmp_path):
    longer = OPTIONS | {"max_steps": STEPS + 1}
    refused = papermill("03_train.ipynb", tmp_path / "out.ipynb", run="uncut", base_model=tiny_mistral, **longer)
    assert refused.returncode != 0
    assert f"max_steps: {STEPS} -> {STEPS + 1}" in last_line(refused) and "resume=False" in last_line(refused)


def test_a_finished_training_takes_no_step_more(uncut, tiny_mistral, artifacts, tmp_path):
    weights, history, _, _ = uncut
    finish(start("uncut", tiny_mistral, tmp_path / "out.ipynb"))
    again, same_history, record = outcome(artifacts / "runs" / "uncut")
    assert record["resumed_from"] == f"checkpoint-{STEPS}" and record["steps"] == STEPS
    assert again == weights and same_history == history


def test_a_training_without_its_last_checkpoint_goes_on_from_the_one_before(uncut, tiny_mistral, artifacts, tmp_path):
    weights, history, _, _ = uncut
    shutil.rmtree(artifacts / "runs" / "uncut" / "checkpoints" / f"checkpoint-{STEPS}")
    finish(start("uncut", tiny_mistral, tmp_path / "out.ipynb"))
    again, same_history, record = outcome(artifacts / "runs" / "uncut")
    assert record["resumed_from"] == f"checkpoint-{STEPS - 5}" and record["steps"] == STEPS
    assert [row["step"] for row in same_history] == list(range(1, STEPS + 1))
    assert again == weights and same_history == history


def checkpoint(folder, step, sealed=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"weights of " + str(step).encode())
    if sealed:
        seal(path)
    return path


SETTINGS = {"max_steps": 60, "data": {"train": "a"}}


def test_the_last_whole_checkpoint_is_found_and_a_cut_one_removed(tmp_path):
    assert find_checkpoint(tmp_path, SETTINGS, resume=True) is None
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 10)
    cut = checkpoint(tmp_path, 11, sealed=False)
    assert find_checkpoint(tmp_path, SETTINGS, resume=True) == str(tmp_path / "checkpoint-10")
    assert not cut.exists()
    assert find_checkpoint(tmp_path, SETTINGS, resume=False) is None and not (tmp_path / "checkpoint-10").exists()


def test_what_changed_is_named(tmp_path):
    find_checkpoint(tmp_path, SETTINGS, resume=True)
    checkpoint(tmp_path, 10)
    with pytest.raises(MedAnalyzrError, match=r"other settings \(data: \{'train': 'a'\} -> \{'train': 'b'\}\): set resume=False"):
        find_checkpoint(tmp_path, SETTINGS | {"data": {"train": "b"}}, resume=True)
    assert (tmp_path / "checkpoint-10" / SEAL).is_file()


@pytest.mark.parametrize(("harm", "words"), [("change", "was changed"), ("remove", "is missing")])
def test_a_tampered_checkpoint_is_refused(tmp_path, harm, words):
    find_checkpoint(tmp_path, SETTINGS, resume=True)
    file = checkpoint(tmp_path, 10) / "adapter_model.safetensors"
    if harm == "change":
        file.write_bytes(b"other weights")
    else:
        file.unlink()
    with pytest.raises(MedAnalyzrError, match=f"checkpoint-10 is damaged .adapter_model.safetensors {words}.: delete that folder"):
        find_checkpoint(tmp_path, SETTINGS, resume=True)
