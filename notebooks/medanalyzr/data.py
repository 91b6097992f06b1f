"""Datasets: loading from the bundle, a local file or the hub; checks; a split by patient; the files of 02_data."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medanalyzr.bundled import load_bundled
from medanalyzr.errors import MedAnalyzrError
from medanalyzr.models import check_hub
from medanalyzr.profiles import BUNDLED
from medanalyzr.references import fold
from medanalyzr.runs import read_json, read_jsonl, write_json, write_jsonl

COLUMNS = ("instruction", "input", "output", "prompt")
SPLITS = ("train", "validation", "test")
ENDINGS = (".json", ".jsonl", ".csv", ".parquet")

Row = dict[str, str]


def read_csv(path: Path) -> "pandas.DataFrame":  # noqa: F821
    """A UTF-8 CSV file as text cells; the separator (comma, semicolon or tab) is the commonest in its header line.

    Raises:
        ValueError: the file is empty, not UTF-8, or not a table.
    """
    import pandas as pd

    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    return pd.read_csv(path, sep=max(",;\t", key=header.count), dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _from_file(path: Path) -> list[dict]:
    import pandas as pd

    ending = path.suffix.lower()
    try:
        if ending == ".csv":
            frame = read_csv(path)
        elif ending == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_json(path, lines=ending == ".jsonl", dtype=False)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MedAnalyzrError(f"dataset={str(path)!r} cannot be read as {ending[1:]}: {reason}") from None
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _from_hub(name: str) -> list[dict]:
    import datasets

    check_hub(name, "datasets")
    try:
        return datasets.load_dataset(name, split="train").to_list()
    except (datasets.exceptions.DatasetNotFoundError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MedAnalyzrError(f"dataset={name!r} cannot be loaded from the hub: {reason}") from None


def load_rows(dataset: str) -> list[dict]:
    """The raw rows of `dataset`: "bundled", a local .json, .jsonl, .csv or .parquet file, or a hub id.

    Raises:
        MedAnalyzrError: the file is missing or broken, or the hub is out of reach.
    """
    if dataset == BUNDLED:
        return load_bundled()
    path = Path(dataset).expanduser()
    if path.is_file() and path.suffix.lower() in ENDINGS:
        return _from_file(path)
    if path.exists():
        raise MedAnalyzrError(f"dataset={dataset!r} is not a {', '.join(ENDINGS)} file.")
    if path.is_absolute() or path.suffix.lower() in ENDINGS or dataset.count("/") != 1:
        raise MedAnalyzrError(f"dataset={dataset!r} is no file: give an existing path, a hub id 'owner/name', or 'bundled'.")
    return _from_hub(dataset)


def check_rows(raw: Sequence[dict], dataset: str) -> tuple[list[Row], dict[str, int]]:
    """The usable rows as text, and how many were dropped for each reason.

    A row without a string `instruction` and a non-empty string `output` is dropped, as is an exact duplicate. A missing
    `input` or `prompt` value is empty text.

    Raises:
        MedAnalyzrError: a required column is missing everywhere, or no row is left.
    """
    columns = {name for row in raw for name in row}
    if missing := [name for name in ("instruction", "input", "output") if name not in columns]:
        raise MedAnalyzrError(
            f"dataset={dataset!r} lacks the column {', '.join(missing)}: it has {', '.join(sorted(columns)) or 'none'}; "
            f"rename its columns to {', '.join(COLUMNS)}."
        )
    rows, dropped, seen = [], Counter(), set()
    for row in raw:
        texts = {name: row.get(name) if row.get(name) is not None else "" for name in COLUMNS}
        if not all(isinstance(text, str) for text in texts.values()):
            dropped["not text"] += 1
        elif not texts["instruction"].strip() or not texts["output"].strip():
            dropped["empty instruction or output"] += 1
        elif (key := tuple(texts[name] for name in COLUMNS[:3])) in seen:
            dropped["exact duplicate"] += 1
        else:
            seen.add(key)
            extra = {name: row[name] for name in ("patient", "category", "source") if isinstance(row.get(name), str)}
            rows.append(texts | extra)
    if not rows:
        raise MedAnalyzrError(f"dataset={dataset!r} has no usable row left ({dict(dropped)}).")
    return rows, dict(dropped)


def group_of(row: Row) -> str:
    """What must stay on one side of the split: the patient, or else the text without its numbers."""
    return row.get("patient") or fold(re.sub(r"\d+(?:[.,]\d+)?", "", f"{row['instruction']} {row['input']}"))


def split_rows(rows: Sequence[Row], validation_fraction: float, test_fraction: float, seed: int) -> dict[str, list[Row]]:
    """Train, validation and test rows; the rows of one group (see `group_of`) stay together.

    Groups are ordered by a hash of seed and group, so the split is the same on every machine.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row), []).append(row)
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).hexdigest())
    parts: dict[str, list[Row]] = {name: [] for name in SPLITS}
    quota = {"test": test_fraction * len(rows), "validation": validation_fraction * len(rows)}
    for group in order:
        part = next((name for name, size in quota.items() if len(parts[name]) + len(groups[group]) <= size), "train")
        parts[part] += groups[group]
    return parts


def fingerprint(rows: Sequence[Row]) -> str:
    """A short hash of the texts of `rows`, in order."""
    return hashlib.sha256(repr([[row[name] for name in COLUMNS] for row in rows]).encode()).hexdigest()[:16]


def prepare(dataset: str, folder: Path, validation_fraction: float, test_fraction: float, seed: int) -> dict:
    """Load, check and split `dataset`, write data/{train,validation,test}.jsonl and data_report.json, return the report."""
    raw = load_rows(dataset)
    rows, dropped = check_rows(raw, dataset)
    parts = split_rows(rows, validation_fraction, test_fraction, seed)
    if not parts["train"]:
        raise MedAnalyzrError(f"dataset={dataset!r} leaves no row to train on: lower validation_fraction and test_fraction.")
    groups = {name: {group_of(row) for row in part} for name, part in parts.items()}
    for name, part in parts.items():
        write_jsonl(folder / "data" / f"{name}.jsonl", part)
    report = {
        "dataset": dataset,
        "seed": seed,
        "rows_read": len(raw),
        "rows_dropped": dropped,
        "rows": {name: len(part) for name, part in parts.items()},
        "groups": {name: len(groups[name]) for name in SPLITS},
        "grouped_by": "patient" if all("patient" in row for row in rows) else "text without numbers",
        "groups_shared_with_train": len(groups["train"] & (groups["validation"] | groups["test"])),
        "categories": dict(Counter(row.get("category", "") for row in rows)),
        "fingerprint": {name: fingerprint(part) for name, part in parts.items()},
    }
    write_json(folder / "data_report.json", report)
    return report


def prepared(dataset: str, folder: Path, seed: int, default: str) -> dict:
    """The data report of a run for 03_train: what 02_data prepared, or prepared now with 02_data's default fractions.

    Raises:
        MedAnalyzrError: the run folder holds another dataset than the one asked for.
    """
    if not (folder / "data_report.json").is_file():
        return prepare(default if dataset == "auto" else dataset, folder, 0.05, 0.1, seed)
    report = read_json(folder / "data_report.json", "02_data")
    if dataset not in ("auto", report["dataset"]):
        raise MedAnalyzrError(
            f"The run folder holds the dataset {report['dataset']!r} and {dataset!r} was asked for: run 02_data with it first, "
            "or choose another run."
        )
    return report


def load_split(folder: Path, name: str) -> list[Row]:
    """The rows of one split of a prepared run."""
    return read_jsonl(folder / "data" / f"{name}.jsonl", "02_data")
