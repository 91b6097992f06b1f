"""Predictions as FHIR R4 and as CSV."""

import csv
import io
import json

import pytest
from fhir.resources.R4B.bundle import Bundle
from medanalyzr import MedAnalyzrError
from medanalyzr.export.structured import bundle, save_structured, table

RESULT = {
    "analyte": "potassium", "name": "Potassium", "specimen": "sang", "value": "6,8", "unit": "mmol/L", "low": 3.5, "high": 5.0,
    "interval_unit": "", "flag": "élevé", "critical": True, "verified": True, "why": "",
}  # fmt: skip
OTHERS = [
    RESULT | {"name": "TSH", "value": "<0,01", "unit": "mUI/L", "low": 0.4, "high": 4.0, "flag": "bas", "critical": False},
    RESULT | {"name": "=cmd()", "value": 12.5, "low": None, "high": None, "flag": "indéterminé", "critical": False, "verified": False,
              "why": "valeur absente du texte"},
    RESULT | {"name": "Nitrites", "value": "négatif", "unit": "", "low": None, "high": None, "flag": "normal", "critical": False},
    RESULT | {"name": "Glucose", "value": "1,2", "unit": "mmol/L", "low": 0.7, "high": 1.05, "interval_unit": "g/L", "flag": "bas"},
]  # fmt: skip
LINES = [{"source": "a.txt, report 1", "report": "…", "results": [RESULT, *OTHERS]}, {"source": "b.txt", "error": "no UTF-8 text"}]


def test_results_are_valid_fhir_r4_with_their_interpretation():
    found = Bundle.model_validate_json(json.dumps(bundle(LINES)))
    codes = [e.resource.interpretation[0].coding[0].code if e.resource.interpretation else None for e in found.entry]
    assert codes == ["HH", "L", None, "N", "LL"]
    first, tsh, odd, words, glucose = (entry.resource for entry in found.entry)
    assert float(first.valueQuantity.value) == 6.8 and first.valueQuantity.unit == "mmol/L" and first.status == "preliminary"
    assert float(first.referenceRange[0].low.value) == 3.5 and float(first.referenceRange[0].high.value) == 5.0
    assert tsh.valueQuantity.comparator == "<" and words.valueString == "négatif"
    assert odd.referenceRange is None and "valeur absente du texte" in odd.note[0].text
    assert glucose.referenceRange[0].high.unit == "g/L"


def test_csv_for_a_french_spreadsheet():
    rows = list(csv.DictReader(io.StringIO(table(LINES)), delimiter=";"))
    assert [row["name"] for row in rows] == ["Potassium", "TSH", "'=cmd()", "Nitrites", "Glucose", ""]
    assert rows[0]["value"] == "6,8" and rows[0]["low"] == "3,5" and rows[0]["critical"] == "oui" and rows[1]["value"] == "<0,01"
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
