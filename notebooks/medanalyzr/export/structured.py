"""Predictions for other programs: FHIR R4 Observations, and a CSV for a spreadsheet, from the lines of predictions.jsonl."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import write_json, write_text
from medanalyzr.lab.engine.facts import limit_reached
from medanalyzr.lab.references import analytes
from medanalyzr.lab.report import Measurement, number

_INTERPRETATIONS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_CODES = {"bas": "L", "normal": "N", "élevé": "H"}
_FIELDS = ("analyte", "name", "specimen", "value", "unit", "low", "high", "interval_unit", "flag", "critical", "verified", "why")
_VALUE = re.compile(r"([<>]=?|[≤≥])?\s*(-?\d+(?:[.,]\d+)?)")
_COMPARATORS = {"≤": "<=", "≥": ">="}


def _results(lines: Sequence[dict]) -> Iterator[tuple[dict, dict]]:
    """Each result with its line of predictions.jsonl: those of the answer, then those that the answer leaves out.

    Raises:
        MedAnalyzrError: a line has no list of results, or a result lacks a field.
    """
    for line in lines:
        if "error" in line:
            continue
        results = [*line.get("results", [{}]), *line.get("left_out", [])]
        if lacking := [name for name in _FIELDS for one in results if name not in one]:
            name = lacking[0] if "results" in line else "results"
            raise MedAnalyzrError(f"{line.get('source', 'A line')} of predictions.jsonl lacks {name!r}: run 04_inference again.")
        yield from ((line, one) for one in results)


def _quantity(value, unit: str) -> dict:
    """FHIR's Quantity of a number, or of a text such as `<0,6`; empty where there is no number."""
    found = _VALUE.fullmatch(str(value).strip()) if value is not None else None
    if found is None:
        return {}
    sign = {"comparator": _COMPARATORS.get(found[1], found[1])} if found[1] else {}
    return {"value": float(found[2].replace(",", ".")), **sign, **({"unit": unit} if unit else {})}


def _code(result: dict) -> str | None:
    """L, N or H; LL or HH where the value is critical, on the side of its flag or else of the limit that it reaches; None where it cannot
    be told.
    """
    code = _CODES.get(result["flag"])
    if not result["critical"]:
        return code
    if code not in ("L", "H"):
        found = _VALUE.fullmatch(str(result["value"]))
        if found is None or result["analyte"] not in analytes():
            return None
        m = Measurement(result["analyte"], result["name"], found[2], number(found[2]), found[1] or "", result["unit"], None, None)
        code = _CODES.get(limit_reached(m))
    return code and 2 * code


def observation(line: dict, place: int, result: dict) -> dict:
    """One verified result as a FHIR R4 Observation, "preliminary" since no biologist has released it; `_code` interprets it."""
    code, quantity = _code(result), _quantity(result["value"], result["unit"])
    bounds = {side: _quantity(result[side], result["interval_unit"] or result["unit"]) for side in ("low", "high")}
    bounds = {side: bound for side, bound in bounds.items() if bound}
    found = {
        "resourceType": "Observation",
        "identifier": [{"value": f"{line['source']}, {place}"}],
        "status": "preliminary",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"text": result["name"]},
        "specimen": {"display": result["specimen"]},
        "note": [{"text": "lu par un modèle, vérifié dans le texte du compte rendu, à valider par un biologiste"}],
    }
    found |= {"valueQuantity": quantity} if quantity else {"valueString": str(result["value"])}
    if code:
        found["interpretation"] = [{"coding": [{"system": _INTERPRETATIONS, "code": code}]}]
    return found | ({"referenceRange": [bounds]} if bounds else {})


def bundle(lines: Sequence[dict]) -> dict:
    """The verified results of `lines` (predictions.jsonl) as a FHIR R4 Bundle of Observations. What is not verified is for people to look
    at, in the CSV: no program should take it for a result.

    Raises:
        MedAnalyzrError: the lines are not those of predictions.jsonl.
    """
    verified = [(line, result) for line, result in _results(lines) if result["verified"]]
    entries = [{"resource": observation(line, place, result)} for place, (line, result) in enumerate(verified, 1)]
    return {"resourceType": "Bundle", "type": "collection", **({"entry": entries} if entries else {})}


def _cell(value) -> str:
    """A cell of the CSV: a decimal comma, "oui" or "non", and no text that a spreadsheet would compute."""
    if isinstance(value, bool):
        return "oui" if value else "non"
    if isinstance(value, float | int):
        return f"{value:.10g}".replace(".", ",")
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _VALUE.fullmatch(text) else text


def table(lines: Sequence[dict]) -> str:
    """All results of `lines` as CSV for a French spreadsheet (semicolons, decimal comma): a row a result, verified or not, those that an
    answer leaves out among them, and one a report with an error, which stands in its last column.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(["source", *_FIELDS, "error"])
    writer.writerows([_cell(line["source"]), *(_cell(one[name]) for name in _FIELDS), ""] for line, one in _results(lines))
    writer.writerows([_cell(line["source"]), *[""] * len(_FIELDS), _cell(line["error"])] for line in lines if "error" in line)
    return out.getvalue()


def save_structured(folder: Path, lines: Sequence[dict]) -> None:
    """Write observations.json and results.csv (UTF-8 with the mark that spreadsheets look for) into `folder`."""
    write_json(folder / "observations.json", bundle(lines))
    write_text(folder / "results.csv", "\ufeff" + table(lines))
