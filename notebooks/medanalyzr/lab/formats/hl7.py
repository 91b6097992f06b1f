"""HL7 v2 results (ORU^R01, one by one or a whole CDA in base64) and HPRIM Santé, which derives from the same ASTM E1238.

Sources: HL7 2.5 chapter 7; HPRIM Santé 2.4. Both declare their separators in the header line (MSH, H).
"""

import base64
import re
from dataclasses import replace

from medanalyzr.lab.formats.cda import PDF_ONLY, read_cda
from medanalyzr.lab.formats.readings import READ, Reading, day_of, is_before, make_reading, who
from medanalyzr.lab.formats.results import STATUSES, Result, specimen_of
from medanalyzr.lab.report import interval_of

_CARRIER = "CISIS_CDA_HL7"  # profile of the messages that carry a CDA: what else is in their OBX is settings of the delivery


class _Segment:
    """The fields of a segment by number; a missing one is empty. `marks`: separators of fields, components, repetitions, escape."""

    def __init__(self, line: str, marks: str):
        self.marks, self.fields = marks, line.split(marks[0])
        self.kind = {"P": "PID", "C": "NTE", "H": "MSH"}.get(self.fields[0], self.fields[0])

    def __getitem__(self, index: int) -> str:
        return self.fields[index] if index < len(self.fields) else ""

    def text(self, raw: str) -> str:
        """`raw` with its escapes resolved; highlighting is left out."""
        escape, known = re.escape(self.marks[3]), dict(zip("FSRET", self.marks, strict=False))
        return re.sub(rf"{escape}([^{escape}]*){escape}", lambda m: known.get(m[1], " " * m[1].startswith(".")), raw).strip()

    def components(self, index: int) -> list[str]:
        """The components of the first repetition of a field, escapes resolved, at least six."""
        parts = self[index].split(self.marks[2])[0].split(self.marks[1])
        return [self.text(part) for part in parts] + [""] * (6 - len(parts))

    def specimen(self, index: int) -> str | None:
        """The specimen that a coded field names (see `specimen_of`)."""
        code = self.components(index)
        return specimen_of(f"{code[1]} {code[4]}", code[0])

    def result(self, order: "_Segment") -> Result:
        """The result in an OBX segment, whose order (OBR) says when the sample was taken, of what, and for which examination."""
        kind, code, parts, value = self[2], self.components(3), self.components(5), self.text(self[5])
        if kind == "SN":  # comparator, number, separator, number
            value = "".join(parts)
        elif kind in ("CE", "CWE", "CNE"):
            value = parts[1] or parts[0]
        sampled, day = day_of(order[7]), day_of(self[14])
        status = "cancelled" if self[5] == '""' else STATUSES.get(self[11].strip()[:1], "preliminary")
        status = "previous_result" if status == "final" and is_before(day, sampled) else status
        loinc = code[0] if code[2] == "LN" else code[3] if code[5] == "LN" else ""
        is_number = kind == "NM" or kind == "SN" and not parts[2]
        unit, exponent, *_ = self.components(6)
        power = re.fullmatch(r"[x×]?\s?10", unit) and re.match(r"\d+\s?/", exponent)
        unit = f"10^{exponent}" if power else unit  # 10^9/L, its sign not escaped
        interval, flags = interval_of(self.text(self[7])), self[8].upper().split(self.marks[2])
        specimens, heading = (order.specimen(15),), specimen_of(" ".join(order.components(4)[:2]))
        name = code[1] or code[4] or code[0]
        return Result(
            name,
            value,
            unit,
            interval,
            flags,
            loinc,
            status,
            is_number,
            specimens,
            heading,
            day or sampled,
            moment=self[14] or order[7],
        )


class _Patient:
    """What a PID segment and those after it say; `group`: the results of the current order."""

    def __init__(self, sex: str, born: str, day: str):
        self.sex, self.born, self.day = sex, born, day
        self.results, self.group, self.codes, self.remarks, self.documents = [], [], [], [], []

    def add(self, segment: _Segment, order: _Segment) -> None:
        """Takes in an OBX segment: a result, a remark or a document, which a status may withdraw."""
        if segment[2] == "ED":
            name, content = segment.components(3)[1], "".join(segment.components(5)[4].split())
            status = STATUSES.get(segment[11].strip()[:1], "preliminary")
            try:
                data = base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
            except ValueError:
                data = b""
            if status not in READ:
                self.codes.append(f"{status}: {name}")
            elif data.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"):
                said = (f"{status}: {name}",) * (status != "final")
                self.documents += [replace(one, errors=one.errors + said) for one in read_cda(data)]
            else:
                self.codes.append(PDF_ONLY if data.startswith(b"%PDF") else f"no_value: {name}")
        elif segment[2] in ("TX", "FT"):
            self.remarks.append(segment.text(segment[5]))
            self.codes.append(f"comment: {self.remarks[-1]}")
        else:
            self.group.append(segment.result(order))
            self.results.append(self.group[-1])

    def readings(self) -> list[Reading]:
        """The readings of the documents in the message, and of its own results where it has some or no document."""
        read = [one for one in self.documents if PDF_ONLY not in one.errors] or self.documents[:1]
        own = [make_reading(self.results, who(self.sex, self.born, self.day), self.codes, self.remarks)]
        return read + own if self.results or self.codes or not read else read


def _lines(text: str) -> list[str]:
    """The segments of a file as lines. What begins none goes on with the OBX segment before; HPRIM says so by an A."""
    lines, bars = [], 0
    for line in re.split(r"\r\n?|\n", text.strip("\x0b\x1c\r\n")):
        if re.match(r"(?:[A-Z][A-Z0-9]{2}|[B-Z])\W", line) or not lines:
            lines.append([line])
            bars = line.count("|")
        elif line.startswith("A|") or lines[-1][0].startswith("OBX") and bars < 11:
            lines[-1].append(line.removeprefix("A|"))
            bars += line.count("|")
    return ["".join(parts) for parts in lines]


def read_hl7(text: str) -> list[Reading]:
    """The readings of an HL7 v2 or HPRIM Santé file, one for each patient of each message; a batch has several messages."""
    lines, marks, patients, patient, sent, is_carrier = _lines(text), "|^~\\&", [], None, "", False
    nothing = order = segment = _Segment("", marks)
    ended, kinds = text.endswith(("\r", "\n", "\x1c")), {re.split(r"\W", line)[0] for line in lines}
    for i, line in enumerate(lines, 1):
        if head := re.match(r"(?:MSH|FHS|BHS|H(?=\W))(\W{5})", line):
            marks = head[1]
        segment = _Segment(line, marks)
        if segment.kind == "MSH":
            sent, patient, is_carrier = segment[6], None, _CARRIER in line
        elif segment.kind == "PID" or patient is None and segment.kind in ("OBR", "OBX"):
            who_is = (segment[8], segment[7]) if segment.kind == "PID" else ("", "")
            patient, order = _Patient(*who_is, sent), nothing
            patients.append(patient)
        if segment.kind == "OBR":
            order, patient.group, patient.day = segment, [], segment[7] or patient.day
            patient.codes += ["report_not_final"] * (segment[25] in tuple("APISRO") and "report_not_final" not in patient.codes)
        elif segment.kind == "SPM" and patient:
            for result in patient.group:
                result.specimens += (segment.specimen(4),)
        elif segment.kind == "NTE" and patient:
            patient.remarks.append(segment.text(segment[3]))
        elif segment.kind == "OBX" and i == len(lines) and not ended and not segment[11]:
            patient.codes.append(f"incomplete_line: {segment.components(3)[1] or 'OBX'}")
        elif segment.kind == "OBX" and not (is_carrier and (segment[2] != "ED" or segment[3].startswith("CORPSMAIL"))):
            patient.add(segment, order)
    announced = {"FHS": "FTS", "BHS": "BTS", "H": "L"}  # what begins, and what must then end the file
    is_cut = (
        any(begin in kinds and end not in kinds for begin, end in announced.items()) or text[:1] == "\x0b" and "\x1c" not in text
    )
    if patients and (is_cut or not ended and (segment.kind == "OBX" and not segment[11] or len(segment.fields) == 1)):
        patients[-1].codes.append("truncated")
    return [reading for one in patients for reading in one.readings()]
