"""HL7 v2 results (ORU^R01, one by one or a whole CDA in base64) and HPRIM Santé, which comes of the same ASTM E1238.

Sources: HL7 2.5 chapter 7; HPRIM Santé 2.4. Both declare their separators in the header line (MSH, H).
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from medanalyzr.lab.crbio import PDF_ONLY, read_cda
from medanalyzr.lab.readings import Reading, day_of, is_before, make_reading, who
from medanalyzr.lab.results import STATUSES, Result, interval_of, specimen_of

_ESCAPES = {"F": 0, "S": 1, "R": 2, "E": 3, "T": 4}
_SETTINGS = "MetaDMPMSS"  # coding system of delivery settings in French messages: no results


class _Segment:
    """The fields of a segment by number, as the header counts them; missing ones are empty."""

    def __init__(self, line: str, separators: str):
        self.separators = separators
        self.fields = line.split(separators[0])
        self.kind = {"P": "PID", "C": "NTE", "H": "MSH"}.get(self.fields[0], self.fields[0])

    def __getitem__(self, index: int) -> str:
        return self.fields[index] if index < len(self.fields) else ""

    def text(self, raw: str) -> str:
        """`raw` with its escapes resolved; highlighting is left out."""
        escape = re.escape(self.separators[3])
        known = {letter: self.separators[i] for letter, i in _ESCAPES.items()}
        return re.sub(rf"{escape}([^{escape}]*){escape}", lambda m: known.get(m[1], " " * m[1].startswith(".")), raw).strip()

    def components(self, index: int) -> list[str]:
        """The components of the first repetition of a field, escapes resolved, at least six."""
        parts = self[index].split(self.separators[2])[0].split(self.separators[1])
        return [self.text(part) for part in parts] + [""] * (6 - len(parts))


@dataclass
class _Patient:
    """What one PID segment and those after it say; `group` holds the results of the current OBR."""

    sex: str = ""
    born: str = ""
    day: str = ""
    results: list[Result] = field(default_factory=list)
    group: list[Result] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    documents: list[Reading] = field(default_factory=list)

    def readings(self) -> list[Reading]:
        """The readings of the documents that the message carries, and of its own results where it has some or no document."""
        read = [one for one in self.documents if PDF_ONLY not in one.errors] or self.documents[:1]
        if read and not self.results and not self.codes:
            return read
        return [*read, make_reading(self.results, who(self.sex, self.born, self.day), self.codes, self.remarks)]


def _value(segment: _Segment) -> tuple[str, bool]:
    """The value of an OBX segment as text, and whether its type says that it is a number."""
    kind, parts = segment[2], segment.components(5)
    if kind == "SN":  # comparator, number, separator, number
        return "".join(parts), not parts[2]
    if kind in ("CE", "CWE", "CNE", "CF"):
        return parts[1] or parts[0], False
    return segment.text(segment[5]), kind == "NM"


def _result(segment: _Segment, order: _Segment) -> Result:
    code, (value, number) = segment.components(3), _value(segment)
    sampled, day = day_of(order[7]), day_of(segment[14])
    status = STATUSES.get(segment[11].strip()[:1], "preliminary")
    if segment[5] == '""':
        status = "cancelled"
    return Result(
        name=code[1] or code[4] or code[0],
        value=value,
        unit=segment.components(6)[0],
        interval=interval_of(segment.text(segment[7])),
        flags=tuple(segment[8].upper().split(segment.separators[2])),
        loinc=code[0] if code[2] == "LN" else code[3] if code[5] == "LN" else "",
        status="previous_result" if status == "final" and is_before(day, sampled) else status,
        number=number,
        specimens=(_specimen(order, 15),),
        heading=specimen_of(" ".join(order.components(4)[:2])),
        day=day or sampled,
    )


def _specimen(segment: _Segment, index: int) -> str | None:
    code = segment.components(index)
    return specimen_of(" ".join(code[1:2] + code[4:5]), code[0])


def _document(segment: _Segment, patient: _Patient) -> None:
    """Reads the document that an OBX segment of type ED carries."""
    name, content = segment.components(3)[1], segment.components(5)
    try:
        data = base64.b64decode("".join(content[4].split()), validate=True)
    except (binascii.Error, ValueError):
        patient.codes.append(f"no_value: {name}")
        return
    if data.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"):
        patient.documents += read_cda(data)
    else:
        patient.codes.append(PDF_ONLY if data.startswith(b"%PDF") else f"no_value: {name}")


def _observation(segment: _Segment, order: _Segment, patient: _Patient) -> None:
    """Adds what an OBX segment says to `patient`."""
    if segment[2] == "ED":
        _document(segment, patient)
    elif segment[2] in ("TX", "FT"):
        patient.codes.append("comment: " + segment.text(segment[5]))
        patient.remarks.append(segment.text(segment[5]))
    elif segment.components(3)[2] != _SETTINGS:
        patient.group.append(_result(segment, order))
        patient.results.append(patient.group[-1])


def _lines(text: str) -> list[str]:
    """The segments of a file as lines. What begins none goes on with the OBX segment before; HPRIM says so by an A."""
    lines = []
    for line in re.split(r"\r\n?|\n", text.strip("\x0b\x1c\r\n")):
        if re.match(r"(?:[A-Z][A-Z0-9]{2}|[B-Z])\W", line) or not lines:
            lines.append(line)
        elif line.startswith("A|") or lines[-1].startswith("OBX") and lines[-1].count("|") < 11:
            lines[-1] += line.removeprefix("A|")
    return lines


def _is_cut(text: str, lines: list[str], last: _Segment) -> bool:
    """Whether the file ends within a message: within its last segment, or before the end that its beginning announces."""
    kinds = {re.split(r"\W", line)[0] for line in lines}
    announced = [("FHS", "FTS"), ("BHS", "BTS"), ("H", "L")]
    within = not text.endswith(("\r", "\n", "\x1c")) and (last.kind == "OBX" and not last[11] or len(last.fields) == 1)
    return within or text.startswith("\x0b") and "\x1c" not in text or any(a in kinds and b not in kinds for a, b in announced)


def read_hl7(text: str) -> list[Reading]:
    """The readings of an HL7 v2 or HPRIM Santé file, one for each patient of each message; a batch has several messages."""
    lines, separators, patients, patient, sent = _lines(text), "|^~\\&", [], None, ""
    nothing = order = segment = _Segment("", separators)
    for line in lines:
        if head := re.match(r"(?:MSH|FHS|BHS|H(?=\W))(\W{5})", line):
            separators = head[1]
        segment = _Segment(line, separators)
        if segment.kind == "MSH":
            sent, patient = segment[6], None
        elif segment.kind == "PID":
            patient, order = _Patient(segment[8], segment[7], sent), nothing
            patients.append(patient)
        elif patient is None and segment.kind in ("OBR", "OBX"):
            patient, order = _Patient(day=sent), nothing
            patients.append(patient)
        if segment.kind == "OBR":
            order, patient.group = segment, []
            patient.day = segment[7] or patient.day
            patient.codes += ["report_not_final"] * (segment[25] in tuple("APISRO") and "report_not_final" not in patient.codes)
        elif segment.kind == "SPM" and patient:
            for result in patient.group:
                result.specimens += (_specimen(segment, 4),)
        elif segment.kind == "NTE" and patient:
            patient.remarks.append(segment.text(segment[3]))
        elif segment.kind == "OBX" and line is lines[-1] and not segment[11] and not text.endswith(("\r", "\n")):
            patient.codes.append(f"incomplete_line: {segment.components(3)[1] or 'OBX'}")
        elif segment.kind == "OBX":
            _observation(segment, order, patient)
    if patients and _is_cut(text, lines, segment):
        patients[-1].codes.append("truncated")
    return [reading for one in patients for reading in one.readings()]
