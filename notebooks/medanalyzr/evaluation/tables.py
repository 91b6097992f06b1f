"""The tables of 05_evaluation, as pandas DataFrames."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import display

from medanalyzr.evaluation.metrics import line_confidence
from medanalyzr.evaluation.scoring import ABSENT, Scored
from medanalyzr.inference.generation import Answer


def share(value: Mapping) -> str:
    """A share with its 95 % interval and counts: `0.87 [0.80, 0.92] (110 of 126)`; "—" if nothing was counted."""
    if not value.get("of"):
        return "—"
    interval = "" if value["low"] is None else f" [{value['low']:.2f}, {value['high']:.2f}]"
    return f"{value['share']:.2f}{interval} ({value['count']} of {value['of']})"


def _two(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def show(table: pd.DataFrame, structured: bool) -> None:
    """Show a table, or a sentence if the reference answers have no flagged lines."""
    if structured:
        with pd.option_context("display.max_colwidth", None):
            display(table)
    else:
        print("Not measured: the reference answers of this dataset hold no flagged lines, so there is nothing to compare with.")


def comparison_table(results: Mapping[str, Mapping], differences: Mapping[str, Mapping | None]) -> pd.DataFrame:
    """One row per source of answers: reports, right flags, macro-F1, critical recall, exact reports, lead of the tuned model."""
    rows = []
    for name, result in results.items():
        lead = differences.get(name)
        rows.append(
            {
                "answers": name,
                "reports": result["reports"],
                "flags right": share(result["flags"]),
                "macro-F1": _two(result["flags"]["macro_f1"]),
                "critical found": share(result["critical"]["recall"]),
                "exact reports": share(result["patterns"]["exact_reports"]),
                "lead of tuned": f"{lead['difference']:+.2f} [{lead['low']:+.2f}, {lead['high']:+.2f}]" if lead else "",
            }
        )
    return pd.DataFrame(rows).set_index("answers")


def _rows(content: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({"measured": content}).rename_axis("what")


def detail_table(result: Mapping) -> pd.DataFrame:
    """Coverage, fidelity of values, units and numbers, and conclusions of one source of answers."""
    coverage, patterns = result["coverage"], result["patterns"]
    return _rows(
        {
            "abnormal analytes left out": share(coverage["abnormal_left_out"]),
            "analytes invented": str(coverage["invented_analytes"]),
            "values copied correctly": share(coverage["values_right"]),
            "units copied correctly": share(coverage["units_right"]),
            "numbers that follow from the report": share(coverage["numbers_that_follow"]),
            "decimal points instead of commas": str(coverage["decimal_points"]),
            "conclusions, precision": _two(patterns["precision"]),
            "conclusions, recall": _two(patterns["recall"]),
            "degrees (légère, sévère…)": share(patterns["degrees"]),
            "reports exact (flags, critical marks, conclusions)": share(patterns["exact_reports"]),
        }
    )


def guided_table(
    results: Mapping[str, Mapping], answers: Mapping[str, Sequence[Answer]], speed: Mapping[str, float]
) -> pd.DataFrame:
    """A column for free and for guided answers: what the grammar must improve, what it may cost, tokens per second (of answers
    generated now), and the share of forced tokens.
    """
    columns = {}
    for name, result in results.items():
        tokens, forced = sum(a.tokens for a in answers[name]), sum(a.forced for a in answers[name])
        columns[name] = {
            "numbers that follow from the report": share(result["coverage"]["numbers_that_follow"]),
            "analytes invented": str(result["coverage"]["invented_analytes"]),
            "abnormal analytes left out": share(result["coverage"]["abnormal_left_out"]),
            "flags right": share(result["flags"]),
            "tokens a second": f"{speed[name]:.0f}" if name in speed else "answered before",
            "forced tokens": f"{forced / max(tokens, 1):.2f}",
        }
    return pd.DataFrame(columns).rename_axis("what")


def pattern_table(result: Mapping, most: int = 12) -> pd.DataFrame:
    """The most frequent conclusions of the references, and how often the answers draw them."""
    rows = [{"conclusion": name} | counts for name, counts in list(result["patterns"]["by_name"].items())[:most]]
    return pd.DataFrame(rows, columns=["conclusion", "found", "of"]).set_index("conclusion")


def perturbation_table(steady: Mapping[str, Mapping], abstention: Mapping[str, Mapping]) -> pd.DataFrame:
    """Counterfactual pairs, invariances and abstention."""
    names = {
        ("limit", "flipped"): "value moved across its limit: right before and after",
        ("limit", "others_kept"): "… and all other flags kept",
        ("limit", "consistent"): "… both",
        ("order", "consistent"): "lines in reverse order: same flags",
        ("point", "consistent"): "decimal points: same flags",
        ("unit", "consistent"): "another unit: same flags",
    }
    rows = {text: share(steady[kind][key]) for (kind, key), text in names.items() if kind in steady}
    refusals = {name.replace("_", " "): share(abstention[name]) for name in ("right_refusals", "made_up_flags", "wrong_refusals")}
    return _rows(rows | refusals | {"analytes invented": str(abstention["invented"])})


def text_table(scores: Mapping[str, Mapping]) -> pd.DataFrame:
    """chrF, ROUGE-L, and the shares of answers that end by themselves, are in French, and repeat nothing."""
    rows = {
        name: {"chrF": f"{s['chrf']:.1f}", "ROUGE-L": _two(s["rouge_l"])}
        | {key.replace("_", " "): share(s[key]) for key in ("ended", "french", "without_repetition")}
        for name, s in scores.items()
    }
    return pd.DataFrame(rows)


def by_analyte(scored: Sequence[Scored]) -> dict[str, tuple[int, int]]:
    """Right flags and total flags by name of the analyte."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in (line for one in scored for line in one.lines):
        counts[line.name][0] += line.right
        counts[line.name][1] += 1
    return {name: (right, of) for name, (right, of) in counts.items()}


def by_category(scored: Sequence[Scored], rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Share of right flags by the category of the row; categories without flags are left out."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one, row in zip(scored, rows, strict=False):
        counts[row.get("category", "reports")][0] += one.right
        counts[row.get("category", "reports")][1] += len(one.lines)
    return {name: right / of for name, (right, of) in sorted(counts.items()) if of}


def confidences(answers: Sequence[Answer], scored: Sequence[Scored]) -> list[tuple[float, bool]]:
    """Confidence and correctness of every flag in the answers."""
    pairs = []
    for answer, one in zip(answers, scored, strict=True):
        found = line_confidence(answer.text, answer.confidence)
        pairs += [(found[line.key], line.right) for line in one.lines if line.given != ABSENT and line.key in found]
    return pairs
