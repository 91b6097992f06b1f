"""What a reader of the committed notebooks would trip over."""

import ast
import json
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_all_notebooks_are_there():
    assert NAMES == ["00_pipeline", "01_setup", "02_data", "03_train", "04_inference", "05_evaluation", "06_export", "07_benchmark"]


def test_one_clean_run_is_stored(notebook):
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert outputs and not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_one_cell_of_literal_typed_commented_parameters(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert not any("injected-parameters" in cell.metadata.get("tags", []) for cell in code_cells(notebook))
    for line, node in zip(tagged[0].source.splitlines(), ast.parse(tagged[0].source).body, strict=True):
        assert isinstance(node, ast.AnnAssign), line
        assert type(ast.literal_eval(node.value)).__name__ == node.annotation.id, line
        assert "  # " in line, line


def test_metadata(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}


def test_no_paths_tokens_or_install_logs(notebook):
    text = json.dumps([cell.outputs for cell in code_cells(notebook)], ensure_ascii=False)
    assert not re.findall(r"/(?:root|tmp|home|work|Users)/", text)
    assert not re.search(r"hf_[A-Za-z0-9]{20,}", text)
    assert "Successfully installed" not in text and "Installing:" not in text


def test_cells_are_short_and_sections_end_well(notebook):
    untagged = [cell for cell in code_cells(notebook) if not cell.metadata.get("tags")]
    assert max(cell.source.count("\n") + 1 for cell in untagged) <= 25
    assert notebook.cells[0].cell_type == "markdown" and "| machine" in notebook.cells[0].source


def test_half_of_the_cells_have_ten_lines_and_no_text_has_more_than_eighty_words(notebook):
    untagged = [cell for cell in code_cells(notebook) if not cell.metadata.get("tags")]
    assert median(cell.source.count("\n") + 1 for cell in untagged) <= 10
    for cell in notebook.cells:
        prose = [line for line in cell.source.splitlines() if not line.startswith(("#", "|"))]
        assert cell.cell_type == "code" or len(" ".join(prose).split()) <= 80, cell.source


def test_the_first_cell_is_the_same_everywhere():
    assert len({code_cells(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}) == 1


def test_nothing_runs_code_out_of_a_file_and_nothing_reports_home():
    package = NOTEBOOKS[0].parent / "medanalyzr"
    source = "\n".join(path.read_text(encoding="utf-8") for path in (*NOTEBOOKS, *sorted(package.rglob("*.py"))))
    for word in ("trust_remote_code", "import pickle", "torch.load(", "torch.save(", "yaml.load(", "eval(", "shell=True"):
        assert word not in source.replace(".eval(", "").replace("literal_eval(", ""), word
    environment = (package / "notebook" / "setup.py").read_text(encoding="utf-8")
    assert "UNSLOTH_DISABLE_STATISTICS" in environment and "HF_HUB_DISABLE_TELEMETRY" in environment
