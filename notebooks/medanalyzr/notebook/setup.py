"""What the first cell of every notebook calls: quiet and private settings, and the packages that are missing."""

import os
import subprocess
import sys
from pathlib import Path

from medanalyzr.core.device import where
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.packages import NO_DEPS, REQUIREMENTS, installed, read_requirements
from medanalyzr.core.run_folder import cache_folder

# On Colab and Kaggle these stay as the host has them, whatever their version: other parts of the host rely on them.
HOST_PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "ipykernel",
    "ipywidgets",
    "jupyterlab",
    "pytest",
    "psutil",
    "pydantic",
    "requests",
    "nbformat",
)


def _wanting(host: str, path: Path) -> list[str]:
    wanting = []
    for need in read_requirements(path):
        have = installed(need.name)
        kept = host != "local" and need.name in HOST_PACKAGES
        if have is None or not (kept or need.specifier.contains(have.split("+")[0], prereleases=True)):
            wanting.append(f"{need.name}{need.specifier}")
    return wanting


def install_commands(host: str) -> list[list[str]]:
    """The pip commands that bring this environment to the pins: empty when nothing is missing.

    Locally both requirement files are installed whole. On Colab and Kaggle only what is missing or differs goes in, and
    the host's own torch is named with its version so that pip leaves it alone.
    """
    pip = ["python", "-m", "pip", "install", "--quiet"]
    wanted, bare = _wanting(host, REQUIREMENTS), _wanting(host, NO_DEPS)
    if host == "local":
        files = [["-r", "requirements.txt"]] if wanted else []
        files += [["--no-deps", "-r", "notebooks/requirements-no-deps.txt"]] if bare else []
        return [[*pip, *file] for file in files]
    keep = [f"{name}=={installed(name)}" for name in ("torch",) if installed(name)]
    commands = [[*pip, *keep, *wanted]] if wanted else []
    return commands + ([[*pip, "--no-deps", *bare]] if bare else [])


def bootstrap() -> None:
    """First call of every notebook: quiet and private settings, then the packages.

    Colab and Kaggle get what is missing installed. Elsewhere nothing is installed without being asked. With
    MEDANALYZR_PACKAGES=as-is the packages stay as they are, and those that differ from the pins are named.

    Raises:
        MedAnalyzrError: a package is missing or has another version (the message holds the command), or pip failed.
    """
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth_compiled"))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("WANDB_DISABLED", "true")
    if sys.platform == "linux" and "microsoft" not in os.uname().release.lower():  # Windows' Linux does not know it
        os.environ.setdefault(
            "PYTORCH_ALLOC_CONF", "expandable_segments:True"
        )  # rows of changing length leave no gaps in a GPU's memory
    host = where()
    commands = install_commands(host)
    if commands and os.environ.get("MEDANALYZR_PACKAGES") == "as-is":
        print("Not as pinned:", ", ".join(_wanting(host, REQUIREMENTS) + _wanting(host, NO_DEPS)))
        return
    if commands and host == "local":
        lines = " && ".join(" ".join(command) for command in commands)
        missing = ", ".join(_wanting(host, REQUIREMENTS) + _wanting(host, NO_DEPS))
        raise MedAnalyzrError(
            f"These packages are missing or have another version: {missing}. In the project's folder run: {lines}"
        )
    for command in commands:
        print("Installing:", " ".join(command[5:]))
        done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True)
        if done.returncode:
            raise MedAnalyzrError(f"pip could not install the packages: {done.stderr.strip().splitlines()[-1]}")
