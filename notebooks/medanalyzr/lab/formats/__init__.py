"""Results in the formats that laboratories send (HPRIM, HL7 v2, FHIR, CR-BIO), told apart by how they begin."""

import re
from dataclasses import replace

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.formats.cda import read_cda
from medanalyzr.lab.formats.fhir import read_fhir
from medanalyzr.lab.formats.hl7 import read_hl7
from medanalyzr.lab.formats.hprim import read_hprim
from medanalyzr.lab.formats.readings import Reading
from medanalyzr.lab.references import read_table

LARGEST = 10 * 2**20  # bytes
_SAMPLE = 2**16  # bytes that tell the encoding
_POINTS = (("éèàêçµ°", 2), ("âîôûùëïüÉÈÀÊÇÔ²³", 1), ("’‘“”«»–…€œ±×½", 0))  # of letters and signs of French texts; others lose
_READERS = {
    r"\s*<[?!A-Za-z]": read_cda,
    r"H\||\s*\x0b?(?:MSH|FHS|BHS)\W": read_hl7,
    r'\s*\{(?=[\s\S]*"resourceType")': read_fhir,
    r"(?:[\s\S]*\n|[\s\S]*\r)?(?:\*{4}(?:LAB|FIN)\*{4}|RES\|)": read_hprim,
}


def _fits(text: str) -> int:
    """How well `text` reads as French: letters of French words for it; box, control, Greek and oddly cased letters against."""
    score = 0
    for match in re.finditer(r"[^\x00-\x7f]", text):
        before, letter, after = text[match.start() - 1 : match.start()], match[0], text[match.end() : match.end() + 1]
        odd = letter.isupper() and before.islower() or letter.islower() and before.isupper() and after.isupper()
        score += -2 if odd else next((points for letters, points in _POINTS if letter in letters), -2)
    return score


def decode(data: bytes) -> tuple[str, list[str]]:
    """`data` as text, and the codes of what is wrong with it: UTF-8 or UTF-16 with a mark, else what gives French letters."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:  # cut within its last letter
            return data[: error.start].decode("utf-8-sig"), []
    scores = {name: _fits(data[:_SAMPLE].decode(name, errors="replace")) for name in ("cp1252", "cp850", "mac_roman")}
    best = max(scores, key=scores.get)
    unsure = ["encoding: unknown"] if scores[best] < 0 else ["encoding: mac_roman"] if best == "mac_roman" else []
    return data.decode(best, errors="replace"), unsure


def read_document(data: bytes) -> list[Reading] | None:
    """The readings of a file in a result format, one for each patient and report; None where it is plain text or a table.

    Raises:
        MedAnalyzrError: the file is too large, not valid in its format, or holds no report.
    """
    text, codes = decode(data)
    reader = next((reader for pattern, reader in _READERS.items() if re.match(pattern, text)), None)
    if reader is None:
        return None
    if len(data) > LARGEST:
        raise MedAnalyzrError(f"The file has {len(data) / 2**20:.0f} MiB, more than a report can have ({LARGEST // 2**20} MiB).")
    readings = reader(data if reader is read_cda else text)
    if not readings:
        raise MedAnalyzrError("The file holds no report: it ends before the first patient; ask the sender for it again.")
    return [replace(one, errors=(*one.errors, *codes)) for one in readings]


def sentence(error: str) -> str:
    """A code of `Reading.errors` in words."""
    code, _, name = error.partition(": ")
    return next(row["sentence"] for row in read_table("format_errors") if row["code"] == code).format(name=name)
