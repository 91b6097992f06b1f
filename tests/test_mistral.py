"""Mistral's own class with its own v3 tokenizer, tiny and untrained, through the very notebook that trains it."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_mistral_trains_and_answers(tiny_mistral, artifacts, tmp_path):
    run = "mistral"
    for notebook, parameters in (
        ("03_train", {"base_model": tiny_mistral, "max_steps": 8, "eval_reports": 2, "validation_examples": 2}),
        ("04_inference", {"max_new_tokens": 8}),
    ):
        arguments = [str(part) for name, value in parameters.items() for part in ("-p", name, value)]
        command = [
            sys.executable,
            "-m",
            "papermill",
            f"{notebook}.ipynb",
            str(tmp_path / "out.ipynb"),
            "-p",
            "run",
            run,
            *arguments,
        ]
        process = subprocess.run(command, cwd=NOTEBOOKS, env=os.environ, capture_output=True, text=True, timeout=600)
        assert process.returncode == 0, process.stderr[-2000:]
    record = json.loads((artifacts / "runs" / run / "training.json").read_text(encoding="utf-8"))
    layers, r = 2, 16
    shapes = [(128, 128), (128, 64), (128, 64), (128, 128), (128, 256), (128, 256), (256, 128)]
    assert record["trainable_parameters"] == layers * sum(r * (a + b) for a, b in shapes)
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]
    assert len((artifacts / "runs" / run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 3
