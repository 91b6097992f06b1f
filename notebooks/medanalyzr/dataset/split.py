"""A split without leaks, and a measure of what its parts still have in common."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from medanalyzr.dataset.loading import COLUMNS, Row, nearly

SPLITS = ("train", "validation", "test")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


def question_of(row: Mapping[str, str]) -> str:
    """Instruction and report of a row, without case, accents and repeated spaces."""
    return nearly(f"{row['instruction']} {row['input']}")


def keys_of(row: Mapping[str, str]) -> tuple[str, str, str]:
    """What must stay on one side of the split: the patient, or else the text without its numbers; the report; the answer."""
    who = row.get("patient") or "text " + _NUMBER.sub("", question_of(row))
    return "who " + who, "report " + (nearly(row["input"]) or question_of(row)), "answer " + nearly(row["output"])


def groups_of(rows: Sequence[Mapping[str, str]], keys: Callable[[Mapping[str, str]], tuple[str, ...]] = keys_of) -> list[int]:
    """For each row the index of the first row of its group: rows that share one of their `keys`, directly or through other rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    columns: dict[str, int] = {}
    pairs = [(i, columns.setdefault(key, len(rows) + len(columns))) for i, row in enumerate(rows) for key in keys(row)]
    size = len(rows) + len(columns)
    places = tuple(zip(*pairs, strict=True)) or ((), ())
    _, labels = connected_components(coo_array(([True] * len(pairs), places), shape=(size, size)), directed=False)
    first: dict[int, int] = {}
    return [first.setdefault(label, i) for i, label in enumerate(labels[: len(rows)].tolist())]


def split_rows(
    rows: Sequence[Row],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    groups_given: Sequence[int] | None = None,
    source_of: Callable[[Row], str] = lambda row: "",
) -> dict[str, list[Row]]:
    """Train, validation and test rows; the rows of one group (`groups_given`, else those of `groups_of`) stay together.

    Groups are ordered by a hash of the seed and of their first row, so the split is the same on every machine. The fractions hold
    for each source (`source_of` a row) by itself: a group goes where each of its sources has room.
    """
    groups: dict[int, list[Row]] = {}
    for row, group in zip(rows, groups_of(rows) if groups_given is None else groups_given, strict=True):
        groups.setdefault(group, []).append(row)
    names = {group: repr(keys_of(members[0])) for group, members in groups.items()}
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{names[group]}".encode()).hexdigest())
    parts: dict[str, list[Row]] = {name: [] for name in SPLITS}
    sizes, taken = Counter(map(source_of, rows)), {"test": Counter(), "validation": Counter()}
    fractions = {"test": test_fraction, "validation": validation_fraction}
    for group in order:
        mine = Counter(map(source_of, groups[group]))
        part = next(
            (name for name in taken if all(taken[name][s] + n <= fractions[name] * sizes[s] for s, n in mine.items())), "train"
        )
        parts[part] += groups[group]
        if part in taken:
            taken[part] += mine
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
    highest, alike = int(near.max()), int((near >= 95).sum())
    return report | {"nearest": {"rows": len(few), "median": float(np.median(near)), "highest": highest, "95 or more": alike}}


def fingerprint(rows: Sequence[Row]) -> str:
    """A short hash of the texts of `rows`, in order."""
    return hashlib.sha256(repr([[row[name] for name in COLUMNS] for row in rows]).encode()).hexdigest()[:16]
