"""Answers in free French text: the flags that they state, and the bundled reports for a run that learnt from other data."""

from collections.abc import Mapping, Sequence

import pandas as pd

from medanalyzr.dataset.bundled import ORIGINS, load_bundled
from medanalyzr.dataset.loading import Row
from medanalyzr.dataset.prepare import FRACTIONS
from medanalyzr.dataset.split import keys_of, split_rows
from medanalyzr.evaluation.tables import share
from medanalyzr.evaluation.unseen import by_family
from medanalyzr.lab.prose.flags import flags_in_text
from medanalyzr.lab.report import parse_answer, parse_report, write_measurement

LINES, PROSE = "lines", "free text"


def bundled_reports(own: Sequence[Row], seed: int) -> list[Row]:
    """The bundled test reports for a run with the rows `own` (of all its parts); none where the run has bundled rows itself.

    A report whose patient, text or answer is among `own` is left out.
    """
    if any(row.get("origin") in ORIGINS for row in own):
        return []
    known = {key for row in own for key in keys_of(row)}
    test = split_rows(load_bundled(), *FRACTIONS, seed)["test"]
    return [row for row in test if parse_answer(row["output"]) and not known & {*keys_of(row)}]


def stated_lines(report: str, answer: str) -> str:
    """What an answer in prose states about the blood results of `report`, as lines that `scoring.score` reads."""
    results = [m for m in parse_report(report).measurements if m.specimen == "sang" and m.analyte]
    flags = flags_in_text(answer, [m.key for m in results])
    return "\n".join(f"{write_measurement(m)} : {flags[m.key]}" for m in results if m.key in flags)


def by_form(rows: Sequence[Row], texts: Mapping[str, Sequence[str]], seed: int = 0) -> dict[str, dict[str, dict]]:
    """For each source of answers, apart: right flags of the answers with our lines, and of those without any, read as prose.

    Scores are those of `unseen.by_family`; rows whose reference has no flags do not count.
    """
    found: dict[str, dict[str, dict]] = {}
    for source, answers in texts.items():
        pairs = [(row, text) for row, text in zip(rows, answers, strict=False) if parse_answer(row["output"])]
        labelled = [row | {"layout": LINES if parse_answer(text) else PROSE} for row, text in pairs]
        read = [text if parse_answer(text) else stated_lines(row["input"], text) for row, text in pairs]
        found[source] = {form: scores[source] for form, scores in by_family(labelled, {source: read}, seed).items()}
    return found


def form_table(found: Mapping[str, Mapping[str, Mapping]]) -> pd.DataFrame:
    """A row for each source and form of `by_form`: reports, right flags, and the share of analytes that the answer does not mention."""
    words = {LINES: "flags in our lines", PROSE: "flags read from free text"}
    rows = [
        {"answers": name, "read as": words[form], "reports": s["reports"], "flags right": share(s), "left out": share(s["refused"])}
        for name, forms in found.items()
        for form, s in sorted(forms.items(), reverse=True)
    ]
    return pd.DataFrame(rows).set_index(["answers", "read as"]) if rows else pd.DataFrame()
