"""Flags read from answers, against the flags of the reference answers."""

from collections import Counter
from collections.abc import Sequence

from medanalyzr.reports import parse_answer


def flag_accuracy(answers: Sequence[str], references: Sequence[str]) -> dict:
    """Share of the reference's flagged analytes to which the answer gives the same flag (a missing one is wrong).

    Returns `accuracy` (None without flagged analytes), `right`, `analytes` and the accuracy `by_flag`.
    """
    right, total = Counter(), Counter()
    for answer, reference in zip(answers, references, strict=True):
        given = parse_answer(answer)
        for key, expected in parse_answer(reference).items():
            total[expected.flag] += 1
            right[expected.flag] += key in given and given[key].flag == expected.flag
    analytes = total.total()
    return {
        "accuracy": right.total() / analytes if analytes else None,
        "right": right.total(),
        "analytes": analytes,
        "by_flag": {flag: right[flag] / total[flag] for flag in sorted(total)},
    }


def constant_accuracy(references: Sequence[str]) -> dict[str, float]:
    """The accuracy of answering one flag to everything, for each flag that occurs."""
    flags = Counter(m.flag for reference in references for m in parse_answer(reference).values())
    return {flag: count / flags.total() for flag, count in flags.most_common()}


def before_after(before: Sequence[str], after: Sequence[str], references: Sequence[str]) -> list[dict]:
    """The rows of the table base model, tuned model, always «élevé», most frequent flag: accuracy over all and by flag.

    Empty when the references hold no flagged line.
    """
    constant = constant_accuracy(references)
    if not constant:
        return []
    rows = []
    for name, answers in (("base model", before), ("tuned model", after)):
        score = flag_accuracy(answers, references)
        rows.append(
            {"answers": name, "right": score["right"], "of": score["analytes"], "flags": score["accuracy"]} | score["by_flag"]
        )
    total = rows[0]["of"]
    commonest = next(iter(constant))
    for name, flag in (("always «élevé»", "élevé"), (f"most frequent («{commonest}»)", commonest)):
        share = constant.get(flag, 0.0)
        by_flag = {key: float(key == flag) for key in sorted(constant)}
        rows.append({"answers": name, "right": round(share * total), "of": total, "flags": share} | by_flag)
    return rows


def flag_table(rows: Sequence[dict]):
    """The rows of `before_after` as a pandas DataFrame; a sentence and None where there is nothing to score."""
    import pandas as pd

    if rows:
        return pd.DataFrame(rows).set_index("answers").round(2)
    print("The test answers hold no flagged lines, so no flag can be scored on this dataset.")
