"""The rooms of the package: who may import whom, and what each may weigh."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "notebooks" / "medanalyzr"
FLOORS = {
    "core": 1, "lab": 2, "dataset": 3, "inference": 4, "acceleration": 4, "training": 5, "evaluation": 5, "export": 6, "notebook": 6,
}  # fmt: skip


def imported(path):
    """The rooms that a module imports from, at its head and inside its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("medanalyzr."))


def test_a_room_imports_only_from_itself_and_from_rooms_below():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] not in "._"} == set(FLOORS)
    wrong = [
        f"{path.relative_to(PACKAGE)} imports from {room}"
        for own in FLOORS
        for path in (PACKAGE / own).rglob("*.py")
        for room in imported(path)
        if room != own and FLOORS[room] >= FLOORS[own]
    ]
    assert not wrong


def test_no_file_and_no_folder_is_too_large():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {path.name: count for path, count in lines.items() if count > 350}
    folders = Counter()
    for path, count in lines.items():
        folders[path.parent.relative_to(PACKAGE).as_posix()] += count
    assert not {folder: count for folder, count in folders.items() if count > 1400}


def test_the_laboratory_is_importable_alone_and_at_once():
    script = (
        "import sys, time; began = time.perf_counter(); import medanalyzr.lab; from medanalyzr.lab import formats, reader, rules\n"
        "took = time.perf_counter() - began\n"
        "print(took, *{'torch', 'transformers', 'unsloth', 'pandas', 'numpy'} & set(sys.modules))"
    )
    took, *heavy = subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True).stdout.split()
    assert float(took) < 0.5 and not heavy
