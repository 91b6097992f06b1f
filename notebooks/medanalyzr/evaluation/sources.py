"""The test rows of each source of a mixture, scored apart."""

from collections.abc import Mapping, Sequence

import pandas as pd

from medanalyzr.evaluation.metrics import scores
from medanalyzr.evaluation.scoring import Scored
from medanalyzr.evaluation.tables import share
from medanalyzr.evaluation.text_metrics import text_scores
from medanalyzr.inference.generation import Answer

_MEASURED = ("flags right", "critical found", "exact reports", "chrF", "ROUGE-L")


def source_scores(
    training: Mapping, rows: Sequence[Mapping[str, str]], answers: Sequence[Answer], scored: Sequence[Scored], seed: int
) -> dict[str, dict]:
    """For each source that `training` (training.json) had: how many of `rows` are its, the `scores` of flags and all else, the `text_scores`.

    Both are None for a source without a row here. Nothing for a training on a single source.
    """
    found = {}
    for name in training["origin"].get("sources", {}):
        places = [i for i, row in enumerate(rows) if row["source"] == name]
        found[name] = {"rows": len(places), "results": None, "text": None}
        if places:
            found[name]["results"] = scores([scored[i] for i in places], seed)
            found[name]["text"] = text_scores([answers[i] for i in places], [rows[i]["output"] for i in places])
    return found


def source_table(sources: Mapping[str, Mapping]) -> pd.DataFrame:
    """A row for each source: its test rows, right flags, critical values found, exact reports, chrF and ROUGE-L; "—" where none is measured."""
    lines = {}
    for name, one in sources.items():
        lines[name] = {"test rows": one["rows"]} | dict.fromkeys(_MEASURED, "—")
        if results := one["results"]:
            shares = results["flags"], results["critical"]["recall"], results["patterns"]["exact_reports"]
            text = f"{one['text']['chrf']:.1f}", f"{one['text']['rouge_l']:.2f}"
            lines[name] |= zip(_MEASURED, (*map(share, shares), *text), strict=True)
    return pd.DataFrame(lines.values(), lines)
