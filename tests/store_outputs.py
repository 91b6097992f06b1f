"""Store the outputs of one pipeline run in the committed notebooks.

    python -m papermill notebooks/00_pipeline.ipynb artifacts/00_pipeline.ipynb
    python tests/store_outputs.py artifacts/00_pipeline.ipynb artifacts/runs/demo/notebooks

What papermill adds (injected parameters, metadata) and widget state are left out.
"""

import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def store(executed: Path) -> None:
    """Write the outputs of an executed copy into the notebook of the same name; its cells must be the same."""
    notebook, run = (nbformat.read(path, as_version=4) for path in (NOTEBOOKS / executed.name, executed))
    cells = [cell for cell in run.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    assert [cell.source for cell in cells] == [cell.source for cell in notebook.cells], (
        f"{executed} is a run of another {executed.name}"
    )
    count = 0
    for cell, done in zip(notebook.cells, cells, strict=True):
        if cell.cell_type == "code":
            count += 1
            cell.execution_count, cell.outputs = count, done.outputs
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    nbformat.write(notebook, NOTEBOOKS / executed.name)


if __name__ == "__main__":
    pipeline, folder = map(Path, sys.argv[1:])
    for path in (pipeline, *sorted(folder.glob("*.ipynb"))):
        store(path)
