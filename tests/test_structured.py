"""Predictions as FHIR R4 and as CSV."""

import csv
import io
import json

import pytest
from fhir.resources.R4B.bundle import Bundle
from medanalyzr import MedAnalyzrError
from medanalyzr.export.structured import bundle, save_structured, table
from medanalyzr.inference.verify import as_line, verify

RESULT = {
    "analyte": "potassium", "name": "Potassium", "specimen": "sang", "value": "6,8", "unit": "mmol/L", "low": 3.5, "high": 5.0,
    "interval_unit": "", "flag": "élevé", "critical": True, "verified": True, "why": "",
}  # fmt: skip
OTHERS = [
    RESULT | {"name": "TSH", "analyte": "tsh", "value": "<0,01", "unit": "mUI/L", "low": 0.4, "high": 4.0, "flag": "bas", "critical": False},
    RESULT | {"name": "=cmd()", "value": "12,5", "low": None, "high": None, "flag": "élevé", "verified": False,
              "why": "valeur absente du texte"},
    RESULT | {"name": "Nitrites", "analyte": None, "value": "négatif", "unit": "", "low": None, "high": None, "flag": "normal",
              "critical": False},
    RESULT | {"name": "Glucose", "analyte": "glucose", "value": "0,4", "unit": "g/L", "low": 3.9, "high": 6.0, "interval_unit": "mmol/L",
              "flag": "bas"},
    RESULT | {"low": None, "high": None, "flag": "indéterminé"},
    RESULT | {"value": "2,5", "low": None, "high": None, "flag": "indéterminé"},
    RESULT | {"value": "4,5", "low": None, "high": None, "flag": "indéterminé", "critical": False},
]  # fmt: skip
LEFT = RESULT | {"name": "Sodium", "analyte": "sodium", "value": "118", "verified": False, "why": "absent de la réponse"}
LINES = [
    {"source": "a.txt, report 1", "report": "…", "results": [RESULT, *OTHERS], "left_out": [LEFT]},
    {"source": "b.txt", "error": "no UTF-8 text"},
]


def test_verified_results_are_valid_fhir_r4_with_their_interpretation():
    found = Bundle.model_validate_json(json.dumps(bundle(LINES)))
    codes = [e.resource.interpretation[0].coding[0].code if e.resource.interpretation else None for e in found.entry]
    assert codes == ["HH", "L", "N", "LL", "HH", "LL", None]
    first, tsh, words, glucose, *_ = (entry.resource for entry in found.entry)
    assert float(first.valueQuantity.value) == 6.8 and first.valueQuantity.unit == "mmol/L" and first.status == "preliminary"
    assert float(first.referenceRange[0].low.value) == 3.5 and float(first.referenceRange[0].high.value) == 5.0
    assert tsh.valueQuantity.comparator == "<" and words.valueString == "négatif"
    assert words.referenceRange is None and glucose.referenceRange[0].high.unit == "mmol/L"


def test_what_verification_finds_is_what_is_written(tmp_path):
    """From a report and an answer through `predictions.jsonl`: a wrong flag is in the CSV alone."""
    report = "Potassium : 6,8 mmol/L (3,5 - 5,0)\nSodium : 140 mmol/L (135 - 145)\nCRP : 12 mg/L (≤ 5)"
    answer = "Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,0 ≤ 6,8) : élevé, critique\nSodium : 140 mmol/L (135 ≤ 140 < 145) : bas"
    line = as_line("x.txt", report, answer, verify(report, answer))
    entries = bundle([line])["entry"]
    assert [entry["resource"]["code"]["text"] for entry in entries] == ["Potassium"]
    assert entries[0]["resource"]["interpretation"][0]["coding"][0]["code"] == "HH"
    rows = list(csv.DictReader(io.StringIO(table([line])), delimiter=";"))
    assert [(row["name"], row["verified"], bool(row["why"])) for row in rows] == [
        ("Potassium", "oui", False),
        ("Sodium", "non", True),
        ("CRP", "non", True),
    ]


def test_csv_for_a_french_spreadsheet():
    rows = list(csv.DictReader(io.StringIO(table(LINES)), delimiter=";"))
    assert [row["name"] for row in rows[:5]] == ["Potassium", "TSH", "'=cmd()", "Nitrites", "Glucose"]
    assert rows[0]["value"] == "6,8" and rows[0]["low"] == "3,5" and rows[0]["critical"] == "oui" and rows[1]["value"] == "<0,01"
    assert rows[-2]["why"] == "absent de la réponse"
    assert rows[-1]["error"] == "no UTF-8 text" and rows[-1]["source"] == "b.txt"


def test_files_and_lines_of_another_form(tmp_path):
    save_structured(tmp_path, LINES)
    assert (tmp_path / "results.csv").read_bytes().startswith(b"\xef\xbb\xbfsource;")
    assert json.loads((tmp_path / "observations.json").read_text(encoding="utf-8"))["resourceType"] == "Bundle"
    Bundle.model_validate(bundle([LINES[1]]))
    with pytest.raises(MedAnalyzrError, match="'results'"):
        bundle([{"source": "x", "report": "", "answer": ""}])
    with pytest.raises(MedAnalyzrError, match="'flag'"):
        table([{"source": "x", "results": [{k: v for k, v in RESULT.items() if k != "flag"}]}])
