"""Pages whose columns stand beside each other: two tables, results under their names, results beside the patient or a margin.

None is the held-out page of two columns, which runs on from the left result to the right one.
"""

from collections.abc import Sequence
from dataclasses import replace

from medanalyzr.dataset.composer.families import beside, columns, items, page, shown
from medanalyzr.dataset.composer.printing import TAG, Line, Style, Told, pad


def _rows(lines: Sequence[Line], style: Style) -> list[list[str]]:
    """Each result as name, value with unit, and interval; headings as one cell."""
    return [[x] if isinstance(x, str) else [x.name + x.note, shown(x, style, True), x.interval] for x in items(lines, style)]


def _aligned(rows: Sequence[Sequence[str]], gap: str) -> list[str]:
    """Rows of cells in columns; a row of one cell is a heading, and takes all the room it needs."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(TAG.sub("", cell)) for cell in column) for column in zip(*full, strict=True)]
    return [row[0] if len(row) == 1 else gap.join(map(pad, row, widths)).rstrip() for row in rows]


def halves(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Two tables beside each other, each read downwards; with other specimens than blood, one table."""
    if len(lines) < 4 or any(line.specimen != "sang" for line in lines):
        return columns(lines, style, told)
    style.mark_at, half = "value", style.rng.randint(len(lines) // 2, (len(lines) + 1) // 2)
    left, right = (_aligned(_rows(part, style), " " * style.rng.randint(2, 3)) for part in (lines[:half], lines[half:]))
    return page(style, told, beside(left, right, style.rng.choice((" | ", " || ", "     ", "  ¦  ", "\t"))), between=False)


def grid(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Names in one row, their values in the next, then units and intervals: a column for each result, as analysers print them."""
    rng, body, run = style.rng, [], []
    style.mark_at, size, apart = "value", rng.choice((2, 3, 4, 6)), style.chance(0.5)
    gap, empty = rng.choice(("  ", "   ", " | ", "\t", " ; ")), rng.choice(("-", "--", "/", ""))
    labels = [style.phrase(f"label:{kind}") for kind in "nvui"] if style.chance(0.6) else []
    for item in [*items(lines, style), ""]:
        if run and (isinstance(item, str) or len(run) == size):
            rows = [[x.name for x in run], [shown(x, style, not apart) for x in run], [x.unit or empty for x in run],
                    [x.interval or empty for x in run]]  # fmt: skip
            rows = [[label, *row] for label, row in zip(labels, rows, strict=True)] if labels else rows
            body += [*_aligned([row if len(row) > 1 else [*row, ""] for row in rows if apart or row is not rows[2]], gap), ""]
            run = []
        if isinstance(item, Line):
            run.append(item)
        elif item:
            body.append(item)
    return page(style, told, body[:-1], between=False)


def margin(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Results beside a margin, which tells of patient, laboratory and request."""
    style.mark_at, style.told_at = "value", ""
    head = style.several("head", (1, 2, 4)) + [style.phrase("lab")] * style.chance(0.4)
    side = told.parts() + head if style.chance(0.6) else head + told.parts()
    results = _aligned(_rows(lines, style), " " * style.rng.randint(2, 4))
    gap = style.rng.choice(("   ", " | ", "      ", "  ¦  "))
    start = style.rng.randint(0, max(0, len(results) - len(side)))
    blocks = (results, [""] * start + side) if style.chance(0.65) else (side, [""] * style.chance(0.5) + results)
    return page(style, replace(told, text=""), beside(*blocks, gap), between=False)
