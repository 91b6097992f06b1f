"""Where a notebook runs, on what device, with which packages, and how to get those that are missing."""

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import Requirement

from medanalyzr.errors import MedAnalyzrError
from medanalyzr.runs import NOTEBOOKS, cache_folder

REQUIREMENTS = NOTEBOOKS.parent / "requirements.txt"
NO_DEPS = NOTEBOOKS / "requirements-no-deps.txt"
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


@dataclass(frozen=True)
class Device:
    """What trains: `kind` is "cuda" or "cpu"; memory in GiB (of one GPU, or of the machine); `float8` says whether it multiplies 8-bit
    floats (NVIDIA's compute capability 8.9 and later).
    """

    kind: str
    name: str
    memory_gib: float
    bf16: bool
    count: int
    cores: int
    float8: bool = False

    @property
    def dtype(self) -> str:
        """The number format it trains in: float32 on a CPU, on a GPU bfloat16, or float16 without that."""
        return "float32" if self.kind != "cuda" else "bfloat16" if self.bf16 else "float16"


def where() -> str:
    """ "colab", "kaggle" or "local", by the environment variables those hosts set."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    return "kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else "local"


def device() -> Device:
    """The device training would use (the first GPU, or the CPU).

    MEDANALYZR_GPU_MEMORY_GIB caps the memory that this process may take of the GPU, so that it can be shared.
    """
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        native_bf16, native_float8 = card.major >= 8, (card.major, card.minor) >= (8, 9)
        total = card.total_memory / 2**30
        memory = min(total, float(os.environ.get("MEDANALYZR_GPU_MEMORY_GIB", total)))
        torch.cuda.set_per_process_memory_fraction(memory / total)
        return Device("cuda", card.name, memory, native_bf16, torch.cuda.device_count(), cores, native_float8)
    return Device("cpu", "CPU", psutil.virtual_memory().total / 2**30, False, 0, cores)


def _requirements(path: Path) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = [Requirement(line) for line in lines if line]
    return [r for r in found if r.marker is None or r.marker.evaluate()]


def requirements() -> list[Requirement]:
    """What this platform needs of both requirement files."""
    return _requirements(REQUIREMENTS) + _requirements(NO_DEPS)


def installed(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _wanting(host: str, path: Path) -> list[str]:
    wanting = []
    for need in _requirements(path):
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
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # rows of changing length leave no gaps in a GPU's memory
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


def versions() -> list[dict[str, str]]:
    """One row per pinned package: name, pinned version, installed version ("missing" when absent)."""
    return [{"package": r.name, "pinned": str(r.specifier), "installed": installed(r.name) or "missing"} for r in requirements()]


def describe() -> dict:
    """Everything environment.json records: host, Python, device and installed versions."""
    return {
        "host": where(),
        "python": sys.version.split()[0],
        "device": asdict(device()),
        "packages": {row["package"]: row["installed"] for row in versions()},
    }
