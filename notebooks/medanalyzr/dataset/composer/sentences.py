"""Families of layouts in sentences: the laboratory's own, a doctor's letter, a note of a ward."""

import re
import textwrap
from collections.abc import Sequence

from medanalyzr.dataset.composer.families import items, page, shown
from medanalyzr.dataset.composer.printing import Line, Style, Told, without_accents
from medanalyzr.lab.references import analytes, find_analyte

KEPT = "\uf8fe"  # a space at which no line is broken
_ARTICLES = {"m": "le ", "f": "la ", "p": "les "}
_FEMININE = re.compile(r"\w+(?:ine|ase|émie|ité|tion|ose|ée|une|gonadotrophine|parathormone)$")
_MASCULINE = re.compile(
    r"\w+(?:ate|ol|um|gène|teur|acide|rapport|fer|sodium|lactate|phosphore|temps|taux|volume|débit|cortisol)$|\w*cholestérol$"
)


def capital(text: str) -> str:
    """`text` with a capital at its head, but for words like pH."""
    return text if text[1:2].isupper() else text[0].upper() + text[1:]


def within(name: str) -> str:
    """A name as it stands within a sentence, without its capital; abbreviations and symbols stay as they are."""
    return name[0].lower() + name[1:] if name[1:3].islower() and len(name) > 3 else name


def _noun(line: Line) -> str:
    """The name with its article, as a sentence holds it: `la natrémie`, `l'hémoglobine`; without where its gender is unknown."""
    word, first = line.name, re.split(r"[ (/]", line.name)[0].lower()
    known = find_analyte(word)
    gender = analytes()[known.id].gender[-1] if known and word == known.name else ""
    gender = gender or (
        "f" if _FEMININE.match(first) else "m" if _MASCULINE.match(first) else "p" if re.match(r"\w{5,}s$", first) else ""
    )
    word = within(word)
    if gender in ("m", "f") and without_accents(word)[0] in "aeiouhAEIO":
        return f"l'{word}"
    return _ARTICLES.get(gender, "") + word


def wrapped(text: str, style: Style) -> str:
    """Paragraphs of a letter in lines of 80 to 120 characters, or unbroken; neither names nor values are split."""
    width = style.rng.choice((80, 100, 120, 100_000))
    paragraphs = (textwrap.fill(p, width, break_long_words=False, break_on_hyphens=False) for p in text.split("\n"))
    return "\n".join(paragraphs).replace(KEPT, " ")


def _sentence(line: Line, style: Style, kind: str) -> str:
    """A sentence (of `kind` in the table of phrases) that tells the result of `line`."""
    name = _noun(line).replace(" ", KEPT) + line.note
    if line.m is None:
        return f"{capital(name)} : {line.value}."
    value = f"{line.value} {line.unit}".strip()
    interval = ""
    if line.interval:
        inner = line.interval.strip("()[]")
        interval = f" (N : {inner})" if inner[0].isdigit() or inner[0] in "<>≤≥" else f" ({inner})"
        if style.tight and inner[0].isdigit():
            interval = f", pour des valeurs usuelles de {inner}"
    if line.earlier and line.earlier[0]:
        interval += f", contre {line.earlier[0]} le {style.dates[0]}"
    bound = interval.replace(" - ", f"{KEPT}-{KEPT}")
    return style.phrase(kind, le=name, Le=capital(name), v=value.replace(" ", KEPT), i=bound)


def prose(lines: Sequence[Line], style: Style, told: Told) -> str:
    """The laboratory's own sentences, one for each result."""
    sentences, joined = [style.phrase("prose_open")] if style.chance(0.5) else [], style.chance(0.2)
    for item in items(lines, style):
        sentences.append(f"\n{item} :" if isinstance(item, str) else _sentence(item, style, "prose"))
        if joined and style.chance(0.5):
            sentences[-1] = re.sub(r"\.$", style.rng.choice((" ;", ",")), sentences[-1])
        if style.chance(0.06):
            sentences.append(style.phrase("prose_filler"))
    return page(style, told, wrapped(" ".join(sentences), style).split("\n"))


def letter(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A doctor's letter: several results in a sentence, among doses, weights and dates."""
    text, group = style.phrase("letter_open", **told.words(style)) + "\n", []
    for item in [*items(lines, style), None]:
        if group and (not isinstance(item, Line) or item.m is None or len(group) == 3 or style.chance(0.4)):
            joined = ", ".join(group[:-1]) + (" et " if len(group) > 1 else "") + group[-1]
            text += f"{'' if text[-1].isspace() else ' '}{capital(joined)}."
            text += f" {style.phrase('letter_fact')}" * style.chance(0.12)
            group = []
        if isinstance(item, str):
            text += f"\n{item.capitalize() if item.isupper() else item} :"
        elif item and item.m is None:
            text += f" {_sentence(item, style, 'letter')}"
        elif item:
            group.append(_sentence(item, style, "letter"))
    text += "".join(f" {comment.replace(' ', KEPT)}." for comment in told.comments)
    return wrapped(f"{text}\n{style.phrase('letter_close')}", style)


def telegraphic(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A note of a ward: short, without headings, few intervals."""
    between = style.rng.choice((" / ", ", ", ", ", " - ", ". ", " "))
    parts = [told.short(style)] * bool(told.text) + [style.phrase("tele_open")] * style.chance(0.5)
    for line in lines:
        interval = f" (N {line.interval.strip('()[]')})" if line.interval else ""
        start = {"urine": "U : ", "lcr": "LCR : ", "autre": f"{line.section} : "}.get(line.specimen, "")
        past = f" ({line.earlier[0]} le {style.dates[0][:5]})" if line.earlier and line.earlier[0] else ""
        parts.append(f"{start}{line.name} {shown(line, style, True)}{interval}{past}")
    parts += [*told.comments, *[style.phrase("tele_close")] * style.chance(0.4)]
    return wrapped(between.join(part.replace(" ", KEPT) for part in parts), style)
