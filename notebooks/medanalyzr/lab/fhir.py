"""FHIR R4 laboratory results in JSON: a Bundle, a DiagnosticReport or an Observation; plain R4, whatever the profile.

Source: hl7.org/fhir/R4 (Observation, DiagnosticReport, Specimen). Numbers keep the decimals they are written with.
"""

import json
from collections.abc import Iterator
from decimal import Decimal

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.readings import Reading, day_of, is_before, make_reading, who
from medanalyzr.lab.results import Result, interval_of, specimen_of, spelled

_LOINC = "http://loinc.org"
_COMMENT = "55112-7"
_STATUSES = {"final": "final", "amended": "corrected", "corrected": "corrected", "preliminary": "preliminary"}
_STATUSES |= {"cancelled": "cancelled", "entered-in-error": "entered_in_error"}  # registered and unknown: pending
_SEXES = {"H": {"male", "M", "248153007"}, "F": {"female", "F", "248152002"}}  # FHIR, HL7 v3, SNOMED CT
_PREVIOUS = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"


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


def _unit(quantity) -> str:
    return _one(quantity, "code") or _one(quantity, "unit")


def _value(observation: dict) -> tuple[str, str, bool, tuple[str, ...]]:
    """Value, unit, whether its type says that it is a number, and codes. The UCUM code of a unit wins over its text."""
    for quantity in _all(observation, "valueQuantity"):
        units = {spelled(unit) for key in ("unit", "code") if (unit := _one(quantity, key))}
        value = _one(quantity, "value")
        return value and _one(quantity, "comparator") + value, _unit(quantity), True, ("unit_conflict",) * (len(units) > 1)
    if value := _one(observation, "valueInteger"):
        return value, "", True, ()
    for key, first, then, sign in (("valueRange", "low", "high", "-"), ("valueRatio", "numerator", "denominator", ":")):
        if key in observation:
            parts = [_one(observation, key, side, "value") for side in (first, then)]
            return sign.join(filter(None, parts)), _unit((_all(observation, key, first) or [None])[0]), False, ()
    concept = [_one(observation, "valueCodeableConcept", *path) for path in (("text",), ("coding", "display"), ("coding", "code"))]
    words = next(filter(None, [_one(observation, "valueString"), *concept]), "")
    return words, "", not words, ()


def _applies(reference, sex: str | None, age: int | None) -> bool:
    """Whether a reference range is a normal one and for this patient; what it is for must be known."""
    if _one(reference, "type", "coding", "code") not in ("", "normal"):
        return False
    if (groups := _all(reference, "appliesTo")) and not all(set(_all(g, "coding", "code")) & _SEXES.get(sex, set()) for g in groups):
        return False
    for ages in _all(reference, "age"):
        low, high = (_one(ages, side, "value") for side in ("low", "high"))
        in_years = all(_unit(bound) in ("a", "an", "ans", "year", "years") for side in ("low", "high") for bound in _all(ages, side))
        if age is None or not in_years or (low and age < Decimal(low)) or (high and age > Decimal(high)):
            return False
    return True


def _interval(observation: dict, sex: str | None, age: int | None) -> tuple[str, str, str]:
    """Bounds and unit of the range for this patient, the one for its sex or age first; empty where none or several apply."""
    fitting = [one for one in _all(observation, "referenceRange") if _applies(one, sex, age)]
    special, found = [one for one in fitting if _all(one, "appliesTo") or _all(one, "age")], set()
    for one in special or fitting:
        units = [unit for side in ("low", "high") if (unit := _unit((_all(one, side) or [None])[0]))]
        bounds = _one(one, "low", "value"), _one(one, "high", "value"), (units or [""])[0]
        found.add(bounds if any(bounds) else interval_of(_one(one, "text")))
    return found.pop() if len(found) == 1 else ("", "", "")


class _Resources:
    """The resources of a file, found by what refers to them."""

    def __init__(self, root: dict):
        self.every, self.by_reference = [], {}
        for entry in _all(root, "entry") if root["resourceType"] == "Bundle" else [{"resource": root}]:
            for resource in _all(entry, "resource"):
                self._add(resource, _one(entry, "fullUrl"), f"{_one(resource, 'resourceType')}/{_one(resource, 'id')}")

    def _add(self, resource, *references: str) -> None:
        if isinstance(resource, dict):
            inside = [one for one in _all(resource, "contained") if isinstance(one, dict)]
            for one in (resource, *inside):
                one["#"] = {"#" + _one(part, "id"): part for part in inside}  # what `#id` means within this resource
            self.every += [resource, *inside]
            for reference in filter(None, references):
                self.by_reference.setdefault(reference, resource)

    def named(self, kind: str) -> list[dict]:
        return [one for one in self.every if _one(one, "resourceType") == kind]

    def find(self, owner: dict, *keys: str) -> dict | None:
        """The resource that the reference at `keys` of `owner` names."""
        reference = _one(owner, *keys, "reference").partition("/_history/")[0]
        local = owner.get("#", {}).get(reference)
        return local or self.by_reference.get(reference) or self.by_reference.get("/".join(reference.split("/")[-2:]))

    def subject(self, owner: dict) -> tuple[str, dict]:
        """What a resource names as its subject, a key to compare, and the patient; of one patient in the file the only one."""
        patients = self.named("Patient")
        found = self.find(owner, "subject") or (patients[0] if len(patients) == 1 and not _all(owner, "subject") else {})
        return str(id(found)) if found else _one(owner, "subject", "reference"), found

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
            members = [self.find({**one, "hasMember": m}, "hasMember") for m in _all(one, "hasMember")]
            if any(key.startswith("value") for key in one) or not parts + members:
                yield one
            stack += [member for member in reversed(members) if member]
            yield from parts


def _sampled(resource: dict) -> str:
    return day_of(_one(resource, "effectiveDateTime") or _one(resource, "effectivePeriod", "start") or _one(resource, "effectiveInstant"))


def _name(resource: dict) -> tuple[str, str]:
    """The name and the LOINC code of an observation or a report."""
    codings = sorted(_all(resource, "code", "coding"), key=lambda one: _one(one, "system") != _LOINC)
    name = next(filter(None, [_one(c, "display") for c in codings] + [_one(resource, "code", "text")]), "")
    loinc = _one(codings[0], "code") if codings and _one(codings[0], "system") == _LOINC else ""
    return name or loinc or "Observation", loinc


def _result(o: dict, specimen: dict | None, patient: tuple, previous: bool) -> Result:
    (name, loinc), (value, unit, number, codes) = _name(o), _value(o)
    kind = _one(specimen, "type", "coding", "code")
    words = " ".join(_one(specimen, "type", *path) for path in (("text",), ("coding", "display")))
    return Result(
        name=name,
        value=value,
        unit=unit,
        interval=_interval(o, *patient[:2]),
        flags=tuple(str(code) for code in _all(o, "interpretation", "coding", "code")),
        loinc=loinc,
        status="previous_result" if previous else _STATUSES.get(_one(o, "status"), "pending"),
        number=number,
        specimens=(specimen_of(words, kind),),
        day=_sampled(o),
        errors=codes,
    )


def _reading(resources: _Resources, report: dict, observations: list[dict], person: dict, codes: list[str]) -> Reading:
    """The reading of one report and subject."""
    sampled = _sampled(report) or max(map(_sampled, observations), default="")
    patient = who(_one(person, "gender"), _one(person, "birthDate"), sampled)
    before = {id(resources.find({"extension": e, "#": o.get("#", {})}, "extension", "valueReference")) for o in resources.every
              for e in _all(o, "extension") if _one(e, "url") == _PREVIOUS}  # fmt: skip
    remarks = [_one(report, "conclusion"), *(str(t) for one in (report, *observations) for t in _all(one, "note", "text"))]
    results = []
    for o in observations:
        if _name(o)[1] == _COMMENT:
            remarks.append(_one(o, "valueString"))
        else:
            previous = id(o) in before or is_before(_sampled(o), sampled)
            results.append(_result(o, resources.find(o, "specimen"), patient, previous))
    remarks = [remark for remark in remarks if remark]
    status = _one(report, "status") or "final"
    if status in ("cancelled", "entered-in-error"):
        return make_reading([], patient, [f"{_STATUSES[status]}: {_name(report)[0]}"])
    late = ["report_not_final"] * (status not in ("final", "amended", "corrected", "appended"))
    return make_reading(results, patient, [*codes, *(f"comment: {remark}" for remark in remarks), *late], remarks)


def read_fhir(text: str) -> list[Reading]:
    """The readings of a FHIR file, one for each report and subject; observations of no report go with their subject's.

    Raises:
        MedAnalyzrError: no JSON, or no resource of FHIR.
    """
    try:
        root = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise MedAnalyzrError(f"The FHIR file is no valid JSON ({error}): ask for it again.") from None
    if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
        raise MedAnalyzrError("The JSON file is no FHIR resource: it has no resourceType.")
    resources, seen, groups = _Resources(root), set(), {}
    for report in resources.named("DiagnosticReport"):
        key, person = resources.subject(report)
        groups[id(report), key] = (report, [], person, codes := [])
        for one in _all(report, "result"):
            found = resources.find(report | {"result": one}, "result")
            if found is None:
                codes.append(f"reference_not_found: {_one(one, 'reference')}")
            for o in resources.results(found, seen) if found else ():
                key, person = resources.subject(report | o if "subject" not in o else o)
                groups.setdefault((id(report), key), (report, [], person, []))[1].append(o)
    for observation in resources.named("Observation"):
        for o in resources.results(observation, seen):
            key, person = resources.subject(o)
            group = next((g for (_, subject), g in groups.items() if subject == key), None)
            (group or groups.setdefault((0, key), ({}, [], person, [])))[1].append(o)
    return [_reading(resources, *group) for group in groups.values()]
