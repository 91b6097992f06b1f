"""Predictions for other programs: FHIR R4 Observations, and a CSV for a spreadsheet, out of the lines of predictions.jsonl."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import write_json, write_text

_INTERPRETATIONS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_CODES = {"bas": ("L", "LL"), "normal": ("N", "AA"), "élevé": ("H", "HH"), "indéterminé": (None, "AA")}  # plain, critical
_FIELDS = ("analyte", "name", "specimen", "value", "unit", "low", "high", "interval_unit", "flag", "critical", "verified", "why")
_VALUE = re.compile(r"([<>]=?|[≤≥])?\s*(-?\d+(?:[.,]\d+)?)")
_COMPARATORS = {"≤": "<=", "≥": ">="}


def _results(lines: Sequence[dict]) -> Iterator[tuple[dict, int, dict]]:
    """Each result with its line of predictions.jsonl and its place in it.

    Raises:
        MedAnalyzrError: a line has no list of results, or a result lacks a field.
    """
    for line in lines:
        if "error" in line:
            continue
        results = line.get("results")
        lacking = ["results"] if results is None else [name for name in _FIELDS for one in results if name not in one]
        if lacking:
            raise MedAnalyzrError(
                f"{line.get('source', 'A line')} of predictions.jsonl lacks {lacking[0]!r}: run 04_inference again."
            )
        yield from ((line, i, one) for i, one in enumerate(results, 1))


def _quantity(value, unit: str) -> dict:
    """FHIR's Quantity of a number, or of a text such as `<0,6`; empty where there is no number."""
    found = _VALUE.fullmatch(str(value).strip()) if value is not None else None
    if found is None:
        return {}
    sign = {"comparator": _COMPARATORS.get(found[1], found[1])} if found[1] else {}
    return {"value": float(found[2].replace(",", ".")), **sign, **({"unit": unit} if unit else {})}


def observation(line: dict, place: int, result: dict) -> dict:
    """One result as a FHIR R4 Observation of status "preliminary": no biologist has released it.

    Its interpretation is L, N or H, LL or HH where the value is critical (AA where it is critical without a direction), none
    where the flag is «indéterminé».
    """
    code = _CODES[result["flag"]][bool(result["critical"])]
    quantity = _quantity(result["value"], result["unit"])
    bounds = {side: _quantity(result[side], result["interval_unit"] or result["unit"]) for side in ("low", "high")}
    bounds = {side: bound for side, bound in bounds.items() if bound}
    checked = "vérifié dans le texte du compte rendu" if result["verified"] else f"non vérifié : {result['why']}".rstrip(" :")
    found = {
        "resourceType": "Observation",
        "identifier": [{"value": f"{line['source']}, {place}"}],
        "status": "preliminary",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"text": result["name"]},
        "specimen": {"display": result["specimen"]},
        "note": [{"text": f"{checked} ; lu par un modèle, à valider par un biologiste"}],
    }
    found |= {"valueQuantity": quantity} if quantity else {"valueString": str(result["value"])}
    if code:
        found["interpretation"] = [{"coding": [{"system": _INTERPRETATIONS, "code": code}]}]
    return found | ({"referenceRange": [bounds]} if bounds else {})


def bundle(lines: Sequence[dict]) -> dict:
    """All results of `lines` (predictions.jsonl) as a FHIR R4 Bundle of Observations; reports with an error have none.

    Raises:
        MedAnalyzrError: the lines are not those of predictions.jsonl.
    """
    entries = [{"resource": observation(line, place, result)} for line, place, result in _results(lines)]
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
    """All results of `lines` as CSV for a French spreadsheet (semicolons, decimal comma): a row a result, and one a report with an
    error, which stands in its last column.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(["source", *_FIELDS, "error"])
    writer.writerows([_cell(line["source"]), *(_cell(one[name]) for name in _FIELDS), ""] for line, _, one in _results(lines))
    writer.writerows([_cell(line["source"]), *[""] * len(_FIELDS), _cell(line["error"])] for line in lines if "error" in line)
    return out.getvalue()


def save_structured(folder: Path, lines: Sequence[dict]) -> None:
    """Write observations.json and results.csv (UTF-8 with the mark that spreadsheets look for) into `folder`."""
    write_json(folder / "observations.json", bundle(lines))
    write_text(folder / "results.csv", "\ufeff" + table(lines))
