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
from dataclasses import replace
from functools import cache
from itertools import groupby
from operator import itemgetter
from os.path import commonprefix

from medanalyzr.inference.guidance.derived import CORRECTED, converted, derived, fixed_numbers
from medanalyzr.inference.guidance.printed import (
    Place,
    Word,
    analytes_in,
    clear_unit,
    in_our_spelling,
    meant,
    not_read,
    numbers_in,
    printed_numbers,
    printed_units,
    units_after,
    words_of,
)
from medanalyzr.lab.dates import DATE
from medanalyzr.lab.engine.facts import BLOOD, Facts, answered, in_french_unit, in_interval_unit
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.names import known, specimens
from medanalyzr.lab.references import analytes, conversions, critical_limits, fold, read_table
from medanalyzr.lab.report import CRITICAL, FLAGS, UNDETERMINED, Measurement, Report, decimals_needed, decimals_of, format_number
from medanalyzr.lab.rules import FLUIDS, LACKS, answer_name, interpret, remarks

_PLACE = 0xE000  # the first of the signs that stand for the rule of a value
_LONE = 25  # characters of a line that holds a value and little else
_LETTERS = "A-Za-zÀ-ÖØ-öø-ÿŒœµα-ω"
_WORDS = f"""
letter ::= [{_LETTERS}]
name   ::= letter ([0-9] [0-9]? [0-9]?)?
sign   ::= [{_LETTERS} '’«»,:?%/<>≤≥=+×²³°"*^-]
flag   ::= {" | ".join(f'"{flag}"' for flag in (*FLAGS, UNDETERMINED))}
mark   ::= ", {CRITICAL}"
lack   ::= {" | ".join(f'"{lack}"' for lack in LACKS)}
"""


def without_cut_number(text: str) -> str:
    """An answer that was cut at its limit without the number in which it ends: the first digits of 126 are another number."""
    return re.sub(r"[\d,.]+$", "", text).rstrip()


def _literal(text: str) -> str:
    """`text` as a GBNF literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _any(texts: Iterable[str]) -> str:
    """The alternatives `texts`; what several begin with stands once, for llama.cpp follows each open alternative by itself."""
    found = []
    for _, group in groupby(sorted(set(texts)), lambda text: text[:1]):
        first, *more = group
        shared = commonprefix([first, *more])
        rest = f" ({_any(text[len(shared) :] for text in (first, *more) if text != shared)})" if more else ""
        found.append(_literal(shared) + rest + "?" * (bool(more) and first == shared))
    return " | ".join(found)


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


def _limits(analyte: str, values: Iterable[str], units: Iterable[str]) -> Iterator[str]:
    """How an answer may set `values` against the limits of `analyte` in the tables, or name the limit from which to call, with one of
    `units`.
    """
    limits = critical_limits(analyte)
    if limits is None:
        return
    decimals = analytes()[analyte].decimals
    low, high = (None if bound is None else format_number(bound, decimals) for bound in (limits.low, limits.high))
    calls = [f"sous {low}"] * bool(low) + [f"dès {high}"] * bool(high)
    for unit in units:
        for call in (*calls, " ou ".join(calls)):
            yield f"appel {call}{unit}"
        for value in values:
            yield from [f"{CRITICAL} {low} ≥ {value}{unit}"] * bool(low) + [f"{CRITICAL} {high} ≤ {value}{unit}"] * bool(high)
    yield from _lifting(analyte)


def _of_calcium(corrected: Iterable[str]) -> list[str]:
    """What an answer may say of a calcium for which others stand."""
    return [f"corrigé {value}{unit}" for value in corrected for unit in ("", f" {analytes()['calcium'].unit}")]


def _notes(m: Measurement, facts: Facts, corrected: set[str]) -> list[str]:
    """What may stand after the comparison of a line; `corrected` are the values that may stand for the calcium."""
    converted = in_french_unit(m) if m.specimen == BLOOD and m.analyte else None
    if converted is None:
        return []
    units = [""] * (_factor(m.analyte, m.unit) == 1.0) + [f" {converted.unit}"] * (m.unit != converted.unit)
    values, more = {converted.text.removeprefix(m.sign)}, remarks(m, facts)
    if m.analyte == "calcium":
        values, more = values | corrected | ({facts.corrected(m)} - {""}), [*more, *_of_calcium(corrected)]
    return [*_limits(m.analyte, sorted(values), units), *more]


def _unaccented(text: str) -> str:
    """`text` in small letters without accents, as long as it is."""
    return "".join(unicodedata.normalize("NFD", c)[0] for c in text).lower()


def _either_case(name: str) -> list[str]:
    """A name that no line holds whole, with its first letter as it is, and as at the beginning of a sentence or within one."""
    return [name, name[0].swapcase() + name[1:]] if name[1:2].islower() else [name]


def _names(m: Measurement, text: str) -> list[str]:
    """The name in an answer: as the reader has it or as it is printed, with method, footnote and sign, or its first line, or without."""
    bare = DATE.sub("", re.sub(r"^\W+", "", m.name)).strip(' .,|"')
    short = re.sub(r"\s*[\[(][^\[\]()]*[\])]\s*$", "", bare)
    found, flat = [m.name], _unaccented(text)
    first = (line.strip() for line in text.splitlines() if len(line.strip()) > 2 and m.name.startswith(line.strip()))
    later = [bare[word.start() :] for word in re.finditer(r"\b[^\W\d_]", bare)] if DATE.match(m.name) else []  # in a sentence
    for name in dict.fromkeys((m.name, bare, short, *first, *later)):
        if name and (name in (m.name, bare) or m.analyte is None or known(name) == m.analyte):
            found += [name] if name in text else _either_case(name)
            for place in re.finditer(rf"(?<!\w){re.escape(_unaccented(name))}(?!\w)([.+-]*)( \([^()\n]*\))?", flat):
                found += [text[place.start() : end] for end in (place.end(), place.end(1), place.start(1))]
    return list(dict.fromkeys(name + ending for name in found for ending in ("", answer_name(m).removeprefix(m.name))))


def _factor(analyte: str | None, unit: str) -> float | None:
    """What a value in `unit` is multiplied by for the French unit; None where no table says it."""
    if analyte in analytes() and unit == analytes()[analyte].unit:
        return 1.0
    return found.factor if (found := conversions().get((analyte or "", unit))) else None


def _units(m: Measurement, text: str, line: str) -> list[str]:
    """The unit of `m`, and others of our table for the same number, or that stand in the report for it; where it has none, those after
    its value on its `line`.
    """
    if not m.unit:
        return ["", *sorted(units_after(m.text.removeprefix(m.sign), line))]
    own = _factor(m.analyte, m.unit)
    same = in_our_spelling(m.unit) | {clear_unit(m.unit)} | {unit for of, unit in conversions() if of == m.analyte}
    same = {unit for unit in same if own is None or _factor(m.analyte, unit) == own}
    ours = {analytes()[m.analyte].unit} if own == 1.0 else set()
    return [m.unit, *sorted(same & (printed_units(text) | ours) - {m.unit})]


def _head(m: Measurement, text: str, units: Iterable[str]) -> str:
    """The rule of what a line begins with: name, value and unit."""
    values = [f" : {m.text} {unit}".rstrip() + " (" for unit in units]
    names = _names(m, text)
    if len(names) == len(values) == 1:
        return _literal(names[0] + values[0])
    return f"({_any(names)}) ({_any(values)})"


def _padded(numbers: Iterable[str]) -> str:
    """Some numbers, without the zeros that end their decimals or with as many as a comparison may add."""
    numbers = {re.sub(r",0+$|(,\d*?[1-9])0+$", r"\1", number) for number in numbers}
    whole = {number for number in numbers if "," not in number}
    forms = (whole, '"," "0" "0"? "0"?'), (numbers - whole, '"0" "0"? "0"?')
    return " | ".join(f"({_any(some)}) ({zeros})?" for some, zeros in forms if some)


def _among(number: str) -> str:
    """A comparison of two or three numbers that follow the rule `number`."""
    return f'{number} ((" ≤ " | " < ") {number}){{1,2}}'


def _line(i: int, m: Measurement, facts: Facts, beside: str, corrected: set[str]) -> list[str]:
    """The rules of the line of one measurement. Where the reader has no interval and the text `beside` it holds more numbers, these may
    be one.
    """
    units = _units(m, facts.report.text, beside)
    forms, rules = [*map(_literal, dict.fromkeys(comparisons(m))), "lack"], []
    meanings = [m.analyte] if m.analyte else sorted(meant(re.sub(r"\s*[\[(].*", "", m.name)))
    read = [replace(m, analyte=analyte, unit=unit) for analyte in meanings for unit in units]
    notes = dict.fromkeys(note for one in read for note in _notes(one, facts, corrected))
    numbers = printed_numbers(beside.replace(m.unit, " ") if m.unit else beside)
    if (m.low, m.high) == (None, None) and numbers - {m.text.removeprefix(m.sign)}:
        forms.append(_among(f"near{i}"))
        rules.append(f"near{i} ::= {_padded(numbers)}")
    if notes:
        rules.append(f"note{i} ::= {_any(notes)}")
    more = f' (" ; " note{i}){{0,3}}' if notes else ""
    return [f'line{i} ::= {_head(m, facts.report.text, units)} ({" | ".join(forms)}){more} ") : " flag mark? "\\n"', *rules]


def _begins(word: Word, follower: str) -> bool:
    """Whether a name may begin with `word`: with a letter, or as in `25-OH`."""
    first = word.text.strip()
    return first[0].isalnum() and (not first.isdigit() or follower[:1].isalpha() or follower[:1] in ("-", "'", "’", "("))


def _open_names(words: list[Word], read: set[Place]) -> tuple[dict[Place, str], list[str]]:
    """The names that may begin at each place of `words`, in each cell, after each number and each point, and the rules of how they
    go on. None begins where one was `read`.
    """
    names, rules, place, before = {}, [], None, ""
    for i, word in enumerate(words):
        follower = words[i + 1].text if i + 1 < len(words) and words[i + 1].goes_on else ""
        more = f" more{i + 1}?" if follower else ""
        if word.goes_on:
            rules.append(f"more{i} ::= {_literal(word.text)}{more}")
        if place is None or word.heads or word.text.strip().isdigit() or before == ".":
            place = word.place
        if word.place not in read and _begins(word, follower):
            names.setdefault(place, []).append(f"({_any(_either_case(word.text.strip()))}){more}")
        before = word.text
    return {place: " | ".join(own) for place, own in names.items()}, rules


def _open_notes(report: Report, named: Iterable[str], numbers: set[str], corrected: set[str]) -> list[str]:
    """The rules of what may stand after the comparison of a line about one of the analytes `named`; [] where nothing may."""
    notes, rules = [], []
    for i, analyte in enumerate(named):
        unit, value = f" {analytes()[analyte].unit}".rstrip(), chr(_PLACE + i)
        if critical_limits(analyte):
            notes += _limits(analyte, (value,), ("", unit))
            values = {m.text for m in converted(analyte, numbers, report.text)} | (corrected if analyte == "calcium" else set())
            rules.append(f"value{i} ::= onumber | {_any(values)}")
        if analyte == "calcium":
            notes += _of_calcium(corrected)
        if analyte == "ddimeres" and report.age:
            notes.append(f"seuil adapté : {report.age:g} x 10")
    onote = re.sub(rf"[{chr(_PLACE)}-\uf8ff]", lambda value: f'" value{ord(value[0]) - _PLACE} "', _any(notes))
    return [f"onote ::= {onote}", *rules] if notes else []


def _open_lines(report: Report, sources: dict[int, str], corrected: set[str]) -> tuple[list[tuple[Place, str]], list[str]]:
    """The lines about what the reader has not read, by their place, and their rules: a name out of the lines `sources`, numbers and
    units out of the report.
    """
    words = words_of(sources)
    names, rules = _open_names(words, {_place(m, report.text) for m in report.measurements})
    if not names:
        return [], []
    numbers, units = printed_numbers(report.text), printed_units(report.text)
    notes, text = _open_notes(report, analytes_in(words), numbers, corrected), fold(report.text)
    named = {m.specimen for m in report.measurements} | {name for name, told in specimens().items() if told.search(text)}
    fluids = [f" ({FLUIDS.get(name, 'autre')})" for name in named - {BLOOD}]
    rules += [*notes, *(f"open{i} ::= ({own}) oline" for i, own in enumerate(names.values()))]
    rules += [f"oexact ::= {_any(numbers)}", f"onumber ::= {_padded(numbers)}", *[f"ounit ::= {_any(units)}"] * bool(units)]
    fluid, unit = f"({_any(fluids)})? " if fluids else "", ' (" " ounit)?' if units else ""
    form = f'{fluid}" : " [<>]? oexact{unit} " (" ({_among("onumber")}{unit} | lack)' + ' (" ; " onote){0,2}' * bool(notes)
    rules.append(f'oline ::= {form} ") : " flag mark? "\\n"')
    return [(place, f"open{i}?") for i, place in enumerate(names)], rules


def _words(name: str, numbers: set[str], units: Iterable[str]) -> str:
    """The rules of words that hold no other numbers than `numbers`, beside those of `units` (10^3/mm3)."""
    rule = f"{name} ::= name (sign | letter [0-9] [0-9]? [0-9]? | [();.]"
    counts = "".join(f" | {_literal(f' {unit}')}" for unit in sorted(units) if re.search(r"\^\d", unit))
    return rule + counts + (f" | [ (/<>-] ({_any(numbers)}))*" if numbers else ")*")


def _beside(m: Measurement, measured: list[Measurement], text: str) -> str:
    """The line of `m` and what follows up to the next value that was read: the beginning of the next line, three after a lone value."""
    if not m.line:
        return ""
    lines = text.splitlines()
    own = found = lines[m.line - 1]
    for place in range(m.line + 1, m.line + (4 if len(own.strip()) < _LONE else 2)):
        line = "".join(lines[place - 1 : place])
        values = [other.text.removeprefix(other.sign) for other in measured if other.line == place]
        ends = [end.start() for value in values if (end := re.search(re.escape(value).replace(",", "[.,]"), line))]
        found += "\n" + line[: min(ends, default=len(line))]
        if values or not line.strip():
            break
    return found


def _place(m: Measurement, text: str) -> Place:
    """Where the name of `m` stands in a text, or else its value."""
    if not m.line:
        return 0, 0
    line, name = _unaccented(text.splitlines()[m.line - 1]), re.escape(re.sub(r"^\W+", "", _unaccented(m.name)))
    value = re.escape(m.text.removeprefix(m.sign)).replace(",", "[.,]")
    found = re.search(rf"(?<!\w){name}(?!\w)", line) or re.search(rf"(?<![\w.,]){value}(?!\w)", line)
    return m.line, found.start() if found else 0


def grammar_of(report: str | Report, lead: str = "") -> str | None:
    """The grammar of the answers to `report` (its text, or what was read of it); None for an empty one (a question), which has no form.

    `lead` is what the model writes before its first word: Mistral's tokens begin with a space.
    """
    read = read_report(report) if isinstance(report, str) else report
    if not read.text.strip():
        return None
    known = not read.unread or all(m.line for m in read.measurements)  # of JSON read in part, the place of the rest is not known
    read = read if known else replace(read, measurements=())
    facts, reference = Facts(read), interpret(read)
    measured = [m for m in facts.measurements if answered(m)]
    sources = not_read(read)
    open_places = derived(read) if sources else {}
    corrected = open_places.get(CORRECTED, set())
    lines, rules = _open_lines(read, sources, corrected)
    place = (0, 0)
    for i, m in enumerate(measured):
        rules += _line(i, m, facts, _beside(m, measured, read.text), corrected)
        place = max(place, _place(m, read.text))
        lines.append((place, f"line{i}"))
    lines = " ".join(part for _, part in sorted(lines, key=itemgetter(0)))
    root = f'root ::= {_literal(lead) if lead else ""} {lines} "Conclusion : " concluded ("\\nSuite : " next)?'
    numbers = printed_numbers(read.text).union(numbers_in(reference), *open_places.values())
    told = numbers | fixed_numbers("wording") if sources else numbers
    units = printed_units(read.text)
    ends = [_words("concluded", told, units), _words("next", numbers | fixed_numbers("next_step"), units)]
    return "\n".join([root, *rules, *ends]) + _WORDS
