"""From rows to results: one value of today, its unit, the interval of this patient; refused where another reading is possible."""

import re
from dataclasses import replace

from medanalyzr.lab.engine.facts import flag
from medanalyzr.lab.reading.lines.placing import assign
from medanalyzr.lab.reading.names import harmless, specimen_of
from medanalyzr.lab.reading.patient import Patient, meant_for
from medanalyzr.lab.reading.tokens import REFERENCE_ALONE, Item, Refused, Row, digits, interval_of_both, number
from medanalyzr.lab.references import analytes, convert, critical_limits, fold, reference_interval
from medanalyzr.lab.report import Measurement
from medanalyzr.lab.units import known_unit, plain

SHARES = {"pnn", "lymphocytes", "monocytes", "eosinophiles", "basophiles"}  # printed in % of the leucocytes and as counts
_UP, _DOWN = re.compile(r"H|↑|▲|↗|⬆|\+|[ée]lev|haut", re.IGNORECASE), re.compile(r"B|L|↓|▼|↘|⬇|(?<!\()-|\bbas", re.IGNORECASE)


def _measured(row: Row, printed: list[Item]) -> tuple[list[Item], list[Item]]:
    """The values and the intervals among the items of a row; `< 5` is a value where nothing else can be."""
    values = [i for i in printed if i.kind == "value"]
    intervals = [i for i in printed if i.kind == "interval"]
    if not values:
        signed = [i for i in intervals if i.sign and not i.closed and not i.label]
        if not signed:
            return [], intervals
        first = signed[0]
        usual = _fits(row.analyte, known_unit(first.unit, row.analyte) or "", first)
        beside = first.line == row.line and (row.colon or (first.cell == 0 and row.header is None and not usual))
        bounded = len(intervals) > 1 or beside
        if not bounded or any(i.pos < first.pos and i.line == first.line for i in intervals):
            raise Refused("valeur ou borne ?")
        intervals.remove(first)
        first.low = first.high = None
        values = [first]
    return values, intervals


def _units(values: list[Item], printed: list[Item]) -> None:
    """Gives units that stand alone to the values without one: the next after the value, else one before it."""
    alone = [i for i in printed if i.kind == "unit"]
    for value in values:
        if not value.unit:
            here = (value.line, value.pos)
            after = next((u for u in alone if (u.line, u.pos) > here), None)
            before = next((u for u in alone if u.line == value.line and u.pos < value.pos), None) if len(values) == 1 else None
            if unit := after or before:
                value.unit = unit.text
                alone.remove(unit)
    if any(plain(u.text) not in {plain(v.unit) for v in values} for u in alone):
        raise Refused("unité de quelle valeur ?")


def _thousands(value: Item, intervals: list[Item], found: list[Item]) -> bool:
    """Whether a point before three digits parts thousands in this row; refuses where it cannot be told."""
    doubtful = [i for i in [value, *intervals] if i.doubt]
    per_mm3 = plain(value.unit) == "/mm3"
    if per_mm3 and re.search(r",\d{3}$", value.text):
        raise Refused("virgule : décimale ou milliers ?")
    if not doubtful or per_mm3:
        return per_mm3
    texts = " ".join(i.text for i in found)
    if re.search(r"\d\.\d{1,2}(?!\d)|(?<!\d)0\.\d", texts):
        return False
    raise Refused("point : décimale ou milliers ?")


def _french_bounds(analyte: str | None, unit: str) -> tuple[float, float] | None:
    """The usual interval of an analyte in `unit`, to tell of which unit a printed interval is."""
    bounds = reference_interval(analyte, "F") if analyte else None
    if bounds is None or bounds.high is None:
        return None
    try:
        return tuple(convert(analyte, b or 0.0, analytes()[analyte].unit, unit) for b in (bounds.low, bounds.high))
    except KeyError:
        return None


def _times_usual(analyte: str | None, unit: str, interval: Item) -> float | None:
    """How many times the usual high bound the printed one is in `unit`, or the low one where it is alone; None: not known."""
    usual = _french_bounds(analyte, unit)
    mine, theirs = (interval.high, usual and usual[1]) if interval.high is not None else (interval.low, usual and usual[0])
    return mine / theirs if mine and theirs and theirs > 0 else None


def _fits(analyte: str | None, unit: str, interval: Item) -> bool:
    """Whether the high bound (or the only one) of `interval` is near the usual one of the analyte in `unit`."""
    share = unit == "%" and analyte in SHARES
    times = _times_usual(analyte, analytes()[analyte].unit if share else unit, interval)
    near = 3.16 if analyte in SHARES else 2.5
    return times is not None and 1 / near < times / (10 if share else 1) < near


def _pair(analyte: str | None, main: Item, others: list[Item], chosen: list[Item]) -> tuple[Item, Item | None]:
    """The value to report and its interval, where values or intervals are printed in several units."""
    unit = {id(v): known_unit(v.unit, analyte) or v.unit for v in [main, *others]}
    own = unit[id(main)]
    if not chosen:
        return main, None
    if not main.unit and not others and len(chosen) == 1:
        return main, chosen[0]
    with_unit = [i for i in chosen if i.unit]
    if with_unit:
        alike = [i for i in with_unit if (known_unit(i.unit, analyte) or i.unit) == own]
        if len(alike) == 1:
            return main, alike[0]
        if len(chosen) == 1 and with_unit[0].unit != "%":
            return main, with_unit[0]
        raise Refused("intervalle de quelle unité ?")
    values = sorted([main, *others], key=lambda i: (i.line, i.pos))
    if len(chosen) == 1:
        if not others:
            return main, chosen[0]
        fitting = [v for v in values if _fits(analyte, unit[id(v)], chosen[0])]
        if len(fitting) == 1 and fitting[0] is main:
            return main, chosen[0]
        before = [v for v in values if (v.line, v.pos) < (chosen[0].line, chosen[0].pos)]
        if len(before) == 1 and "%" not in unit.values():
            return before[0], chosen[0]
        if analyte is None and before[-1:] == [main] and all(unit[id(v)] == "%" for v in others):
            return main, chosen[0]
        raise Refused("intervalle de quelle unité ?")
    if len(chosen) == len(values):
        mine = chosen[values.index(main)]
        for value, interval in zip(values, chosen, strict=True):
            for here, there in ((mine.low, interval.low), (mine.high, interval.high)):
                if (here is None) != (there is None) or not same(analyte, here, own, there, unit[id(value)], 0.08, 0.6):
                    if unit[id(value)] == "%" and _fits(analyte, own, mine) and not _fits(analyte, own, interval):
                        continue
                    raise Refused("intervalle de quelle unité ?")
        return main, mine
    raise Refused("plusieurs intervalles")


def same(
    analyte: str | None, a: float | None, unit_a: str, b: float | None, unit_b: str, within: float = 0.03, steps: float = 0.0
) -> bool:
    """Whether two numbers in two units of an analyte say the same, up to rounding."""
    if a is None or b is None:
        return a is b
    try:
        there, step = (x if unit_a == unit_b else convert(analyte, x, unit_a, unit_b) for x in (a, a + _step(a)))
    except KeyError:
        return False
    return abs(there - b) <= within * max(abs(there), abs(b)) + steps * (abs(step - there) + _step(b)) + 1e-9


def _step(value: float) -> float:
    """The unit of the last decimal of a number."""
    return 10.0 ** -len(f"{value:.6g}".partition(".")[2])


def meant(intervals: list[Item], who: Patient) -> list[Item]:
    """The intervals for this patient: those printed for the sex and age of the patient, else those for all.

    Raises:
        Refused: it cannot be told whether an interval is for this patient, or several are.
    """
    labelled = [i for i in intervals if i.label]
    if not labelled:
        return intervals
    answers = [meant_for(i.label, who) for i in labelled]
    mine = [i for i, answer in zip(labelled, answers, strict=True) if answer]
    if None in answers:
        only_sex = all(
            re.fullmatch(r"[hf]|.*\b(?:hommes?|femmes?|garcons?|filles?)\b.*|norme [hf]", fold(i.label)) for i in labelled
        )
        if who.sex is None and only_sex and not mine:
            return []
        raise Refused("intervalle pour quel patient ?")
    if len({i.label for i in mine}) > 1:
        raise Refused("plusieurs intervalles pour ce patient")
    return mine or [i for i in intervals if not i.label]


def decide(row: Row, who: Patient) -> Measurement:
    """The result of a row.

    Raises:
        Refused: it is not proved (the message says why).
    """
    printed = assign(row)
    if bad := next((i for i in printed if i.kind == "bad"), None):
        raise Refused(f"{bad.label if bad.label == REFERENCE_ALONE else 'caractères illisibles'} : {bad.text}")
    values, intervals = _measured(row, printed)
    not_given = not values and row.analyte and intervals
    last = max([(i.line, i.pos) for i in values + intervals], default=(0, 0))
    for i in printed:
        strange = not not_given and i.kind in ("word", "fraction", "date") and not harmless(fold(i.text))
        if strange and ((i.line, i.pos) < last or specimen_of(fold(i.text))):
            raise Refused(f"mot non compris : {i.text}" if i.kind == "word" else f"nombre non compris : {i.text}")
    if not values:
        words = " ".join(i.text for i in printed if i.kind == "word")
        raise Refused("aucun résultat chiffré" + (f" : {words}" if words else ""))
    if not row.certain:
        raise Refused("nom et valeur éloignés")
    _units(values, printed)
    analyte = row.analyte
    shares = []
    if len(values) > 1 and (analyte is None or known_unit("%", analyte) is None):
        shares = [v for v in values if plain(v.unit) == "%"]
    counts = [v for v in values if v not in shares] or shares
    main, others = counts[0], counts[1:] + (shares if counts is not shares else [])
    units = {known_unit(v.unit, analyte) or plain(v.unit) for v in counts}
    if len(units) < len(counts):
        raise Refused("plusieurs valeurs")
    for other in counts[1:]:
        mine, theirs = (known_unit(v.unit, analyte) for v in (main, other))
        if analyte is None or mine is None or theirs is None or not same(analyte, main.value, mine, other.value, theirs):
            raise Refused("plusieurs valeurs")
    chosen = meant(intervals, who)
    if not intervals and row.header is None:
        chosen = _lent(row, main)
    main, interval = _pair(analyte, main, others, chosen)
    return result(row, analyte, main, interval, printed)


def _lent(row: Row, main: Item) -> list[Item]:
    """The interval that stands with an earlier result, where it is that of today's, too: the same unit, and near the usual bounds."""
    unit, found = known_unit(main.unit, row.analyte), interval_of_both(row.items)
    if not (unit and found):
        return []
    alike = {known_unit(other, row.analyte) for other in (found[0], found[1].unit) if other} <= {unit}
    return [found[1]] if alike and _fits(row.analyte, unit, found[1]) else []


def result(row: Row, analyte: str | None, main: Item, interval: Item | None, found: list[Item]) -> Measurement:
    """The measurement of a value and its interval, after the last checks.

    Raises:
        Refused: a number, a unit or the interval can be read in two ways.
    """
    thousands = _thousands(main, [interval] if interval else [], found)
    value, low, high = number(main.text, thousands), None, None
    if interval:
        low, high = interval.low, interval.high
        if thousands:
            ends = [number(text, True) for text in interval.text.split(" - ")]
            low, high = ends if len(ends) == 2 else (None, ends[0]) if interval.sign == "<" else (ends[0], None)
    if low is not None and high is not None and low >= high:
        raise Refused("intervalle non compris")
    printed = main.unit or (interval.unit if interval else "") or row.unit
    if analyte == "tca" and plain(printed) == "s":
        analyte = "tca_s"
    unit = _unit(analyte, printed, interval)
    apart = interval.unit if interval and interval.unit else ""
    interval_unit = (known_unit(apart, analyte) or apart) if apart else ""
    if interval_unit and interval_unit != unit and (analyte is None or known_unit(apart, analyte) is None):
        raise Refused(f"unité de l'intervalle inconnue : {apart}")
    m = Measurement(
        analyte, row.name, main.sign + digits(main.text, thousands), value, main.sign, unit, low, high,
        interval_unit="" if interval_unit == unit else interval_unit, specimen=row.specimen or "sang", line=main.line,
    )  # fmt: skip
    if row.by_cell and main.line != row.line:
        raise Refused("colonnes non comprises")
    if re.search(r"\d \d", main.text) and not _one_number(row, main, interval, analyte, unit):
        raise Refused("un nombre ou plusieurs ?")
    if main.eight and not _no_eight(main, interval):
        raise Refused("8 ou B ?")
    if analyte in SHARES and plain(unit) == "%" and interval and not _fits(analyte, "%", interval):
        raise Refused("intervalle de quelle unité ?")
    times = _times_usual(analyte, interval_unit or unit, replace(interval, low=low, high=high)) if interval else None
    if times is not None and row.specimen == "sang" and not 1 / 15 < times < 15:
        raise Refused("intervalle d'une autre unité ?")
    marks = main.marks + "".join(i.text for i in found if i.kind == "mark" and i.text not in "+-–—" and i.line == main.line)
    if not m.sign and against(marks, flag(m)):
        raise Refused(f"marque {marks} contraire à l'intervalle")
    return m


def against(marks: str, side: str) -> bool:
    """Whether printed marks (`H`, `↓`, «élevé») say another side of the interval than `side`."""
    up, down = _UP.search(marks), _DOWN.search(marks)
    return side in ("bas", "normal", "élevé") and bool(up) != bool(down) and side != ("élevé" if up else "bas")


def _one_number(row: Row, main: Item, interval: Item | None, analyte: str | None, unit: str) -> bool:
    """Whether digits parted by plain spaces are one number: not hundreds of times the bounds, nor a share before a count."""
    if analyte in SHARES and not row.colon and main.cell == 0 and main.line == row.line:
        return False
    usual = _french_bounds(analyte, unit)
    high = interval.high if interval and interval.high and not interval.unit else usual and usual[1]
    return not high or main.value <= 200 * high


def _no_eight(main: Item, interval: Item | None) -> bool:
    """Whether the B behind a number can be no 8: the number would have other decimals than its bounds, or be far beyond them."""
    if interval is None:
        return False
    decimals, bounds = (
        {len(re.split("[.,]", text)[1]) if re.search("[.,]", text) else 0 for text in texts}
        for texts in ([main.text], interval.text.split(" - "))
    )
    return bool(decimals == bounds and (decimals != {0} or (interval.high and number(main.text + "8") > 4 * interval.high)))


def _unit(analyte: str | None, printed: str, interval: Item | None) -> str:
    """The unit of a result in the spelling of the tables, or as printed where they do not know it."""
    if analyte is None:
        if not printed and interval is None:
            raise Refused("analyte inconnu, sans unité")
        return known_unit(printed) or printed
    ours = known_unit(printed, analyte)
    critical = critical_limits(analyte) is not None
    if not printed:
        if analytes()[analyte].unit and critical:
            raise Refused("unité absente")
        return ""
    share = analyte in SHARES and plain(printed) == "%" and interval is not None
    decides = critical or not analytes()[analyte].unit or re.search(r"/(?:24|j|m?mol|g)", plain(printed))
    if ours is None and decides and not share:
        raise Refused(f"unité inconnue pour cet analyte : {printed}")
    return ours or printed
