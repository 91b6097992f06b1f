"""How a dataset is balanced: rows, sexes, flags and critical values by category, flags by analyte."""

from collections import Counter
from collections.abc import Mapping, Sequence

from medanalyzr.lab.references import analytes
from medanalyzr.lab.report import FLAGS, UNDETERMINED, parse_answer, parse_report

_SEXES = {"F": "women", "H": "men", None: "sex unknown"}
NOT_GIVEN = "not given"


def balance(rows: Sequence[Mapping[str, str]]):
    """A pandas DataFrame: one row per category and a last row for all; None if no answer has a flagged line.

    Columns: rows, measured and simulated (where rows say so), women, men, sex unknown, the four flags (counts of
    analytes), critical (analytes marked critical).
    """
    import pandas as pd

    lines = []
    for row in rows:
        flagged = parse_answer(row["output"]).values()
        counts = Counter({"rows": 1, row.get("origin", ""): 1, _SEXES[parse_report(row["input"]).sex]: 1})
        counts.update(m.flag for m in flagged)
        lines.append({"category": row.get("category", NOT_GIVEN)} | counts | {"critical": sum(m.critical for m in flagged)})
    columns = ["rows", "measured", "simulated", *_SEXES.values(), *FLAGS, UNDETERMINED, "critical"]
    table = pd.DataFrame(lines).reindex(columns=["category", *columns]).fillna(0).groupby("category").sum().astype(int)
    if not table[list(FLAGS)].to_numpy().any():
        return None
    table = table.sort_values("rows", ascending=False)
    table.loc["all"] = table.sum()
    return table


def flags_by_analyte(rows: Sequence[Mapping[str, str]]) -> dict[str, Counter]:
    """Counts of the flags of each analyte, the most frequent analyte first; its name carries the number of values."""
    counts: dict[str, Counter] = {}
    for row in rows:
        for key, m in parse_answer(row["output"]).items():
            known = analytes().get(key)
            counts.setdefault(known.name if known else m.name, Counter())[m.flag] += 1
    order = sorted(counts, key=lambda name: -counts[name].total())
    return {f"{name} ({counts[name].total()})": counts[name] for name in order}
