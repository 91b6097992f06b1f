"""What the panel says of a report or file that it cannot answer, in French; everywhere else these sentences are English.

`french.csv` has the sentences of `report_files`, `dataset.files`, `generation.check_length` and `lab.formats`, with a name in braces
for each part that varies.
"""

import csv
import re
from functools import cache
from pathlib import Path

UNEXPECTED = "Erreur du programme : "


@cache
def _sentences() -> list[tuple[re.Pattern, str]]:
    with open(Path(__file__).with_name("french.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(row["english"])), re.DOTALL), row["french"]) for row in rows
    ]


def in_french(sentence: str) -> str:
    """A sentence of this package in French; one that the table lacks, such as an error of torch, as it is after `UNEXPECTED`."""
    for pattern, french in _sentences():
        if found := pattern.fullmatch(sentence):
            parts = found.groupdict()
            return french.format(**parts | ({"error": in_french(parts["error"])} if "error" in parts else {}))
    return UNEXPECTED + sentence
