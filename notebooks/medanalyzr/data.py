"""The files of 02_data: a split without leaks, what its parts still have in common, and the data report."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from medanalyzr.bundled import ORIGINS
from medanalyzr.errors import MedAnalyzrError
from medanalyzr.loading import COLUMNS, Row, check_rows, is_local, load_rows, nearly
from medanalyzr.parallel import first_process_first
from medanalyzr.privacy import gate
from medanalyzr.profiles import Profile
from medanalyzr.runs import read_json, read_jsonl, write_json, write_jsonl

SPLITS = ("train", "validation", "test")
QUICK = ("hémoglobine et rein", "hématologie", "glycémie", "lipides")  # what a small model learns in minutes (tries.json)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


def question_of(row: Mapping[str, str]) -> str:
    """Instruction and report of a row, without case, accents and repeated spaces."""
    return nearly(f"{row['instruction']} {row['input']}")


def keys_of(row: Mapping[str, str]) -> tuple[str, str, str]:
    """What must stay on one side of the split: the patient, or else the text without its numbers; the report; the answer."""
    who = row.get("patient") or "text " + _NUMBER.sub("", question_of(row))
    return "who " + who, "report " + (nearly(row["input"]) or question_of(row)), "answer " + nearly(row["output"])


def groups_of(rows: Sequence[Mapping[str, str]]) -> list[int]:
    """For each row the index of the first row of its group: rows that share a key (see `keys_of`), directly or by others."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        for key in keys_of(row):
            a, b = root(first.setdefault(key, i)), root(i)
            parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(rows))]


def split_rows(rows: Sequence[Row], validation_fraction: float, test_fraction: float, seed: int) -> dict[str, list[Row]]:
    """Train, validation and test rows; the rows of one group (see `groups_of`) stay together.

    Groups are ordered by a hash of the seed and of their first row, so the split is the same on every machine.
    """
    groups: dict[int, list[Row]] = {}
    for row, group in zip(rows, groups_of(rows), strict=True):
        groups.setdefault(group, []).append(row)
    names = {group: repr(keys_of(members[0])) for group, members in groups.items()}
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{names[group]}".encode()).hexdigest())
    parts: dict[str, list[Row]] = {name: [] for name in SPLITS}
    quota = {"test": test_fraction * len(rows), "validation": validation_fraction * len(rows)}
    for group in order:
        part = next((name for name, size in quota.items() if len(parts[name]) + len(groups[group]) <= size), "train")
        parts[part] += groups[group]
    return parts


def overlap(train: Sequence[Row], test: Sequence[Row], sample: int = 200) -> dict:
    """What `test` has in common with `train`.

    Counts of test rows whose patient, report or answer is also in train (all 0 in a split of `split_rows`), and the
    similarity (0 to 100, rapidfuzz's normalized indel ratio) of up to `sample` test rows to their nearest training row,
    on instruction and report: `median`, `highest`, and how many reach 95 or more. Empty parts give None there.
    """
    import numpy as np
    from rapidfuzz import fuzz, process

    known = {key for row in train for key in keys_of(row)}
    asked = [keys_of(row) for row in test]
    shared = [sum(keys[i] in known for keys in asked) for i in range(3)]
    report = {"test rows": len(test), "same patient or text": shared[0], "same report": shared[1], "same answer": shared[2]}
    if not train or not test:
        return report | {"nearest": None}
    few = [question_of(row) for row in test[:sample]]
    near = process.cdist(few, [question_of(row) for row in train], scorer=fuzz.ratio, dtype=np.uint8, workers=-1).max(axis=1)
    return report | {
        "nearest": {
            "rows": len(few),
            "median": float(np.median(near)),
            "highest": int(near.max()),
            "95 or more": int((near >= 95).sum()),
        }
    }


def fingerprint(rows: Sequence[Row]) -> str:
    """A short hash of the texts of `rows`, in order."""
    return hashlib.sha256(repr([[row[name] for name in COLUMNS] for row in rows]).encode()).hexdigest()[:16]


def privacy_mode(asked: str, dataset: str) -> str:
    """The mode "off", "warn" or "stop" for `asked`; "auto" stops for a local file, else warns."""
    return asked if asked != "auto" else "stop" if is_local(dataset) else "warn"


def prepare(dataset: str, folder: Path, validation_fraction: float, test_fraction: float, seed: int, privacy: str = "auto") -> dict:
    """Load, check and split `dataset`, write data/{train,validation,test}.jsonl and data_report.json, return the report.

    Raises:
        MedAnalyzrError: the dataset cannot be used, or holds personal data and `privacy` stops (then nothing is written).
    """
    rows, found = check_rows(load_rows(dataset), dataset)
    mode = privacy_mode(privacy, dataset)
    personal = gate(rows, found.kept, dataset, mode)
    parts = split_rows(rows, validation_fraction, test_fraction, seed)
    if not parts["train"]:
        raise MedAnalyzrError(f"dataset={dataset!r} leaves no row to train on: lower validation_fraction and test_fraction.")
    for name, part in parts.items():
        write_jsonl(folder / "data" / f"{name}.jsonl", part)
    groups = {name: Counter(groups_of(part)) for name, part in parts.items()}
    by_patient = sum("patient" in row for row in rows)
    report = {
        "dataset": dataset,
        "seed": seed,
        "columns": found.columns,
        "rows_read": found.rows_read,
        "rows_used": len(rows),
        "findings": found.table(),
        "privacy": {"mode": mode, "found": personal},
        "rows": {name: len(part) for name, part in parts.items()},
        "groups": {name: len(sizes) for name, sizes in groups.items()},
        "grouped_by": "patient" if by_patient == len(rows) else "patient or text" if by_patient else "text without numbers",
        "largest_group": max(size for sizes in groups.values() for size in sizes.values()),
        "overlap": overlap(parts["train"], parts["test"]),
        "categories": dict(Counter(row.get("category", "") for row in rows)),
        "fingerprint": {name: fingerprint(part) for name, part in parts.items()},
    }
    write_json(folder / "data_report.json", report)
    return report


def prepared(dataset: str, folder: Path, seed: int, settings: Profile) -> dict:
    """The data report of a run for 03_train: what 02_data prepared, or prepared now with 02_data's default parameters.

    Raises:
        MedAnalyzrError: the run folder holds another dataset than the one asked for.
    """
    with first_process_first():
        if not (folder / "data_report.json").is_file():
            name = settings.dataset if dataset == "auto" else dataset
            return prepare(name, folder, settings.validation_fraction, settings.test_fraction, seed)
    report = read_json(folder / "data_report.json", "02_data")
    if dataset not in ("auto", report["dataset"]):
        raise MedAnalyzrError(
            f"The run folder holds the dataset {report['dataset']!r} and {dataset!r} was asked for: run 02_data with it first, "
            "or choose another run."
        )
    return report


def subset_of(rows: Sequence[Row], name: str) -> list[Row]:
    """All rows, or with name "measured" the complete reports of measured values, with "quick" those of the categories `QUICK`.

    Rows whose `origin` is none of the bundled set's are kept: only the bundled set has this choice.
    """

    def chosen(row: Row) -> bool:
        return row["origin"] == "measured" and not row.get("kind") and (name == "measured" or row["category"] in QUICK)

    return [row for row in rows if name == "all" or row.get("origin") not in ORIGINS or chosen(row)]


def load_split(folder: Path, name: str) -> list[Row]:
    """The rows of one split of a prepared run."""
    return read_jsonl(folder / "data" / f"{name}.jsonl", "02_data")
