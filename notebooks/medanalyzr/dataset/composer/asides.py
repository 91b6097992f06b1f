"""What stands beside a result and nobody is asked for: codes, dates, techniques, states, headings, the specimen."""

import re
from string import ascii_uppercase

from medanalyzr.dataset.composer.printing import Line, Style, phrases, without_accents
from medanalyzr.dataset.composer.spellings import usual_names
from medanalyzr.lab.references import find_analyte

_TITLES = {"fer": "bilan martial", "glycémie": "bilan glucidique"}  # of sections that have the name of an analyte


def aside(line: Line, kind: str, style: Style) -> str:
    """The text of `kind` beside the result of `line`."""
    if kind == "specimen":
        return phrases()[f"aside:{line.specimen}"][style.aside % 3]
    if kind == "code":
        code = _code(line, style)
        own = not style.leant or find_analyte(code) in (None, find_analyte(line.name))
        return code if own else f"{code}{style.aside}X"
    if kind == "part":
        return style.cased(title(line))
    if kind == "same":
        return style.kept.setdefault(kind, style.phrase("aside:same"))
    return style.words["d"] if kind == "date" else style.phrase(f"aside:{kind}")


def title(line: Line) -> str:
    """The section of a line, in words that are no name of an analyte."""
    return _TITLES.get(line.section, line.section)


def _code(line: Line, style: Style) -> str:
    """The code of an analyte, of one kind in the whole report (the head of the name where there is no other): the head of its name, its
    consonants, the form of LOINC, a number, small letters, a short name, or letters without meaning.
    """
    letters, size = re.sub(r"[^A-Z0-9]", "", without_accents(line.name).upper()), 3 + style.aside % 3
    known = line.m.analyte if line.m and line.specimen == "sang" else None
    if style.codes == "consonants":
        return (letters[:1] + re.sub("[AEIOUY]", "", letters[1:]))[:size]
    if style.codes == "loinc":
        return f"{style.rng.randint(1000, 99999)}-{style.rng.randrange(10)}"
    if style.codes == "number":
        return f"{'B' if style.aside % 2 else ''}{style.rng.randint(10 ** (size - 1), 10**size - 1)}"
    if style.codes == "small":
        return f"{letters[:size].lower()}_{style.aside % 9}"
    if style.codes == "short" and known:
        return min(usual_names()[known], key=len)
    if style.codes == "drawn":
        return "".join(style.rng.choices(ascii_uppercase, k=size))
    return letters[:size]


def open_end(style: Style) -> str:
    """What a field holds for a bound that there is not: nothing, or in training a sign that this report keeps to."""
    if style.leant and "open end" not in style.kept:
        signs = [sign for sign in phrases()["open_end"] if not sign or sign not in style.marks.values()]
        style.kept["open end"] = style.rng.choice(signs)
    return style.kept.get("open end", "")
