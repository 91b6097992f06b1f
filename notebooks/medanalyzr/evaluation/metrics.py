"""Scores over many answers: shares with their intervals, differences, confidence against error.

Single proportions have Wilson's interval (J Am Stat Assoc 1927;22:209-212). A report has several flags, so their interval comes from
resampling whole reports (Efron, Ann Stat 1979;7:1-26).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from medanalyzr.evaluation.scoring import ABSENT, Scored
from medanalyzr.lab.report import FLAGS, UNDETERMINED, parse_answer

LABELS = (*FLAGS, UNDETERMINED)
RESAMPLES = 2000
FEW_REPORTS = 10  # with fewer reports, percentiles of resamples are too narrow
Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
_DEGREE = re.compile(r"\b(?:legere|moderee?|severe|majeure?|marquee?|profonde|effondre|tres|abaisse|discretement)\b")


def _score_interval(share: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `total`; `share * total` need not be a whole number."""
    z2 = Z95**2
    centre, half = share + z2 / (2 * total), Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, (centre - half) / (1 + z2 / total)), min(1.0, (centre + half) / (1 + z2 / total))


def wilson(count: int, total: int) -> dict:
    """`count`, `of`, `share`, and Wilson's 95 % interval `low`, `high`; the shares are None when `total` is 0."""
    if not total:
        return {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    low, high = _score_interval(count / total, total)
    return {"count": count, "of": total, "share": count / total, "low": low, "high": high}


def _resampled(parts: Sequence[Sequence[int]], statistic, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of `statistic` over resampled reports; each of `parts` has one number per report."""
    from scipy.stats import bootstrap

    def vectorized(*samples, axis=-1):
        return statistic(*(np.sum(sample, axis=axis) for sample in samples))

    samples, rng = [np.asarray(part, dtype=float) for part in parts], np.random.default_rng(seed)
    found = bootstrap(samples, vectorized, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def flag_scores(scored: Sequence[Scored], seed: int = 0) -> dict:
    """Right flags of all analytes, with the 95 % interval over reports, macro-F1 and confusion.

    Resampling is useless if all reports have the same share, and unreliable with fewer than `FEW_REPORTS`. The interval is then
    Wilson's for that share, and each report counts once. Returns `count`, `of`, `share`, `low`, `high`, `by_flag` (share right of
    each expected flag), `macro_f1` over bas, normal and élevé, and `confusion` (expected flag -> given flag or "absent" -> count).
    Shares are None without flagged analytes.
    """
    lines = [line for one in scored for line in one.lines]
    total, right = len(lines), sum(line.right for line in lines)
    confusion: dict[str, Counter] = defaultdict(Counter)
    for line in lines:
        confusion[line.expected][line.given] += 1
    result = {"count": right, "of": total, "share": right / total if total else None, "low": None, "high": None, "macro_f1": None}
    if total:
        from sklearn.metrics import f1_score

        parts = list(zip(*((one.right, len(one.lines)) for one in scored if one.lines), strict=True))
        reports = len(parts[0])
        if reports < FEW_REPORTS or len({r / n for r, n in zip(*parts, strict=True)}) == 1:
            result["low"], result["high"] = _score_interval(right / total, reports)
        else:
            result["low"], result["high"] = _resampled(parts, lambda r, n: r / n, seed)
        pairs = [line.expected for line in lines], [line.given for line in lines]
        labels = [flag for flag in FLAGS if flag in pairs[0]]
        result["macro_f1"] = float(f1_score(*pairs, labels=labels, average="macro", zero_division=0)) if labels else None
    result["by_flag"] = {flag: confusion[flag][flag] / confusion[flag].total() for flag in LABELS if flag in confusion}
    result["confusion"] = {flag: dict(confusion[flag]) for flag in LABELS if flag in confusion}
    return result


def difference(first: Sequence[Scored], second: Sequence[Scored], seed: int = 0) -> dict | None:
    """Share of right flags of `first` minus that of `second` on the same reports, with its paired 95 % interval.

    Resampling is useless if all reports differ by the same amount, and unreliable with fewer than `FEW_REPORTS`. The interval is
    then Newcombe's, from the score intervals of both shares, and each report counts once (Stat Med 1998;17:873-890, method 10); for
    pairs it is rather too wide. None with fewer than two reports that have flags.
    """
    pairs = [(a.right, b.right, len(a.lines)) for a, b in zip(first, second, strict=True) if a.lines]
    if len(pairs) < 2:
        return None
    a, b, total = zip(*pairs, strict=True)
    mine, other = sum(a) / sum(total), sum(b) / sum(total)
    if len(pairs) < FEW_REPORTS or len({(x - y) / n for x, y, n in pairs}) == 1:
        (low_1, high_1), (low_2, high_2) = _score_interval(mine, len(pairs)), _score_interval(other, len(pairs))
        low = mine - other - math.hypot(mine - low_1, high_2 - other)
        high = mine - other + math.hypot(high_1 - mine, other - low_2)
    else:
        low, high = _resampled((a, b, total), lambda x, y, n: (x - y) / n, seed)
    return {"difference": mine - other, "low": low, "high": high, "reports": len(pairs)}


def critical_scores(scored: Sequence[Scored]) -> dict:
    """Critical values found (`recall`) and missed (`miss_rate`), `false_alarms` among the other values, with Wilson's intervals."""
    lines = [line for one in scored for line in one.lines]
    critical = [line for line in lines if line.critical]
    found = sum(line.called_critical for line in critical)
    alarms = sum(line.called_critical for line in lines if not line.critical)
    return {
        "recall": wilson(found, len(critical)),
        "miss_rate": wilson(len(critical) - found, len(critical)),
        "false_alarms": wilson(alarms, len(lines) - len(critical)),
    }


def coverage_scores(scored: Sequence[Scored]) -> dict:
    """Abnormal analytes left out, analytes invented, values and units copied correctly, numbers that follow from the report."""
    lines = [line for one in scored for line in one.lines]
    abnormal = [line for line in lines if line.expected in ("bas", "élevé")]
    written = [line for line in lines if line.given != ABSENT]
    numbers = sum(one.numbers for one in scored)
    return {
        "abnormal_left_out": wilson(sum(line.given == ABSENT for line in abnormal), len(abnormal)),
        "invented_analytes": sum(len(one.invented) for one in scored),
        "values_right": wilson(sum(line.value_right for line in written), len(written)),
        "units_right": wilson(sum(line.unit_right for line in written), len(written)),
        "numbers_that_follow": wilson(numbers - sum(len(one.made_up) for one in scored), numbers),
        "decimal_points": sum(one.points for one in scored),
    }


def pattern_scores(scored: Sequence[Scored]) -> dict:
    """The conclusions: precision, recall and F1 over all patterns, found and expected `by_name` (as the references write it), exact
    reports.

    `degrees` counts the patterns with a word that depends on a threshold (légère, modérée, sévère, majeure…).
    """
    kept = [one for one in scored if one.patterns]
    names = {key: name for one in reversed(kept) for key, name in one.patterns.items()}
    expected_in = Counter(key for one in kept for key in one.patterns)
    found_in = Counter(key for one in kept for key in one.patterns.keys() & one.given_patterns.keys())
    given = sum(len(one.given_patterns) for one in kept)
    shared, expected = found_in.total(), expected_in.total()
    degrees = [key for key in expected_in if _DEGREE.search(key)]
    return {
        "precision": shared / given if given else None,
        "recall": shared / expected if expected else None,
        "f1": 2 * shared / (given + expected) if given + expected else None,
        "by_name": {names[key]: {"found": found_in[key], "of": of} for key, of in expected_in.most_common()},
        "degrees": wilson(sum(found_in[key] for key in degrees), sum(expected_in[key] for key in degrees)),
        "exact_reports": wilson(sum(one.exact for one in kept), len(kept)),
    }


def abstention_scores(scored: Iterable[Scored]) -> dict:
    """Right refusals («indéterminé» where it is expected), flags made up there, wrong refusals elsewhere, with Wilson's intervals.

    `invented` counts the analytes with a line in the answer but none in the report (such as a value in urine).
    """
    scored = list(scored)
    lines = [line for one in scored for line in one.lines]
    due = [line for line in lines if line.expected == UNDETERMINED]
    other = [line for line in lines if line.expected != UNDETERMINED]
    return {
        "right_refusals": wilson(sum(line.right for line in due), len(due)),
        "made_up_flags": wilson(sum(line.given in FLAGS for line in due), len(due)),
        "wrong_refusals": wilson(sum(line.given == UNDETERMINED for line in other), len(other)),
        "invented": sum(len(one.invented) for one in scored),
    }


def scores(scored: Sequence[Scored], seed: int = 0) -> dict:
    """Every score of one source of answers, as stored in evaluation.json."""
    return {
        "reports": len(scored),
        "flags": flag_scores(scored, seed),
        "critical": critical_scores(scored),
        "coverage": coverage_scores(scored),
        "patterns": pattern_scores(scored),
        "abstention": abstention_scores(scored),
    }


def line_confidence(text: str, confidence: Sequence[float]) -> dict[str, float]:
    """The confidence of the line that gives each analyte its flag, by analyte (see `Measurement.key`)."""
    found: dict[str, float] = {}
    for line, value in zip(text.splitlines(), confidence, strict=False):
        for key in parse_answer(line):
            found.setdefault(key, value)
    return found


def risk_coverage(pairs: Sequence[tuple[float, bool]]) -> list[dict]:
    """For (confidence, right) of many flags: `risk`, the share of wrong flags among the most confident `coverage` of them.

    One point per confidence that occurs; equal confidences enter together (El-Yaniv and Wiener, JMLR 2010;11:1605-1641).
    """
    ordered = sorted(pairs, reverse=True)
    points, wrong = [], 0
    for i, (confidence, right) in enumerate(ordered, 1):
        wrong += not right
        if i == len(ordered) or ordered[i][0] != confidence:
            points.append({"coverage": i / len(ordered), "risk": wrong / i, "confidence": confidence})
    return points
