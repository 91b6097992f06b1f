"""Layouts never seen in training: test values in each held-out family, and how many flags are right in it."""

from collections.abc import Mapping, Sequence
from random import Random

import pandas as pd

from medanalyzr.dataset.layouts import HELD_OUT, sample
from medanalyzr.evaluation.metrics import flag_scores, wilson
from medanalyzr.evaluation.scoring import ABSENT, score
from medanalyzr.evaluation.tables import share
from medanalyzr.lab.report import parse_answer

MOST = 12  # results per report: its prompt has up to 1,900 tokens


def layout_name(family: str) -> str:
    """The name of a family of layouts in figures and tables."""
    named = {"ocr": "OCR noise", "hprim": "HPRIM lines as text", "json_nested": "JSON with other keys"}
    return named.get(family, family.replace("_", " "))


def unseen_layouts(rows: Sequence[Mapping[str, str]], each: int, seed: int) -> list[dict[str, str]]:
    """`each` reports of every family (`layout`) in `HELD_OUT`, composed from those `rows` that have flagged answers."""
    ours = [row for row in rows if parse_answer(row["output"])]
    orders = {family: Random(f"{seed} {family}").sample(ours, len(ours)) for family in HELD_OUT}
    return [row for family, order in orders.items() for row in sample(order, each, seed, (family,), MOST)]


def by_family(rows: Sequence[Mapping[str, str]], texts: Mapping[str, Sequence[str]], seed: int = 0) -> dict[str, dict[str, dict]]:
    """For each family among `rows` and each source of answers (`texts`): the share of right flags with its 95 % interval over
    reports.

    `reports` is their number; `refused` is the share of analytes without a line in the answer, which count as not right.
    """
    found: dict[str, dict[str, dict]] = {}
    for family in dict.fromkeys(row["layout"] for row in rows):
        found[family] = {}
        for source, answers in texts.items():
            here = [(row, text) for row, text in zip(rows, answers, strict=True) if row["layout"] == family]
            scored = [score(row["input"], text, row["output"]) for row, text in here]
            lines = [line for one in scored for line in one.lines]
            flags = flag_scores(scored, seed)
            right = {key: flags[key] for key in ("count", "of", "share", "low", "high")}
            refused = wilson(sum(line.given == ABSENT for line in lines), len(lines))
            found[family][source] = right | {"reports": len(here), "refused": refused}
    return found


def layout_table(families: Mapping[str, Mapping[str, Mapping]]) -> pd.DataFrame:
    """A row for each family of `by_family`: reports, and right and left-out flags of each source."""
    rows = []
    for family, sources in families.items():
        row = {"layout": layout_name(family), "reports": next(iter(sources.values()))["reports"]}
        for source, result in sources.items():
            row |= {f"{source}: flags right": share(result), f"{source}: left out": f"{result['refused']['share']:.2f}"}
        rows.append(row)
    return pd.DataFrame(rows).set_index("layout") if rows else pd.DataFrame()
