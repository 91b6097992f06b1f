"""The packages this project asks for, and those that are installed."""

import importlib.metadata
import sys
from dataclasses import asdict
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medanalyzr.core.device import device, where
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import NOTEBOOKS

RUN = NOTEBOOKS.parent / "requirements-run.txt"
LOCAL = NOTEBOOKS.parent / "requirements.txt"
NO_DEPS = NOTEBOOKS.parent / "requirements-no-deps.txt"


def read_requirements(path: Path) -> list[Requirement]:
    """The requirements of a file on this platform, with those of the files it includes by `-r`; a later line replaces an earlier one.

    Raises:
        MedAnalyzrError: the file is not there (a project that was copied without it).
    """
    if not path.is_file():
        raise MedAnalyzrError(f"{path.name} is not beside the folder notebooks/: copy or upload the whole project.")
    asked = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        needs = read_requirements(path.parent / line[3:]) if line.startswith("-r ") else [Requirement(line)] if line else []
        asked |= {need.name: need for need in needs if need.marker is None or need.marker.evaluate()}
    return list(asked.values())


def requirements() -> list[Requirement]:
    """The packages that a local machine needs to run the notebooks, in the tested versions."""
    return read_requirements(LOCAL) + read_requirements(NO_DEPS)


def installed(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def all_installed() -> dict[str, str]:
    """The version of every installed package, by its normalized name (as in `scikit-learn`)."""
    names = {canonicalize_name(found.metadata["Name"]) for found in importlib.metadata.distributions() if found.metadata["Name"]}
    return {name: version for name in sorted(names) if (version := installed(name))}


def versions() -> list[dict[str, str]]:
    """One row per package of `requirements()`: name, tested version, installed version ("missing" when absent)."""
    return [{"package": r.name, "pinned": str(r.specifier), "installed": installed(r.name) or "missing"} for r in requirements()]


def describe() -> dict:
    """Everything environment.json records: host, Python, device and installed versions."""
    return {
        "host": where(),
        "python": sys.version.split()[0],
        "device": asdict(device()),
        "packages": {row["package"]: row["installed"] for row in versions()},
    }
