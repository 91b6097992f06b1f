"""FHIR R4 laboratory results in JSON: a Bundle, a DiagnosticReport or an Observation; plain R4, whatever the profile.

Source: hl7.org/fhir/R4 (Observation, DiagnosticReport, Specimen). Numbers keep the decimals they are written with.
"""

import json
from collections.abc import Iterator
from decimal import Decimal

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.formats.readings import Reading, day_of, is_before, make_reading, who
from medanalyzr.lab.formats.results import Result, specimen_of, spelled
from medanalyzr.lab.report import interval_of

_LOINC = "http://loinc.org"
_COMMENT = "55112-7"
_STATUSES = {"final": "final", "amended": "corrected", "corrected": "corrected", "preliminary": "preliminary"}
_STATUSES |= {"cancelled": "cancelled", "entered-in-error": "entered_in_error"}  # registered and unknown: pending
_SEXES = {"H": {"male", "M", "248153007"}, "F": {"female", "F", "248152002"}}  # FHIR, HL7 v3, SNOMED CT
_PREVIOUS = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
_NAMES = (("text",), ("coding", "display"), ("coding", "code"))


def _all(value, *keys: str) -> list:
    """What stands at `keys` in nested objects and lists, as a flat list; empty where it is missing or of another kind."""
    found = [value]
    for key in keys:
        inner = [one.get(key) for one in found if isinstance(one, dict)]
        found = [item for one in inner if one is not None for item in (one if isinstance(one, list) else [one])]
    return found


def _one(value, *keys: str) -> str:
    """The first text or number at `keys`, "" where there is none."""
    return next((str(one) for one in _all(value, *keys) if isinstance(one, str | Decimal)), "")


def _unit(value, *keys: str) -> str:
    """The unit of the first quantity at `keys` that has one; its UCUM code wins over its text."""
    return next((unit for one in _all(value, *keys) if (unit := _one(one, "code") or _one(one, "unit"))), "")


def _value(o: dict) -> tuple[str, str, bool]:
    """Value and unit of an observation, and whether its type says that it is a number."""
    if value := _one(o, "valueQuantity", "value") or _one(o, "valueInteger"):
        return _one(o, "valueQuantity", "comparator") + value, _unit(o, "valueQuantity"), True
    for key, first, then, sign in (("valueRange", "low", "high", "-"), ("valueRatio", "numerator", "denominator", ":")):
        if parts := [part for side in (first, then) if (part := _one(o, key, side, "value"))]:
            return sign.join(parts), _unit(o, key, first), False
    words = [_one(o, "valueString"), *(_one(o, "valueCodeableConcept", *path) for path in _NAMES)]
    return next(filter(None, words), ""), "", not any(words)


def _applies(reference, sex: str | None, age: float | None) -> bool:
    """Whether a reference range is a normal one and for this patient; what it is for must be known."""
    limits = [[v for v in _all(reference, "age", side, "value") if isinstance(v, Decimal)] for side in ("low", "high")]
    in_years = {_unit(reference, "age", side) for side in ("low", "high")} <= {"", "a", "an", "ans", "year", "years"}
    of_age = age is not None and in_years and all(v <= age for v in limits[0]) and all(age <= v for v in limits[1])
    groups = [set(map(str, _all(group, "coding", "code"))) for group in _all(reference, "appliesTo")]
    fits = all(group & _SEXES.get(sex, set()) for group in groups) and (of_age or not _all(reference, "age"))
    return fits and _one(reference, "type", "coding", "code") in ("", "normal")


def _interval(o: dict, sex: str | None, age: float | None) -> tuple[str, str, str]:
    """Bounds and unit of the range for this patient, the one for its sex or age first; empty where none or several apply."""
    fitting = [one for one in _all(o, "referenceRange") if _applies(one, sex, age)]
    found = set()
    for one in [one for one in fitting if _all(one, "appliesTo") or _all(one, "age")] or fitting:
        bounds = _one(one, "low", "value"), _one(one, "high", "value"), _unit(one, "low") or _unit(one, "high")
        found.add(bounds if any(bounds[:2]) else interval_of(_one(one, "text")))
    return found.pop() if len(found) == 1 else ("", "", "")


class _Resources:
    """The resources of a file, found by what refers to them: their address, `Type/id`, or `#id` within the one that holds them."""

    def __init__(self, root: dict):
        self.every, self.by_reference = [], {}
        for entry in _all(root, "entry") if root["resourceType"] == "Bundle" else [{"resource": root}]:
            for resource in (one for one in _all(entry, "resource") if isinstance(one, dict)):
                inside = [one for one in _all(resource, "contained") if isinstance(one, dict)]
                for one in (resource, *inside):
                    one["#"] = {f"#{_one(part, 'id')}": part for part in inside}
                self.every += [resource, *inside]
                for address in (_one(entry, "fullUrl"), f"{_one(resource, 'resourceType')}/{_one(resource, 'id')}"):
                    self.by_reference.setdefault(address, resource)
        self.patients = self.named("Patient")

    def named(self, kind: str) -> list[dict]:
        """The resources of a type, such as "Patient"."""
        return [one for one in self.every if one.get("resourceType") == kind]

    def find(self, owner: dict, reference: str) -> dict | None:
        """The resource that a reference in `owner` names."""
        reference = reference.partition("/_history/")[0]
        local, short = owner.get("#", {}).get(reference), "/".join(reference.split("/")[-2:])
        return local or self.by_reference.get(reference) or self.by_reference.get(short)

    def subject(self, owner: dict) -> tuple[str, dict]:
        """A key of the subject of a resource, and the patient; the only patient of the file where it names none."""
        reference = _one(owner, "subject", "reference")
        found = self.find(owner, reference) or (self.patients[0] if len(self.patients) == 1 and not reference else {})
        return str(id(found)) if found else reference, found

    def results(self, observation: dict, seen: set[int]) -> Iterator[dict]:
        """An observation with its components and members, in order; a panel without a value is no result itself."""
        stack = [observation]
        while stack:
            one = stack.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            common = {key: one[key] for key in ("#", "status", "subject", "effectiveDateTime", "specimen") if key in one}
            parts = [common | part for part in _all(one, "component") if isinstance(part, dict)]
            members = _all(one, "hasMember")
            if any(key.startswith("value") for key in one) or not parts + members:
                yield one
            yield from parts
            stack += [found for member in reversed(members) if (found := self.find(one, _one(member, "reference")))]


def _moment(resource: dict) -> str:
    return _one(resource, "effectiveDateTime") or _one(resource, "effectivePeriod", "start") or _one(resource, "effectiveInstant")


def _sampled(resource: dict) -> str:
    return day_of(_moment(resource))


def _name(resource: dict) -> tuple[str, str]:
    """The name and the LOINC code of an observation or a report."""
    codings = _all(resource, "code", "coding")
    loinc = [coding for coding in codings if _one(coding, "system") == _LOINC]
    code, shown = next((_one(one, "code") for one in loinc), ""), [_one(one, "display") for one in loinc + codings]
    return next(filter(None, [*shown, _one(resource, "code", "text"), code]), "Observation"), code


def _result(o: dict, specimen: dict | None, patient: tuple, is_previous: bool) -> Result:
    """The result in an observation with its specimen."""
    (name, loinc), (value, unit, is_number) = _name(o), _value(o)
    units = {spelled(text) for key in ("unit", "code") if (text := _one(o, "valueQuantity", key))}
    status = "previous_result" if is_previous else _STATUSES.get(_one(o, "status"), "pending")
    kind = specimen_of(" ".join(_one(specimen, "type", *path) for path in _NAMES[:2]), _one(specimen, "type", "coding", "code"))
    said = specimen_of(_one(o, "specimen", "display"))
    flags, interval = map(str, _all(o, "interpretation", "coding", "code")), _interval(o, *patient[:2])
    codes = ("unit_conflict",) * (len(units) > 1)
    return Result(
        name, value, unit, interval, list(flags), loinc, status, is_number, (kind, said), None, _sampled(o), codes, _moment(o)
    )


def _reading(resources: _Resources, before: set[int], report: dict, person: dict, observations: list[dict], codes: list) -> Reading:
    """The reading of one report and subject; `before`: the observations that others refer to as earlier ones."""
    sampled = _sampled(report) or max(map(_sampled, observations), default="")
    patient, status = who(_one(person, "gender"), _one(person, "birthDate"), sampled), _one(report, "status") or "final"
    if status in ("cancelled", "entered-in-error"):
        return make_reading([], patient, [f"{_STATUSES[status]}: {_name(report)[0]}"])
    remarks = [_one(report, "conclusion"), *(_one(note, "text") for one in (report, *observations) for note in _all(one, "note"))]
    remarks += [_one(o, "valueString") for o in observations if _name(o)[1] == _COMMENT]
    codes += [f"comment: {remark}" for remark in remarks if remark]
    codes += ["report_not_final"] * (status not in ("final", "amended", "corrected", "appended"))
    results = [
        _result(o, resources.find(o, _one(o, "specimen", "reference")), patient, id(o) in before or is_before(_sampled(o), sampled))
        for o in observations
        if _name(o)[1] != _COMMENT
    ]
    return make_reading(results, patient, codes, filter(None, remarks))


def read_fhir(text: str) -> list[Reading]:
    """The readings of a FHIR file, one for each report and subject; observations of no report go with their subject's.

    Raises:
        MedAnalyzrError: no JSON, or no resource of FHIR.
    """
    try:
        root = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise MedAnalyzrError(f"The FHIR file is not valid JSON ({error}): ask the sender for it again.") from None
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise MedAnalyzrError("The JSON file is not a FHIR resource: it has no resourceType.")
    resources, seen, groups = _Resources(root), set(), {}
    linked = [(o, e) for o in resources.every for e in _all(o, "extension") if _one(e, "url") == _PREVIOUS]
    before = {id(resources.find(o, _one(e, "valueReference", "reference"))) for o, e in linked}
    for report in resources.named("DiagnosticReport"):
        key, person = resources.subject(report)
        groups[id(report), key] = (report, person, [], codes := [])
        for reference in (_one(one, "reference") for one in _all(report, "result")):
            if (found := resources.find(report, reference)) is None:
                codes.append(f"reference_not_found: {reference}")
            for o in resources.results(found, seen) if found else ():
                key, person = resources.subject(o if "subject" in o else report)
                groups.setdefault((id(report), key), (report, person, [], []))[2].append(o)
    first = {key: group for (_, key), group in reversed(groups.items())}
    for o in (o for one in resources.named("Observation") for o in resources.results(one, seen)):
        key, person = resources.subject(o)
        if key not in first:
            first[key] = groups[0, key] = ({}, person, [], [])
        first[key][2].append(o)
    return [_reading(resources, before, *group) for group in groups.values()]
