"""The French laboratory report as an XML document: CR-BIO, an HL7 CDA R2 document of level 3 (ANS, volet CR-BIO).

The document may stand inside a style sheet («auto-présentable»), which is never run. The XML parser refuses entities and
document types, which could exhaust the memory or read other files.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.readings import Reading, make_reading, who
from medanalyzr.lab.results import Result, interval_of, specimen_of

PDF_ONLY = "pdf_only"
_HL7 = "{urn:hl7-org:v3}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_LOINC = "2.16.840.1.113883.6.1"
_STATUSES = {"": "final", "completed": "final", "aborted": "cancelled", "cancelled": "cancelled", "nullified": "entered_in_error"}
_HEADINGS = {"18729-4": "urine", "18725-2": "autre"}  # sections: urine, microbiology
_SAMPLES = ("participant/participantRole[@classCode='SPEC']/playingEntity/code", "specimen/specimenRole/specimenPlayingEntity/code")
_COMMENT = "48767-8"


def _path(path: str) -> str:
    return "/".join(_HL7 + part for part in path.split("/"))


def _attribute(element: Element | None, path: str, name: str = "value") -> str:
    """The attribute of the first element at `path` (names without namespace), "" where there is none."""
    found = None if element is None else element.find(_path(path))
    return "" if found is None else found.get(name, "")


def _text(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _observations(root: Element) -> Iterator[tuple[Element, tuple, str | None, bool]]:
    """Every observation in order, with its specimens, the specimen of its section, and whether it is a previous result.

    The specimen stands in the element itself or in a procedure beside it, within the same act or organizer.
    """
    stack = [(root, (), None, False)]
    while stack:
        element, specimens, heading, previous = stack.pop()
        if element.tag == _HL7 + "section":
            heading = _HEADINGS.get(_attribute(element, "code", "code"))
        beside = [p for part in ("entryRelationship", "component") for p in element.iterfind(_path(f"{part}/procedure"))]
        samples = (code for one in (element, *beside) for path in _SAMPLES for code in one.iterfind(_path(path)))
        specimens += tuple(specimen_of(code.get("displayName", ""), code.get("code", "")) for code in samples)
        if element.tag == _HL7 + "observation":
            yield element, specimens, heading, previous
        stack += [(child, specimens, heading, previous or child.get("typeCode") == "REFR") for child in reversed(element)]


def _value(observation: Element) -> tuple[str, str, bool]:
    """Value and unit of a result, and whether its type says that it is a number; a half-open interval is a censored value."""
    value = observation.find(_HL7 + "value")
    kind = "" if value is None else value.get(_TYPE, "").rpartition(":")[2]
    if kind in ("PQ", "REAL", "INT"):
        return value.get("value", ""), value.get("unit", ""), True
    if kind == "IVL_PQ":
        low, high = _attribute(value, "low"), _attribute(value, "high")
        unit = _attribute(value, "low", "unit") or _attribute(value, "high", "unit")
        return (f"{low}-{high}" if low and high else f"<{high}" if high else f">{low}" if low else ""), unit, not (low and high)
    return ("" if value is None else value.get("displayName") or _text(value)), "", value is None


def _interval(observation: Element) -> tuple[str, str, str]:
    """Bounds and unit of the normal range; empty where the document gives none or several."""
    found = set()
    for one in observation.iterfind(_path("referenceRange/observationRange")):
        if _attribute(one, "interpretationCode", "code") in ("", "N"):
            unit = _attribute(one, "value/low", "unit") or _attribute(one, "value/high", "unit")
            bounds = _attribute(one, "value/low"), _attribute(one, "value/high"), unit
            found.add(bounds if any(bounds) else interval_of(_text(one.find(_HL7 + "text"))))
    return found.pop() if len(found) == 1 else ("", "", "")


def _result(observation: Element, specimens: tuple, heading: str | None, previous: bool) -> Result | None:
    """The result in an observation; None where it has no name."""
    code = observation.find(_HL7 + "code")
    codes = [] if code is None else [code, *code.iterfind(_HL7 + "translation")]
    names = [one.get("displayName", "") for one in codes[:1]] + [_text(one.find(_HL7 + "originalText")) for one in codes[:1]]
    name = next(filter(None, names + [one.get("displayName", "") for one in codes[1:]]), "")
    value, unit, number = _value(observation)
    return name and Result(
        name=name,
        value=value,
        unit=unit,
        interval=_interval(observation),
        flags=tuple(one.get("code", "") for one in observation.iterfind(_HL7 + "interpretationCode")),
        loinc=next((one.get("code", "") for one in codes if one.get("codeSystem") == _LOINC), ""),
        status="previous_result" if previous else _STATUSES.get(_attribute(observation, "statusCode", "code"), "pending"),
        number=number,
        specimens=specimens,
        heading=heading,
    )


def _reading(document: Element) -> Reading:
    if len(document.findall(_HL7 + "recordTarget")) > 1:
        raise MedAnalyzrError("The CR-BIO document names several patients; it must be of one: ask the laboratory for one each.")
    results = [result for found in _observations(document) if (result := _result(*found))]
    patient = document.find(_path("recordTarget/patientRole/patient"))
    day = next(filter(None, (_attribute(o, "effectiveTime") for o in document.iter(_HL7 + "observation"))), "")
    known = who(
        _attribute(patient, "administrativeGenderCode", "code"),
        _attribute(patient, "birthTime"),
        day or _attribute(document, "effectiveTime"),
    )
    told = {element.get("ID"): element for element in document.iter() if element.get("ID")}
    acts = [act for act in document.iter(_HL7 + "act") if _attribute(act, "code", "code") == _COMMENT]
    remarks = [_text(act.find(_HL7 + "text")) or _text(told.get(_attribute(act, "text/reference")[1:])) for act in acts]
    has_pdf = not results and any(e.get("mediaType") == "application/pdf" for e in document.iter())
    return make_reading(results, known, [PDF_ONLY] * has_pdf, filter(None, remarks))


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
        raise MedAnalyzrError(f"The file is no valid XML ({error}).") from None
    documents = list(root.iter(_HL7 + "ClinicalDocument"))
    if not documents:
        raise MedAnalyzrError("The XML document is no CR-BIO report: it holds no HL7 ClinicalDocument.")
    return [_reading(document) for document in documents]
