"""Run the notebooks one after the other with papermill: a bar for each, and one clear sentence if one fails."""

import time
from pathlib import Path

import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.progress import Progress
from medanalyzr.core.run_folder import NOTEBOOKS, show_path
from medanalyzr.notebook.parameters import declared_parameters


class _SamePython(AsyncKernelManager):
    """Starts the kernel in the running Python, whatever kernel is called `python3` on this machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class _BarEngine(NBClientEngine):
    """papermill's engine with our bar instead of a widget, and with the kernel of the calling notebook."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, title="", **kwargs):
        bar, complete = Progress(title, len(nb_man.nb.cells)), nb_man.cell_complete

        def cell_complete(cell, cell_index=None, **details):
            complete(cell, cell_index, **details)
            bar.update(cell_index + 1)

        nb_man.cell_complete = cell_complete
        return super().execute_managed_notebook(nb_man, kernel_name, kernel_manager_class=_SamePython, **kwargs)


papermill_engines.register("medanalyzr", _BarEngine)


def passed_on(parameters: dict, name: str) -> dict:
    """The `parameters` of the chain that notebooks/<name>.ipynb declares."""
    declared = declared_parameters(name)
    return {k: v for k, v in parameters.items() if k in declared}


def _literal(path: Path) -> str:
    """`path` with its braces escaped, because papermill replaces {name} by a parameter."""
    return str(path).replace("{", "{{").replace("}", "}}")


def run_notebook(name: str, parameters: dict, folder: Path) -> float:
    """Execute notebooks/<name>.ipynb with `parameters`; the executed copy goes to `folder`/notebooks.

    It runs in the Python of the calling notebook, so a kernel chosen there (`papermill -k`, JupyterLab's menu) is used here, too.
    Returns the seconds it took.

    Raises:
        MedAnalyzrError: the notebook failed; the message names notebook, cell and error, and the executed copy.
    """
    target = folder / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        papermill.execute_notebook(
            _literal(NOTEBOOKS / f"{name}.ipynb"),
            _literal(target),
            parameters=parameters,
            engine_name="medanalyzr",
            kernel_name="python3",
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            title=name,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # otherwise notices of the child kernel are stored as errors
        )
    except PapermillExecutionError as error:
        raise MedAnalyzrError(
            f"{name} stopped in cell [{error.exec_count}]: {error.ename}: {error.evalue} (executed copy: {show_path(target)})"
        ) from None
    return time.monotonic() - start
