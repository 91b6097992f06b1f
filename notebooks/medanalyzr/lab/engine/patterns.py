"""The patterns: what several analytes say together, and what to do next. Each is a row of tables/patterns_*.csv.

A row is drawn where its condition holds and no other row that holds replaces it. The rows of section A come first: an analyte
among what they replace is a value that no other section may use (a haemolysed potassium). The rank of a row is its urgency:
1 call now, 2 within the day, 3 within three days, 4 within four weeks, 5 routine.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.engine.conditions import HIGH, LOW, Expression, expression, fill
from medanalyzr.lab.engine.facts import Facts
from medanalyzr.lab.references import TABLES, analytes, find_analyte, read_table

# Critical limits that stay in force under 18 years and in pregnancy (GEN-02).
ALWAYS = {(a, s) for a in ("potassium", "sodium", "glucose", "calcium", "calcium_corrige") for s in (LOW, HIGH)}
ALWAYS |= {("hb", LOW), ("pnn", LOW), ("plaquettes", LOW)}
FIRST = "A"  # the section that comes before the others and holds for everybody
# Words that ask for several analytes at once.
_PANELS = {"gaz du sang": ("ph",), "ionogramme": ("sodium", "potassium"), "bilirubine": ("bilirubine_totale",),
           "hémogramme": ("hb", "leucocytes", "plaquettes")}  # fmt: skip
LONGEST_LIST = 5  # next steps; beyond it those of rank 4 are left out


@dataclass(frozen=True)
class Row:
    """A row of the tables. `critical` are the limits it serves as (analyte, side); `explains` is None where the condition tells."""

    id: str
    section: str
    condition: Expression
    wording: str
    rank: int
    next_step: str
    critical: frozenset[tuple[str, str]]
    replaces: frozenset[str]
    explains: frozenset[str] | None
    where: str

    def speaks_for(self, facts: Facts) -> bool:
        """Whether it may be drawn for this patient: adults, what holds for everybody, or a condition that asks for such a patient."""
        asked = ("enfant" if facts.enfant else "enceinte") in self.condition.names
        return bool(facts.adulte or asked or self.section == FIRST or (self.critical and self.critical.issubset(ALWAYS)))

    def holds(self, facts: Facts) -> bool:
        """Whether the row applies to this patient and its condition is true."""
        asked = self.condition.analytes
        if asked and not self.condition.reads and not any(facts.measured(analyte) for analyte in asked):
            return False
        return bool(self.speaks_for(facts) and self.condition.evaluate(facts))


@dataclass(frozen=True)
class Finding:
    """What an answer says: words of the conclusion, next steps joined by " ; " (both may be empty), and its rank.

    `explains` are the abnormal analytes it accounts for, `mentions` all it speaks of, `called` those for which to call at once.
    """

    rank: int
    wording: str = ""
    step: str = ""
    explains: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()


def _row(r: dict[str, str], where: str) -> Row:
    served = frozenset((token[:-1], {"-": LOW, "+": HIGH}.get(token[-1])) for token in r["critical"].split())
    unknown = [token for token in [a for a, _ in served] + r["explains"].split() if token not in analytes()]
    if unknown or any(s is None for _, s in served) or r["rank"] not in "12345" or not r["rank"]:
        raise MedAnalyzrError(f"{where}: rank must be 1 to 5, critical and explains hold analytes (potassium+, sodium-).")
    for template in (r["wording"], r["next_step"]):
        for text in re.findall(r"\{([^{}]*)\}", template):
            expression(re.sub(r":\d$", "", text).strip(), where)
    explains = frozenset(r["explains"].split()) if r["explains"] else None
    condition = expression(r["condition"], where)
    replaces = frozenset(r["replaces"].split())
    return Row(
        r["id"], r["section"][:1], condition, r["wording"], int(r["rank"]), r["next_step"], served, replaces, explains, where
    )


@cache
def rows() -> tuple[Row, ...]:
    """Every row of tables/patterns_*.csv, in the order of the files.

    Raises:
        MedAnalyzrError: a row cannot be read; it is named.
    """
    files = sorted(path.stem for path in TABLES.glob("patterns_*.csv"))
    return tuple(_row(r, f"tables/{file}.csv, {r['id']}") for file in files for r in read_table(file))


def draw(facts: Facts) -> list[Finding]:
    """The findings of all rows that hold and are not replaced, in the order of the tables."""
    holding = [(row, facts) for row in rows() if row.section == FIRST and row.holds(facts)]
    usable = facts.without({name for row, _ in holding for name in row.replaces})
    holding += [(row, usable) for row in rows() if row.section != FIRST and row.holds(usable)]
    replaced = {name for row, _ in holding for name in row.replaces}
    return [_finding(row, known) for row, known in holding if not {row.id, row.id.rstrip("abcdefgh")} & replaced]


def _finding(row: Row, facts: Facts) -> Finding:
    explains = row.explains
    if explains is None:
        explains = frozenset(a for a in row.condition.judged if facts.state(a) in (LOW, HIGH))
    called = frozenset()
    if row.rank == 1:
        served = {a for a, side in row.critical if facts.state(a) == side} if row.critical else explains
        called = frozenset(() if any(facts.critical(a) for a in served) else served)
    wording, step = (fill(text, facts, row.where) for text in (row.wording, row.next_step))
    printed = {m.analyte for m in map(facts.measured, explains) if m}  # a name may stand for another one (bicarbonates with a pH)
    return Finding(row.rank, wording, step, explains | printed, row.condition.analytes | explains | printed, called)


def conclude(findings: Iterable[Finding]) -> list[str]:
    """The words of the conclusion by rank, each once."""
    return list(dict.fromkeys(f.wording for f in sorted(findings, key=lambda f: f.rank) if f.wording))


def next_steps(findings: Iterable[Finding], facts: Facts) -> list[str]:
    """The next steps by rank: none that another one holds, none for what is printed; routine ones only where nothing is urgent."""
    ranked = sorted(findings, key=lambda f: f.rank)
    routine = all(f.rank > 2 for f in ranked)
    steps = [(f.rank, _unprinted(step, facts)) for f in ranked if f.rank != 5 or routine for step in f.step.split(" ; ")]
    steps = [(rank, step, set(re.split(", | et ", step))) for rank, step in dict.fromkeys(steps) if step]
    kept = [
        (rank, step)
        for place, (rank, step, items) in enumerate(steps)
        if not any(
            (items < others and least <= rank) or (items <= others and other < place)
            for other, (least, _, others) in enumerate(steps)
        )
    ]
    return [step for rank, step in kept if rank != 4 or len(kept) <= LONGEST_LIST]


def _printed(item: str, facts: Facts) -> bool:
    """Whether the report prints what a step asks for, an analyte or a whole panel."""
    item = re.sub(r" (?:sans délai|le jour même|à jeun)$", "", item)
    known = find_analyte(item)
    wanted = (known.id,) if known else _PANELS.get(item, ())
    return bool(wanted) and all(map(facts.measured, wanted))


def _unprinted(step: str, facts: Facts) -> str:
    """`step` without what the report already prints: «CRP, ferritine» asks for both. What is to be measured again stays."""
    if re.match("prévenir|refaire|confirmer|traiter", step):
        return step
    parts = re.split("(, | et )", step)  # item, separator, item…
    again = re.sub(r"^contrôler (?:l'|la |le |les )?", "", parts[0])
    kept, repeats = [parts[0]] if not _printed(parts[0], facts) else [], again != parts[0] and bool(find_analyte(again))
    for between, item in zip(parts[1::2], parts[2::2], strict=True):
        repeats = repeats and bool(find_analyte(item))
        if repeats or not _printed(item, facts):
            kept += [between, item] if kept else [item]
    return "".join(kept)
