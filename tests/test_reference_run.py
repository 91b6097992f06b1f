"""`-p run reference`: the adapter that comes with the project, in a run folder of its own, with the rows of its training."""

import json
from pathlib import Path

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.core import run_folder as folders
from medanalyzr.core.run_folder import is_reference, read_json, run_folder, write_json
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prepare import load_split, prepared
from medanalyzr.dataset.split import fingerprint, split_rows
from medanalyzr.evaluation.baselines import reference_answers
from medanalyzr.inference.answer_cache import AnswerBook, source_of
from medanalyzr.inference.generation import Answer
from safetensors import safe_open

SHIPPED = Path(__file__).parents[1] / "artifacts" / "reference"

PARTS = split_rows(load_bundled(), 0.05, 0.1, 3407)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """artifacts/reference of a project whose runs lie elsewhere."""
    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(folders, "NOTEBOOKS", tmp_path / "project" / "notebooks")
    source = tmp_path / "project" / "artifacts" / "reference"
    (source / "adapter").mkdir(parents=True)
    (source / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (source / "adapter" / "adapter_config.json").write_text("{}")
    origin = {"data": {name: fingerprint(part) for name, part in PARTS.items()}, "split": {"seed": 3407}}
    write_json(source / "training.json", {"dataset": "bundled", "subset": "all", "origin": origin})
    return source


def files(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_adapter_and_its_record_are_brought_into_the_run(source, tmp_path):
    before = files(source)
    folder = run_folder("reference")
    assert folder == tmp_path / "elsewhere" / "runs" / "reference" and is_reference(folder)
    assert files(folder) == before == files(source)
    assert not is_reference(run_folder("demo")) and not (run_folder("demo") / "adapter").exists()


def test_a_newer_adapter_takes_the_place_of_the_one_brought_before(source):
    folder = run_folder("reference")
    config = folder / "adapter" / "adapter_config.json"
    config.write_text('{"base_model_name_or_path": "here"}')  # as `adapter_of` does
    assert run_folder("reference") == folder and "here" in config.read_text()
    (source / "adapter" / "adapter_model.safetensors").write_bytes(b"WEIGHTS")
    run_folder("reference")
    assert (folder / "adapter" / "adapter_model.safetensors").read_bytes() == b"WEIGHTS" and config.read_text() == "{}"


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "training.json"])
def test_without_the_adapter_one_sentence_says_what_is_missing(source, name):
    (source / name).unlink()
    with pytest.raises(MedAnalyzrError, match=f"run='reference' needs artifacts/reference/{name}, which this copy"):
        run_folder("reference")
    assert run_folder("demo").is_dir()


def test_the_rows_are_those_of_its_training(source, capsys):
    folder = run_folder("reference")
    assert load_split(folder, "test") == PARTS["test"] and load_split(folder, "train") == PARTS["train"]
    assert read_json(folder / "data_report.json", "02_data")["dataset"] == "bundled" and not capsys.readouterr().out
    with pytest.raises(MedAnalyzrError, match=r"data/test.jsonl is missing: run 02_data"):
        load_split(run_folder("demo"), "test")


def test_rows_that_have_changed_since_are_said(source, capsys):
    record = json.loads((source / "training.json").read_text())
    record["origin"]["data"]["test"] = "other"
    write_json(source / "training.json", record)
    load_split(run_folder("reference"), "test")
    assert "The rows have changed since the reference adapter was trained" in capsys.readouterr().out


def test_nothing_is_trained_in_its_run(source):
    with pytest.raises(MedAnalyzrError, match="run='reference' answers with the adapter that comes with the project"):
        prepared("auto", "bundled", run_folder("reference"), 3407, (0.05, 0.1))


def test_the_answers_that_come_with_the_adapter_are_known_by_weights_and_prompt(source):
    book = AnswerBook(source / "answers.jsonl")
    name, prompts = source_of(source / "adapter"), ["one", "two", "three"]
    book.ask(
        name,
        prompts[:2],
        [9, 9],
        lambda asked, limits, keep: [keep(i, Answer(text.upper(), 1, True)) for i, text in enumerate(asked)],
    )
    assert reference_answers(prompts) == ["ONE", "TWO"] and reference_answers(["other", "one"]) == []
    (source / "adapter" / "adapter_model.safetensors").write_bytes(b"other weights")
    assert reference_answers(prompts) == []
    (source / "answers.jsonl").unlink()
    assert reference_answers(prompts) == []


def test_the_shipped_adapter_is_the_one_of_its_record():
    """The real files of artifacts/reference: rank and layers of the base model, 16 bits, the rows of now, no path of a machine."""
    config, record = read_json(SHIPPED / "adapter" / "adapter_config.json", ""), read_json(SHIPPED / "training.json", "")
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (16, 16, "HuggingFaceTB/SmolLM2-135M-Instruct")
    with safe_open(SHIPPED / "adapter" / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
        assert len(names) == 2 * 7 * 30 and file.get_slice(names[0]).get_dtype() == "BF16"
    assert record["origin"]["data"] == {name: fingerprint(part) for name, part in PARTS.items()}
    assert (record["subset"], record["layouts"], record["base_model"]) == ("all", "composed", "SmolLM2-135M-Instruct")
    before = [
        read_json(SHIPPED / f"{name}_training.json", "") for name in ("first", "second")
    ]  # trainings that the last one went on from
    assert (
        all(one["origin"]["data"] == record["origin"]["data"] for one in before)
        and record["start_from"]
        and before[1]["start_from"]
    )
    page = (SHIPPED.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"{sum(one['tokens'] for one in (*before, record)) / 1e6:.0f} million tokens" in page
    assert "/tmp" not in json.dumps([record, *before, config])
