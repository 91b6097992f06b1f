"""Every pattern that a report can show: a report goes in, its whole conclusion and its ranked next steps come out.

The expected texts of `patterns_*_cases.csv` were written from the clinical specification. ` | ` stands for a new line.
"""

import csv
from pathlib import Path

import pytest
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.rules import interpret

CASES = [
    row
    for path in sorted(Path(__file__).parent.glob("patterns_*_cases.csv"))
    for row in csv.DictReader(path.open(encoding="utf-8"))
]


def said(answer: str, label: str) -> str:
    """What the answer says after `label`, without the full stop; "" where it has no such line."""
    lines = [line for line in answer.splitlines() if line.startswith(f"{label} : ")]
    return lines[0].removeprefix(f"{label} : ").removesuffix(".") if lines else ""


@pytest.mark.parametrize("case", CASES, ids=[row["id"] for row in CASES])
def test_conclusion_and_steps(case):
    answer = interpret(read_report(case["report"].replace(" | ", "\n")))
    assert said(answer, "Conclusion") == case["conclusion"]
    assert said(answer, "Suite") == case["steps"]


def test_case_names_are_unique():
    names = [row["id"] for row in CASES]
    assert sorted(set(names)) == sorted(names)
