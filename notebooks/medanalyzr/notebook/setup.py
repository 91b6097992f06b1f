"""The first cell of every notebook: settings for quiet output and privacy, and missing packages."""

import importlib
import logging
import os
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from medanalyzr.core.device import where
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.packages import LOCAL, NO_DEPS, RUN, all_installed, installed, read_requirements
from medanalyzr.core.run_folder import cache_folder, write_text

OLD_TORCHAO = Version("0.16.0")  # peft 0.19 and later refuses to wrap a 16-bit layer beside an older one


def _unmet(need: Requirement) -> bool:
    have = installed(need.name)
    return have is None or not need.specifier.contains(have.split("+")[0], prereleases=True)


def wanting(host: str) -> list[Requirement]:
    """The packages (with their dependencies) to install, in the tested versions.

    Locally: everything in requirements.txt that is missing or differs. On Colab and Kaggle, only from requirements-run.txt: pinned
    packages that differ, and packages with a version range that are missing.
    """
    tested = {need.name: need for need in read_requirements(LOCAL)}
    if host == "local":
        return [need for need in tested.values() if _unmet(need)]
    asked = read_requirements(RUN)
    return [tested[need.name] for need in asked if (_unmet(need) if "==" in str(need.specifier) else installed(need.name) is None)]


def _bare() -> list[Requirement]:
    """The missing ones of those packages that are installed without their dependencies."""
    return [need for need in read_requirements(NO_DEPS) if _unmet(need)]


def _stale_torchao() -> list[str]:
    have = installed("torchao")
    return [f"torchao {have}"] if have and Version(have) < OLD_TORCHAO else []


def held(wanted: list[Requirement]) -> str:
    """A constraint file for pip that keeps every package of the host at its version, except those `wanted`."""
    moving, lines = {canonicalize_name(need.name) for need in wanted}, []
    for name, version in all_installed().items():
        try:
            lines += [] if name in moving else [str(Requirement(f"{name}=={version}"))]
        except InvalidRequirement:  # pip cannot express this version
            continue
    return "\n".join(lines) + "\n"


def _constraints() -> Path:
    return cache_folder() / "host-packages.txt"


def install_commands(host: str) -> list[list[str]]:
    """The pip commands that install the tested versions into the Python of this kernel; empty if nothing is missing.

    Locally the whole requirement files are installed. On Colab and Kaggle only what fine-tuning needs is added; a constraint file
    keeps all other packages of the host unchanged. An old torchao that makes peft fail is removed, because nothing here uses it.
    """
    wanted, bare, pip = wanting(host), _bare(), [sys.executable, "-m", "pip"]
    commands = [[*pip, "uninstall", "--quiet", "--yes", "torchao"]] if _stale_torchao() else []
    if host == "local":
        files = [["-r", "requirements.txt"]] if wanted else []
        files += [["--no-deps", "-r", "requirements-no-deps.txt"]] if bare else []
    else:
        files = [["--constraint", str(_constraints()), *map(str, wanted)]] if wanted else []
        files += [["--no-deps", *map(str, bare)]] if bare else []
    return commands + [[*pip, "install", "--quiet", *file] for file in files]


def _install(host: str) -> None:
    """Install what a hosted notebook lacks.

    Raises:
        MedAnalyzrError: pip failed (its first error), or a package was replaced after this kernel had loaded it.
    """
    commands, wanted = install_commands(host), wanting(host)
    modules = packages_distributions()
    loaded = {canonicalize_name(name) for module in modules if module in sys.modules for name in modules[module]}
    replaced = {canonicalize_name(need.name) for need in wanted if installed(need.name)}
    if old := _stale_torchao():
        print(f"Removing {old[0]}: peft refuses to train 16-bit weights beside it, and nothing here uses it.")
        replaced.add("torchao")
    print("Installing:", ", ".join(map(str, [*wanted, *_bare()])) or "nothing")
    write_text(_constraints(), held(wanted))
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.strip().splitlines()
            raise MedAnalyzrError(f"pip could not install the packages: {said[0] if said else 'it gave no reason'}")
    importlib.invalidate_caches()
    if stale := sorted(replaced & loaded):
        raise MedAnalyzrError(
            f"{', '.join(stale)} had been loaded before the installation replaced it: restart the runtime (Runtime > Restart session on "
            "Colab, Run > Restart on Kaggle) and run this notebook again from its first cell."
        )


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not the notice that bitsandbytes has no kernel for products with 4-bit weights on a CPU: `unpack_on_cpu` leaves none."""
    return not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward")


def bootstrap() -> None:
    """First call of every notebook: settings for quiet output and privacy, then the packages.

    On Colab and Kaggle missing packages are installed. Elsewhere nothing is installed unasked. With MEDANALYZR_PACKAGES=as-is the
    packages stay as they are, and those that differ from the tested versions are named.

    Raises:
        MedAnalyzrError: a package is missing or has another version (the message has the command for the Python of this kernel),
        pip failed, or
            the kernel must be restarted.
    """
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth_compiled"))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("WANDB_DISABLED", "true")
    if sys.platform == "linux" and "microsoft" not in os.uname().release.lower():  # Windows' Linux does not know it
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # no gaps in a GPU's memory from rows of any length
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_worth_saying)
    host = where()
    commands = install_commands(host)
    if not commands:
        return
    differ = ", ".join([*map(str, [*wanting(host), *_bare()]), *(f"no {name}" for name in _stale_torchao())])
    if os.environ.get("MEDANALYZR_PACKAGES") == "as-is":
        print("Not as tested:", differ)
    elif host == "local":
        raise MedAnalyzrError(
            f"The Python of this notebook's kernel ({sys.executable}) lacks these packages, or has another version: {differ}. In the "
            f"project's folder run: {' && '.join(map(shlex.join, commands))}"
        )
    else:
        _install(host)
