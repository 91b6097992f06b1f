"""Items of a row under the heads of their columns: which value is today's, which bounds are whose.

What stands under no head, or under another one than its rank says, is refused: columns have slipped.
"""

from medanalyzr.lab.reading.lines import columns
from medanalyzr.lab.reading.tokens import Item, Refused, Row, today_only

NOT_TODAY = "aucun résultat du jour"


def assign(row: Row) -> list[Item]:
    """The items of a row under the heads of its columns: without earlier results and comments, bounds as intervals.

    Raises:
        Refused: the columns cannot be told apart, or they hold no result of the day.
    """
    printed, header, low, high = today_only(row.items), row.header, None, None
    if header is None:
        return _labelled(printed)
    if header.broken:
        raise Refused("colonnes non comprises")
    kept, today, stray = [], [], []
    place, over = _placed(row, printed), {}
    for item in printed:
        column = place.get(id(item))
        role = column.role if column else ""
        over[id(item)] = role
        if role in ("comment", "code", "mark", "rowdate", "name", "specimen"):
            continue
        if role == "prev" and (item.kind != "interval" or item.sign):
            continue
        if role in ("low", "high") and item.kind == "value":
            low, high = (item, high) if role == "low" else (low, item)
            continue
        if role == "percent" and item.kind == "value":
            item.unit = item.unit or "%"
        if role == "norm":
            if item.kind == "value" and header.split:
                raise Refused("intervalle non compris")
            item.label = item.label or column.label
        if role == "before" and row.sample and column.pos != row.sample:
            continue
        if role in ("result", "before") and (item.kind == "value" or item.sign):
            today.append(item)
        elif item.kind == "value" and not item.unit and item.line == row.line and role in ("", "unit", "norm"):
            stray.append(item)
        if role == "unit" and item.kind in ("word", "mark"):
            item.kind = "unit" if item.kind == "word" else "mark"
        kept.append(item)
    if stray and (today or stray[-1].pos > header.columns[-1].end):
        raise Refused("colonnes décalées")
    labels = {bool(i.label) for i in kept if i.kind == "interval" and i.line == row.line}
    if len(labels) == 2 and any(c.label for c in header.columns):
        raise Refused("intervalle pour quel patient ?")
    if today:
        kept = [
            i
            for i in kept
            if i in today or (i.kind != "value" and not i.sign) or i.unit or i.line != row.line or over[id(i)] != "other"
        ]
        for item in today:
            if item.kind == "interval":
                item.kind, item.low, item.high = "value", None, None
    elif header.has("prev") and not any(i.kind == "value" for i in kept) and any(i.kind == "value" for i in printed):
        raise Refused(NOT_TODAY)
    elif header.split and header.has("result") and any(i.kind == "value" and over[id(i)] == "other" for i in kept):
        raise Refused(NOT_TODAY)  # «Mère», «N-1» beside an empty cell
    if low or high:
        text = " - ".join(i.text for i in (low, high) if i)
        bound = Item("interval", text, (low or high).pos, (high or low).end, 0, row.line)
        bound.low, bound.high = low and low.value, high and high.value
        bound.sign = "" if low and high else ">" if low else "<"
        kept.append(bound)
    return _labelled(kept)


def _placed(row: Row, printed: list[Item]) -> dict[int, columns.Column]:
    """The column of each item of the row's line.

    Where signs part the cells, by their number. Where spaces do: by rank, if there are as many values (intervals) as columns for
    them; else by place, which must agree to a character and keep the order of the heads.
    """
    header, here = row.header, sorted((i for i in printed if i.line == row.line), key=lambda i: i.pos)
    if header.split:
        if row.width < header.columns[-1].pos // columns.STEP + 1 and header.has("prev"):
            return _by_rank(header, here) or _shifted()
        return {id(i): c for i in here if (c := header.over(i.pos, i.end))}
    place = _by_rank(header, here)
    if place:
        return place
    labels = [c for c in header.columns if c.label]
    for_all = labels[0] if len(labels) == 1 else None
    for item in here:
        column = for_all if for_all and item.kind == "interval" else header.over(item.pos, item.end)
        if column is None:
            continue
        decisive = (column.role in ("prev", "before") and item.kind != "unit") or (
            len(labels) > 1 and column.label and item.kind == "interval"
        )
        if decisive and not _aligned(item, column) and (item.kind == "value" or item.sign or column.label):
            _shifted()
        place[id(item)] = column
    for item in here if header.has("prev", "before") else ():
        kind = {"unit": "unit", "interval": "norm"}.get(item.kind, "")
        if header.has(kind) and not item.sign and (header.over(item.pos, item.end) or header.columns[0]).role != kind:
            _shifted()
    norm = next((c for c in header.columns if c.role == "norm"), None)
    bound = next((i for i in here if i.kind == "interval" and not i.sign), None)
    for item in here if norm and bound else ():
        column = place.get(id(item))
        if column and column.role == "prev" and item.kind == "value" and (norm.pos < column.pos) != (bound.pos < item.pos):
            _shifted()
    return place


def _by_rank(header: columns.Header, here: list[Item]) -> dict[int, columns.Column]:
    """Values and intervals under their heads in order, where there are as many of them as heads; {} where it is otherwise."""
    heads, labels = header.values(), [c for c in header.columns if c.label]
    bounds = [i for i in here if i.kind == "interval" and not i.sign]
    signed = [i for i in here if i.kind == "interval" and i.sign]
    if len(labels) > 1:
        bounds, signed = sorted(bounds + signed, key=lambda i: i.pos), []
    lone = bool(signed) and not bounds and header.has("norm") and not any(i.closed for i in signed)  # one of them is the bound
    values = sorted([i for i in here if i.kind == "value"] + [i for i in signed if not i.closed], key=lambda i: i.pos)
    if lone and len(values) == len(heads) + 1:
        rank = sum(c.pos < next(k.pos for k in header.columns if k.role == "norm") for c in heads)
        values = [v for n, v in enumerate(values) if n != rank]
    elif lone:
        values = []
    place: dict[int, columns.Column] = {}
    if header.has("result", "before") and len(heads) > 1 and len(values) == len(heads):
        place |= {id(v): c for v, c in zip(values, heads, strict=True)}
    elif len(heads) > 1 or header.has("prev"):
        return {}
    if labels and len(bounds) == len(labels):
        place |= {id(i): c for i, c in zip(bounds, labels, strict=True)}
    elif labels:
        return {}
    return place


def _aligned(item: Item, column: columns.Column) -> bool:
    """Whether an item stands under a head: same first or last character, or same middle."""
    return min(abs(item.pos - column.pos), abs(item.end - column.end), abs(item.pos + item.end - column.pos - column.end) / 2) <= 1


def _shifted() -> None:
    raise Refused("colonnes décalées")


def _labelled(printed: list[Item]) -> list[Item]:
    """The items with each label («Homme», «1 à 3 ans») put on the intervals that follow it on its line."""
    kept, label = [], None
    for item in printed:
        if item.kind == "label":
            label = item
        elif item.kind == "interval" and label and item.line == label.line:
            item.label = f"{label.text} {item.label}".strip()
            kept.append(item)
        else:
            kept.append(item)
    if label and not any(i.kind == "interval" and label.text in i.label for i in kept):
        raise Refused("intervalle pour quel patient ?")
    return kept
