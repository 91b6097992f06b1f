"""Cells run twice, long ones after an interrupt, and both precisions: what comes out is what one clean run gives."""

import json

import nbformat
import pytest
from conftest import copy_of_project, last_line, papermill
from medanalyzr.core.device import cpu_has_bfloat16

CHAIN = ("02_data", "03_train", "04_inference", "05_evaluation", "06_export")
CUT = """
from transformers import TrainerCallback


class Cut(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt


trainer.add_callback(Cut)
try:
    {cell}
except KeyboardInterrupt:
    trainer.remove_callback(Cut)
"""


def doubled(path):
    """Every code cell but the parameters twice; the cell that trains is first interrupted before its first checkpoint."""
    notebook, cells = nbformat.read(path, as_version=4), []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            cells.append(nbformat.v4.new_code_cell(cell.source))
            if "trainer.train(" in cell.source:
                cells.insert(-2, nbformat.v4.new_code_cell(CUT.format(cell="\n    ".join(cell.source.splitlines()))))
    notebook.cells = cells
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def runs(tiny_mistral, artifacts, tmp_path_factory):
    """The run folders of two chains, one of them with doubled notebooks."""
    folder = tmp_path_factory.mktemp("twice")
    for name in ("once", "twice"):
        notebooks = copy_of_project(folder / name)
        for notebook in CHAIN:
            if name == "twice":
                doubled(notebooks / f"{notebook}.ipynb")
            few = {"02_data": {}, "03_train": {"base_model": tiny_mistral, "max_steps": 4, "evaluations": 1, "max_new_tokens": 8}}
            few |= {
                "04_inference": {"max_new_tokens": 8},
                "05_evaluation": {"test_reports": 2, "base_reports": 1, "perturbations": 1, "loss_reports": 1, "layout_reports": 0},
            }
            few |= {"06_export": {"compared_reports": 1, "max_new_tokens": 8}}
            process = papermill(f"{notebook}.ipynb", folder / "out.ipynb", cwd=notebooks, run=name, **few[notebook])
            assert process.returncode == 0, (name, notebook, process.stderr[-3000:])
    return [artifacts / "runs" / name for name in ("once", "twice")]


def test_cells_run_twice_give_what_one_run_gives(runs):
    once, twice = runs
    for name in ("adapter/adapter_model.safetensors", "predictions.jsonl", "data/train.jsonl", "export/merged/model.safetensors"):
        assert (once / name).read_bytes() == (twice / name).read_bytes(), name
    results = [json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["results"] for folder in runs]
    assert results[0] == results[1]


def test_answers_are_kept_under_the_name_of_the_model_that_gave_them(runs):
    lines = [(folder / "answers.jsonl").read_text(encoding="utf-8").strip().split("\n") for folder in runs]
    kept = [{(a["source"], a["asked"]): a["text"] for a in map(json.loads, part)} for part in lines]
    assert kept[0] == kept[1] and len({source for source, _ in kept[0]}) == 2


def test_early_stopping_reaches_the_trainer(tiny_mistral, artifacts, tmp_path):
    options = {"base_model": tiny_mistral, "max_steps": 24, "evaluations": 24, "early_stopping": 1, "max_new_tokens": 8}
    for _ in range(2):  # the second run takes no step more
        done = papermill("03_train.ipynb", tmp_path / "out.ipynb", run="early", learning_rate=0.5, **options)
        assert done.returncode == 0, done.stderr[-3000:]
        record = json.loads((artifacts / "runs" / "early" / "training.json").read_text(encoding="utf-8"))
        assert record["steps"] < 24
    changed = options | {"early_stopping": 2, "keep_best": True, "validation_examples": 3}
    refused = papermill("03_train.ipynb", tmp_path / "out.ipynb", run="early", learning_rate=0.5, **changed)
    assert refused.returncode != 0 and "holds a training with other settings" in last_line(refused)
    assert "early_stopping: 1 -> 2" in last_line(refused) and "keep_best: False -> True" in last_line(refused)
    assert "validation: 8 -> 3" in last_line(refused)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_chain_ends_well_in_both_precisions(smoke_run, artifacts, tmp_path, precision, dtype):
    """The real model, hardly trained, must not stop the chain; in the machine's own precision that chain is `smoke_run`."""
    own = "bf16" if cpu_has_bfloat16() else "fp32"
    few = {
        "max_steps": 1,
        "validation_examples": 1,
        "max_new_tokens": 16,
        "test_reports": 2,
        "base_reports": 1,
        "perturbations": 1,
        "layout_reports": 0,
    }
    if precision != own:
        process = papermill("00_pipeline.ipynb", tmp_path / "00.ipynb", run=precision, precision=precision, **few)
        if precision == "bf16":
            assert process.returncode != 0 and "has no native bfloat16: set precision='best'" in last_line(process)
            return
        assert process.returncode == 0, process.stderr[-3000:]
    folder = smoke_run if precision == own else artifacts / "runs" / precision
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["effective"]["base model dtype"] == dtype and record["effective"]["adapter dtype"] == "float32"
