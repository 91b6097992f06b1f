"""Results as laboratories send them: the examples of the specification, and files that are wrong in every way."""

import json
from pathlib import Path

import pytest
from medanalyzr.lab.formats import read_document

EXAMPLES = Path(__file__).parent / "formats"
FILES = sorted(path for path in EXAMPLES.glob("*/*") if not path.name.endswith(".expected.json"))


def value(m):
    return m.text.replace(",", ".") if m.value is None or m.sign else m.value


def as_expected(reading):
    """A reading in the form of the examples' .expected.json."""
    report = reading.report
    fields = ("analyte", "name", "specimen", "unit", "low", "high", "interval_unit", "flag", "critical")
    results = [{field: getattr(m, field) for field in fields} | {"value": value(m)} for m in report.measurements]
    return {"sex": report.sex, "age": report.age, "results": results, "errors": sorted(reading.errors)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_example_is_read_as_its_expected_json_says(path):
    expected = json.loads(path.with_name(path.name + ".expected.json").read_text(encoding="utf-8"))
    for one in expected:
        one["errors"].sort()
    assert [as_expected(reading) for reading in read_document(path.read_bytes())] == expected
