"""Reports that a user brings in a file or a folder, and what is written about their answers.

A file is told by how it begins: HPRIM, HL7, FHIR and CR-BIO by their first bytes, whatever its name; the rest by its ending. In a .txt
a line of exactly three dashes or equal signs (`---`, `===`), or a new file, parts two reports. A blank line, a longer rule and a
form feed stand within a report.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import existing
from medanalyzr.dataset.files import csv_rows, decode_text
from medanalyzr.inference.verify import as_line, verify
from medanalyzr.lab import formats
from medanalyzr.lab.report import Report

if TYPE_CHECKING:
    from medanalyzr.inference.generation import Answer

FORMATS = "HPRIM, HL7, FHIR, CR-BIO, .txt, .csv, .jsonl"
LARGEST = 2**20  # characters of a report
_TEXTS = (".txt", ".csv", ".jsonl")
_BETWEEN = re.compile(r"^[^\S\n]*(?:---|===)[^\S\n]*$", re.MULTILINE)


@dataclass(frozen=True)
class ReceivedReport:
    """One report as it came: where it stands (`name, report 3`), its text, and why it cannot be answered ("" if it can).

    `read` is what its format says of it (None for plain text, which the strict reader reads), `remarks` what is doubtful in it.
    """

    source: str
    text: str
    error: str = ""
    read: Report | None = None
    remarks: tuple[str, ...] = ()


def load_reports(name: str) -> list[ReceivedReport]:
    """The reports of a file or of a folder, as they came. "" gives [].

    In a folder every entry is looked at. One that is not read, and a row without a report, is kept with its error, so that it
    costs only itself.

    Raises:
        MedAnalyzrError: there is no such file or folder, a single file cannot be read, or nothing in it is a report.
    """
    if not name:
        return []
    path = existing(name)
    if path is None:
        raise MedAnalyzrError(f"reports={name!r} is not an existing folder or file: give the path of one.")
    found = [one for entry in sorted(path.iterdir()) for one in _kept(entry)] if path.is_dir() else _of_path(path)
    if not found:
        raise MedAnalyzrError(f"reports={name!r} holds no report.")
    if all(one.error for one in found):
        source, error = found[0].source, found[0].error.rstrip(".")
        first = error if error.startswith(source) else f"{source}: {error}"
        raise MedAnalyzrError(f"reports={name!r} holds no report that can be read ({len(found)} looked at; {first}).")
    return found


def _kept(entry: Path) -> list[ReceivedReport]:
    try:
        return _of_path(entry) or [ReceivedReport(entry.name, "", "it holds no report")]
    except MedAnalyzrError as error:
        return [ReceivedReport(entry.name, "", str(error))]


def _of_path(path: Path) -> list[ReceivedReport]:
    if not path.is_file():
        raise MedAnalyzrError(f"{path.name} is no file: give a folder that lies deeper by itself.")
    try:
        if path.stat().st_size > formats.LARGEST and path.suffix.lower() not in _TEXTS:
            size = f"{path.stat().st_size / 2**20:.0f} MiB"
            raise MedAnalyzrError(f"{path.name} has {size}, more than a report can have ({formats.LARGEST // 2**20} MiB).")
        return read_reports(path.name, path.read_bytes())
    except OSError as error:
        raise MedAnalyzrError(f"{path.name} cannot be read: {error.strerror}.") from None


def read_reports(name: str, content: bytes) -> list[ReceivedReport]:
    """The reports in the bytes of a file called `name`; [] where it is empty.

    Raises:
        MedAnalyzrError: the whole of it cannot be read.
    """
    try:
        readings = formats.read_document(content)
    except MedAnalyzrError as error:
        raise MedAnalyzrError(f"{name}: {error}") from None
    if readings is not None:
        return [_of_reading(one, name if len(readings) == 1 else f"{name}, report {i}") for i, one in enumerate(readings, 1)]
    suffix = Path(name).suffix.lower()
    if not content.strip():
        return []
    if suffix not in _TEXTS:
        raise MedAnalyzrError(f"{name} is in none of the formats that are read ({FORMATS}).")
    try:
        text = decode_text(content)
        if suffix == ".txt":
            parts = [part.strip() for part in _BETWEEN.split(text.replace("\r\n", "\n")) if part.strip()]
            return [_of_text(part, f"{name}, report {i}") for i, part in enumerate(parts, 1)]
        rows = csv_rows(text) if suffix == ".csv" else [line for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise MedAnalyzrError(f"{name} cannot be read: {error}.") from None
    return [_of_row(row, f"{name}, row {i}") for i, row in enumerate(rows, 1)]


def _of_reading(reading: formats.Reading, source: str) -> ReceivedReport:
    """A report in a result format; one without any result has the reason as its error."""
    report, remarks = reading.report, tuple(formats.sentence(code) for code in reading.errors)
    received = replace(_of_text(report.text, source), read=report, remarks=remarks)
    if not (report.measurements or report.unread):
        return replace(received, error=" ".join(remarks) or formats.sentence("no_result"))
    return received


def _of_text(text: str, source: str) -> ReceivedReport:
    """A report as it came, unless it is too long for one."""
    if len(text) > LARGEST:
        return ReceivedReport(source, "", f"{len(text) / 2**20:.0f} MiB of text, more than a report can have (1 MiB)")
    return ReceivedReport(source, text)


def _of_row(row: dict | str, source: str) -> ReceivedReport:
    if isinstance(row, str):
        try:
            row = json.loads(row)
        except (ValueError, RecursionError) as error:
            return ReceivedReport(source, "", f"no valid JSON ({error})")
    for column in ("input", "report"):
        if isinstance(row, dict) and isinstance(row.get(column), str) and row[column].strip():
            return _of_text(row[column].strip(), source)
    return ReceivedReport(source, "", "no text in a column 'input' or 'report'")


def refuse_too_long(
    received: Sequence[ReceivedReport], prompt: Callable[[str], str], tokenizer, max_new_tokens: int
) -> list[ReceivedReport]:
    """`received`, where a report whose `prompt` leaves no room for an answer has its error."""
    from medanalyzr.inference.generation import check_length  # imports transformers, which Unsloth must precede

    checked = []
    for one in received:
        try:
            if not one.error:
                check_length(prompt(one.text), tokenizer, max_new_tokens)
            checked.append(one)
        except MedAnalyzrError as error:
            checked.append(replace(one, error=str(error)))
    return checked


def predictions(received: Sequence[ReceivedReport], answers: Sequence["Answer"]) -> list[dict]:
    """The lines of predictions.jsonl, in the order of `received`; `answers` are those to the reports without an error.

    A line holds what `medanalyzr.inference.verify.as_line` gives, and of the answer its tokens, whether it ended by itself and
    whether it repeats itself; or `source` and `error`.
    """
    given, lines = iter(answers), []
    for one in received:
        if one.error:
            lines.append({"source": one.source, "error": one.error})
            continue
        answer = next(given)
        line = as_line(one.source, one.text, answer.text, verify(one.read or one.text, answer.text))
        lines.append(line | {"tokens": answer.tokens, "ended": answer.ended, "repeats": answer.repeats})
    return lines


def note(line: dict) -> str:
    """What a reader must know of a line of predictions.jsonl before its answer: an error, a cut, a loop; "" for none."""
    if "error" in line:
        return line["error"]
    return "" if line["ended"] else "stopped: it repeats itself" if line["repeats"] else f"cut at {line['tokens']} tokens"


def overview(received: Sequence[ReceivedReport], lines: Sequence[dict]) -> Iterator[dict]:
    """For each line of predictions.jsonl, how much of its answer is verified, what is critical or left out, and what must be known."""
    for one, line in zip(received, lines, strict=True):
        results = line.get("results", [])
        yield {
            "report": line["source"],
            "verified": "" if "error" in line else f"{sum(r['verified'] for r in results)} of {len(results)}",
            "critical": ", ".join(line.get("critical", [])),
            "left out": ", ".join(r["name"] for r in line.get("left_out", [])),
            "unread lines": len(line.get("unread", [])),
            "note": " ".join(filter(None, [note(line), *(() if "error" in line else one.remarks)])),
        }
