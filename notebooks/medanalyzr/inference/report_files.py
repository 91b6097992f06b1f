"""Reports that a user brings in a file or a folder, and the records of their answers.

HPRIM, HL7, FHIR and CR-BIO files are recognized by their first bytes, whatever their name; other files by their extension. Any other
.json, .yaml or .xml is one report, an XML only if a result in it is understood. In a .txt a line of exactly three dashes or equals
signs (`---`, `===`) separates two reports; a blank line, a longer rule or a form feed does not.
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
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.report import Report

if TYPE_CHECKING:
    from medanalyzr.inference.generation import Answer

FORMATS = "HPRIM, HL7, FHIR, CR-BIO, .json, .xml, .yaml, .txt, .csv, .jsonl"
LARGEST = 2**20  # characters of a report
_TEXTS = (".json", ".yaml", ".yml", ".txt", ".csv", ".jsonl")
_BETWEEN = re.compile(r"^[^\S\n]*(?:---|===)[^\S\n]*$", re.MULTILINE)


@dataclass(frozen=True)
class ReceivedReport:
    """One report as it came: its source (`name, report 3`), its text, and why it cannot be answered ("" if it can).

    `read` is the report as read from its format (None for plain text, which the strict reader reads), `remarks` are doubts about it.
    """

    source: str
    text: str
    error: str = ""
    read: Report | None = None
    remarks: tuple[str, ...] = ()


def load_reports(name: str) -> list[ReceivedReport]:
    """The reports of a file or of a folder, as they came. "" gives [].

    In a folder every entry is tried. An entry that cannot be read, or a row without a report, is kept with its error and does not
    stop the others.

    Raises:
        MedAnalyzrError: the file or folder does not exist, a single file cannot be read, or it holds no report.
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
        raise MedAnalyzrError(f"reports={name!r} holds no report that can be read ({len(found)} files tried; {first}).")
    return found


def _kept(entry: Path) -> list[ReceivedReport]:
    try:
        return _of_path(entry) or [ReceivedReport(entry.name, "", "it holds no report")]
    except MedAnalyzrError as error:
        return [ReceivedReport(entry.name, "", str(error))]


def _of_path(path: Path) -> list[ReceivedReport]:
    if not path.is_file():
        raise MedAnalyzrError(f"{path.name} is not a file: pass a subfolder as the parameter instead.")
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
        MedAnalyzrError: the file as a whole cannot be read.
    """
    try:
        readings = formats.read_document(content)
    except MedAnalyzrError as error:
        if b"ClinicalDocument" not in content and (own := _own_form(content)):
            return [_of_text(own, name)]
        raise MedAnalyzrError(f"{name}: {error}") from None
    if readings is not None:
        return [_of_reading(one, name if len(readings) == 1 else f"{name}, report {i}") for i, one in enumerate(readings, 1)]
    suffix = Path(name).suffix.lower()
    if not content.strip():
        return []
    if suffix not in _TEXTS:
        raise MedAnalyzrError(f"{name} is in none of the supported formats ({FORMATS}).")
    try:
        text = decode_text(content)
        if suffix in (".json", ".yaml", ".yml"):
            if suffix == ".json":
                json.loads(text)
            return [_of_text(text.strip(), name)]
        if suffix == ".txt":
            parts = [part.strip() for part in _BETWEEN.split(text.replace("\r\n", "\n")) if part.strip()]
            return [_of_text(part, f"{name}, report {i}") for i, part in enumerate(parts, 1)]
        rows = csv_rows(text) if suffix == ".csv" else [line for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise MedAnalyzrError(f"{name} cannot be read: {error}.") from None
    return [_of_row(row, f"{name}, row {i}") for i, row in enumerate(rows, 1)]


def _own_form(content: bytes) -> str:
    """The text of XML or HTML in a form of the sender's own, where a result in it is understood; "" elsewhere."""
    try:
        text = decode_text(content).strip()
    except ValueError:
        return ""
    return text if len(text) <= LARGEST and read_report(text).measurements else ""


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
            return ReceivedReport(source, "", f"not valid JSON ({error})")
    for column in ("input", "report"):
        if isinstance(row, dict) and isinstance(row.get(column), str) and row[column].strip():
            return _of_text(row[column].strip(), source)
    return ReceivedReport(source, "", "no text in a column 'input' or 'report'")


def refuse_too_long(
    received: Sequence[ReceivedReport], prompt: Callable[[str], str], tokenizer, max_new_tokens: int
) -> list[ReceivedReport]:
    """`received`, with an error for each report whose `prompt` leaves no room for an answer."""
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

    A line has the fields of `medanalyzr.inference.verify.as_line`, and `tokens`, `ended` and `repeats` of the answer; or only
    `source` and `error`.
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
    """A warning about an answer in predictions.jsonl: an error, a cut or a loop; "" if nothing."""
    if "error" in line:
        return line["error"]
    return "" if line["ended"] else "stopped: it repeats itself" if line["repeats"] else f"cut at {line['tokens']} tokens"


def overview(received: Sequence[ReceivedReport], lines: Sequence[dict]) -> Iterator[dict]:
    """For each line of predictions.jsonl: how much of its answer is verified, what is critical or left out, and its note."""
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
