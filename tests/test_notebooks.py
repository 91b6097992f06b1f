"""The notebooks themselves: through papermill as a user calls it, through nbval against what they store."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import papermill

ROOT = Path(__file__).parents[1]
CHAIN = ("01_setup", "02_data", "03_train", "04_inference", "05_evaluation")
NOTEBOOKS = ROOT / "notebooks"


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def test_the_run_folder_holds_what_the_design_says(smoke_run):
    expected = {
        "environment.json", "data_report.json", "data/train.jsonl", "data/validation.jsonl", "data/test.jsonl", "training.json",
        "adapter/adapter_model.safetensors", "adapter/adapter_config.json", "adapter/tokenizer.json", "adapter/prompt_template.json",
        "predictions.jsonl", "answers.jsonl", "evaluation.json", "manifest.json",
        *(f"figures/{name}.png" for name in ("loss", "health", "lengths", "flags", "flags_by_analyte", "confusion", "before_after")),
        *(f"notebooks/{name}.ipynb" for name in CHAIN),
    }  # fmt: skip
    assert expected <= {path.relative_to(smoke_run).as_posix() for path in smoke_run.rglob("*") if path.is_file()}


def test_training_json_keeps_its_contract(smoke_run):
    record = json.loads((smoke_run / "training.json").read_text(encoding="utf-8"))
    assert record["profile"] == "cpu" and record["dataset"] == "bundled" and record["base_model"] == "SmolLM2-135M-Instruct"
    assert record["steps"] == 3 and record["resumed_from"] is None
    assert record["tokens"] > 300 and record["seconds"] > 0 and record["peak_memory_gib"] > 0.2
    assert [row["step"] for row in record["history"]] == [1, 2, 3]
    assert all(row["loss"] > 0 and row["learning_rate"] >= 0 for row in record["history"])
    assert record["eval_loss"] > 0
    assert record["effective"]["adapter dtype"] == "float32" and record["effective"]["4-bit"] is True
    assert record["effective"]["optimizer"] == "adamw_torch_fused" and record["effective"]["examples per step"] == 1
    assert record["subset"] == "measured"


def test_parameters_reach_the_notebooks(smoke_run):
    manifest = json.loads((smoke_run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["max_steps"] == 3 and manifest["training"]["steps"] == 3
    assert set(manifest["seconds"]) == set(CHAIN)
    assert manifest["evaluation"]["reports"] == 3


def test_a_file_of_reports_is_answered(smoke_run):
    lines = [json.loads(line) for line in (smoke_run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["report"].splitlines()[-1] for line in lines] == [
        "ASAT : 40 UI/L (≤ 35)",
        "Glycémie à jeun : 7,2 mmol/L (3,9 - 5,5)",
    ]
    assert all(line["answer"] and 0 < line["tokens"] <= 24 for line in lines)


def test_an_interrupted_training_goes_on(smoke_run, tmp_path):
    """More steps than the stored run has: other settings are refused; the same run continues from its checkpoint."""
    out = tmp_path / "03.ipynb"
    options = {"run": "smoke", "validation_examples": 2}
    refused = papermill("03_train.ipynb", out, **options, max_steps=4)
    assert refused.returncode != 0 and "max_steps: 3 -> 4" in last_line(refused) and "resume=False" in last_line(refused)
    shutil.rmtree(smoke_run / "checkpoints" / "checkpoint-3")
    again = papermill("03_train.ipynb", out, **options, max_steps=3)
    assert again.returncode == 0, again.stderr[-2000:]
    record = json.loads((smoke_run / "training.json").read_text(encoding="utf-8"))
    assert record["resumed_from"] == "checkpoint-2" and record["steps"] == 3
    assert [row["step"] for row in record["history"]] == [1, 2, 3]
    assert record["effective"]["adapter dtype"] == "float32"


@pytest.mark.parametrize(
    ("notebook", "parameters", "sentence"),
    [
        ("00_pipeline", {"max_step": 3}, "00_pipeline has no parameter max_step"),
        ("00_pipeline", {"dataset": "missing.json"}, "02_data stopped in cell"),
        ("01_setup", {"profile": "huge"}, "profile='huge' does not exist"),
        ("01_setup", {"profile": "80gb"}, "profile='80gb' needs a CUDA GPU"),
        ("02_data", {"dataset": "missing.json"}, "dataset='missing.json' is no file"),
        ("02_data", {"dataset": "Nassira/MedAnalyzr"}, "cannot be reached"),
        ("02_data", {"privacy": "maybe"}, "privacy='maybe' must be 'auto', 'off', 'warn' or 'stop'"),
        ("03_train", {"subset": "some"}, "subset='some' must be"),
        ("03_train", {"max_steps": "abc"}, "max_steps='abc' must be of type int"),
        ("03_train", {"base_model": "/nowhere"}, "neither a folder"),
        ("04_inference", {}, "is missing: run 03_train"),
        ("05_evaluation", {}, "is missing: run 03_train"),
        ("05_evaluation", {"gate": "maybe"}, "gate='maybe' must be 'warn' or 'stop'"),
        ("06_export", {}, "is missing: run 03_train"),
        ("07_benchmark", {"configurations": "fast"}, "configurations names 'fast'"),
    ],
)
def test_a_mistake_costs_one_sentence(notebook, parameters, sentence, tmp_path):
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    process = papermill(f"{notebook}.ipynb", tmp_path / "out.ipynb", run="empty", environment=nowhere, **parameters)
    assert process.returncode != 0
    assert last_line(process).startswith("MedAnalyzrError: ") and sentence in last_line(process)
    shown = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert len(shown) == 1 and len(shown[0].traceback) == 1


def test_help_shows_every_parameter_with_type_and_help():
    shown = papermill("03_train.ipynb", "", options=["--help-notebook"])
    from medanalyzr.parameters import declared_parameters

    for name, default in declared_parameters("03_train").items():
        line = next(line for line in shown.stdout.splitlines() if line.strip().startswith(f"{name}:"))
        assert type(default).__name__ in line, line
    assert "rank of the adapter" in shown.stdout


def shortened(folder: Path) -> Path:
    """A copy of notebooks/ in which the training takes three steps; nothing that is checked depends on their number."""
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copy(ROOT / "requirements.txt", folder)
    path = folder / "notebooks" / "03_train.ipynb"
    text = path.read_text(encoding="utf-8")
    assert text.count("max_steps: int = -1") == 1
    path.write_text(text.replace("max_steps: int = -1", "max_steps: int = 3"), encoding="utf-8")
    return folder / "notebooks"


CHECKED = CHAIN[:3]  # the notebooks with outputs that are the same on every machine


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
        f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}",
        *(str(notebooks / f"{name}.ipynb") for name in CHECKED),
    ]
    process = subprocess.run(command, cwd=notebooks, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stdout[-4000:]
    marked = sum("NBVAL_CHECK_OUTPUT" in c.source for name in CHECKED for c in nbformat.read(notebooks / f"{name}.ipynb", 4).cells)
    assert marked >= 10
