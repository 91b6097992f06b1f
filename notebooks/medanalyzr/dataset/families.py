"""Families of layouts for people: tables, lines, sentences, letters and notes. Each takes the lines of a report, the habits of
its laboratory and what is told of the patient, and returns the text.
"""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from medanalyzr.dataset.printing import TAG, Line, Style, Told, noun, pad, phrases

_KEPT = "\uf8fe"  # a space at which no line is broken
_ORDERS = (
    "n v u i e",
    "n v u i e",
    "n vu i e",
    "n v u e i",
    "n i vu e",
    "n v i u e",
    "n u v i e",
    "n e v u i",
    "n s v u i e",
    "n m v u i e",
)
Items = list[str | Line]  # headings and results


def _items(lines: Sequence[Line], style: Style, always: bool = False) -> Items:
    """The lines with their headings: of every section in some reports, of every other specimen than blood in all."""
    items, section, specimen, headed = [], "", "sang", always or style.chance(0.6)
    for line in lines:
        if line.specimen != specimen or (headed and line.section != section):
            kind = f"section:{line.section if headed or line.specimen != 'sang' else 'sang'}"
            if line.specimen == "sang" and specimen != "sang":
                items.append(style.phrase("section:sang"))
            elif kind in phrases():
                items.append(style.phrase(kind))
            else:
                items.append(line.section.upper())
        section, specimen = line.section, line.specimen
        items.append(line)
    return items


def _value(line: Line, style: Style, unit: bool) -> str:
    """Value, share and mark, with the unit where `unit`."""
    mark, at = line.mark, style.mark_at
    text = {
        "value": f"{line.value}{' ' if len(mark) > 2 else ''}{mark}",
        "value ": f"{line.value} {mark}",
        "before": f"{mark} {line.value}",
    }.get(at if mark else "", line.value)
    if line.share and style.shares == "before":
        text = f"{line.share} %  {'soit ' if style.small else ' '}{text}"
    if unit:
        text = f"{text} {_unit(line, style)}".rstrip()
    return text


def _unit(line: Line, style: Style) -> str:
    text = f"{line.unit} ({line.share} %)" if line.share and style.shares == "after" else line.unit
    return f"{text} {line.mark}".strip() if line.mark and style.mark_at == "unit" else text


def _name(line: Line, style: Style) -> str:
    return (f"{line.mark} " if line.mark and style.mark_at == "front" else "") + line.name + line.note


def _end(line: Line, style: Style) -> str:
    return f" {line.mark}" if line.mark and style.mark_at == "end" else ""


def _cells(line: Line, order: Sequence[str], style: Style) -> list[str]:
    """One cell for each field of `order`; as many for earlier results as there are."""
    cells: list[str] = []
    for field in order:
        if field == "e":
            cells += line.earlier or [""] * style.history
        else:
            cells.append({"n": _name(line, style), "v": _value(line, style, False), "u": _unit(line, style), "vu": _value(line, style, True),
                          "i": line.interval, "s": line.share, "m": line.mark}[field])  # fmt: skip
    if style.doubles and not style.tight:
        cells += line.second
    cells[-1] += _end(line, style)
    return cells


def _labels(order: Sequence[str], style: Style) -> list[str]:
    """The heads of the columns."""
    cells: list[str] = []
    for field in order:
        if field == "e":
            cells += (
                style.dates[: style.history]
                if style.small
                else [style.phrase("label:e") + f" {d}" for d in style.dates[: style.history]]
            )
        elif field[0] == "v" and style.history and style.small:
            cells.append(style.words["d"])
        else:
            cells.append(style.phrase(f"label:{field[0]}"))
    return cells + ([""] * 3 if style.doubles and not style.tight else [])


def _order(lines: Sequence[Line], style: Style) -> list[str]:
    """The fields in the order of this report; marks and shares in a column of their own stand nowhere else."""
    order = style.rng.choice(_ORDERS).split()
    if "m" in order:
        style.mark_at = "column"
    if "s" in order:
        style.shares = "column"
    empty = {"e": not style.history, "m": not any(line.mark for line in lines), "s": not any(line.share for line in lines)}
    return [field for field in order if not empty.get(field)]


def _table(lines: Sequence[Line], style: Style) -> tuple[list[list[str] | str], int]:
    """Rows of cells, headings among them as plain text, a head of labels first where the order needs one; and the columns."""
    order = _order(lines, style)
    needs = order.index("i") < 2 or order[1] in "es" or "s" in order
    rows: list[list[str] | str] = [item if isinstance(item, str) else _cells(item, order, style) for item in _items(lines, style)]
    if needs or style.chance(0.6):
        rows.insert(0, _labels(order, style))
    return rows, max(len(row) for row in rows if isinstance(row, list))


def _page(style: Style, told: Told, body: Iterable[str]) -> str:
    """A page: letter head, patient, results, comments and what stands at the foot."""
    rng = style.rng
    head = [style.phrase("lab")] * style.chance(0.6) + style.several("head", (0, 0, 1, 2, 4))
    title = [style.phrase("title")] * style.chance(0.3)
    sampled = [style.phrase("sampled")] * style.chance(0.35)
    who = [told.text] * bool(told.text)
    parts = [*head, *title, *who, *sampled] if style.chance(0.7) else [*who, *sampled, *head, *title]
    body = [*([""] if parts else []), *body]
    for comment in style.several("comment", (0, 0, 0, 1, 2)):
        body.insert(len(body) if style.chance(0.6) else rng.randint(1, len(body)), comment)
    foot = style.several("foot", (0, 0, 1, 2))
    return "\n".join([*parts, *body, *([""] if foot else []), *foot])


def columns(lines: Sequence[Line], style: Style, told: Told) -> str:
    rows, count = _table(lines, style)
    cells = [row for row in rows if isinstance(row, list)]
    gap, indent = style.rng.randint(2, 6), " " * style.rng.choice((0, 0, 2))
    widths = [max(len(TAG.sub("", row[i])) for row in cells if i < len(row)) + gap for i in range(count)]
    dots = style.chance(0.25)
    body: list[str] = []
    below = iter([line.below for line in lines])
    for place, row in enumerate(rows):
        if isinstance(row, str):
            body += [""] * style.chance(0.7) + [row]
            continue
        filled = [pad(cell, width) for cell, width in zip(row, widths, strict=False)]
        if dots and not (place == 0 and len(rows) > len(lines) and row[0] in phrases()["label:n"]):
            filled[0] = row[0] + " " + "." * (len(filled[0]) - len(row[0]) + 3) + " "
        body.append((indent + "".join(filled)).rstrip())
        if row[0] not in phrases()["label:n"] and (method := next(below)):
            body.append(indent + "   " + method)
    return _page(style, told, body)


def separated(separator: str, ends: str = "") -> Callable[[Sequence[Line], Style, Told], str]:
    """A table with a separator between its cells, as text copied from a program holds it."""

    def family(lines: Sequence[Line], style: Style, told: Told) -> str:
        rows, count = _table(lines, style)
        mark = style.rng.choice((ends, ends, ""))
        body = []
        for row in rows:
            cells = [row] if isinstance(row, str) else row
            if isinstance(row, list) or mark:
                cells = [*cells, *[""] * (count - len(cells))]
            body.append(f"{mark} {separator.join(cells)} {mark}".strip(" "))
        if mark and style.chance(0.4):
            body.insert(1, "|" + "---|" * count)
        return _page(style, told, body)

    return family


def csv_text(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Rows of a CSV file, patient and headings among them, quoted where need be or throughout."""
    rows, count = _table(lines, style)
    out, separator = io.StringIO(), style.rng.choice(";;;,,")
    quoting = csv.QUOTE_ALL if style.chance(0.25) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator="\n")
    writer.writerows([part.strip()] for part in re.split(r"[\n\t]", told.text) if told.text)
    writer.writerows([row, *[""] * (count - 1)] if isinstance(row, str) else row for row in rows)
    return out.getvalue().rstrip("\n")


def _phrased(line: Line, style: Style, separator: str) -> str:
    """A result on one line: name, separator, value and unit, interval, earlier results."""
    interval = line.interval if not line.interval or not line.interval[0].isdigit() or style.tight else f"({line.interval})"
    in_name = style.unit_too and line.unit
    name = _name(line, style) + (f" ({line.unit})" if in_name else "")
    if separator.isspace() and name[-1:].isdigit():
        separator = " : "
    value = _value(line, style, not in_name)
    if line.second[0] and style.doubles:
        value += f" soit {line.second[0]} {line.second[1]}"
    past = [style.phrase("earlier", v=v) for v in line.earlier[:1] if v]
    parts = [interval, value] if style.interval_first and interval[:1] in "([" else [value, interval]
    return f"{name}{separator}{' '.join(filter(None, (*parts, *past)))}{_end(line, style)}"


def colon(lines: Sequence[Line], style: Style, told: Told) -> str:
    bullet, separator = style.rng.choice(("", "", "", "- ", "* ", "• ")), style.rng.choice((" : ", " : ", ": ", " = ", " ", "\t: "))
    return _page(style, told, [x if isinstance(x, str) else bullet + _phrased(x, style, separator) for x in _items(lines, style)])


def inline(lines: Sequence[Line], style: Style, told: Told) -> str:
    between, separator = style.rng.choice((" ; ", " ; ", ", ", " | ")), style.rng.choice((" ", " : ", " = "))
    body: list[str] = []
    for item in _items(lines, style):
        if isinstance(item, str):
            body.append(f"{item} :")
        elif body and (len(body[-1]) < 90 or style.chance(0.3)):
            body[-1] += (" " if body[-1].endswith(" :") else between) + _phrased(item, style, separator)
        else:
            body.append(_phrased(item, style, separator))
    return _page(style, told, body)


def _wrapped(text: str, style: Style) -> str:
    """Paragraphs of a letter in lines of 80 to 120 characters, or unbroken; neither names nor values are split."""
    width = style.rng.choice((80, 100, 120, 100_000))
    paragraphs = (textwrap.fill(p, width, break_long_words=False, break_on_hyphens=False) for p in text.split("\n"))
    return "\n".join(paragraphs).replace(_KEPT, " ")


def _sentence(line: Line, style: Style, kind: str) -> str:
    """A sentence (of `kind` in the table of phrases) that tells the result of `line`."""
    name = noun(line).replace(" ", _KEPT) + line.note
    if line.m is None:
        return f"{name[0].upper()}{name[1:]} : {line.value}."
    value = f"{line.value} {line.unit}".strip()
    interval = ""
    if line.interval:
        inner = line.interval.strip("()[]")
        interval = f" (N : {inner})" if inner[0].isdigit() or inner[0] in "<>≤≥" else f" ({inner})"
        if style.tight and inner[0].isdigit():
            interval = f", pour des valeurs usuelles de {inner}"
    if line.earlier and line.earlier[0]:
        interval += f", contre {line.earlier[0]} le {style.dates[0]}"
    filled = {
        "le": name,
        "Le": name[0].upper() + name[1:],
        "v": value.replace(" ", _KEPT),
        "i": interval.replace(" - ", f"{_KEPT}-{_KEPT}"),
    }
    return style.phrase(kind, **filled)


def prose(lines: Sequence[Line], style: Style, told: Told) -> str:
    sentences = [style.phrase("prose_open")] if style.chance(0.5) else []
    for item in _items(lines, style):
        sentences.append(f"\n{item} :" if isinstance(item, str) else _sentence(item, style, "prose"))
        if style.chance(0.06):
            sentences.append(style.phrase("prose_filler"))
    return _page(style, told, _wrapped(" ".join(sentences), style).split("\n"))


def letter(lines: Sequence[Line], style: Style, told: Told) -> str:
    text, group = style.phrase("letter_open", **told.words(style)) + "\n", []
    for item in [*_items(lines, style), None]:
        if group and (not isinstance(item, Line) or item.m is None or len(group) == 3 or style.chance(0.4)):
            joined = ", ".join(group[:-1]) + (" et " if len(group) > 1 else "") + group[-1]
            text += f"{'' if text[-1].isspace() else ' '}{joined[0].upper()}{joined[1:]}."
            text += f" {style.phrase('letter_fact')}" * style.chance(0.12)
            group = []
        if isinstance(item, str):
            text += f"\n{item.capitalize()} :"
        elif item and item.m is None:
            text += f" {_sentence(item, style, 'letter')}"
        elif item:
            sentence = _sentence(item, style, "letter")
            group.append(sentence if not group else sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence)
    return _wrapped(f"{text}\n{style.phrase('letter_close')}", style)


def telegraphic(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A note of a ward: short, without headings, few intervals."""
    between = style.rng.choice((" / ", ", ", ", ", " - ", ". ", " "))
    parts = [told.short(style)] * bool(told.text) + [style.phrase("tele_open")] * style.chance(0.5)
    for line in lines:
        interval = f" (N {line.interval.strip('()[]')})" if line.interval else ""
        start = {"urine": "U : ", "lcr": "LCR : ", "autre": f"{line.section} : "}.get(line.specimen, "")
        past = f" ({line.earlier[0]} le {style.dates[0][:5]})" if line.earlier and line.earlier[0] else ""
        parts.append(f"{start}{line.name} {_value(line, style, True)}{interval}{past}")
    parts += [style.phrase("tele_close")] * style.chance(0.4)
    return _wrapped(between.join(part.replace(" ", _KEPT) for part in parts), style)


def following_lines(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Value and interval on the lines after the name, as a copied PDF has them."""
    how, body = style.rng.choice(("v u|i", "v u i", "v u|i", "v|u|i", "i|v u", "v u|i|e")), []
    for item in _items(lines, style):
        if isinstance(item, str):
            body += ["", item]
            continue
        cells = {"v": _value(item, style, False), "u": _unit(item, style), "i": item.interval, "e": next(iter(item.earlier), "")}
        body.append(_name(item, style))
        body += [item.below] * bool(item.below)
        for row in how.split("|"):
            text = " ".join(cells[field] for field in row.split()).strip()
            body += [text and style.phrase("earlier", v=text) if row == "e" and text else text] * bool(text)
        body += [""] * style.tight
    return _page(style, told, body)


def two_columns(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Two results side by side."""
    items = _items(lines, style)
    cells = [
        x if isinstance(x, str) else f"{_name(x, style)}  {_value(x, style, True)}  {x.interval}".rstrip() + _end(x, style)
        for x in items
    ]
    width = max(map(len, cells)) + style.rng.randint(3, 8)
    bar, body, left = style.rng.choice(("", "", "| ")), [], ""
    for item, cell in zip([*items, ""], [*cells, ""], strict=True):
        if isinstance(item, str):
            body += [left.rstrip()] * bool(left) + [cell]
            left = ""
        elif left:
            body.append(left + bar + cell)
            left = ""
        else:
            left = pad(cell, width)
    return _page(style, told, body)


def noisy(line: Line, style: Style) -> Line:
    """A line as bad recognition leaves it: letters for digits, letters changed; a value keeps one reading."""

    def digits(text: str) -> str:
        found = [c if not style.chance(0.3) else {"0": "O", "1": style.rng.choice("lI")}.get(c, c) for c in text]
        return "".join(found) if re.search(r"[2-9]", text) or sum(map(str.isdigit, found)) else text

    def letters(text: str) -> str:
        places = [i for i, c in enumerate(text) if c in "ileéoam" and i]
        if len(text) < 5 or not places or not style.chance(0.4):
            return text
        i = style.rng.choice(places)
        new = {"i": "l", "l": "1", "e": "c", "é": "e", "o": "0", "a": "a ", "m": "rn"}[text[i]]
        return text[:i] + new + text[i + 1 :]

    value = digits(line.value)
    if style.chance(0.1):
        value = re.sub(r"(?<=\d)([.,])(?=\d)", style.rng.choice((r" \1", r"\1 ")), value)
    if line.m is None:
        return line
    name = letters(line.name)
    return replace(line, m=replace(line.m, name=name), name=name, value=value, interval=digits(line.interval),
                   unit=line.unit.replace("l", "I") if style.chance(0.3) else line.unit)  # fmt: skip


def ocr(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A table that was photographed: `noisy` lines in one of the layouts for eyes."""
    return style.rng.choice((columns, colon, columns))(lines, style, told)
