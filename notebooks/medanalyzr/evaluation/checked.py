"""What the check of answers (`medanalyzr.inference.verify`) makes of a model's errors: shown as verified, corrected, or marked."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from medanalyzr.evaluation.scoring import ABSENT, Line, score
from medanalyzr.inference.verify import Result, verify
from medanalyzr.lab.report import CRITICAL, parse_answer
from medanalyzr.lab.rules import answer_name

_COLUMNS = (
    "lines",
    "wrong",
    "wrong, shown as verified",
    "wrong, corrected",
    "wrong, marked as not verified",
    "right, not verified",
    "right, made wrong",
)


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer as a reader is shown it: `text` has its lines, those that the report contradicts corrected, and the conclusion of the
    rules; `verified` are the keys (see `Measurement.key`) whose first line is verified.
    """

    text: str
    verified: frozenset[str]


def _line(result: Result) -> str:
    line = f"{answer_name(result)} : {result.value} {result.unit}".rstrip() + f" : {result.flag}"
    return line + (f", {CRITICAL}" if result.critical else "")


@lru_cache(maxsize=2048)  # 05_evaluation shows these answers and counts them
def checked_answer(report: str, answer: str) -> CheckedAnswer:
    """`answer` to the text `report` after the check; results that it leaves out are not added."""
    found = verify(report, answer)
    lines = [(_line(result), result.verified) for result in found.results if result.value is not None]
    ending = [f"Conclusion : {found.conclusion}."] if found.conclusion else []
    first: dict[str, bool] = {}
    for line, is_verified in lines:
        for key in parse_answer(line):
            first.setdefault(key, is_verified)
    verified = frozenset(key for key, is_verified in first.items() if is_verified)
    return CheckedAnswer("\n".join([*(line for line, _ in lines), *ending]), verified)


def _right(line: Line) -> bool:
    return line.right and line.value_right and line.critical == line.called_critical


def check_counts(rows: Sequence[Mapping[str, str]], answers: Sequence[str]) -> dict[str, int]:
    """How many lines of `answers` to `rows` are right and wrong (value, flag, critical mark), and what the check makes of them.

    Lines of analytes of the references are counted, the first of each. A line that is corrected under another name counts as marked.
    """
    counts = Counter(dict.fromkeys(_COLUMNS, 0))
    for row, answer in zip(rows, answers, strict=True):
        check = checked_answer(row["input"], answer)
        before, after = (score(row["input"], text, row["output"]).lines for text in (answer, check.text))
        for written, shown in zip(before, after, strict=True):
            if written.given != ABSENT:
                counts.update(_kinds(written, shown, written.key in check.verified))
    return dict(counts)


def _kinds(written: Line, shown: Line, verified: bool) -> list[str]:
    if _right(written):
        price = [] if verified else ["right, not verified" if _right(shown) else "right, made wrong"]
        return ["lines", *price]
    fate = "shown as verified" if verified else "corrected" if _right(shown) else "marked as not verified"
    return ["lines", "wrong", f"wrong, {fate}"]


def check_table(counts: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """A row of `check_counts` for each source of answers."""
    short = {name: "… " + name.removeprefix("wrong, ") for name in _COLUMNS if name.startswith("wrong, ")}
    return pd.DataFrame(counts).T.rename_axis("answers")[list(_COLUMNS)].rename(columns=short)


def silent_share(counts: Iterable[Mapping[str, int]]) -> float | None:
    """The share of all lines that are wrong and shown as verified; None without a line."""
    counts = list(counts)
    lines = sum(one["lines"] for one in counts)
    return sum(one["wrong, shown as verified"] for one in counts) / lines if lines else None
