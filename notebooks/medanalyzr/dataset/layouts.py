"""The composer: known results printed as French laboratories, doctors and programs print them, in one of very many layouts.

A small grammar: the lines of a report (own results, their panels, other analytes and specimens, results not given), the habits
of one laboratory (`printing.Style`) and a family, which arranges them. All is drawn from the random generator that is given.
`HELD_OUT` families are never trained on.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from random import Random

from medanalyzr.core.processes import in_shares, processes
from medanalyzr.dataset.composer import families, notes, sentences
from medanalyzr.dataset.composer.companions import Placed, fluid, others, panels, usual
from medanalyzr.dataset.composer.pages import noise, side_by_side
from medanalyzr.dataset.composer.printing import FIRST_TAG, TAG, Line, Style, Told, phrases, without_accents
from medanalyzr.dataset.composer.structured import exports, records, trees
from medanalyzr.dataset.sources.moved import moved, remarked
from medanalyzr.dataset.sources.simulate import draw
from medanalyzr.lab.references import fold
from medanalyzr.lab.report import Measurement, Report, decimals_of, format_number, parse_answer, parse_report
from medanalyzr.lab.rules import interpret

LONGEST = 40  # results of one report
MANY = 5000  # examples from which on all processors compose
_SHARED = ("pnn", "lymphocytes", "monocytes", "eosinophiles", "basophiles")
TRAINED = {  # the families that examples are made of, with their shares
    "columns": 25, "colon": 13, "tabs": 7, "pipes": 7, "csv": 7, "inline": 10, "prose": 13, "json": 4, "xml": 2, "yaml": 2, "key_value": 4,
    "blocks": 10, "scan": 20, "tree_json": 28, "tree_text": 4, "summary": 16, "note": 14, "halves": 8, "grid": 8, "margin": 8,
    "export": 10, "segments": 7, "frames": 8,
}  # fmt: skip
HELD_OUT = ("following_lines", "two_columns", "letter", "telegraphic", "ocr", "hprim", "json_nested")
FAMILIES = (*TRAINED, *HELD_OUT)
_PROGRAMS = ("json", "xml", "yaml", "key_value", "tree_json", "tree_text", "export", "segments", "frames", "hprim", "json_nested")
_READERS = dict.fromkeys(_PROGRAMS, "program") | {
    "prose": "prose", "summary": "prose", "letter": "prose", "note": "note", "telegraphic": "note"}  # fmt: skip
_MAKERS = {
    "columns": families.columns, "colon": families.colon, "tabs": families.separated("\t", ""), "pipes": families.separated(" | ", "|", "|"),
    "csv": families.csv_text, "inline": families.inline, "prose": sentences.prose, "json": records.json_text, "xml": records.xml,
    "yaml": records.yaml, "key_value": records.key_value, "following_lines": families.following_lines,
    "two_columns": families.two_columns, "letter": sentences.letter, "telegraphic": sentences.telegraphic, "ocr": families.ocr,
    "hprim": records.hprim, "json_nested": records.json_nested, "blocks": families.blocks, "scan": families.ocr,
    "tree_json": trees.tree_json, "tree_text": trees.tree_text, "summary": notes.summary, "note": notes.note,
    "halves": side_by_side.halves, "grid": side_by_side.grid, "margin": side_by_side.margin, "export": exports.export,
    "segments": exports.segments, "frames": exports.frames,
}  # fmt: skip
_NOISE = {"scan": noise.NOISE, "ocr": noise.HELD_OUT_NOISE}
_MOST = {  # results that such a text holds
    "letter": 12, "telegraphic": 14, "prose": 16, "summary": 14, "note": 18, "tree_json": 16, "tree_text": 16, "blocks": 24,
    "export": 20, "segments": 20, "frames": 20,
}  # fmt: skip


def _earlier(m: Measurement, style: Style) -> tuple[str, ...]:
    """Values of earlier reports, none of them today's; "" where the analyte was not asked for then."""
    decimals = decimals_of(m.text)
    spread = 0.3 * (m.high - m.low) if m.low and m.high else 0.1 * m.value
    found: list[str] = []
    for _ in range(style.history):
        text = format_number(max(m.value + style.rng.uniform(-spread, spread), 0), decimals)
        found.append("" if text == m.text.strip("<>") or style.chance(0.15) else style.number(text))
    return tuple(found)


def _line(place: int, placed: Placed, style: Style, told: Told, counted: Measurement | None) -> Line:
    """The printed line of a measurement, its value tagged with its place."""
    m, rng = placed.m, style.rng
    if style.converts and style.chance(0.6):
        m = style.another_unit(m, not style.leant or style.unitless or style.chance(0.85)) or m
    second, earlier = style.another_unit(placed.m) if style.doubles else None, _earlier(m, style)
    if style.no_interval or style.chance(style.gaps):
        m, second = replace(m, low=None, high=None, interval_unit=""), None
    elif style.half and None not in (m.low, m.high) and style.chance(style.half):
        m, second = replace(m, **{rng.choice(("low", "low", "high")): None}), None
    elif style.zero and m.low is None and m.high and m.value >= 0 and m.specimen == "sang":
        m = replace(m, low=0.0)
    known = m.analyte and m.specimen == "sang"
    m = replace(m, name=style.name(m.analyte) if known else style.mistyped(style.cased(m.name)))
    if style.unitless and known and style.chance(0.4):
        m = replace(m, unit="", interval_unit="")
    share = ""
    if counted and style.shares and m.analyte in _SHARED and placed.m.value <= counted.value:
        share = style.number(format_number(100 * placed.m.value / counted.value, rng.choice((0, 1))))
    kind = ":hématologie" if placed.section == "hématologie" else ""
    note = style.phrase(f"bracket{kind}") if m.specimen == "sang" and m.name[-1] not in ")]" and style.chance(style.notes) else ""
    method = "technique" if style.leant and style.chance(0.5) else f"method{kind}"
    below = style.phrase(method) if style.notes and m.specimen == "sang" and style.chance(0.2) else ""
    twice = ("", "", "")
    if second and second.unit != m.unit and second.text != m.text:
        twice = style.value(second), style.unit(second.unit), style.interval(second, told)
        below = f"soit {' '.join(twice)}".rstrip() if style.tight else below
    return Line(
        m, m.name, chr(FIRST_TAG + place) + style.value(m), style.unit(m.unit) if m.unit else "", style.interval(m, told), placed.section,
        m.specimen, style.mark(m), share, twice, earlier, f" {rng.choice(('({})', '[{}]'))}".format(note) if note else "", below,
        style.of_both_sexes(m, told) if style.sex_columns and told.sex and (m.low, m.high) != (None, None) else ("", ""),
    )  # fmt: skip


def _lacking(line: Line, analyte: str, style: Style, told: Told) -> Line:
    """A result that is not given, for more reasons, often with its unit and beside earlier ones that are."""
    before = usual(analyte, draw(style.rng, analyte, told.sex or "H"), told.sex)
    unit = style.unit(before.unit) if before.unit and style.eye and style.chance(0.5) else ""
    value = style.phrase("nogive more") if style.chance(0.5) else line.value
    value = value if value[0].isalpha() or style.eye else line.value
    if style.eye and style.chance(0.25):  # a number with a digit that nobody can read
        value = re.sub(r"\d", style.rng.choice("▓□█¿¤⌧"), style.value(before), count=style.rng.choice((0, 1)))
    return replace(line, value=value, unit=unit, earlier=_earlier(before, style))


def _lines(report: Report, style: Style, told: Told, most: int) -> list[Line]:
    """All results of the report to be, in order, those that are not given among them."""
    rng, own = style.rng, len(report.measurements)
    wish = min(most, rng.choice((own, own, rng.randint(1, 6), rng.randint(4, 14), rng.randint(8, 26), rng.randint(20, LONGEST))))
    unknown = min(rng.choice((0, 0, 0, 1, 2, rng.randint(1, 6), rng.randint(3, 15))), max(most - own, 0))
    placed = panels(replace(report, sex=told.sex), rng, wish - unknown)
    if style.chance(0.3):
        rng.shuffle(placed)
        placed.sort(key=lambda p: p.section)
    placed = [*placed, *others(rng, unknown)]
    if most - len(placed) >= 6 and style.chance(style.fluids):
        placed = [*fluid(rng), *placed] if style.chance(0.3) else [*placed, *fluid(rng)]
    counted = next((p.m for p in placed if p.m.analyte == "leucocytes" and p.m.unit == "G/L" and p.m.value > 0), None)
    result: list[Line] = []
    for place, one in enumerate(placed):
        line = _line(place, one, style, told, counted)
        if one.own or (fold(line.name), line.specimen) not in {(fold(other.name), other.specimen) for other in result}:
            result.append(line)
    given = {line.m.analyte for line in result}
    blood = [i for i, line in enumerate(result) if line.specimen == "sang"]
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2, 2) if style.leant else (0, 0, 0, 0, 0, 1, 1, 2)) if blood else 0):
        analyte, at = rng.choice(phrases()["missing"]), rng.choice(blood)
        if analyte in given or style.chance(0.4):
            name, _, value = style.phrase("word").partition(" = ")
            missing = Line(None, style.cased(name), value, section=result[at].section)
        else:
            interval = style.interval(usual(analyte, None, told.sex), told) if style.chance(0.5) else ""
            missing = Line(None, style.name(analyte), style.phrase("nogive"), interval=interval, section=result[at].section)
            missing = _lacking(missing, analyte, style, told) if style.leant else missing
        given.add(analyte)
        result.insert(at, missing)
    return result


def _needs_case(m: Measurement) -> bool:
    """Whether capitals would make another name or unit of `m`: g/L and G/L differ by them alone, where nobody knows the analyte."""
    return bool(set(m.name) & set("αβγδκλµμ")) or (not m.analyte and m.unit in ("g/L", "G/L"))


def compose(
    report: Report, rng: Random, family: str | None = None, most: int = LONGEST, more: Random | None = None
) -> tuple[str, Report]:
    """`report` printed in one of very many layouts with at most `most` results, and the report as it must be answered.

    The text may print other units, leave out the patient, and add results; the returned report holds exactly what it prints, in its
    order, names as printed, units in the spelling of our tables, and the line of every result that has one to itself.
    Without a `family`, one of `TRAINED` is drawn. With a second generator `more`, the report has habits that `Style.lean` names.
    """
    family = family or rng.choices(list(TRAINED), list(TRAINED.values()))[0]
    style = Style(rng, _READERS.get(family, "eye"))
    if more:
        style.lean(more)
    told = style.patient(report)
    lines = _lines(report, style, told, min(most, _MOST.get(family, most)))
    if family in _NOISE:
        style.mark_at = "end"  # beside the value, the mark B would read as an 8
        lines = [noise.noisy(line, style, _NOISE[family]) for line in lines]
    text = _MAKERS[family](lines, style, told)
    text = without_accents(text) if style.plain else text
    if style.loud and family not in _NOISE and not any(line.m and _needs_case(line.m) for line in lines):
        text = text.replace("µ", "u").replace("μ", "u").upper()
        lines = [replace(line, m=line.m and replace(line.m, name=line.m.name.upper())) for line in lines]
    by_tag = {TAG.search(line.value)[0]: line.m for line in lines if line.m}
    places = [(by_tag[tag[0]], text.count("\n", 0, tag.start()) + 1) for tag in TAG.finditer(text)]
    alone = Counter(place for _, place in places)  # a line with several results would lend each the earlier values of all
    printed = [replace(m, line=place if alone[place] == 1 else None) for m, place in places]
    text = TAG.sub("", text)
    printed = [m if m.name in text else replace(m, name=m.name[0].swapcase() + m.name[1:]) for m in printed]  # first in a sentence
    return text, Report(told.sex, told.age, tuple(printed), pregnant=report.pregnant, text=text)


def _composed(task: tuple[dict[str, str], Report, int, int, Sequence[str] | None, int]) -> dict[str, str]:
    """The `i`-th example of a seed: the report of a row composed in a layout that its own random generator draws."""
    row, report, i, seed, families, most = task
    rng = Random(f"{seed} {i}")
    if families:
        text, printed = compose(report, rng, family := rng.choice(list(families)), most)
    else:
        family, more = rng.choices(list(TRAINED), list(TRAINED.values()))[0], Random(f"{seed} {i} more")
        text, printed = compose(remarked(moved(report, more, 0.3), more), rng, family, most, more if more.random() < 0.7 else None)
    return row | {"input": text, "output": interpret(printed), "layout": family}


def _compose_all(tasks: Sequence[tuple]) -> list[dict[str, str]]:
    """The examples of many `tasks` (see `_composed`), by all processors, or by this process's part of them."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes()))  # of a training on several hosts
    most = max(1, (os.cpu_count() or 1) // here) if here > 1 else None
    with ProcessPoolExecutor(most, get_context("spawn")) as workers:
        return list(workers.map(_composed, tasks, chunksize=200))


def sample(
    rows: Sequence[dict[str, str]], count: int, seed: int, families: Sequence[str] | None = None, most: int = LONGEST
) -> list[dict[str, str]]:
    """`count` examples from the reports among `rows`, in turn, each composed in a layout of `families` (default: the trained ones).

    A row keeps all its columns; `input` is the composed report, `output` what the rules answer to it, `layout` its family. Rows
    without a report in our layout are passed over. The same arguments give the same examples on every machine; another `seed`
    gives other layouts. Without `families` some values are `moved`, for training. Many examples are composed by all processors.
    """
    read = {text: parse_report(text) for text in dict.fromkeys(row["input"] for row in rows)}
    reports = [(row, read[row["input"]]) for row in rows if read[row["input"]].measurements]
    tasks = [(*reports[i % len(reports)], i, seed, families, most) for i in range(count if reports else 0)]
    if count < MANY:
        return [_composed(task) for task in tasks]
    return in_shares(_compose_all, tasks)


def with_layouts(rows: Sequence[dict[str, str]], count: int, seed: int, passes: int = 1) -> list[dict[str, str]]:
    """`rows` and `count` examples composed from the values of some of them, shuffled together; with a `count` of 0 `rows` as they are.

    With more `passes` that many times, one after the other: each pass has the rows again, and values in other layouts. Only rows
    whose answer has our lines are composed from: a dataset that answers in another form keeps it.
    """
    if not count:
        return list(rows)
    rng = Random(seed)
    ours = [row for row in rows if parse_answer(row["output"])]
    turns = [row for _ in range(passes) for row in rng.sample(ours, len(ours))]
    made = sample(turns, count * passes, seed)
    together = [[*rows, *made[start : start + count]] for start in range(0, len(made), count)]
    return [row for part in together for row in rng.sample(part, len(part))]
