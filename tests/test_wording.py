"""The 27 examples of the clinical specification: a report in, the whole answer out. ` | ` stands for a new line."""

import csv
import re
from pathlib import Path

import pytest
from medanalyzr.lab.report import parse_report
from medanalyzr.lab.rules import interpret

with open(Path(__file__).with_name("wording_cases.csv"), encoding="utf-8", newline="") as _file:
    EXAMPLES = list(csv.DictReader(_file))


def without_calls(answer: str) -> str:
    """The answer without the limits that are not reached («appel dès 6,0»), which the examples leave out."""
    return re.sub(r" ; appel [^;)]*(?=[;)])", "", answer)


@pytest.mark.parametrize("example", EXAMPLES, ids=[row["title"] for row in EXAMPLES])
def test_an_example_of_the_specification(example):
    answer = interpret(parse_report(example["report"].replace(" | ", "\n")))
    assert without_calls(answer).splitlines() == example["answer"].split(" | ")


def test_all_examples_are_there_and_few_differ_from_the_specification():
    assert [row["example"] for row in EXAMPLES] == [str(i) for i in range(1, 28)]
    assert [row["example"] for row in EXAMPLES if row["differs"]] == ["15", "18"]
