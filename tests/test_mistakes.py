"""A user's mistake costs one sentence, in every notebook."""

import nbformat
import pytest
from conftest import NOTEBOOKS, last_line, papermill

ROWS = "instruction,output,patient\na,b,1\nc,d,2 69 05 49 588 157 80\n"
FILES = {  # beside the notebook's output, where papermill is started: datasets that cannot be taken
    "twice.csv": "instruction,output,output\na,b,c\n",
    "patient.csv": ROWS,
    "lines.json": '{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": "d"}\n',
}


@pytest.mark.parametrize(
    ("notebook", "parameters", "sentence"),
    [
        ("00_pipeline", {"max_step": 3}, "00_pipeline has no parameter max_step"),
        ("00_pipeline", {"run": "2024_11"}, "run=202411 must be text"),
        ("00_pipeline", {"dataset": "missing.json"}, "dataset='missing.json' is not a file"),
        ("00_pipeline", {"base_model": "models/mine/"}, "base_model='models/mine/' is neither a folder"),
        ("00_pipeline", {"reports": "missing.txt"}, "reports='missing.txt' is not an existing folder"),
        ("00_pipeline", {"profile": "huge"}, "01_setup stopped in cell"),
        ("01_setup", {"profile": "huge"}, "profile='huge' does not exist"),
        ("01_setup", {"profile": "80gb"}, "profile='80gb' needs a CUDA GPU"),
        ("02_data", {"dataset": "missing.json"}, "dataset='missing.json' is not a file"),
        ("02_data", {"dataset": "Nassira/MedAnalyzr"}, "cannot be reached"),
        ("02_data", {"base_model": "/nowhere"}, "neither a folder"),
        ("02_data", {"dataset": "twice.csv"}, "the column 'output' occurs twice"),
        ("02_data", {"dataset": "patient.csv"}, "social security number in 1 (first: row 2)"),
        ("02_data", {"dataset": "lines.json"}, "give the file the ending .jsonl"),
        ("02_data", {"privacy": "maybe"}, "privacy='maybe' must be 'auto', 'off', 'warn' or 'stop'"),
        ("03_train", {"subset": "some"}, "subset='some' must be"),
        ("03_train", {"layouts": "many"}, "layouts='many' must be"),
        ("03_train", {"composed_examples": -2}, "composed_examples=-2 must be at least 0"),
        ("03_train", {"max_steps": "abc"}, "max_steps='abc' must be of type int"),
        ("03_train", {"base_model": "/nowhere"}, "neither a folder"),
        ("04_inference", {}, "is missing: run 03_train"),
        ("05_evaluation", {}, "is missing: run 03_train"),
        ("05_evaluation", {"gate": "maybe"}, "gate='maybe' must be 'warn' or 'stop'"),
        ("06_export", {}, "is missing: run 03_train"),
        ("07_benchmark", {"configurations": "fast"}, "configurations names 'fast'"),
        ("07_benchmark", {"steps": 2}, "steps=2 must be at least 3"),
    ],
)
def test_a_mistake_costs_one_sentence(notebook, parameters, sentence, tmp_path):
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "MEDANALYZR_ARTIFACTS": "artifacts"}
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS)
    given = {"run": "empty"} | parameters
    process = papermill(f"notebooks/{notebook}.ipynb", tmp_path / "out.ipynb", cwd=tmp_path, environment=nowhere, **given)
    assert process.returncode != 0
    assert last_line(process).startswith("MedAnalyzrError: ") and sentence in last_line(process)
    shown = [o for c in nbformat.read(tmp_path / "out.ipynb", 4).cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert len(shown) == 1 and len(shown[0].traceback) == 1
    kept = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.name in FILES}
    left = {path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and "cache" not in path.parts}
    assert kept == FILES and left <= {f"{name}.ipynb" for name in ("01_setup",)}  # the executed copy that shows the error


def test_help_shows_every_parameter_with_type_and_help():
    shown = papermill("03_train.ipynb", "", options=["--help-notebook"])
    from medanalyzr.notebook.parameters import declared_parameters

    for name, default in declared_parameters("03_train").items():
        line = next(line for line in shown.stdout.splitlines() if line.strip().startswith(f"{name}:"))
        assert type(default).__name__ in line, line
    assert "rank of the adapter" in shown.stdout
