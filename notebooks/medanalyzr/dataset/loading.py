"""Rows from the bundle, a local file or the hub: read, columns named, every cell checked.

The same rules apply to faulty rows of every source (`RULES`); a file that cannot be used at all stops with one
sentence that names the file and, where it applies, the row (counted from 1) and the column.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ftfy
from ftfy.badness import is_bad

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import BUNDLED, check_hub
from medanalyzr.core.run_folder import existing
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.files import ENDINGS, first_sentence, rows_of
from medanalyzr.dataset.prompts import MARKER
from medanalyzr.lab.references import fold

COLUMNS = ("instruction", "input", "output", "prompt")
EXTRA = ("patient", "category", "kind", "origin", "source")
LONGEST = 200_000  # characters of one cell
UNUSABLE = 0.2  # share of unusable rows from which a dataset is refused
SYNONYMS = {
    "instruction": ("question", "query", "anchor", "consigne"),
    "input": ("context", "contexte", "report", "compte_rendu"),
    "output": ("answer", "positive", "response", "reponse", "completion"),
    "prompt": ("system",),
    "patient": ("patient_id", "subject_id"),
}
RULES = {
    "empty instruction or output": "dropped",
    "not text": "dropped",
    f"longer than {LONGEST} characters": "dropped",
    "unreadable characters": "dropped",
    "exact duplicate": "dropped",
    "wrongly decoded characters": "repaired",
    "prompt marker in the text": "made harmless in the prompt",
    "near-duplicate": "kept on one side of the split",
    "same question, another answer": "kept on one side of the split",
}

Row = dict[str, str]
_HALF = re.compile("[\ud800-\udfff]")  # half a character (a lone surrogate), which no file can hold


@dataclass
class Findings:
    """What was found in the rows of a dataset: for each fault (see `RULES`) and column, the row numbers from 1.

    `kept` are the numbers of the usable rows, in their order.
    """

    rows_read: int
    columns: dict[str, str]
    kept: list[int] = field(default_factory=list)
    rows: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, fault: str, column: str, row: int) -> None:
        """Note that `row` (its number) has `fault` (a key of `RULES`) in `column`."""
        self.rows.setdefault((fault, column), []).append(row)

    def table(self) -> list[dict]:
        """One entry per fault and column: fault, column, what was done, how many rows, the first ten of them."""
        return [
            {"fault": fault, "column": column, "rule": RULES[fault], "count": len(rows), "rows": rows[:10]}
            for (fault, column), rows in self.rows.items()
        ]


def nearly(text: str) -> str:
    """`text` without case, accents, spaces and quotes: what near-duplicates have in common."""
    return re.sub(r"[^\w<>≤≥.,%/+-]+", " ", fold(text)).strip()


def _listed(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:5]))
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{'…' if len(rows) > 5 else ''}"


def _from_hub(name: str) -> list[dict]:
    import datasets

    check_hub(name, "datasets")
    try:
        return datasets.load_dataset(name, split="train").to_list()
    except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
        cause: BaseException = error
        while cause.__cause__ and not isinstance(cause, datasets.exceptions.DatasetGenerationCastError):
            cause = cause.__cause__  # the loader wraps what went wrong
        casts = (datasets.exceptions.DatasetGenerationCastError, datasets.table.CastError)
        if isinstance(cause, casts) or str(cause).startswith("Schema at index"):
            reason = "its files do not have the same columns, so download it and give one file"
        else:
            reason = first_sentence(cause)
    raise MedAnalyzrError(f"dataset={name!r} cannot be loaded from the hub: {reason}.")


def is_local(dataset: str) -> bool:
    """Whether `dataset` names a local file rather than the bundle or a hub id."""
    path = existing(dataset)
    return dataset != BUNDLED and path is not None and path.is_file()


def local_file(dataset: str) -> Path | None:
    """The file that `dataset` names; None for "bundled" and for a hub id. Only names are looked at, nothing is read.

    Raises:
        MedAnalyzrError: there is no such file, it is none of `ENDINGS`, or the name could not be a hub id either.
    """
    if dataset == BUNDLED:
        return None
    if path := existing(dataset):
        if path.is_file() and path.suffix.lower() in ENDINGS:
            return path
        raise MedAnalyzrError(f"dataset={dataset!r} is not a {', '.join(ENDINGS)} file.")
    path = Path(dataset).expanduser()
    if path.is_absolute() or path.suffix.lower() in ENDINGS or dataset.count("/") != 1:
        raise MedAnalyzrError(
            f"dataset={dataset!r} is not a file: give an existing path, a hub id 'owner/name', 'bundled', or several joined by +."
        )
    return None


def load_rows(dataset: str) -> list[dict]:
    """The raw rows of `dataset`: "bundled", a local .json, .jsonl, .csv or .parquet file, or a hub id.

    Raises:
        MedAnalyzrError: the file is missing or broken, or the hub is out of reach.
    """
    path = local_file(dataset)
    if path is None:
        return load_bundled() if dataset == BUNDLED else _from_hub(dataset)
    try:
        return rows_of(path)
    except (ValueError, OSError) as error:
        raise MedAnalyzrError(f"dataset={dataset!r} cannot be read as {path.suffix[1:].lower()}: {error}.") from None


def map_columns(names: Iterable[str], dataset: str) -> dict[str, str]:
    """Which column of a dataset stands for each of ours: one of the same name, else a synonym (see `SYNONYMS`).

    Raises:
        MedAnalyzrError: nothing stands for instruction or output, or two synonyms claim one column.
    """
    names = list(names)
    by_fold = {fold(name): name for name in names}
    found = {name: name for name in (*COLUMNS, *EXTRA) if name in names}
    for target, synonyms in SYNONYMS.items():
        if target in found:
            continue
        claims = [by_fold[name] for name in (target, *synonyms) if name in by_fold]
        if len(claims) > 1:
            raise MedAnalyzrError(
                f"dataset={dataset!r}: the columns {' and '.join(map(repr, claims))} could both be {target!r}; rename one of them."
            )
        if claims:
            found[target] = claims[0]
    if lacking := [name for name in ("instruction", "output") if name not in found]:
        raise MedAnalyzrError(
            f"dataset={dataset!r} lacks the column {', '.join(lacking)}: it has {', '.join(map(str, names)) or 'none'}; "
            f"rename its columns to {', '.join(COLUMNS)}."
        )
    return found


def _fault(value: Any, needed: bool) -> str:
    """Why a cell makes its row unusable (a key of `RULES`), or "". An empty cell is one where it is `needed`."""
    if not isinstance(value, str):
        return "not text"
    if _HALF.search(value):
        return "unreadable characters"
    if needed and not value.strip():
        return "empty instruction or output"
    return f"longer than {LONGEST} characters" if len(value.strip() if needed else value) > LONGEST else ""


def _texts(row: Mapping[str, Any], number: int, found: Findings) -> dict[str, str] | None:
    """The texts of a row with wrongly decoded characters repaired, or None where it is unusable; `found` is told of both."""
    cells = {name: row.get(found.columns.get(name)) for name in COLUMNS}
    cells = {name: "" if value is None else value for name, value in cells.items()}
    for name in ("instruction", "output", "input", "prompt"):
        if fault := _fault(cells[name], name in ("instruction", "output")):
            found.add(fault, found.columns.get(name, name), number)
            return None
    texts = {name: text.strip() if name in ("instruction", "output") else text for name, text in cells.items()}
    for name, text in texts.items():
        if is_bad(text):
            texts[name] = ftfy.fix_encoding(text)
            if texts[name] != text:
                found.add("wrongly decoded characters", name, number)
        if "\ufffd" in texts[name]:
            found.add("unreadable characters", name, number)
            return None
        if MARKER.search(text) and name in ("instruction", "input"):
            found.add("prompt marker in the text", name, number)
    return texts


def _unreadable(extra: Mapping[str, str], number: int, found: Findings) -> bool:
    """Whether a column kept beside the four holds half a character."""
    lost = [name for name, text in extra.items() if _HALF.search(text)]
    for name in lost:
        found.add("unreadable characters", name, number)
    return bool(lost)


def check_rows(raw: Sequence[Mapping[str, Any]], dataset: str) -> tuple[list[Row], Findings]:
    """The usable rows as text, and what was found in them (see `RULES` for what is done about each fault).

    Raises:
        MedAnalyzrError: a column is missing, over a fifth of the rows is unusable, none is left, or every row has the
            same answer.
    """
    columns = map_columns(dict.fromkeys(name for row in raw for name in row), dataset) if raw else {}
    found = Findings(len(raw), columns)
    rows: list[Row] = []
    exact, near_texts, answers = set(), set(), {}
    for number, row in enumerate(raw, 1):
        texts = _texts(row, number, found)
        extra = {name: str(row[columns[name]]) for name in EXTRA if name in columns and row.get(columns[name]) is not None}
        if texts is None or _unreadable(extra, number, found):
            continue
        question, near = (texts["instruction"], texts["input"]), nearly(" ".join(list(texts.values())[:3]))
        if (*question, texts["output"]) in exact:
            found.add("exact duplicate", "all", number)
            continue
        if near in near_texts:
            found.add("near-duplicate", "all", number)
        elif answers.get(question, texts["output"]) != texts["output"]:
            found.add("same question, another answer", "output", number)
        exact.add((*question, texts["output"]))
        near_texts.add(near)
        answers[question] = texts["output"]
        rows.append(texts | extra)
        found.kept.append(number)
    _refuse_useless(rows, found, dataset)
    return rows, found


def _refuse_useless(rows: Sequence[Row], found: Findings, dataset: str) -> None:
    unusable = {key: n for key, n in found.rows.items() if RULES[key[0]] == "dropped" and key[0] != "exact duplicate"}
    count = sum(map(len, unusable.values()))
    if not rows or count > UNUSABLE * found.rows_read:
        why = "; ".join(f"{fault} in column {column}: {_listed(numbers)}" for (fault, column), numbers in unusable.items())
        raise MedAnalyzrError(
            f"dataset={dataset!r}: {count} of {found.rows_read} rows are unusable{f' ({why})' if why else ''}; "
            f"{'correct them' if count else 'add rows'} and run again."
        )
    if len(rows) > 1 and len({row["output"] for row in rows}) == 1:
        raise MedAnalyzrError(
            f"dataset={dataset!r}: all {len(rows)} rows have the same text in column {found.columns['output']}, "
            "so there is nothing to learn; check which column holds the answers."
        )
