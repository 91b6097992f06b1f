"""How one laboratory prints: numbers, units, intervals, names, marks, patients and dates, drawn once for a whole report.

What is printed comes from tables: `phrases` (headings, comments, sentences, with {placeholders}), `names` and the units of the
laboratory room. A result is tagged with a character of the private area before its value, so that its place in the finished
text is known whatever becomes of the text around it.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

from medanalyzr.dataset.composer.spellings import phrases, spelled, usual_names
from medanalyzr.lab.references import analytes, conversions, convert, decimals_in, depends_on_sex, find_analyte, reference_interval
from medanalyzr.lab.report import FRENCH_HABITS, Measurement, Report, decimals_needed, decimals_of, format_number, in_unit
from medanalyzr.lab.rules import flag
from medanalyzr.lab.units import usual_unit

FIRST_TAG = 0xE000
TAG = re.compile("[\ue000-\uf000]")
_GREEK = "αβγκλ"


def without_accents(text: str) -> str:
    """`text` without accents; units and signs stay as they are."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def pad(text: str, width: int) -> str:
    """`text` filled with spaces up to `width`; tags count for nothing."""
    return text + " " * (width - len(TAG.sub("", text)))


@dataclass(frozen=True)
class Line:
    """One result as it is printed. `m` is what the answer must say of it, None where there is nothing to say (a result not given).

    `share` is the percentage beside a count, `second` the same result in another system (value, unit, interval), `earlier` the
    values of earlier reports, `note` a method, footnote or bracket after the name, `below` a remark on a line of its own, `by_sex` the
    intervals of men and of women.
    """

    m: Measurement | None
    name: str
    value: str
    unit: str = ""
    interval: str = ""
    section: str = ""
    specimen: str = "sang"
    mark: str = ""
    share: str = ""
    second: tuple[str, str, str] = ("", "", "")
    earlier: tuple[str, ...] = ()
    note: str = ""
    below: str = ""
    by_sex: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Told:
    """What a report tells of the patient, the lines that tell it, and what else was said of the sample (haemolysis, treatments)."""

    text: str
    sex: str | None
    age: float | None
    pregnant: bool
    comments: tuple[str, ...] = ()

    def words(self, style: "Style") -> dict[str, str]:
        """The patient within a sentence: {patient}, {Patient}, and {e}, the ending of what agrees."""
        young = self.age is not None and self.age < 18
        title = {"F": "la jeune" if young else "Mme", "H": "le jeune" if young else "M."}.get(self.sex, "le patient")
        who = f"{title} {style.phrase('who').capitalize()[:1]}." + (f", {self.years()}" if self.age is not None else "")
        who += ", enceinte de 24 SA" if self.pregnant else ""
        return {"patient": who, "Patient": who[0].upper() + who[1:], "e": "e" if self.sex == "F" else ""}

    def short(self, style: "Style") -> str:
        """The patient at the head of a note: `F 73a`."""
        age = "" if self.age is None else self.years().replace(" ans", "a" if style.small else " ans")
        return f"{self.sex or ''} {age}".strip() + (", enceinte 24 SA" if self.pregnant else "")

    def parts(self) -> list[str]:
        """What is told, in short lines."""
        return [part.strip() for part in re.split(r"\n|\t| {3,}", self.text) if part.strip()]

    def years(self) -> str:
        """`8 mois`, `34 ans`."""
        return f"{round(self.age * 12)} mois" if self.age < 2 else f"{int(self.age)} ans"


class _Words(dict):
    """What the placeholders of a phrase stand for; {n3} is a number of three digits, {who} another phrase."""

    def __init__(self, style: "Style", more: dict[str, str]):
        super().__init__(more)
        self.style = style

    def __missing__(self, key: str) -> str:
        if re.fullmatch(r"n\d", key):
            return str(self.style.rng.randint(10 ** (int(key[1]) - 1) + 1, 10 ** int(key[1]) - 1))
        return self.style.phrase(key)


class Style:
    """The habits of one report for `reader`: "eye", "program" (plain numbers, bounds without a frame), "prose" or "note" (short names)."""

    def __init__(self, rng: Random, reader: str = "eye"):
        self.rng = rng
        self.structured, self.short, self.eye = reader == "program", reader == "note", reader == "eye"
        some = 4 if self.structured or reader == "prose" else None
        self.point = rng.choice(",..") if self.structured else rng.choices(",.", (80, 20))[0]
        self.thousands = "" if self.structured else rng.choices(("", " ", "\u202f", "\xa0", "."), (30, 40, 10, 10, 10))[0]
        if self.thousands == self.point:
            self.thousands = ""
        self.plain = rng.random() < 0.12
        if reader == "prose":
            self.case = rng.choice((str, str.lower))
        else:
            self.case = rng.choices((str, str.upper, str.title, str.lower), (70, 18, 5, 7))[0]
        self.range, self.below, self.above = (rng.choice(phrases()[kind][:some]) for kind in ("range", "below", "above"))
        self.frame = "{}" if self.structured or self.short else rng.choice(phrases()["frame"][: 5 if some else None])
        if self.range == "{a} ; {b}":
            self.frame = rng.choice(("[{}]", "({})"))
        self.tight = rng.random() < 0.3  # bounds without the zeros that end them
        self.zero = rng.random() < 0.12  # "0 - 5" for "< 5"
        self.unit_too = rng.random() < 0.1  # the unit within the interval
        self.both_sexes, self.by_age = rng.random() < 0.12, reader == "eye" and rng.random() < 0.05
        self.sign = rng.choice(("{}", "{} ", "{} ", "words"))
        self.small, self.spelled, self.kept, self.aside = rng.random() < 0.25, {}, {}, rng.randrange(60)
        self.converts, self.doubles = rng.random() < 0.45, rng.random() < 0.1
        self.marks = dict(zip(("bas", "élevé"), rng.choice(phrases()["mark"]).split(), strict=True)) if rng.random() < 0.35 else {}
        places = ("value ", "end") if "+" in self.marks.values() else ("value", "value ", "unit", "end", "front", "before")
        self.mark_at = rng.choice(places)
        self.shares = rng.choice(("", "", "after") if some or self.short else ("", "", "before", "after"))
        self.notes = rng.choice((0, 0, 0, 0.15, 0.6)) if reader == "eye" else 0
        self.unitless = self.short and rng.random() < 0.2  # some units are left out
        self.history = rng.choices((0, 1, 2), (68, 22, 10))[0]
        self.interval_first = rng.random() < 0.12
        self.no_interval = rng.random() < (0.35 if self.short else 0.08)
        self.brief, self.typos = self.short or rng.random() < 0.15, 0.4 if rng.random() < 0.08 and not self.structured else 0
        self.apart, self.sex_columns = reader == "eye" and rng.random() < 0.15, reader == "eye" and rng.random() < 0.06
        self.both_unknown, self.gaps, self.half, self.fluids, self.told_at, self.leant = self.tight, 0.04, 0, 0.15, "", False
        self.codes, self.loud = "head", False
        today = date(2039, 1, 1) + timedelta(rng.randrange(2900))
        back = sorted(rng.sample(range(3, 800), 2))
        self.today, self.dates = today, [self.written(today - timedelta(days)) for days in back]
        self.words = {"d": self.written(today), "d0": self.dates[0], "kg": str(rng.randint(46, 98)), "fc": str(rng.randint(56, 118)),
                      "t": f"{rng.randint(6, 19):02}{rng.choice('h:')}{rng.randrange(60):02}"}  # fmt: skip

    def lean(self, more: Random) -> None:
        """What a model learns last, made frequent for its training: intervals of both sexes, left out or open at one end, other
        specimens, codes of seven kinds, and the patient elsewhere (`told_at`: "foot", "beside" the laboratory) and in other words.
        """
        self.leant, self.fluids = True, 0.35 if self.short else 0.25
        self.both_sexes |= more.random() < 0.32
        self.converts |= more.random() < 0.3
        self.interval_first |= more.random() < 0.12
        self.loud = not self.structured and more.random() < 0.07  # a text in capitals, units and all
        self.both_unknown |= more.random() < 0.5
        self.gaps = more.choice((0.04, 0.04, 0.12, 0.35))
        self.sex_columns |= self.structured and more.random() < 0.2
        self.no_interval |= self.structured and more.random() < 0.12
        self.half = (
            0 if self.both_sexes or self.sex_columns else more.choice((0, 0.2, 0.2, 0.5) if self.structured else (0, 0, 0.2, 0.5))
        )
        self.told_at = more.choice(("", "", "", "foot", "beside", "beside"))
        self.codes = more.choice(("head", "consonants", "loinc", "number", "small", "short", "drawn"))

    def chance(self, share: float) -> bool:
        """True in `share` of the draws."""
        return self.rng.random() < share

    def several(self, kind: str, counts: Sequence[int]) -> list[str]:
        """As many different phrases of `kind` as one of `counts` says."""
        chosen = self.rng.sample(phrases()[kind], self.rng.choice(counts))
        return [text.format_map(_Words(self, self.words)) for text in chosen]

    def phrase(self, kind: str, **more: str) -> str:
        """A phrase of `kind`, its placeholders filled."""
        return self.rng.choice(phrases()[kind]).format_map(_Words(self, self.words | more))

    def written(self, day: date) -> str:
        """A date as this report writes it."""
        return day.strftime("%d/%m/%Y")

    def number(self, text: str) -> str:
        """A number with a decimal comma as this report prints it."""
        whole, comma, decimals = text.partition(",")
        grouped = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", self.thousands, whole)
        return grouped + (self.point + decimals if comma else "")

    def value(self, m: Measurement) -> str:
        """The value of `m` with its sign, as "<" or in words."""
        text = self.number(m.text.removeprefix(m.sign))
        if not m.sign:
            return f"+{text}" if m.analyte == "be" and m.value > 0 and self.small else text
        if self.sign == "words" and not self.structured:
            word = {"<": "inférieur", ">": "supérieur"}[m.sign]
            return f"{word[:3] + '.' if self.small else word} à {text}"
        return self.sign.replace("words", "{}").format(m.sign) + text

    def unit(self, unit: str) -> str:
        """The spelling of `unit` that this report keeps to."""
        if unit not in self.spelled:
            text = self.rng.choice(spelled(unit) or (unit,)) if self.chance(0.4) else unit
            small = text.replace("L", "l")
            self.spelled[unit] = small if self.small and usual_unit(small) == unit else text
        return self.spelled[unit]

    def bounds(self, m: Measurement, pair: tuple[float | None, ...] | None = None) -> tuple[str, str]:
        """The bounds of `m`, or another `pair`, each as printed; "" where there is none."""
        low, high = pair or (m.low, m.high)
        own = decimals_in(m.analyte, m.interval_unit) if m.interval_unit else decimals_of(m.text)
        decimals = decimals_needed(low, high) if self.tight else max(own, decimals_needed(low, high))
        return tuple("" if x is None else self.number(format_number(x, decimals)) for x in (low, high))

    def _both(self, m: Measurement, pair: tuple[float | None, ...] | None = None) -> str:
        """The bounds as one text: a range, or a bound with its sign or in words; with their unit where it is another."""
        a, b = self.bounds(m, pair)
        kind = "{a} à {b}" if a.startswith("-") and b else self.below if not a else self.above if not b else self.range
        unit = m.interval_unit or (m.unit if self.unit_too else "")
        return kind.format(a=a, b=b) + (f" {self.unit(unit)}" if unit else "")

    def interval(self, m: Measurement, told: Told) -> str:
        """The interval of `m` in the way of this report, for both sexes or two ages where it prints these; "" where it prints none."""
        groups = self._groups(m, told)
        if not groups:
            return self.frame.format(self._both(m)) if (m.low, m.high) != (None, None) else ""
        return ("   " if self.small else " ; ").join(f"{group} : {self._both(m, pair)}" for group, pair in groups.items())

    def of_both_sexes(self, m: Measurement, told: Told) -> tuple[str, str]:
        """The intervals of men and of women, the patient's own that of `m`; twice the same where they do not differ."""
        pairs = dict.fromkeys("HF", (m.low, m.high))
        if m.analyte and m.specimen == "sang" and not m.interval_unit and depends_on_sex(m.analyte):
            pairs = _by_sex(m, told)
        return tuple(self.frame.format(self._both(m, pairs[who])) for who in "HF")

    def _groups(self, m: Measurement, told: Told) -> dict[str, tuple[float | None, ...]]:
        """The bounds for each group of patients; the patient's own are those of `m`. Where the sex is not told, `m` has none."""
        printed, own = (m.low, m.high) != (None, None), (m.low, m.high)
        if self.structured or m.interval_unit or m.specimen != "sang":
            return {}
        by_sex = self.both_sexes if told.sex and printed else self.both_unknown and not (told.sex or printed)
        if by_sex and m.analyte and depends_on_sex(m.analyte):
            return _by_sex(m, told)
        if not (self.by_age and printed and told.age and told.age >= 18 and self.chance(0.4)):
            return {}
        limit, decimals = self.rng.choice((40, 50, 60, 65, 70)), decimals_of(m.text)
        other = tuple(None if x is None else round(1.15 * x, decimals) for x in own)
        young, old = (own, other) if told.age < limit else (other, own)
        return {f"18-{limit - 1} ans": young, f"{limit} ans et +": old}

    def name(self, analyte: str) -> str:
        """A name of a known analyte as this report prints it."""
        names = usual_names()[analyte]
        name = names[0] if self.chance(0.3) else self.rng.choice(names)
        if self.brief:
            name = min((name, *self.rng.choices(names, k=3)), key=len)
        printed = self.cased(names[0] if set(name) & set(_GREEK) and self.case is str.upper else name)
        printed = printed if (known := find_analyte(printed)) and known.id == analyte else name
        return self.mistyped(printed)

    def mistyped(self, name: str) -> str:
        """`name` with a slip of the keyboard (a letter twice, left out, or changed places with the next) where this report has slips."""
        if len(name) < 6 or not self.chance(self.typos):
            return name
        at = self.rng.randint(1, len(name) - 3)
        pair = name[at : at + 2]
        return name[:at] + self.rng.choice((pair[0] + pair, pair[1], pair[::-1])) + name[at + 2 :] if pair.isalpha() else name

    def cased(self, name: str) -> str:
        """`name` in the case of this report; abbreviations keep their capitals."""
        keeps = any(c.isupper() for c in name[1:]) or len(name) < 4
        name = name if keeps and self.case is not str.upper else self.case(name)
        if self.case is str:
            name = name if name[1:2].isupper() or name[0] in _GREEK else name[0].upper() + name[1:]
        return without_accents(name) if self.plain else name

    def another_unit(self, m: Measurement, interval_too: bool = True) -> Measurement | None:
        """`m` in another unit in use, with its interval if `interval_too`; None without one, or where too many digits would go."""
        if not m.analyte or m.interval_unit or m.unit != analytes()[m.analyte].unit or m.specimen != "sang":
            return None
        moved = []
        for analyte, unit in sorted(conversions()):
            if analyte == m.analyte:
                new = in_unit(m, unit, interval_too=True)
                step = 10.0 ** -decimals_in(analyte, unit)
                if all(x is None or x == 0 or abs(x) > 15 * step for x in (new.value, new.low, new.high)):
                    moved.append(new if interval_too or (m.low, m.high) == (None, None) else in_unit(m, unit, interval_too=False))
        usual = [other for other in moved if other.unit == FRENCH_HABITS.get(m.analyte)]
        return self.rng.choice(usual if usual and self.chance(0.6) else moved) if moved else None

    def mark(self, m: Measurement) -> str:
        """The mark of a value out of its interval, where this report prints marks."""
        return self.marks.get(flag(m), "")

    def patient(self, report: Report) -> Told:
        """The lines on the patient, and what they tell. In one of twelve, neither sex nor age is told."""
        rng, sex, age = self.rng, report.sex, report.age
        if not report.pregnant and self.chance(0.08):
            return Told("", None, None, False, report.comments)
        young, parts, who = age is not None and age < 18, [], self.phrase("who")
        if sex and not young and self.chance(0.6):
            title = rng.choice({"F": ("Mme", "Madame", "Mme"), "H": ("M.", "Monsieur", "M.")}[sex])
            parts.append(f"{title} {who} {self.phrase('first') if self.chance(0.6) else ''}".strip())
        else:
            parts.append(self.phrase(f"sex:{sex or ''}{' enfant' if young and sex else ''}"))
        if self.leant and sex and self.chance(0.4):
            parts[0] = self.phrase(f"told:{sex}")
        if report.pregnant:
            parts.append(rng.choice(phrases()["pregnant"]).format(rng.randint(8, 39)))
        told = Told("", sex, age, report.pregnant, report.comments)
        if age is not None and age >= 2 and self.chance(0.35):
            day = self.today - timedelta(rng.randrange(350))
            born = day.replace(year=day.year - int(age), day=min(day.day, 28))
            parts += [f"{self.phrase('born', e='e' if sex == 'F' else '')} {self.written(born)}", self.phrase("sampled")]
        elif age is not None:
            parts.append(rng.choice(("{}", "{}", "Âge : {}", "âgé(e) de {}")).format(told.years()))
            if self.leant and age >= 2 and self.chance(0.3):
                parts[-1] = self.phrase("told_age", a=str(int(age)))
        text = rng.choice(("   ", ", ", " - ", "\n", "\t", "        ")).join(parts)
        return replace(told, text=rng.choice(("", "", "Patient : ", "PATIENT : ")) + text)


def _by_sex(m: Measurement, told: Told) -> dict[str, tuple[float | None, ...]]:
    """The bounds of men and of women in the unit that `m` is printed in; where the sex is told, the patient's own are those of `m`."""
    french = analytes()[m.analyte].unit
    unit = m.unit or french
    decimals, pairs = decimals_in(m.analyte, unit), {}
    for who in "HF":
        table = reference_interval(m.analyte, who)
        pairs[who] = tuple(
            None if x is None else round(convert(m.analyte, x, french, unit), decimals) for x in (table.low, table.high)
        )
    return pairs | ({told.sex: (m.low, m.high)} if told.sex else {})
