"""Rows from .json, .jsonl, .csv and .parquet files; an error is one sentence that names the place."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ENDINGS = (".json", ".jsonl", ".csv", ".parquet")
_NO_SEPARATOR = "\x1f"  # a CSV file of one column is read with a sign that no text holds


def decode_text(content: bytes) -> str:
    """The text in the bytes of a UTF-8 file, with or without byte order mark.

    Raises:
        ValueError: the file is empty or not UTF-8 (names the line).
    """
    if not content.strip():
        raise ValueError("the file is empty")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8 text; save the file as UTF-8") from None


def read_text(path: Path) -> str:
    """The text of a UTF-8 file; raises as `decode_text`."""
    return decode_text(path.read_bytes())


def first_sentence(error: BaseException) -> str:
    """The first sentence of an error of another package, without its full stop; its class if it has no message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(". ")


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice([name for name, _ in pairs])
    return dict(pairs)


def _refuse_twice(names: Sequence[str]) -> None:
    """Of two columns of one name the first would be lost in silence; unnamed ones hold nothing that is used."""
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise ValueError(f"the column {twice[0]!r} occurs twice; rename or remove one")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_named)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if where == "the file" else where
        raise ValueError(f"{place} is not valid JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply") from None


def _objects(values: Iterable[Any]) -> list[dict]:
    rows = list(values)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is a {type(row).__name__}, not an object with named columns")
    return rows


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _from_json(text: str) -> list[dict]:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and _is_object(lines[0]):
        raise ValueError("it has one object per line, not one list of rows: give the file the ending .jsonl")
    content = _parsed(text, "the file")
    if not isinstance(content, list):
        keys = f" with the keys {', '.join(list(content)[:5])}" if isinstance(content, dict) else ""
        raise ValueError(f"it holds a {type(content).__name__}{keys}, not a list of rows: write the rows as one list")
    return _objects(content)


def _from_jsonl(text: str) -> list[dict]:
    if text.lstrip().startswith("["):
        raise ValueError("it begins with a list and does not have one object per line: give the file the ending .json")
    return _objects(_parsed(line, f"line {i}") for i, line in enumerate(text.split("\n"), 1) if line.strip())


def csv_rows(text: str) -> list[dict]:
    """The rows of a CSV text; its separator is the commonest of comma, semicolon and tab in the header line, outside of quotes.

    Without one in the header the file has a single column, and such signs in its rows are text.

    Raises:
        ValueError: it names a column twice, or a row has more or fewer cells than the header.
    """
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    if "\0" in text:
        raise ValueError("it contains null characters, so it is not a text table")
    separator = max((sign for sign in ",;\t" if sign in header), key=header.count, default=_NO_SEPARATOR)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    csv.field_size_limit(2**31 - 1)
    try:
        names, *lines = [cells for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    _refuse_twice(names)
    for number, cells in enumerate(lines, 1):
        if len(cells) != len(names):
            raise ValueError(
                f"row {number} has {len(cells)} cells and the header has {len(names)}; quote texts that hold separators"
            )
    return [dict(zip(names, cells, strict=True)) for cells in lines]


def _from_parquet(path: Path) -> list[dict]:
    import pyarrow
    import pyarrow.parquet

    try:
        _refuse_twice(pyarrow.parquet.read_schema(path).names)
        return pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(first_sentence(error)) from None


def rows_of(path: Path) -> list[dict]:
    """The raw rows of a file with one of `ENDINGS`.

    Raises:
        ValueError: it cannot be read as what its ending says (why, where, and what to do).
        OSError: it cannot be opened.
    """
    match path.suffix.lower():
        case ".csv":
            return csv_rows(read_text(path))
        case ".parquet":
            return _from_parquet(path)
        case ".jsonl":
            return _from_jsonl(read_text(path))
        case _:
            return _from_json(read_text(path))
