"""The moments that a text names («hier», «Antériorités», «Bilan du 02/03/2026», «J-1»), but for those of no result: births, doses,
operations, printing. The words are those of tables/moments.csv.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

from medanalyzr.lab.reading.lines import columns
from medanalyzr.lab.reading.moments.days import DATE, Day, day_of
from medanalyzr.lab.reading.names import flat, known
from medanalyzr.lab.reading.tokens import tidy
from medanalyzr.lab.references import read_table, vocabulary

_KINDS = {"earlier": "earlier", "latest": "latest", "today": "today", "entry": "entry", "exit": "exit"} | {
    "person": "person", "nothing": "no result", "withdrawn": "withdrawn",
}  # fmt: skip
_OTHERS = (
    r"(?P<last>\bderniere?s? (?P<what>\w+(?: \w+)?))",
    r"(?<![\w-])j ?(?P<label>(?:[-–+]|moins )? ?\d{1,3})(?![\w.,/])",
    r"(?P<weekday>(?<![^\n.,;:(-])[ (-]*(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)\b)",
    r"(?P<patient>^[^\w\n]{0,3}(?:patiente? ?: ?|m\. |mr |mme |mlle |monsieur |madame )(?=[a-z]))",
    r"(?P<quoted>(?<![^\n])> ?(?=[a-z]))",  # a line of an answered e-mail
)
_JOIN = re.compile(r"(?:[\s:,()\[\]/*-]|\b(?:le|la|les|du|de|des|d'|l'|au|en|date|a)\b)*")
_WORDS = re.compile(r"[^\d\n;.]{0,40}")
_RESULTS = re.compile(
    r"\b(?:bilans?|resultats?|examens?|analyses?|biologies?|bio|dosages?|valeurs?|iono(?:gramme)?|nfs|hemogramme|numeration|prelevements?)\b"
)
_NAME, _VALUE = (
    re.compile(r"\b[A-ZÉÈÀÇ][A-ZÉÈÀÇ'-]{2,}\b"),
    re.compile(r"\d ?(?:[mµnp]?mol|[kmµnp]?g|m?ui|u|giga|t)/ ?[dm]?l\b|\d ?%|/mm3"),
)
_TITLED = re.compile(r"\W*(?:m\.|mr|mme|mlle|monsieur|madame) ([a-z' -]+)")
_COMPARED = re.compile(
    r"\b(?:vs|versus|contre|au lieu de|etait a)\W{1,3}(?:de )?[<>]?\d[\d.,]*\s?[a-zµ/%³]{0,9}\W{0,2}(?:le|du|au)?\W{0,2}$"
)
_NUMBER = re.compile(r" ?(?:a|en|:)? ?[<>]?(\d+(?:[.,]\d+)?)")
_OLD = re.compile(r"(?<![\d.,])(\d+(?:[.,]\d+)?)\s*[a-zµ%/³\d]{0,9}\s*(?:[(\[][^)\]]*[)\]])?[\s,;:(-]*(?:(?:mais|puis|et) )?$")
_DENIED = re.compile(r"\b(?:absence|aucune?s?|sans|pas) [^.;:]{0,20}$")
_AS_RESULT = ("annul", "non rendu", "supprim", "retir", "invalid", "inexploit", "non exploit", "non interp", "ininterp")
_AS_GOOD_AS = 0.1  # of the value, at most, by which a control may differ that confirms it
OF_PLATELETS = re.compile("amas|agregats|agglutinats")
_SENTENCE_GOES_ON = re.compile(r"(?:\b(?:le|la|les|du|des|de|a|et|en|est|contre|pour|un|une)|,)$")
_LONGEST = 10  # words of a line that holds for those below
_PROSE = 40  # characters that a line of prose has at least


@dataclass(eq=False)
class Moment:
    """Words that tell a time, from `pos` to `end`.

    `kind` is earlier, latest («dernier bilan»), today, entry, exit, label, weekday, quoted or date, or person (somebody else), nothing
    (no result at all: a target, a control sample, an example) or withdrawn («erroné», «contrôlé à 4,2»); `day` its date, `label` the n
    of «J n». A `head` stands alone on its line and holds for those below. Any other holds from `since` to `until`, and (`back`) for the
    value directly before it.
    """

    pos: int
    end: int
    kind: str
    day: Day | None
    label: int | None
    sampled: bool  # it says when the sample was taken
    head: bool = False
    since: int = 0
    until: int = 0
    back: bool = False


@cache
def words(kind: str) -> re.Pattern:
    """The words of a kind in tables/moments.csv."""
    return re.compile("|".join(row["pattern"] for row in read_table("moments") if row["kind"] == kind))


@cache
def nouns() -> frozenset[str]:
    """Words that a heading of results may have."""
    return frozenset(word for row in read_table("moments") if row["kind"] == "nouns" for word in row["pattern"].split())


@cache
def _pattern() -> re.Pattern:
    kinds = [rf"(?P<{kind}>(?<![\w-])(?:{words(rows).pattern})(?!\w))" for kind, rows in _KINDS.items()]
    return re.compile("(?m)" + "|".join((*kinds, *_OTHERS, DATE)))


class Found:
    """The moments of a text (`tidy`), in order, and the days on which it was issued."""

    def __init__(self, text: str):
        self.text, self.flat = text, flat(text)
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.issued: set[Day] = set()
        self.moments = list(self._groups())
        above: Moment | None = None
        for moment in self.moments:
            moment.head = self._is_head(moment)
            if above and moment.head and above.kind == "earlier" and not re.search(r"\w", self.flat[above.end : moment.pos]):
                moment.kind = "earlier"  # the date below «Antériorités»
            above = moment if moment.head else above

    def line(self, pos: int) -> tuple[int, int]:
        """Where the line of a place begins and ends."""
        end = self.flat.find("\n", pos)
        return self.flat.rfind("\n", 0, pos) + 1, end if end >= 0 else len(self.flat)

    @cached_property
    def column_heads(self) -> dict[int, bool]:
        """Where lines begin that head columns, and whether one of the columns is for the date of each row."""
        lines = self.text.split("\n")
        delimiter, found = columns.delimiter_of(lines), {}
        for start, line in zip(self.starts, lines, strict=True):
            cells, split = columns.cells_of(line, delimiter)
            if header := columns.header_of(line, cells, split):
                found[start] = header.has("rowdate")
            elif columns.heads_run_together(line):
                found[start] = False
            elif not re.search(r"[^\W\d]", line) and (len(cells) > 1 or re.match(r"[\s.…_|]{20}", line)):
                found[start] = False  # dates below the heads
        return found

    def _groups(self) -> Iterator[Moment]:
        """Moments that stand together («bilan précédent du 02/03/2026») as one, named by what is no date."""
        last: Moment | None = None
        for moment in self._each():
            between = self.flat[last.end : moment.pos] if last else "\n"
            joins = "\n" not in between and (_JOIN.fullmatch(between) or last.kind == "earlier" and _WORDS.fullmatch(between))
            if (
                joins
                and not (last.day and moment.day)
                and not {"quoted", "person", "nothing", "withdrawn"} & {last.kind, moment.kind}
            ):
                last.end, last.day, last.sampled = moment.end, last.day or moment.day, last.sampled or moment.sampled
                last.label = moment.label if last.label is None else last.label
                if last.kind == "weekday" or last.kind in ("date", "label") and moment.kind != "date":
                    last.kind = moment.kind
                continue
            if last:
                yield last
            last = moment
        if last:
            yield last

    def _each(self) -> Iterator[Moment]:
        """Every moment by itself, without those that speak of something else than results."""
        for m in _pattern().finditer(self.flat):
            start, end = self.line(m.start())
            if start in self.column_heads:
                continue
            lead = re.split(r"[.;]\s|\d\d\b", self.flat[max(start, m.start() - 40) : m.start()])[-1]
            tail = self.flat[m.end() : min(end, m.end() + 40)]
            kind = next((k for k in (*_KINDS, "last", "label", "weekday", "patient", "quoted") if m[k]), "date")
            day = day_of(m)
            label = int(re.sub(r"\s", "", m["label"]).replace("–", "-").replace("moins", "-")) if m["label"] else None
            if day and words("issued").search(lead):
                self.issued.add(day)
                continue
            if kind == "date" and (day is None or words("not a day").search(lead)):
                continue
            if kind in ("earlier", "last", "latest") and (words("not earlier").search(lead) or words("not earlier").search(tail)):
                continue
            if kind == "withdrawn" and _DENIED.search(lead):
                continue
            if not self._may_be(m) or kind == "withdrawn" and self._is_confirmed(m):
                continue
            if kind == "patient":
                if not self._is_another(start, end):
                    continue
                kind = "person"
            compared = kind == "date" and _COMPARED.search(self.flat, max(0, m.start() - 40), m.start())
            kind = "latest" if kind == "last" else kind
            if compared or label is not None and label < 0:
                kind = "earlier"
            sampled = kind == "date" and re.search(r"preleve|prelevement|date", lead) is not None
            yield Moment(m.start(), m.start("what") if m["last"] else m.end(), kind, day, label, sampled)

    def _is_another(self, start: int, end: int) -> bool:
        """Whether a line names a patient below results, and no line above them names the same."""
        line, above = self.text[start:end], self.text[:start]
        names = set(_NAME.findall(line)) - {"PATIENT", "PATIENTE", "MME", "MLLE"}
        if not names and (titled := _TITLED.match(self.flat, start, end)):
            names, above = set(re.findall(r"[a-z]{3,}", titled[1])), self.flat[:start]
        told = re.search(r"\bnee?\b|\d ?ans|patient|sexe|ddn", self.flat[start:end]) or len(self.flat[start:end].split()) < 5
        return bool(names and told and _VALUE.search(self.flat, 0, start)) and not any(name in above for name in names)

    def _may_be(self, m: re.Match) -> bool:
        """Whether «dernier potassium» or «il y a 3 mois» speaks of a result, not of an operation or an illness."""
        if m["last"]:
            return known(m["what"]) is not None or known(m["what"].split()[0]) is not None
        word = re.search(r"([a-z]+) *\(?(?:(?<=\w)\n)?\Z", self.flat[max(0, m.start() - 40) : m.start()])
        if not m[0].startswith("il y a") or word is None:
            return True
        return word[1] in nouns() or known(word[1]) is not None or words("earlier").fullmatch(word[1]) is not None

    def _is_confirmed(self, m: re.Match) -> bool:
        """Whether «contrôlé à 4,2» gives no other value than the one before it, or tells how the first one was measured; or whether
        «annulé» is all that is printed for a name.
        """
        if m[0].startswith(_AS_RESULT):
            named = re.split(r"[\s:=.|-]+", self.flat[max(self.line(m.start())[0], m.start() - 40) : m.start()].strip(" :=.|-"))
            return any(known(" ".join(named[-n:])) for n in (1, 2, 3))
        new = _NUMBER.match(self.flat, m.end())
        if new is None:
            return False
        start = self.line(m.start())[0]
        start = start if self.flat[start : m.start()].strip() else self.line(start - 1)[0]  # the line above
        old = _OLD.search(self.flat, max(start, m.start() - 80, 0), m.start())
        a, b = (float(x[1].replace(",", ".")) if x else None for x in (old, new))
        return a is None or abs(a - b) <= _AS_GOOD_AS * max(a, b)

    def _is_head(self, moment: Moment) -> bool:
        """Whether a moment stands on a line without values, as a heading or a part of one."""
        start, end = self.line(moment.pos)
        line = self.flat[start:end]
        rest = re.sub(
            r"\b(?:(?:19|20)\d\d|\d\d? ?[h:] ?\d?\d?|\d+ ?(?:er?|eme|sa|ans|mois|semaines))\b", "", _pattern().sub(" ", line)
        )
        if re.search(r"(?<!n°)(?<!n° )(?<![\w.])\d", rest) or len(rest.split()) > _LONGEST or moment.kind == "quoted":
            return False
        above = self._neighbour(start - 1, -1)
        if moment.kind == "withdrawn" and (
            not _RESULTS.search(line) or re.search(r"\d", above) and not line.rstrip().endswith(":")
        ):
            return False  # a remark on what stands above
        sentence = line.rstrip().endswith((".", "!"))
        others = [
            word for word in re.findall("[a-z]+", rest) if not (word in nouns() or word in vocabulary("discipline") or known(word))
        ]
        dated = moment.day and None not in moment.day or moment.kind not in ("person", "nothing") and _RESULTS.search(line)
        dated = dated and not re.search(r"\S\s{3,}\S|[\t|]", line)
        named = moment.kind == "person" and re.search(
            r"patiente? ?:|autre patient|homonyme|^\W*(?:m\.|mr|mme|mlle|monsieur|madame) ", line
        )
        told = not others or line.rstrip().endswith(":") or (dated or named) and not sentence
        if not told or self.goes_on(start):
            return False
        below = self._neighbour(end + 1, 1)
        by_cell = columns.is_head(above) or (columns.is_head(below) and len(line.split()) < 4)
        return not by_cell and not re.match(r"[\s(\[<>≤≥]*\d+(?:[.,]\d+)?(?![/.\d])", below)

    def goes_on(self, start: int) -> bool:
        """Whether the line that begins in `start` goes on with a sentence of the line above."""
        over = self.flat[self.line(start - 1)[0] : start - 1].rstrip() if start else ""
        if len(over) <= _PROSE or over.endswith((".", ":", ";")) or re.search(r"\S\s{2,}\S|[|\t]", over):
            return False
        return self.text[start : start + 1].islower() or _SENTENCE_GOES_ON.search(over) is not None

    def is_prose(self, start: int, end: int) -> bool:
        """Whether a sentence goes on over the lines from `start` to `end`."""
        lines = self.flat[self.line(start)[0] : end].split("\n")
        table = re.compile(r"[;\t|].*[;\t|]|\S\s{3,}\S|^\s*(?:[-*•]|$)")
        return len(lines) > 1 and all(len(line) > _PROSE for line in lines[:-1]) and not any(map(table.search, lines))

    def _neighbour(self, pos: int, step: int) -> str:
        """The next line from `pos` upwards or downwards that is not empty."""
        while 0 <= pos < len(self.text):
            start, end = self.line(pos)
            if self.text[start:end].strip():
                return self.text[start:end]
            pos = start - 1 if step < 0 else end + 1
        return ""


@lru_cache(4096)
def speaks_of_others(text: str) -> bool:
    """Whether a text names another day, another person, or what is no result; capitals alone («EXEMPLE») are a name."""
    text = tidy(text)
    if re.fullmatch(r"(?:N° ?)?[A-ZÀ-Ý\d .'-]{4,}", text):
        return False
    vague = re.search(r"[^\W\d]", text) is not None  # «Bilan de mars 2024», not the year alone
    found = Found(text)
    return any(
        m.kind in ("earlier", "latest", "entry", "person", "nothing")
        or m.kind == "withdrawn"
        and not OF_PLATELETS.match(found.flat, m.pos)
        or vague
        and m.kind == "date"
        and m.day[2] is None
        for m in found.moments
    )
