"""The French laboratory report as an XML document: CR-BIO, an HL7 CDA R2 document of level 3 (ANS, volet CR-BIO).

Only what a report needs is read: sex, age, and the numeric results with unit and normal range. The XML parser refuses
entities and document types, which could exhaust the memory or read other files.
"""

import re

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.references import find_analyte
from medanalyzr.lab.report import Measurement, Report, number
from medanalyzr.lab.units import usual_unit

LARGEST = 10 * 2**20  # bytes
_HL7 = "{urn:hl7-org:v3}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,6})?")


def _attribute(element, path: str, name: str = "value") -> str:
    """The attribute of the first element at `path` (names without namespace), "" where there is none."""
    found = element.find("/".join(_HL7 + part for part in path.split("/")))
    return "" if found is None else found.get(name, "")


def _number(text: str) -> str | None:
    return text.replace(".", ",") if _NUMBER.fullmatch(text) else None


def _value(observation) -> tuple[str, str, str] | None:
    """Sign, number and unit of a result; a half-open interval is a censored value (`<5`). None for any other kind."""
    value = observation.find(f"{_HL7}value")
    kind = "" if value is None else value.get(_TYPE, "").rpartition(":")[2]
    if kind in ("PQ", "REAL", "INT") and (text := _number(value.get("value", ""))):
        return "", text, value.get("unit", "")
    if kind == "IVL_PQ":
        low, high = _attribute(value, "low"), _attribute(value, "high")
        sign, text, side = ("<", high, "high") if not low else (">", low, "low") if not high else ("", "", "low")
        if sign and (text := _number(text)):
            return sign, text, _attribute(value, side, "unit")
    return None


def _range(observation) -> tuple[float | None, float | None, str]:
    """Bounds and unit of the normal range; None, None, "" where the document gives none."""
    for found in observation.iterfind(f"{_HL7}referenceRange/{_HL7}observationRange"):
        if _attribute(found, "interpretationCode", "code") in ("", "N") and found.find(f"{_HL7}value") is not None:
            low, high = (_number(_attribute(found, f"value/{side}")) for side in ("low", "high"))
            unit = _attribute(found, "value/low", "unit") or _attribute(found, "value/high", "unit")
            return (None if low is None else number(low)), (None if high is None else number(high)), unit
    return None, None, ""


def _unit(text: str) -> str:
    """A UCUM unit as our tables spell it; "1" is UCUM's unit of a plain number."""
    return "" if text == "1" else usual_unit(text)


def _measurement(observation) -> Measurement | None:
    code = observation.find(f"{_HL7}code")
    value = _value(observation)
    if code is None or value is None:
        return None
    original = code.find(f"{_HL7}originalText")
    names = [code.get("displayName", ""), "" if original is None else "".join(original.itertext())]
    names += [translation.get("displayName", "") for translation in code.iterfind(f"{_HL7}translation")]
    names = [" ".join(re.split(r"[\[;:]", name)[0].split()) for name in names]
    known = next((found for name in names if (found := find_analyte(name))), None)
    name = known.name if known else next((name for name in names if name), "")
    sign, text, unit = value
    low, high, interval_unit = _range(observation)
    if not name or (known is None and low is None and high is None):
        return None
    unit, interval_unit = _unit(unit), _unit(interval_unit)
    return Measurement(
        analyte=known.id if known else None,
        name=name,
        text=sign + text,
        value=number(text),
        sign=sign,
        unit=unit,
        low=low,
        high=high,
        interval_unit="" if interval_unit in ("", unit) else interval_unit,
    )


def _years(born: str, then: str) -> int | None:
    """Whole years between two dates that begin with YYYYMMDD; None where one is shorter or no number."""
    if not (born[:8].isdigit() and then[:8].isdigit() and len(born) >= 8 and len(then) >= 8):
        return None
    return int(then[:4]) - int(born[:4]) - (then[4:8] < born[4:8])


def read_crbio(data: bytes) -> Report:
    """The report in a CR-BIO document; each analyte once, its first result.

    Raises:
        MedAnalyzrError: too large, not XML, XML with entities or a document type, no CDA document, or no numeric result.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if len(data) > LARGEST:
        raise MedAnalyzrError(f"The XML document has {len(data) / 2**20:.0f} MiB, more than a report can have (10 MiB).")
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise MedAnalyzrError("The XML document declares a document type or entities, which a CR-BIO report never does.") from None
    except (ParseError, ValueError, LookupError) as error:
        raise MedAnalyzrError(f"The file is no valid XML ({error}).") from None
    if root.tag != f"{_HL7}ClinicalDocument":
        raise MedAnalyzrError("The XML document is no CR-BIO report: its first element is not an HL7 ClinicalDocument.")
    patient = "recordTarget/patientRole/patient"
    sex = {"F": "F", "M": "H"}.get(_attribute(root, f"{patient}/administrativeGenderCode", "code"))
    age = _years(_attribute(root, f"{patient}/birthTime"), _attribute(root, "effectiveTime"))
    found: dict[str, Measurement] = {}
    for m in map(_measurement, root.iter(f"{_HL7}observation")):
        if m is not None:
            found.setdefault(m.key, m)
    if not found:
        raise MedAnalyzrError("The CR-BIO report holds no numeric result.")
    return Report(sex, age, tuple(found.values()))
