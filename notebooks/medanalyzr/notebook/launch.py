"""One notebook in several processes, one per GPU, started by torchrun; only the first process writes.

    python -m medanalyzr.notebook.launch 2 03_train.ipynb out.ipynb -p profile 80gb     (in notebooks/, two GPUs)

The arguments after the number go to papermill. The batch of the profile is divided among the processes, so that a step uses as many
examples as on one GPU.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.processes import is_first

_ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")
_GLANCE = 0.3  # seconds between two reads of the first process's output


def _reason(written: list[list[str]]) -> str:
    """The last error in the output of the processes; a MedAnalyzrError if there is one. Warnings may follow it."""
    errors = [line for lines in written for line in reversed(lines) if _ERROR.match(line)]
    said = next((line for line in errors if "MedAnalyzrError" in line), errors[0] if errors else "no process gave a reason")
    return said.removeprefix("MedAnalyzrError: ")


def _show_first(process: subprocess.Popen, logs: Path) -> None:
    """Forward the stderr of the first process (papermill's bar) until `process` ends, and close its last line."""
    shown, ended, line_open = 0, False, False
    while not ended:
        ended = process.poll() is not None  # checked first, so that nothing written before the end is missed
        for log in logs.rglob("0/stderr.log"):
            with log.open("rb") as file:
                file.seek(shown)
                new = file.read()
            shown += len(new)
            line_open = not new.endswith(b"\n") if new else line_open
            sys.stderr.write(new.decode(errors="replace"))
            sys.stderr.flush()
        if not ended:
            time.sleep(_GLANCE)
    if line_open:
        sys.stderr.write("\n")


def launch(count: int, arguments: list[str]) -> None:
    """Run papermill with `arguments` in `count` processes that train together; the first shows its progress.

    Raises:
        MedAnalyzrError: a process failed (the last line it wrote).
    """
    with tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += [f"--log-dir={logs}", "--redirects=3", "-m", "medanalyzr.notebook.launch", *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _show_first(process, Path(logs))
            finally:
                process.terminate()
        if process.returncode == 0:
            return
        written = [log.read_text(encoding="utf-8").strip().splitlines() for log in sorted(Path(logs).rglob("std*.log"))]
    raise MedAnalyzrError(_reason(written))


def _work(arguments: list[str]) -> None:
    """Run papermill in this process; the first alone keeps its executed notebook. An error is one line on stdout, for `launch`."""
    from papermill.cli import papermill
    from papermill.exceptions import PapermillExecutionError

    if not is_first():
        arguments = [arguments[0], str(Path(tempfile.mkdtemp()) / "executed.ipynb"), *arguments[2:]]
    try:
        papermill(arguments)
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}")
        sys.exit(1)


if __name__ == "__main__":
    if "RANK" in os.environ:
        _work(sys.argv[1:])
    elif len(sys.argv) < 4 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m medanalyzr.notebook.launch GPUS NOTEBOOK OUTPUT [-p NAME VALUE]…")
    else:
        try:
            launch(int(sys.argv[1]), sys.argv[2:])
        except MedAnalyzrError as error:
            sys.exit(f"MedAnalyzrError: {error}")
