"""The chain of notebooks as a user calls it with papermill: what it writes."""

import json

import nbformat

CHAIN = ("01_setup", "02_data", "03_train", "04_inference", "05_evaluation")


def test_the_run_folder_holds_what_the_design_says(smoke_run):
    expected = {
        "environment.json", "data_report.json", "data/train.jsonl", "data/validation.jsonl", "data/test.jsonl", "training.json",
        "adapter/adapter_model.safetensors", "adapter/adapter_config.json", "adapter/tokenizer.json", "adapter/prompt_template.json",
        "predictions.jsonl", "answers.jsonl", "evaluation.json", "manifest.json",
        *(f"figures/{name}.png" for name in ("loss", "health", "lengths", "flags", "flags_by_analyte", "confusion", "before_after")),
        *(f"notebooks/{name}.ipynb" for name in CHAIN),
    }  # fmt: skip
    assert expected <= {path.relative_to(smoke_run).as_posix() for path in smoke_run.rglob("*") if path.is_file()}


def test_no_notebook_shows_a_notice_in_red(smoke_run):
    for name in CHAIN:
        cells = nbformat.read(smoke_run / "notebooks" / f"{name}.ipynb", as_version=4).cells
        assert not [o.text for cell in cells for o in cell.get("outputs", []) if o.get("name") == "stderr"], name


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
    assert record["subset"] == "quick"


def test_parameters_reach_the_notebooks(smoke_run):
    manifest = json.loads((smoke_run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["max_steps"] == 3 and manifest["training"]["steps"] == 3
    assert set(manifest["seconds"]) == set(CHAIN)
    assert manifest["evaluation"]["reports"] == 3


def test_a_file_of_reports_is_answered(smoke_run):
    lines = [json.loads(line) for line in (smoke_run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["report"].splitlines()[-1] for line in lines] == [
        "VS : 12 mm",
        "Glycémie à jeun : 7,2 mmol/L (3,9 - 5,5)",
    ]
    assert all(line["answer"] and 0 < line["tokens"] <= 24 for line in lines)
    for line, name in zip(lines, ("ASAT", "Glycémie à jeun"), strict=True):
        assert {"results", "unread", "left_out", "critical", "conclusion", "next_steps", "ended", "repeats"} <= set(line)
        assert name in {result["name"] for result in line["results"] + line["left_out"]}
