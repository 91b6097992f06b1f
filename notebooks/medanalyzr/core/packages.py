"""The packages this project pins, and those that are installed."""

import importlib.metadata
import sys
from dataclasses import asdict
from pathlib import Path

from packaging.requirements import Requirement

from medanalyzr.core.device import device, where
from medanalyzr.core.run_folder import NOTEBOOKS

REQUIREMENTS = NOTEBOOKS.parent / "requirements.txt"
NO_DEPS = NOTEBOOKS / "requirements-no-deps.txt"


def read_requirements(path: Path) -> list[Requirement]:
    """What a requirement file asks for on this platform."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    found = [Requirement(line) for line in lines if line]
    return [r for r in found if r.marker is None or r.marker.evaluate()]


def requirements() -> list[Requirement]:
    """What this platform needs of both requirement files."""
    return read_requirements(REQUIREMENTS) + read_requirements(NO_DEPS)


def installed(name: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


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
