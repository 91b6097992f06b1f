"""Reports that a user brings in a file."""

import json
import re
from pathlib import Path

from medanalyzr.bundled import write_report
from medanalyzr.crbio import read_crbio
from medanalyzr.errors import MedAnalyzrError
from medanalyzr.layouts import in_our_layout
from medanalyzr.loading import read_csv


def load_reports(name: str) -> list[str]:
    """The reports of a file, each measurement line in the layout of the training data. "" gives [].

    .txt (blank line between reports), .csv or .jsonl (column `input` or `report`), .xml (one CR-BIO report).

    Raises:
        MedAnalyzrError: the file is missing, not UTF-8 text, empty, lacks the column, or is no CR-BIO report.
    """
    if not name:
        return []
    path = Path(name).expanduser()
    if not path.is_file() or path.suffix not in (".txt", ".csv", ".jsonl", ".xml"):
        raise MedAnalyzrError(f"reports={name!r} is not an existing .txt, .csv, .jsonl or .xml file.")
    if path.suffix == ".xml":
        return [write_report(read_crbio(path.read_bytes()))]
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            found = [part.strip() for part in re.split(r"\n\s*\n", text)]
        else:
            found = [_report(row, name, i) for i, row in enumerate(_rows(path, text), 1)]
    except UnicodeDecodeError:
        raise MedAnalyzrError(f"reports={name!r} is not UTF-8 text: save it as UTF-8.") from None
    except ValueError as error:
        raise MedAnalyzrError(f"reports={name!r} cannot be read: {error}.") from None
    found = [in_our_layout(report) for report in found if report]
    if not found:
        raise MedAnalyzrError(f"reports={name!r} holds no report.")
    return found


def _rows(path: Path, text: str) -> list[dict]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return read_csv(path)


def _report(row: dict, name: str, number: int) -> str:
    for column in ("input", "report"):
        if isinstance(row, dict) and isinstance(row.get(column), str):
            return row[column].strip()
    raise MedAnalyzrError(f"reports={name!r}, row {number}: there is no text column 'input' or 'report'.")
