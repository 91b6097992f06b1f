"""Personal data in the rows of a dataset: found and counted by row before anything is written, never shown.

French social security numbers are checked with python-stdnum, phone numbers with phonenumbers; the rest are patterns of
French reports. A pattern search misses what it has no pattern for: it is a safety net, not an anonymization.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import phonenumbers
from stdnum.fr import nir

from medanalyzr.core.errors import MedAnalyzrError

_NAME = r"[A-ZÀ-ÖØ-Þ][\w'’-]*[^\W\d_]"
_DAY = r"\d{1,2}(?:\s?[/.-]\s?\d{1,2}\s?[/.-]\s?|(?:er)?\s+[a-zéû]{3,9}\.?\s+)\d{2,4}"
_NIR = re.compile(r"(?<!\d)[12][ .]?\d\d[ .]?\d\d[ .]?(?:\d\d|2[AB])[ .]?\d{3}[ .]?\d{3}[ .]?\d\d(?!\d)")
_TITLE = re.compile(rf"\b(?:M\.|Mr\.?|Mme\.?|Mlle|Monsieur|Madame|Mademoiselle|Dr\.?|Docteur|Pr\.?|Professeur)\s+(?!X+\b)({_NAME})")
_LABELLED = re.compile(
    rf"\b(?:[Nn]om(?: de naissance| d['’]usage| de famille)?|NOM|[Pp]rénoms?|PRÉNOM)\s*:\s*{_NAME}"
    rf"|\bPatiente?\s*:\s*(?:[A-ZÀ-Þ]{{2,}}\s+{_NAME}|{_NAME}\s+[A-ZÀ-Þ]{{2,}}\b)"
)
_BIRTH = re.compile(
    rf"\bn[ée]+(?:\(e\))?\s+le\s*:?\s*{_DAY}|\b(?:date de naissance|ddn|date of birth|dob)\s*:?\s*{_DAY}", re.IGNORECASE
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_STREET = re.compile(
    r"\b\d{1,4}(?:\s?(?:bis|ter))?,?\s+(?:rue|avenue|av\.|boulevard|bd\.?|chemin|place|allée|impasse|route|quai|square|cours)\s+"
    r"(?:de\s|du\s|des\s|la\s|le\s|les\s|d['’]|l['’])*[^\W\d_]{2,}",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\b(?:(?:n°|no|numéro)\s*(?:de\s)?(?:dossier|patient|séjour)|dossier(?:\s+patient)?|IPP|NIP|NDA|matricule)"
    r"\s*(?:n°|no|numéro)?\s*:?\s*[A-Z]{0,3}[-/]?\d{4,}",
    re.IGNORECASE,
)


def _nirs(text: str) -> int:
    return sum(nir.is_valid(match[0].replace(".", "")) for match in _NIR.finditer(text))


def _phones(text: str) -> int:
    return sum(1 for _ in phonenumbers.PhoneNumberMatcher(text, "FR")) if re.search(r"[0+]\s?\d(?:[ .-]?\d){7}", text) else 0


def _count(*patterns: re.Pattern) -> Callable[[str], int]:
    return lambda text: sum(1 for pattern in patterns for _ in pattern.finditer(text))


FINDERS: dict[str, Callable[[str], int]] = {
    "social security number": _nirs,
    "name": _count(_TITLE, _LABELLED),
    "date of birth": _count(_BIRTH),
    "phone number": _phones,
    "e-mail address": _count(_MAIL),
    "postal address": _count(_STREET),
    "file number": _count(_FILE),
}


def scan(rows: Sequence[Mapping[str, str]], numbers: Sequence[int]) -> dict[str, dict]:
    """For each kind of personal data found: `count`, and which `numbers` the `rows` that hold it have; never the text.

    Every column of the rows is searched: what is written is what is searched.
    """
    report: dict[str, dict] = {}
    for number, row in zip(numbers, rows, strict=True):
        cells = [f"Patient : {text}" if name == "patient" else text for name, text in row.items()]  # a name alone is one there
        for kind, finder in FINDERS.items():
            if count := sum(map(finder, cells)):
                entry = report.setdefault(kind, {"count": 0, "rows": []})
                entry["count"] += count
                entry["rows"].append(number)
    return report


def gate(rows: Sequence[Mapping[str, str]], numbers: Sequence[int], dataset: str, mode: str) -> dict[str, dict] | None:
    """The scan of `rows` (their `numbers` in the dataset count from 1), or None with mode "off".

    Raises:
        MedAnalyzrError: the mode is "stop" and something was found (kinds, counts and row numbers, never the text).
    """
    if mode == "off":
        return None
    report = scan(rows, numbers)
    if report and mode == "stop":
        parts = "; ".join(f"{kind} in {len(entry['rows'])} (first: row {entry['rows'][0]})" for kind, entry in report.items())
        count = len({number for entry in report.values() for number in entry["rows"]})
        raise MedAnalyzrError(
            f"dataset={dataset!r} seems to contain personal data in {count} rows ({parts}); nothing was written: remove it, or set "
            "privacy='warn' in 02_data if these are not real people."
        )
    return report
