"""Mistral's own class with its own v3 tokenizer, tiny and untrained, through the very notebook that trains it."""

import json

from conftest import papermill


def test_mistral_trains_answers_and_is_evaluated(tiny_mistral, artifacts, tmp_path):
    run = "mistral"
    for notebook, parameters in (
        ("03_train", {"base_model": tiny_mistral, "max_steps": 8, "validation_examples": 2}),
        ("04_inference", {"max_new_tokens": 8}),
        ("05_evaluation", {"limit": 3, "base_reports": 1, "probes": 1, "loss_reports": 1}),
    ):
        process = papermill(f"{notebook}.ipynb", tmp_path / "out.ipynb", run=run, **parameters)
        assert process.returncode == 0, process.stderr[-2000:]
    record = json.loads((artifacts / "runs" / run / "training.json").read_text(encoding="utf-8"))
    layers, r = 2, 16
    shapes = [(128, 128), (128, 64), (128, 64), (128, 128), (128, 256), (128, 256), (256, 128)]
    assert record["trainable_parameters"] == layers * sum(r * (a + b) for a, b in shapes)
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]
    assert len((artifacts / "runs" / run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    evaluation = json.loads((artifacts / "runs" / run / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["results"]["tuned model"]["flags"]["share"] == 0 and evaluation["results"]["rules"]["flags"]["share"] == 1
    assert evaluation["verdict"]["released"] is False
