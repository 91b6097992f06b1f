"""Reports that a user brings in a file or a folder, and what is written about their answers."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import existing
from medanalyzr.dataset.files import read_csv
from medanalyzr.inference.cross_check import DIFFERS, INVENTED, SILENT, cross_check
from medanalyzr.lab.crbio import read_crbio
from medanalyzr.lab.reader import in_our_layout
from medanalyzr.lab.report import write_report

if TYPE_CHECKING:
    from medanalyzr.inference.generation import Answer

SUFFIXES = (".txt", ".csv", ".jsonl", ".xml")
LARGEST = 2**20  # characters of a report


@dataclass(frozen=True)
class Pending:
    """One report of a file: where it stands (`name, report 3`), its text, and why it cannot be answered ("" if it can)."""

    source: str
    text: str
    error: str = ""


def load_reports(name: str) -> list[Pending]:
    """The reports of a file or of every file in a folder, each measurement line in the layout of the training data. "" gives [].

    .txt (blank line between reports), .csv or .jsonl (column `input` or `report`), .xml (one CR-BIO report). A row without a
    report, and in a folder an unreadable file, is kept with its error, so that it costs only itself.

    Raises:
        MedAnalyzrError: there is no such file or folder, a single file cannot be read, or nothing in it is a report.
    """
    if not name:
        return []
    path = existing(name)
    if path and path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)
        found = [pending for file in files for pending in _kept(file)]
    elif path and path.is_file() and path.suffix.lower() in SUFFIXES:
        found = list(_of_file(path))
    else:
        raise MedAnalyzrError(f"reports={name!r} is not an existing folder, .txt, .csv, .jsonl or .xml file.")
    if not found:
        raise MedAnalyzrError(f"reports={name!r} holds no report.")
    return found


def _kept(file: Path) -> list[Pending]:
    try:
        return list(_of_file(file))
    except MedAnalyzrError as error:
        return [Pending(file.name, "", str(error))]


def _of_file(path: Path) -> Iterator[Pending]:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        yield Pending(path.name, write_report(read_crbio(path.read_bytes())))
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = read_csv(path) if suffix == ".csv" else None
    except UnicodeDecodeError:
        raise MedAnalyzrError(f"{path.name} is not UTF-8 text: save it as UTF-8.") from None
    except (ValueError, OSError) as error:
        raise MedAnalyzrError(f"{path.name} cannot be read: {error}.") from None
    if suffix == ".txt":
        parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
        yield from (_pending(part, f"{path.name}, report {i}") for i, part in enumerate(parts, 1))
        return
    lines = rows if rows is not None else [line for line in text.split("\n") if line.strip()]
    yield from (_of_row(row, f"{path.name}, row {i}") for i, row in enumerate(lines, 1))


def _pending(text: str, source: str) -> Pending:
    """A report whose lines end as ours do, however they were ended (U+2028, U+0085, form feed…)."""
    if len(text) > LARGEST:
        return Pending(source, "", f"{len(text) / 2**20:.0f} MiB of text, more than a report can have (1 MiB)")
    return Pending(source, in_our_layout("\n".join(text.splitlines())))


def _of_row(row: dict | str, source: str) -> Pending:
    if isinstance(row, str):
        try:
            row = json.loads(row)
        except (ValueError, RecursionError) as error:
            return Pending(source, "", f"no valid JSON ({error})")
    for column in ("input", "report"):
        if isinstance(row, dict) and isinstance(row.get(column), str) and row[column].strip():
            return _pending(row[column].strip(), source)
    return Pending(source, "", "no text in a column 'input' or 'report'")


def with_lengths(pending: Sequence[Pending], prompt: Callable[[str], str], tokenizer, max_new_tokens: int) -> list[Pending]:
    """`pending`, where a report whose `prompt` leaves no room for an answer has its error."""
    from medanalyzr.inference.generation import check_length  # imports transformers, which Unsloth must precede

    checked = []
    for one in pending:
        try:
            if not one.error:
                check_length(prompt(one.text), tokenizer, max_new_tokens)
            checked.append(one)
        except MedAnalyzrError as error:
            checked.append(replace(one, error=str(error)))
    return checked


def predictions(pending: Sequence[Pending], answers: Sequence["Answer"]) -> list[dict]:
    """The lines of predictions.jsonl, in the order of `pending`; `answers` are those to the reports without an error.

    `disagreements` lists the analytes on which rules and model differ, `critical` those that the rules call critical.
    """
    given, lines = iter(answers), []
    for one in pending:
        line = {"source": one.source, "report": one.text}
        if one.error:
            lines.append(line | {"error": one.error})
            continue
        answer = next(given)
        checks = cross_check(one.text, answer.text)
        lines.append(
            line
            | {
                "answer": answer.text,
                "tokens": answer.tokens,
                "ended": answer.ended,
                "repeats": answer.repeats,
                "disagreements": [c.name for c in checks if c.verdict in (DIFFERS, SILENT, INVENTED)],
                "critical": [c.name for c in checks if c.critical],
            }
        )
    return lines


def note(line: dict) -> str:
    """What a reader must know of a line of predictions.jsonl before its answer: an error, a cut, a loop; "" for none."""
    if "error" in line:
        return line["error"]
    return "" if line["ended"] else "stopped: it repeats itself" if line["repeats"] else f"cut at {line['tokens']} tokens"
