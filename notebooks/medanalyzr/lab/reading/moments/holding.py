"""Of which day a printed value is: today's, another day's, or one that cannot be told.

A moment that stands alone on its line holds for the lines below it, up to the next one; beside values it holds for those behind it on
its line or in its sentence, or for the one directly before it. The latest day of those that hold for results is today's.
"""

import re
from bisect import bisect_left
from functools import cached_property, lru_cache

from medanalyzr.lab.reading.moments.days import before, fits
from medanalyzr.lab.reading.moments.found import OF_PLATELETS, Found, Moment, nouns
from medanalyzr.lab.reading.names import flat, known
from medanalyzr.lab.reading.tokens import items

EARLIER, UNSURE = "résultat d'un autre jour", "le texte ne dit pas de quel jour est ce résultat"
OTHERS, NOTHING = "peut-être le résultat d'une autre personne", "n'est pas un résultat du patient"
WITHDRAWN = "le texte retire ou corrige ce résultat"

_NUMBER = re.compile(r"(?<![\w.,])[<>]?\d+(?:[.,]\d+)?")
_NEXT = re.compile(
    r"[\s:=()\[\]~*,.<>≤≥\"'-]*(?:\b(?:a|de|etait|est)\b\s*)?[<>≤≥]?\s*"
    r"(?:(?!(?:[01]?\d|2[0-4])h)\d+(?:[.,]\d+)?(?!\d| ?(?:e|er|eme|mois|jours?|ans|semaines?)\b)|\S{1,3}[.,]\S{1,3}(?!\S))"
)
_AFTER_NUMBER = re.compile(
    r"\d[)\]]?\s*(?:(?:[a-zµ]{0,5}/[a-zµ³²\d]{1,6}|%|[a-z]{1,4})\s*)?(?:[(\[]\s*(?:le|du|au)?|\b(?:le|du|au))\s*$"
)
_OF = re.compile(r"\d.*\b(?:chez|de|pour) *$")  # a person behind a value
_SAID_BEHIND = re.compile(r"(?<![\d:])\d+(?:[.,]\d+)?(?! ?h\b|\d|[:h]\d)(?:[^.!?\n]|\.(?! ))*$")
_CANCELLED = re.compile(
    r"compte.?rendu (?:est )?annule(?!e? et)|resultats (?:ci.dessus )?sont (?:tous )?annules|annulation du compte.?rendu"
)
_NO_TIME = ("person", "nothing", "withdrawn")
_STOP = re.compile(r"[.;!?](?=\s|$)|\n\s*\n")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_CLAUSE = re.compile(r"[;|\t]|,(?!\d)|\.(?=\s)")
_NO_VALUE = re.compile(  # intervals and units
    r"[(\[][^)\]]*[)\]]|[<>≤≥]?\s*\d[\d.,]*\s*(?:-|–|a)\s*\d[\d.,]*|[<>≤≥]\s*\d[\d.,]*|10\s?[*^]\s?\d+|1[.,]73|(?<=[a-z/])[23]|24 ?h"
)
_CHANGED_TO = re.compile(r"\s*[a-zµ%/³]{0,9}\s*(?:-+>|→|=+>|➔|➜)\s*[<>]?\s*\d")
_CONCENTRATION = re.compile(r"/ ?(?:[dcmµμ]?l|mm3|mm³|mol|mmol)|%", re.IGNORECASE)
_DATED_REPORT = re.compile(r"([a-z]+)\s+(?:sanguine?s? |biologiques? )?(?:du|le|en date du)\s*$")
_BRACKETS = 80  # characters of a remark in brackets
_FAR = 3000  # characters that a moment within a sentence holds for at most


class Moments(Found):
    """The moments of a text, for which values they hold, and which of these are no results of today."""

    def __init__(self, text: str):
        super().__init__(text)
        self._places = [moment.pos for moment in self.moments]
        self._heads = [moment for moment in self.moments if moment.head]
        for moment in self.moments:
            self._reach(moment)

    def _reach(self, moment: Moment) -> None:
        """How far a moment beside values holds, and whether for the value before it."""
        start, end = self.line(moment.pos)
        opened = max(self.flat.rfind(sign, start, moment.pos) for sign in "([")
        closed = min((at for sign in ")]" if (at := self.flat.find(sign, moment.end, end)) >= 0), default=-1)
        inside = opened >= 0 and 0 <= closed - opened < _BRACKETS and not re.search(r"[)\]]", self.flat[opened : moment.pos])
        numbers = inside and re.search(r"\d", self.flat[opened : moment.pos] + self.flat[moment.end : closed])
        following = _NEXT.match(self.flat, closed + 1 if inside and not numbers else moment.end, end)
        moment.since, moment.until, moment.back = moment.end, moment.end, True
        if moment.kind == "withdrawn" and _SAID_BEHIND.search(self.flat, start, moment.pos):
            moment.until = following.end() if following else moment.end
        elif numbers:
            moment.since, moment.until, moment.back = opened, closed, False
        elif _AFTER_NUMBER.search(self.flat, max(0, start - 20 * self.goes_on(start)), moment.pos):
            return
        elif following:
            moment.until, moment.back = following.end(), False
        elif moment.kind in ("person", "nothing", "withdrawn"):
            stop = _SENTENCE_END.search(self.flat, moment.end, end)
            moment.until = stop.start() if stop else end
            moment.back = inside or _OF.search(self.flat, start, moment.pos) is not None
        elif not _STOP.match(self.flat, moment.end):
            stop = _STOP.search(self.flat, moment.end, moment.end + _FAR)
            moment.until = max(end, stop.start() if stop and self.is_prose(moment.end, stop.start()) else end)

    def _above(self, pos: int) -> Moment | None:
        """The heading above a place."""
        at = bisect_left(self._heads, pos, key=lambda m: m.pos)
        while at and self._heads[at - 1].kind in ("nothing", "withdrawn") and "\n\n" in self.flat[self._heads[at - 1].end : pos]:
            at -= 1
        return self._heads[at - 1] if at else None

    def _holding(self, pos: int, end: int) -> list[Moment]:
        """The moments that hold for the value from `pos` to `end`: beside it, or else above it."""
        at, line_end = bisect_left(self._places, pos), self.line(pos)[1]
        after = self.moments[at : at + 30]
        near = (*self.moments[max(0, at - 30) : at][::-1], *after[:3])  # those before it first
        lead = next((m for m in near if not m.head and m.since <= pos < m.until), None)
        trail = next((m for m in after if not m.head and m.back and end <= m.pos < line_end), None)
        if trail is None and (below := next((m for m in after if m.pos > line_end), None)) and self._is_remark_on(line_end, below):
            trail = below
        trail = trail if trail and self._follows(end, trail) else None
        if lead and trail:
            apart = [_CLAUSE.search(self.flat, *span) is not None for span in ((lead.end, pos), (end, trail.pos))]
            return [trail] if apart == [True, False] else [lead] if apart == [False, True] else [lead, trail]
        found = lead or trail or self._above(pos)
        return [found] if found else []

    def _is_remark_on(self, line_end: int, moment: Moment) -> bool:
        """Whether a moment takes back, on the line below the one that ends in `line_end`, what stands there: «Erroné», «Contrôlé à 4,2»."""
        start, end = self.line(line_end + 1)
        lead = self.flat[start : moment.pos]
        named = any(known(word) for word in re.findall(r"[a-z]+", self.flat[start:end]))
        taken = moment.kind == "withdrawn" and not OF_PLATELETS.match(self.flat, moment.pos)
        return taken and start <= moment.pos < end and not named and not re.search(r"\d", lead)

    def _follows(self, end: int, moment: Moment) -> bool:
        """Whether a moment stands directly behind the value that ends in `end`, or in the column for dates of its row."""
        between = self.flat[end : moment.pos]
        if _STOP.search(between.rstrip(";")):  # the one before a cell
            return False
        if any(self.column_heads.values()) and re.search(r"[\t|;,]|\s{2}", between):
            return True
        of_earlier = moment.day and self.column_heads and re.search(r"\s{2}|[\t|;]", between)  # in their column, perhaps
        return not of_earlier and not _NUMBER.search(_NO_VALUE.sub("", between))

    @cached_property
    def _used(self) -> tuple[dict[Moment, list[int]], list[int]]:
        """The moments that hold for results, each with their places, and the places of results that have none."""
        used: dict[Moment, list[int]] = {}
        without: list[int] = []
        for start in self.starts if self.moments else ():
            here = items(self.text[start : self.line(start)[1]])
            bounded = any(i.kind == "interval" and not i.sign for i in here)
            for i in here:
                if i.kind == "value" and (bounded or _CONCENTRATION.search(i.unit)):
                    holding = self._holding(start + i.pos, start + i.end)
                    for moment in holding:
                        used.setdefault(moment, []).append(start + i.pos)
                    without += [start + i.pos] if not holding and self._is_named(start, start + i.pos) else []
        return used, without

    def _is_named(self, start: int, pos: int) -> bool:
        """Whether a value on the line that begins in `start` stands behind the name of an analyte."""
        before_it = self.text[start:pos]
        parts = before_it.split()[-5:]
        first = re.split(r"[;|\t:]|\s{2}", before_it.strip(" ;|\t-*•"))[0]
        spans = [" ".join(parts[a:b]) for a in range(len(parts)) for b in (len(parts), len(parts) - 1) if a < b]
        return any(known(name.strip(" :(=-,")) for name in (first, *spans))

    @cached_property
    def _reasons(self) -> dict[Moment, str]:
        """Why values for which a moment holds are no results of today; "" where they are."""
        used, without = self._used
        kinds, today = {m.kind for m in used}, [m for m in used if m.kind == "today"]
        sampled = {m.day for m in self.moments if m.sampled and m.kind == "date" and not (m.head and m in used)}
        days = sampled | {m.day for m in used if m.day and m.kind != "earlier"}
        latest = max((m.label for m in used if m.kind == "label"), default=0)
        weekdays = {self.flat[m.pos : m.end].strip(" (-") for m in used if m.kind == "weekday"}
        heads = [head for m in today if not m.head and (head := self._above(m.pos))]  # of a section that says «ce jour»
        of_today = sampled | {m.day for m in (*today, *heads)}

        def why(m: Moment) -> str:
            if m.kind in ("nothing", "withdrawn"):
                return NOTHING if m.kind == "nothing" else WITHDRAWN
            if m.kind == "person":
                alone = not without and kinds == {"person"} and sum(n.kind == "person" for n in used) == 1
                return "" if alone and (m.head or not m.back) else OTHERS
            others = {before(m.day, day) for day in days} if m.day else set()
            if m.kind == "earlier" or True in others or m.kind == "label" and m.label < latest:
                return EARLIER
            if m.kind == "latest" and not m.day and (without or kinds - {"latest", "earlier", *_NO_TIME}):
                return EARLIER
            if m.kind == "entry" and kinds & {"today", "exit"}:
                return EARLIER
            vague = m.day and (
                m.day[0] is None and m.day[2] is None or not m.sampled and not all(fits(m.day, d) for d in self.issued)
            )
            if vague or None in others or m.kind == "exit" and today or m.kind == "weekday" and len(weekdays) > 1:
                return UNSURE
            if m.kind in ("weekday", "quoted") and (without or today or days):
                return UNSURE
            if m.kind in ("label", "entry") and not m.day and (days or kinds - {m.kind, "earlier", *_NO_TIME}):
                return UNSURE
            if m.kind in ("date", "latest") and m.day and m.day not in of_today:
                return EARLIER if today else UNSURE if without and not self._is_of_all(m) else ""
            return ""

        return {m: why(m) for m in self.moments}

    def _is_of_all(self, moment: Moment) -> bool:
        """Whether results without a day are probably of the day of this moment, the only one: nearly all results have it, it stands in
        a row of a table, or it dates a «bilan du …» and the others follow.
        """
        used, without = self._used
        lead = self.flat[max(0, moment.pos - 40) : moment.pos]
        same = sum(len(places) for m, places in used.items() if m.day == moment.day)
        noun = _DATED_REPORT.search(lead)
        in_row = bool(self.column_heads) and re.search(r"[;|\t,]\s*$", lead) is not None
        return in_row or same >= 3 * len(without) or noun is not None and noun[1] in nouns() and min(without) > moment.pos

    def why(self, pos: int, end: int) -> str:
        """Why the value from `pos` to `end` is no result of today for certain; "" where it is one."""
        return self._judged(pos, end)[0]

    @cached_property
    def is_cancelled(self) -> bool:
        """Whether the whole report is withdrawn."""
        return _CANCELLED.search(self.flat) is not None

    def _judged(self, pos: int, end: int) -> tuple[str, bool]:
        """`why` for a value, and whether a moment holds for it."""
        if self.is_cancelled:
            return WITHDRAWN, True
        holding = self._holding(pos, end)
        found = [self._reasons[m] for m in holding] + ([EARLIER] if _CHANGED_TO.match(self.flat, end) else [])
        return next((reason for reason in (NOTHING, WITHDRAWN, OTHERS, EARLIER, UNSURE) if reason in found), ""), bool(holding)

    def why_of(self, line: int, name: str, value: str) -> tuple[str, bool]:
        """`why` for a result whose `name` stands on a line, from 1, and whose `value` stands behind it; and whether a moment holds for it."""
        start = self.starts[line - 1]
        named = self.flat.find(flat(name), start, self.line(start)[1])
        whole, *decimals = re.split("[.,]", value.lstrip("<>"))
        thousands = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", r"[\\s.,']?", re.escape(whole))  # printed 25 000, 25.000 or 25000
        pattern = re.compile(rf"(?<![\d.,]){'[.,]'.join((thousands, *map(re.escape, decimals)))}(?!\d)")
        found = pattern.search(self.text, named + len(name) if named >= 0 else start) or pattern.search(self.text, start)
        return self._judged(*found.span()) if found else ("", False)


@lru_cache(64)
def moments(text: str) -> Moments:
    """The moments of a text (`tidy`)."""
    return Moments(text)
