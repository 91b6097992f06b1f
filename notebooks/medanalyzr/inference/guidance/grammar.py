"""The grammar of the answers to one report, as GBNF (llama.cpp's form of a grammar, which llguidance reads as well).

What stands in the report is fixed: each line begins with a name, a value and a unit of it, in its order, and compares that value with
its own bounds and the limits of its analyte in the tables. What is judged stays open: which comparison, the flag, the critical mark,
the conclusion and the next steps. So nothing that the strict reader reads can be left out or invented, and a wrong flag is still
possible: the checks of the answer hold as before. Where the reader refuses lines, others may stand between: each with a name, a
number and a unit that stand in the report.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

from medanalyzr.dataset.composer.spellings import spellings
from medanalyzr.lab.engine import patterns
from medanalyzr.lab.engine.facts import BLOOD, Facts, answered, in_french_unit, in_interval_unit
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.names import known
from medanalyzr.lab.reading.patient import Patient, read_patient
from medanalyzr.lab.references import analytes, conversions, critical_limits, read_table
from medanalyzr.lab.report import (
    CRITICAL,
    FLAGS,
    UNDETERMINED,
    Measurement,
    Report,
    decimals_needed,
    decimals_of,
    format_number,
)
from medanalyzr.lab.rules import LACKS, answer_name, interpret, remarks
from medanalyzr.lab.units import plain, usual_unit

NUMBER = re.compile(r"(?<![\w.])(?<!\d,)\d+(?:[.,]\d+)?(?!\w)")
_GROUPED = re.compile(r"(?<![\w.])(?<!\d,)\d{1,3}(?:[ .\u00a0\u2009\u202f]\d{3})+(?:,\d+)?(?!\w)")
_WORD = re.compile(r"[^\W_]+|[^\w\s\x00-\x1f\x7f]|_")
_BETWEEN_CELLS = re.compile(r"[|;:=\t\"{}<>]|\s{3,}|,(?!\d)")
_AFTER_NUMBER = re.compile(
    r"\d\s*([^\W\d_][^\s()\[\]{}|;,\"<>]*|[%‰/][^\s()\[\]{}|;,\"<>]*)(?: ([^\W\d_]{1,4}(?:/[^\W\d_]+)?|\d\d ?h|h)(?!\w))?"
)
_CELL_UNIT = re.compile(r"[^\W\d]*(?: [^\W\d]+)?/(?:[^\W\d]+|\d\d ?h)")
_LONGEST_NAME = 9  # words
_LETTERS = "A-Za-zÀ-ÖØ-öø-ÿŒœµα-ω"
_WORDS = f"""
letter ::= [{_LETTERS}]
name   ::= letter ([0-9] [0-9]? [0-9]?)?
sign   ::= [{_LETTERS} '’«»,:%/<>≤≥=+×²³°"*^-]
flag   ::= {" | ".join(f'"{flag}"' for flag in (*FLAGS, UNDETERMINED))}
mark   ::= ", {CRITICAL}"
lack   ::= {" | ".join(f'"{lack}"' for lack in LACKS)}
"""


def numbers_in(text: str) -> set[str]:
    """The numbers of a text with a decimal comma, those with spaces or points between thousands as one, too; digits within a word
    (G3a, B12) are none.
    """
    grouped = (re.sub(r"[^\d,]", "", found) for found in _GROUPED.findall(text))
    return {found.replace(".", ",") for found in NUMBER.findall(text)} | set(grouped)


def without_cut_number(text: str) -> str:
    """An answer that was cut at its limit without the number in which it ends: the first digits of 126 are another number."""
    return re.sub(r"[\d,.]+$", "", text).rstrip()


def _literal(text: str) -> str:
    """`text` as a GBNF literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _any(texts: Iterable[str]) -> str:
    return " | ".join(map(_literal, dict.fromkeys(texts)))


def comparisons(m: Measurement) -> list[str]:
    """The ways in which an answer may set the value of `m` among its bounds, right or wrong; none without an interval."""
    converted = in_interval_unit(m)
    if converted is None or (m.low is None and m.high is None):
        return []
    decimals = max(decimals_of(converted.text), decimals_needed(m.low, m.high))
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (m.low, m.high))
    value, less = converted.text.removeprefix(m.sign), "≤" if m.sign else "<"
    forms = [" ≤ ".join(part for part in (low, value, high) if part)]
    if low:
        forms.append(f"{value} {less} {low}")
    if high:
        forms.append((f"{low} ≤ " if low else "") + f"{high} {less} {value}")
    if m.sign and low and high:
        forms.append(f"{low} ≤ {value}")
    return [form + (f" {m.interval_unit}" if m.interval_unit else "") for form in forms]


@cache
def _lifting(analyte: str) -> tuple[str, ...]:
    """Why a critical limit of `analyte` may not count, as an answer says it."""
    return tuple(row["remark"] for row in read_table("critical_exceptions") if row["analyte"] == analyte and row["remark"])


def _limits(analyte: str, values: Iterable[str], unit: str) -> Iterator[str]:
    """How an answer may set `values` against the limits of `analyte` in the tables, or name the limit from which to call."""
    limits = critical_limits(analyte)
    if limits is None:
        return
    decimals = analytes()[analyte].decimals
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (limits.low, limits.high))
    calls = [f"sous {low}"] * bool(low) + [f"dès {high}"] * bool(high)
    for call in (*calls, " ou ".join(calls)):
        yield f"appel {call}{unit}"
    for value in values:
        yield from [f"{CRITICAL} {low} ≥ {value}{unit}"] * bool(low) + [f"{CRITICAL} {high} ≤ {value}{unit}"] * bool(high)
    yield from _lifting(analyte)


def _notes(m: Measurement, facts: Facts) -> list[str]:
    """What may stand after the comparison of a line."""
    converted = in_french_unit(m) if m.specimen == BLOOD and m.analyte else None
    if converted is None:
        return []
    values = [converted.text.removeprefix(m.sign), *filter(None, [facts.corrected(m)])]
    return [*_limits(m.analyte, values, "" if converted is m else f" {converted.unit}"), *remarks(m, facts)]


def _unaccented(text: str) -> str:
    """`text` in small letters without accents, as long as it is."""
    return "".join(unicodedata.normalize("NFD", c)[0] for c in text).lower()


def _names(m: Measurement, text: str) -> list[str]:
    """The name in an answer: as the reader has it or as it is printed, with method and footnote, or its first line, or without."""
    bare = re.sub(r"^\W+", "", m.name)
    short = re.sub(r"\s*[\[(][^\[\]()]*[\])]\s*$", "", bare)
    found, flat = [m.name], _unaccented(text)
    first = (line.strip() for line in text.splitlines() if len(line.strip()) > 2 and m.name.startswith(line.strip()))
    for name in dict.fromkeys((m.name, bare, short, *first)):
        if name and known(name) == m.analyte:
            found.append(name)
            places = re.finditer(rf"(?<!\w){re.escape(_unaccented(name))}(?!\w)", flat)
            found += [text[place.start() : place.end()] for place in places]
    suffix = answer_name(m).removeprefix(m.name)
    return list(dict.fromkeys(name + suffix for name in found))


def _factor(analyte: str | None, unit: str) -> float | None:
    """What a value in `unit` is multiplied by for the French unit; None where no table says it."""
    if analyte in analytes() and unit == analytes()[analyte].unit:
        return 1.0
    found = conversions().get((analyte or "", unit))
    return found.factor if found else None


def _units(m: Measurement, text: str) -> list[str]:
    """The unit of `m`, and others that stand in the report or in our table for the same number."""
    if not m.unit:
        return [""]
    own = _factor(m.analyte, m.unit)
    same = {unit for unit in set(spellings().values()) if plain(unit) == plain(m.unit) or own and _factor(m.analyte, unit) == own}
    ours = {analytes()[m.analyte].unit} if own == 1.0 else set()
    return [m.unit, *sorted(({unit for unit in same if unit in text} | ours) - {m.unit})]


def _head(m: Measurement, text: str) -> str:
    """The rule of what a line begins with: name, value and unit."""
    values = [f" : {m.text} {unit}".rstrip() + " (" for unit in _units(m, text)]
    names = _names(m, text)
    if len(names) == len(values) == 1:
        return _literal(names[0] + values[0])
    return f"({_any(names)}) ({_any(values)})"


def _padded(numbers: Iterable[str]) -> str:
    """Some numbers, without the zeros that end their decimals or with as many as a comparison may add."""
    numbers = {re.sub(r",0+$|(,\d*?[1-9])0+$", r"\1", number) for number in numbers}
    return f'({_any(sorted(numbers, key=lambda found: (-len(found), found)))}) (","? "0" "0"? "0"?)?'


def _among(number: str) -> str:
    """A comparison of two or three numbers that follow the rule `number`."""
    return f'{number} ((" ≤ " | " < ") {number}){{1,2}}'


def _line(i: int, m: Measurement, facts: Facts, beside: str) -> list[str]:
    """The rules of the line of one measurement. Where the reader has no interval and the text `beside` it holds more numbers, these may
    be one.
    """
    notes, forms, rules = _notes(m, facts), [*map(_literal, dict.fromkeys(comparisons(m))), "lack"], []
    numbers = numbers_in(beside.replace(m.unit, " ") if m.unit else beside)
    if (m.low, m.high) == (None, None) and numbers - {m.text.removeprefix(m.sign)}:
        forms.append(_among(f"near{i}"))
        rules.append(f"near{i} ::= {_padded(numbers)}")
    if notes:
        rules.append(f"note{i} ::= {_any(notes)}")
    more = f' (" ; " note{i}){{0,3}}' if notes else ""
    return [f'line{i} ::= {_head(m, facts.report.text)} ({" | ".join(forms)}){more} ") : " flag mark? "\\n"', *rules]


def _runs(lines: Iterable[str]) -> Iterator[list[str]]:
    """The words of each cell of `lines`, with the space before each but the first."""
    for cell in (cell for line in lines for cell in _BETWEEN_CELLS.split(line)):
        words = list(_WORD.finditer(cell))
        yield [(" " if i and words[i - 1].end() < word.start() else "") + word[0] for i, word in enumerate(words)]


_UNIT = re.compile(r"(?<=\d)\s*[^\s\d()]+/[^\s()]+")  # after a number: the mg of mg/L is no magnesium


def _analytes_in(runs: Iterable[list[str]]) -> dict[str, None]:
    """The analytes of ours that words in a row name."""
    spans = (
        "".join(words[i:j]).strip()
        for words in runs
        for i in range(len(words))
        for j in range(i + 1, min(i + _LONGEST_NAME, len(words)) + 1)
    )
    return dict.fromkeys(filter(None, map(known, spans)))


def _with_unit(line: str) -> bool:
    """Whether a number of the line has a unit of ours."""
    return any(found in spellings() for found, _ in _AFTER_NUMBER.findall(line))


def _not_read(report: Report) -> list[str]:
    """The lines that may hold results the reader has not read: those it refuses, and those that it says nothing about with a number and
    an analyte or a unit, and what may be the name on the lines before; all where it reads none.
    """
    lines = report.text.splitlines()
    if not report.measurements:
        return lines if re.search(r"\d", report.text) else []
    refused, read = {one.line for one in report.unread}, {m.analyte for m in report.measurements}
    measured = {m.line for m in report.measurements}
    places = {
        i
        for i, line in enumerate(lines, 1)
        if i in refused
        or re.search(r"\d", line)
        and (_analytes_in(_runs([_UNIT.sub(" ", line)])).keys() - read or i not in measured and _with_unit(line))
    }
    for i in sorted(places):
        for j in range(i - 1, max(i - 4, 0), -1):
            if j in measured or not lines[j - 1].strip() or read_patient(lines[j - 1]) != Patient():
                break
            places.add(j)
    return [lines[i - 1] for i in sorted(places)]


def _any_run(words: list[str]) -> str:
    """The alternatives of all words in a row among `words` that begin as a name does: with a letter, or as in `25-OH`."""
    found = []
    for i, word in enumerate(words):
        follower = words[i + 1][0] if i + 1 < len(words) else " "
        if not word.strip()[0].isalnum() or word.strip().isdigit() and not (follower.isalpha() or follower in "-'’"):
            continue
        rule = ""
        for other in reversed(words[i + 1 : i + _LONGEST_NAME]):
            rule = f"({_literal(other)}{' ' + rule if rule else ''})?"
        found.append(f"{_literal(word.strip())} {rule}".rstrip())
    return " | ".join(found)


def _printed_units(text: str) -> set[str]:
    """The units of a report in our spelling and in its own: what follows a number, stands alone in a cell, or is known."""
    cells = {cell.strip(" ()[]'") for line in text.splitlines() for cell in _BETWEEN_CELLS.split(line)}
    found = {cell for cell in cells if cell in spellings() or _CELL_UNIT.fullmatch(cell)}
    found |= {unit for first, more in _AFTER_NUMBER.findall(text) for unit in (first, f"{first} {more}".rstrip())}
    known_ones = {unit for spelling, unit in spellings().items() if len(spelling) > 1 and spelling in text}
    return known_ones | {
        unit for one in found for unit in (one, spellings().get(one, one), usual_unit(one), re.sub(r"l\b", "L", one))
    }


def _open_lines(report: Report) -> list[str]:
    """The rules of a line about what the reader has not read: a name out of its lines, numbers and units out of the report; [] where it
    has read all.
    """
    text, sources = report.text, _not_read(report)
    runs = list(_runs([*sources, " ".join(sources)]))
    names = dict.fromkeys(filter(None, map(_any_run, runs)))
    if not names:
        return []
    units = sorted(_printed_units(text), key=lambda unit: (-len(unit), unit))
    ours = [(analyte, unit) for analyte in _analytes_in(runs) for unit in ("", f" {analytes()[analyte].unit}".rstrip())]
    notes = dict.fromkeys(note for analyte, unit in ours for note in _limits(analyte, ("{}",), unit))
    unit, note = ' (" " ounit)?' if units else "", ' (" ; " onote){0,2}' if notes else ""
    rules = [f"oname ::= {' | '.join(names)}", f"onumber ::= {_padded(numbers_in(text))}"]
    rules += [f"ounit ::= {_any(units)}"] if units else []
    rules += [f"onote ::= {_any(notes)}".replace("{}", '" onumber "')] if notes else []
    head = f'oname (" (urines)" | " (LCR)" | " (autre)")? " : " [<>]? onumber{unit}'
    return [*rules, f'open ::= {head} " (" ({_among("onumber")}{unit} | lack){note} ") : " flag mark? "\\n"']


def _words(name: str, numbers: set[str]) -> str:
    """The rules of words that hold no other numbers than `numbers`."""
    rule = f"{name} ::= name (sign | letter [0-9] [0-9]? [0-9]? | [();.]"
    return rule + (f" | [ (/<>-] ({_any(sorted(numbers))}))*" if numbers else ")*")


@cache
def _numbers_of_steps() -> frozenset[str]:
    """The numbers that stand in the next steps of the tables: «contrôler à 15 jours»."""
    return frozenset(number for row in patterns.rows() for number in numbers_in(row.next_step))


def grammar_of(report: str | Report, lead: str = "") -> str | None:
    """The grammar of the answers to `report` (its text, or what was read of it); None for an empty one (a question), which has no form.

    `lead` is what the model writes before its first word: Mistral's tokens begin with a space.
    """
    read = read_report(report) if isinstance(report, str) else report
    if not read.text.strip():
        return None
    facts = Facts(read)
    reference = interpret(read)
    measured = [m for m in facts.measurements if answered(m)]
    text, places = read.text.splitlines(), {m.line for m in measured}
    beside = ["\n".join(text[m.line - 1 : m.line + (m.line + 1 not in places)]) if m.line else "" for m in measured]
    rules = [rule for i, m in enumerate(measured) for rule in _line(i, m, facts, beside[i])]
    more = _open_lines(read)
    lines = [part for i in range(len(measured)) for part in ("open*", f"line{i}")] + ["open*"]
    lines = " ".join(part for part in lines if more or part != "open*")
    rules += more
    root = f'root ::= {_literal(lead) if lead else ""} {lines} "Conclusion : " concluded ("\\nSuite : " next)?'
    numbers = numbers_in(read.text) | numbers_in(reference)
    ends = _words("concluded", numbers), _words("next", numbers | _numbers_of_steps())
    return "\n".join([root, *rules, *ends]) + _WORDS
