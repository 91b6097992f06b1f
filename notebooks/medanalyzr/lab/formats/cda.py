"""The French laboratory report as an XML document: CR-BIO, an HL7 CDA R2 document of level 3 (ANS, volet CR-BIO).

The document may stand inside a style sheet («auto-présentable»), which is never run. The XML parser refuses entities and
document types, which could exhaust the memory or read other files.
"""

from collections.abc import Iterator
from itertools import islice
from xml.etree.ElementTree import Element, ParseError

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.formats.readings import Reading, make_reading, who
from medanalyzr.lab.formats.results import Result, specimen_of
from medanalyzr.lab.report import interval_of

PDF_ONLY = "pdf_only"
_HL7 = "{urn:hl7-org:v3}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_LOINC = "2.16.840.1.113883.6.1"
_COMMENT = "48767-8"
_IS_RESULT = "1.3.6.1.4.1.19376.1.3.1.6"  # template of IHE's laboratory observation
_LONGEST = 1000  # characters of a text
_STATUSES = {"": "final", "completed": "final", "aborted": "cancelled", "cancelled": "cancelled", "nullified": "entered_in_error"}
_HEADINGS = {"18729-4": "urine", "18725-2": "autre"}  # sections: urine, microbiology
_SAMPLES = ("participant/participantRole[@classCode='SPEC']/playingEntity/code", "specimen/specimenRole/specimenPlayingEntity/code")


def _every(element: Element | None, path: str) -> list[Element]:
    """The elements at `path`, whose names are written without namespace."""
    return [] if element is None else element.findall("/".join(_HL7 + part for part in path.split("/")))


def _attribute(element: Element | None, path: str, name: str = "value") -> str:
    """The attribute of the first element at `path`, "" where there is none."""
    return next((found.get(name, "") for found in _every(element, path)), "")


def _text(elements: list[Element]) -> str:
    """The text of the first of `elements`, its beginning where it is long; "" where there is none."""
    return " ".join("".join(islice(elements[0].itertext(), 100)).split())[:_LONGEST] if elements else ""


def _observations(root: Element) -> Iterator[tuple[Element, tuple, str | None, bool]]:
    """Every observation in order, with its specimens, the specimen of its section, and whether it is a previous result.

    The specimen stands in the element itself or in a procedure beside it, within the same act or organizer.
    """
    stack = [(root, (), None, False)]
    while stack:
        element, specimens, heading, previous = stack.pop()
        if element.tag == _HL7 + "section":
            heading = _HEADINGS.get(_attribute(element, "code", "code"))
        holders = [element, *_every(element, "entryRelationship/procedure"), *_every(element, "component/procedure")]
        samples = (code for one in holders for path in _SAMPLES for code in _every(one, path))
        specimens += tuple(specimen_of(code.get("displayName", ""), code.get("code", "")) for code in samples)
        if element.tag == _HL7 + "observation":
            yield element, specimens, heading, previous
        stack += [(child, specimens, heading, previous or child.get("typeCode") == "REFR") for child in reversed(element)]


def _bounds(value: Element) -> tuple[str, str, str]:
    low, high = _attribute(value, "low"), _attribute(value, "high")
    return low, high, _attribute(value, "low", "unit") or _attribute(value, "high", "unit")


def _value(observation: Element) -> tuple[str, str, bool]:
    """Value and unit of a result, and whether its type says that it is a number; a half-open interval is a censored value."""
    values = _every(observation, "value")
    kind = values[0].get(_TYPE, "").rpartition(":")[2] if values else ""
    if kind == "IVL_PQ":
        low, high, unit = _bounds(values[0])
        return (f"{low}-{high}" if low and high else f"<{high}" if high else f">{low}" if low else ""), unit, not (low and high)
    if not values or kind in ("PQ", "REAL", "INT"):
        return (values[0].get("value", ""), values[0].get("unit", ""), True) if values else ("", "", True)
    return values[0].get("displayName") or _text(values), "", False


def _interval(observation: Element) -> tuple[str, str, str]:
    """Bounds and unit of the normal range; empty where the document gives none or several."""
    found = set()
    for one in _every(observation, "referenceRange/observationRange"):
        if _attribute(one, "interpretationCode", "code") in ("", "N"):
            bounds = next(map(_bounds, _every(one, "value")), ("",))
            found.add(bounds if any(bounds) else interval_of(_text(_every(one, "text"))))
    return found.pop() if len(found) == 1 else ("", "", "")


def _result(observation: Element, specimens: tuple, heading: str | None, previous: bool) -> Result | None:
    """The result in an observation; None where it has no name, or words that the profile does not call a result."""
    codes, translations = _every(observation, "code"), _every(observation, "code/translation")
    shown = [one.get("displayName", "") for one in codes + translations]
    name = next(filter(None, [*shown[:1], _text(_every(observation, "code/originalText")), *shown[1:]]), "")
    value, unit, is_number = _value(observation)
    if not name or not (is_number or any(one.get("root") == _IS_RESULT for one in _every(observation, "templateId"))):
        return None
    loinc = next((one.get("code", "") for one in codes + translations if one.get("codeSystem") == _LOINC), "")
    status = "previous_result" if previous else _STATUSES.get(_attribute(observation, "statusCode", "code"), "pending")
    flags = [one.get("code", "") for one in _every(observation, "interpretationCode")]
    return Result(
        name, value, unit, _interval(observation), flags, loinc, status, is_number, specimens, heading,
        moment=_attribute(observation, "effectiveTime"),
    )  # fmt: skip


def _reading(document: Element) -> Reading:
    if len(_every(document, "recordTarget")) > 1:
        raise MedAnalyzrError("The CR-BIO document names several patients: ask the laboratory for one document per patient.")
    told = {f"#{element.get('ID')}": element for element in document.iter() if element.get("ID")}
    for reference in document.iter(_HL7 + "reference"):  # to the narrative: its words take the place of the reference
        reference.text = _text([told[at] for at in [reference.get("value")] if at in told])
    results = [result for found in _observations(document) if (result := _result(*found))]
    patient = next(iter(_every(document, "recordTarget/patientRole/patient")), None)
    days = [_attribute(one, "effectiveTime") for one in [*document.iter(_HL7 + "observation"), document]]
    sex, born = _attribute(patient, "administrativeGenderCode", "code"), _attribute(patient, "birthTime")
    remarks = [_text(_every(act, "text")) for act in document.iter(_HL7 + "act") if _attribute(act, "code", "code") == _COMMENT]
    only_pdf = not results and any(element.get("mediaType") == "application/pdf" for element in document.iter())
    return make_reading(results, who(sex, born, next(filter(None, days), "")), [PDF_ONLY] * only_pdf, filter(None, remarks))


def read_cda(data: bytes) -> list[Reading]:
    """The reading of each CR-BIO document in `data`, one as a rule.

    Raises:
        MedAnalyzrError: not XML, XML with entities or a document type, no CDA document, or one of several patients.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise MedAnalyzrError("The XML document declares a document type or entities, which a CR-BIO report never does.") from None
    except (ParseError, ValueError, LookupError) as error:
        raise MedAnalyzrError(f"The file is not valid XML ({error}).") from None
    documents = list(root.iter(_HL7 + "ClinicalDocument"))
    if not documents:
        raise MedAnalyzrError("The XML document is not a CR-BIO report: it has no HL7 ClinicalDocument.")
    return [_reading(document) for document in documents]
