"""Families of layouts that people look through: tables and lines, of a report's lines, its laboratory's habits and its patient."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

from medanalyzr.dataset.composer.asides import aside
from medanalyzr.dataset.composer.printing import TAG, Line, Style, Told, pad, phrases

Items = list[str | Line]  # headings and results


def items(lines: Sequence[Line], style: Style) -> Items:
    """The lines with their headings: of every section in some reports, of every other specimen than blood in all."""
    found, section, specimen, headed = [], "", "sang", style.chance(0.6)
    for line in lines:
        if line.specimen != specimen or (headed and line.section != section):
            kind = f"section:{'sang' if line.specimen == 'sang' != specimen else line.section}"
            found.append(style.phrase(kind) if kind in phrases() else line.section.upper())
        section, specimen = line.section, line.specimen
        found.append(line)
    return found


def bounds(line: Line, style: Style) -> tuple[str, str]:
    """The lower and the upper bound, each as printed; "" where there is none."""
    return style.bounds(line.m) if line.m else ("", "")


def shown(line: Line, style: Style, unit: bool) -> str:
    """Value, share and mark, with the unit where `unit`."""
    mark, at = line.mark, style.mark_at if line.mark else ""
    text = f"{mark} {line.value}" if at == "before" else line.value
    if at in ("value", "value "):
        text += f"{'' if at == 'value' and len(mark) < 3 else ' '}{mark}"
    if line.share and style.shares == "before":
        text = f"{line.share} %  {'soit ' if style.small else ' '}{text}"
    return f"{text} {_unit(line, style)}".rstrip() if unit and line.m else text


def _unit(line: Line, style: Style) -> str:
    text = f"{line.unit} ({line.share} %)" if line.share and style.shares == "after" else line.unit
    return f"{text} {line.mark}".strip() if line.mark and style.mark_at == "unit" else text


def _name(line: Line, style: Style) -> str:
    return (f"{line.mark} " if line.mark and style.mark_at == "front" else "") + line.name + line.note


def _end(line: Line, style: Style) -> str:
    return f" {line.mark}" if line.mark and style.mark_at == "end" else ""


def _cells(line: Line, order: Sequence[str], style: Style) -> list[str]:
    """One cell for each field of `order`; as many for earlier results as there are."""
    low, high = bounds(line, style)
    known = {"n": _name(line, style), "v": shown(line, style, False), "u": _unit(line, style), "vu": shown(line, style, True),
             "i": line.interval, "s": line.share, "m": line.mark, "low": low, "high": high,
             "men": line.by_sex[0], "women": line.by_sex[1]}  # fmt: skip
    cells: list[str] = []
    for field in order:
        if field == "e":
            cells += line.earlier or [""] * style.history
        else:
            cells.append(known[field] if field in known else aside(line, field, style))
    if style.doubles and not style.tight:
        cells += line.second
    cells[-1] += _end(line, style)
    return cells


def _labels(order: Sequence[str], style: Style) -> list[str]:
    """The heads of the columns."""
    dates = style.dates[: style.history]
    cells: list[str] = []
    for field in order:
        if field == "e":
            cells += dates if style.small else [f"{style.phrase('label:e')} {day}" for day in dates]
        elif field[0] == "v" and dates and style.small:
            cells.append(style.words["d"])
        else:
            cells.append(style.phrase(f"label:{field.removesuffix('u') or 'u'}"))
    return cells + ([""] * 3 if style.doubles and not style.tight else [])


def _order(lines: Sequence[Line], style: Style) -> list[str]:
    """The fields in the order of this report; marks and shares in a column of their own stand nowhere else.

    In some reports the interval takes two columns: its bounds, or one for men and one for women. And columns stand between that
    hold neither values nor intervals.
    """
    order = style.rng.choice(phrases()["order"]).split()
    for wanted, two in ((any(line.by_sex[0] for line in lines), ["men", "women"]),
                        (style.apart and not any(line.m and line.m.interval_unit for line in lines), ["low", "high"])):  # fmt: skip
        if wanted and "i" in order:
            order = [field for x in order for field in (two if x == "i" else [x])]
    if style.chance(0.15):
        for kind in style.rng.sample(("same", "code", "date", "technique", "state", "specimen"), style.rng.choice((1, 1, 2, 3))):
            order.insert(style.rng.randint(0, len(order)), kind)
    if style.leant and "specimen" not in order and len({line.specimen for line in lines}) > 1 and style.chance(0.3):
        order.insert(style.rng.randint(0, len(order)), "specimen")
    if style.leant and "e" in order and style.chance(0.25):  # the earlier results before the current one
        order.remove("e")
        order.insert(order.index(next(field for field in order if field[0] == "v")), "e")
    if "m" in order:
        style.mark_at = "column"
    if "s" in order:
        style.shares = "column"
    empty = {"e": not style.history, "m": not any(line.mark for line in lines), "s": not any(line.share for line in lines)}
    return [field for field in order if not empty.get(field)]


def _table(lines: Sequence[Line], style: Style) -> tuple[list[tuple[list[str] | str, str]], int]:
    """Rows of cells, each with the remark below it; headings as plain text; a head of labels where the order needs one. And the columns."""
    order = _order(lines, style)
    value = next(place for place, field in enumerate(order) if field[0] == "v")
    needs = {"e", "s", "men", "date"} & set(order) or any(field in ("i", "low") for field in order[:value])
    told = style.leant and "specimen" in order and style.chance(0.7) and "autre" not in {line.specimen for line in lines}
    rows = [(x, "") if isinstance(x, str) else (_cells(x, order, style), x.below) for x in (lines if told else items(lines, style))]
    if needs or style.chance(0.6):
        labels = _labels(order, style)
        if style.history and style.chance(0.3):  # the dates on a line of their own
            days = [next((day for day in (*style.dates, style.words["d"]) if day in cell), "") for cell in labels]
            rows.insert(0, (days, ""))
            labels = [cell.replace(day, "").strip() if day else cell for cell, day in zip(labels, days, strict=True)]
        rows.insert(0, (labels, ""))
    return rows, max(len(row) for row, _ in rows if isinstance(row, list))


def beside(left: Sequence[str], right: Sequence[str], gap: str) -> list[str]:
    """Two blocks of lines, one at the side of the other."""
    width = max(len(TAG.sub("", text)) for text in left)
    return [f"{pad(a, width)}{gap}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]


def page(style: Style, told: Told, body: Iterable[str], between: bool = True) -> str:
    """A page: letter head, patient, results, comments (among the results only if `between`) and what stands at the foot."""
    rng = style.rng
    head = [style.phrase("lab")] * style.chance(0.6) + style.several("head", (0, 0, 1, 2, 4))
    title = [style.phrase("title")] * style.chance(0.3)
    sampled = [style.phrase("sampled")] * (style.words["d"] not in told.text and style.chance(0.35))
    who, last = [told.text] * bool(told.text), []
    if style.told_at == "foot":
        who, last = [], who
    elif style.told_at == "beside" and who and head:
        blocks = (head, told.parts()) if style.small else (told.parts(), head)
        who, head = [], beside(*blocks, " " * (9 if style.tight else 4))
    parts = [*head, *title, *who, *sampled] if style.chance(0.7) else [*who, *sampled, *head, *title]
    body = [*([""] if parts else []), *body, *told.comments]
    for comment in (style.several("remark", (0, 0, 0, 1)) if style.leant else []) + style.several("comment", (0, 0, 0, 1, 2)):
        body.insert(len(body) if not between or style.chance(0.6) else rng.randint(1, len(body)), comment)
    foot = style.several("foot", (0, 0, 1, 2))
    return "\n".join([*parts, *body, *last, *([""] if foot else []), *foot])


def columns(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A table in columns of spaces, or of dots after the names."""
    rows, count = _table(lines, style)
    gap, indent, dots = style.rng.randint(2, 6), " " * style.rng.choice((0, 0, 2)), style.chance(0.25)
    cells = [row for row, _ in rows if isinstance(row, list)]
    widths = [max(len(TAG.sub("", row[i])) for row in cells if i < len(row)) + gap for i in range(count)]
    body: list[str] = []
    for row, below in rows:
        if isinstance(row, str):
            body += [""] * style.chance(0.7) + [row]
            continue
        filled = [pad(cell, width) for cell, width in zip(row, widths, strict=False)]
        if dots:
            filled[0] = f"{row[0]} {'.' * (len(filled[0]) - len(row[0]))} "
        body += [(indent + "".join(filled)).rstrip()] + [f"{indent}   {below}"] * bool(below)
    return page(style, told, body)


def separated(separator: str, ends: str, *tight: str) -> Callable[[Sequence[Line], Style, Told], str]:
    """A table with a separator between its cells, as text copied from a program holds it; `tight` are others in use."""

    def family(lines: Sequence[Line], style: Style, told: Told) -> str:
        rows, count = _table(lines, style)
        mark, between = style.rng.choice((ends, ends, "")), style.rng.choice((separator, separator, *tight))
        body = []
        for row, _ in rows:
            cells = [row] if isinstance(row, str) else row
            if isinstance(row, list) or mark:
                cells = [*cells, *[""] * (count - len(cells))]
            body.append(f"{mark} {between.join(cells)} {mark}".strip(" "))
        if mark and style.chance(0.4):
            body.insert(1, "|" + "---|" * count)
        return page(style, told, body)

    return family


def csv_text(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Rows of a CSV file, patient and headings among them, quoted where need be or throughout."""
    rows, count = _table(lines, style)
    out, separator = io.StringIO(), style.rng.choice(";;;,,")
    quoting = csv.QUOTE_ALL if style.chance(0.25) else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator="\n")
    who = [[part.strip()] for part in re.split(r"[\n\t]", told.text) if told.text]
    results = [[row, *[""] * (count - 1)] if isinstance(row, str) else row for row, _ in rows]
    writer.writerows([*results, *who] if style.told_at == "foot" else [*who, *results])
    writer.writerows([comment] for comment in told.comments)
    return out.getvalue().rstrip("\n")


def _phrased(line: Line, style: Style, separator: str) -> str:
    """A result on one line: name, separator, value and unit, interval, earlier results."""
    interval = line.interval if not line.interval or not line.interval[0].isdigit() or style.tight else f"({line.interval})"
    in_name = style.unit_too and line.unit
    name = _name(line, style) + (f" ({line.unit})" if in_name else "")
    if separator.isspace() and name[-1:].isdigit():
        separator = " : "
    value = shown(line, style, not in_name)
    past = [f"soit {' '.join(line.second)}"] * bool(line.second[0]) + [style.phrase("earlier", v=v) for v in line.earlier[:1] if v]
    parts = [interval, value] if style.interval_first and interval[:1] in "([" else [value, interval]
    return f"{name}{separator}{' '.join(filter(None, (*parts, *past)))}{_end(line, style)}"


def colon(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A result on each line, after a colon, an equals sign or a space."""
    bullet, separator = style.rng.choice(("", "", "", "- ", "* ", "• ")), style.rng.choice((" : ", " : ", ": ", " = ", " ", "\t: "))
    return page(style, told, [x if isinstance(x, str) else bullet + _phrased(x, style, separator) for x in items(lines, style)])


def inline(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Several results on a line, one after the other."""
    between, separator = style.rng.choice((" ; ", " ; ", ", ", " | ", "    ", ". ")), style.rng.choice((" ", " : ", " = "))
    body: list[str] = []
    for item in items(lines, style):
        if isinstance(item, str):
            body.append(f"{item} :")
        elif body and (len(body[-1]) < 90 or style.chance(0.3)):
            body[-1] += (" " if body[-1].endswith(" :") else between) + _phrased(item, style, separator)
        else:
            body.append(_phrased(item, style, separator))
    return page(style, told, body)


def following_lines(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Value and interval on the lines after the name, as a copied PDF has them."""
    how, body = style.rng.choice(("v u|i", "v u i", "v u|i", "v|u|i", "i|v u", "v u|i|e")), []
    for item in items(lines, style):
        if isinstance(item, str):
            body += ["", item]
            continue
        cells = {"v": shown(item, style, False), "u": _unit(item, style), "i": item.interval, "e": next(iter(item.earlier), "")}
        body.append(_name(item, style))
        body += [item.below] * bool(item.below)
        for row in how.split("|"):
            text = " ".join(cells[field] for field in row.split()).strip()
            body += [style.phrase("earlier", v=text) if row == "e" else text] * bool(text)
        body += [""] * style.tight
    return page(style, told, body, between=False)


def two_columns(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Two results side by side."""
    every = items(lines, style)
    texts = {id(x): f"{_name(x, style)}  {shown(x, style, True)}  {x.interval}" for x in every if isinstance(x, Line)}
    cells = [x if isinstance(x, str) else texts[id(x)].rstrip() + _end(x, style) for x in every]
    width = max(map(len, cells)) + style.rng.randint(3, 8)
    bar, body, left = style.rng.choice(("", "", "| ")), [], ""
    for item, cell in zip([*every, ""], [*cells, ""], strict=True):
        if isinstance(item, str):
            body += [left.rstrip()] * bool(left) + [cell]
            left = ""
        elif left:
            body.append(left + bar + cell)
            left = ""
        else:
            left = pad(cell, width)
    return page(style, told, body)


def _apart(interval: str, style: Style) -> list[str]:
    """An interval as it stands in a field; of half of the results in training those of both sexes in fields of their own."""
    both = style.leant and re.match(r"[HF] : ", interval) and style.chance(0.5)
    return re.split(r"(?: ; | {3})(?=[HF] : )", interval) if both else [interval]


def blocks(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A block for each result: its name, then lines that say what they hold, or one line with value and interval."""
    rng = style.rng
    words = [rng.choice(phrases()[f"block:{kind}"]) for kind in "nvuie"]
    how, indent = rng.choice(("one", "labels", "labels", "all", "half")), rng.choice(("", "  ", "\t", "- "))
    sign = rng.choice((" : ", ": ", " = ", "\t"))
    body: Items = []
    for item in items(lines, style):
        if isinstance(item, str):
            body += ["", item]
            continue
        value, past = shown(item, style, True), next(iter(item.earlier), "")
        fields = [(1, value), *((3, text) for text in _apart(item.interval, style)), (4, past)]
        if how == "all":
            fields = [(1, shown(item, style, False)), (2, _unit(item, style)), *fields[1:]]
        rows = [f"{words[i]}{sign}{text}" for i, text in fields if text]
        if how == "one":
            pair = (item.interval, value) if style.interval_first and item.interval[:1] in ("(", "[") else (value, item.interval)
            rows = ["  ".join(filter(None, (*pair, past and style.phrase("earlier", v=past))))]
        elif how == "half":
            rows = [f"{indent}{row}" for row in rows[1:]]
        elif style.interval_first:
            rows.sort(key=lambda row: not row.startswith(words[3]))
        head = f"{words[0]}{sign}{_name(item, style)}" if how == "all" else _name(item, style)
        body += [f"{head}{sign}{value}" if how == "half" else head, *[item.below] * bool(item.below)]
        body += rows if how == "half" else [indent + row for row in rows]
        body += [""] * style.tight
    return page(style, told, body, between=False)


def ocr(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A table that was photographed: `noisy` lines in one of the layouts for eyes."""
    return style.rng.choice((columns, colon, columns))(lines, style, told)
