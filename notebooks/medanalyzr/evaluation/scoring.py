"""Answers scored against reference answers: each analyte, each report, and what many of them say together.

An answer counts as it is written: an analyte it leaves out is wrong, the first line of an analyte counts, and what it adds
to the report is listed. Intervals of single proportions are Wilson's (J Am Stat Assoc 1927;22:209-212); those of flags, of
which one report has several, resample whole reports (Efron, Ann Stat 1979;7:1-26).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.lab.references import analytes, conversions, convert, critical_limits, decimals_in, fold
from medanalyzr.lab.report import FLAGS, UNDETERMINED, Measurement, format_number, parse_answer, parse_report

ABSENT = "absent"
LABELS = (*FLAGS, UNDETERMINED)
RESAMPLES = 2000
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)?(?!\w)")


@dataclass(frozen=True)
class Line:
    """One analyte of a reference answer, and what the answer made of it; `given` is a flag or "absent"."""

    key: str
    name: str
    expected: str
    given: str
    critical: bool
    called_critical: bool
    value_right: bool
    unit_right: bool

    @property
    def right(self) -> bool:
        return self.given == self.expected


@dataclass(frozen=True)
class Scored:
    """One answer against its reference. `numbers` counts those the answer writes, `made_up` lists those that follow from
    nothing in report or reference, `points` counts decimal points where French has a comma.
    """

    lines: tuple[Line, ...]
    invented: tuple[str, ...]
    patterns: frozenset[str]
    given_patterns: frozenset[str]
    numbers: int
    made_up: tuple[str, ...]
    points: int

    @property
    def right(self) -> int:
        return sum(line.right for line in self.lines)

    @property
    def exact(self) -> bool:
        """Every flag and critical mark right, the same conclusion, nothing invented."""
        marks = all(line.right and line.critical == line.called_critical for line in self.lines)
        return marks and not self.invented and self.patterns == self.given_patterns

    def faults(self) -> list[str]:
        """What is wrong with the answer, in words."""
        found = []
        for line in self.lines:
            if not line.right:
                found.append(f"{line.name}: {line.given} instead of {line.expected}")
            if line.critical != line.called_critical:
                found.append(f"{line.name}: critical value {'missed' if line.critical else 'called without cause'}")
        found += [f"invented analyte {name}" for name in self.invented]
        found += [f"made-up number {number}" for number in dict.fromkeys(self.made_up)]
        found += [f"not concluded: {name}" for name in sorted(self.patterns - self.given_patterns)]
        return found + [f"concluded without cause: {name}" for name in sorted(self.given_patterns - self.patterns)]


def conclusion(answer: str) -> frozenset[str]:
    """What an answer concludes: the parts of its line «Conclusion : a ; b.», folded, without what stands in brackets."""
    line = next((text for text in answer.splitlines() if fold(text).startswith("conclusion :")), "")
    parts = re.sub(r"\s*\([^)]*\)", "", fold(line).partition(":")[2]).rstrip(". ").split(" ; ")
    return frozenset(" ".join(part.split()) for part in parts if part.strip())


def _same_value(given: Measurement, expected: Measurement) -> tuple[bool, bool]:
    """Whether value and unit are those expected; the value in another known unit of the analyte is right, too."""
    if fold(given.unit) == fold(expected.unit):
        return (given.sign, given.value) == (expected.sign, expected.value), True
    try:
        value = convert(expected.analyte or "", expected.value, expected.unit, given.unit)
        half = 0.5 * 10.0 ** -decimals_in(expected.analyte or "", given.unit)
    except KeyError:
        return False, False
    return given.sign == expected.sign and abs(given.value - value) <= half * 1.001, True


def _numbers(text: str) -> list[str]:
    """The numbers in a text, with a decimal comma; the line of next steps is left out («contrôler à 3 mois»)."""
    kept = (line for line in text.splitlines() if not fold(line).startswith("suite :"))
    return [found.replace(".", ",") for line in kept for found in _NUMBER.findall(line)]


def _following(report: str, reference: str) -> set[str]:
    """The numbers an answer may write: those of report and reference, the critical limits of its analytes, and each value in the
    other units of its analyte.
    """
    allowed = {*_numbers(report), *_numbers(reference)}
    for m in parse_report(report).measurements:
        limits = critical_limits(m.analyte) if m.analyte else None
        bounds = (limits.low, limits.high) if limits else ()
        allowed |= {format_number(bound, analytes()[m.analyte].decimals) for bound in bounds if bound is not None}
        for analyte, unit in conversions():
            if analyte == m.analyte:
                try:
                    allowed.add(format_number(convert(analyte, m.value, m.unit, unit), decimals_in(analyte, unit)))
                except KeyError:
                    break
    return allowed


def score(report: str, answer: str, reference: str) -> Scored:
    """One answer to `report` against its `reference` answer."""
    expected, given = parse_answer(reference), parse_answer(answer)
    lines = []
    for key, m in expected.items():
        found = given.get(key)
        value, unit = _same_value(found, m) if found else (False, False)
        called = bool(found and found.critical)
        lines.append(Line(key, m.name, m.flag, found.flag if found else ABSENT, m.critical, called, value, unit))
    known = {*expected, *(m.key for m in parse_report(report).measurements)}
    numbers, allowed = _numbers(answer), _following(report, reference)
    return Scored(
        lines=tuple(lines),
        invented=tuple(m.name for key, m in given.items() if key not in known),
        patterns=conclusion(reference),
        given_patterns=conclusion(answer),
        numbers=len(numbers),
        made_up=tuple(number for number in numbers if number not in allowed),
        points=len(re.findall(r"(?<![\w.,])\d+\.\d", answer)),
    )


def wilson(count: int, total: int) -> dict:
    """`count`, `of`, `share`, and Wilson's 95 % interval `low`, `high`; the shares are None when `total` is 0."""
    if not total:
        return {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(method="wilson")
    return {"count": count, "of": total, "share": count / total, "low": float(interval.low), "high": float(interval.high)}


def _resampled(parts: Sequence[Sequence[int]], statistic, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of `statistic` over resampled reports; `parts` hold a number per report each."""
    from scipy.stats import bootstrap

    def vectorized(*samples, axis=-1):
        return statistic(*(np.sum(sample, axis=axis) for sample in samples))

    samples = [np.asarray(part, dtype=float) for part in parts]
    found = bootstrap(
        samples,
        vectorized,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def flag_scores(scored: Sequence[Scored], seed: int = 0) -> dict:
    """Right flags of all analytes, with the 95 % interval over reports, macro-F1 and confusion.

    Where all flags are right, or none, resampling has nothing to vary: the interval is then Wilson's, a report counting once.
    `count`, `of`, `share`, `low`, `high`; `by_flag` (share right of each expected flag), `macro_f1` over bas, normal and
    élevé, `confusion` (expected flag -> given flag or "absent" -> count). Shares are None without flagged analytes.
    """
    lines = [line for one in scored for line in one.lines]
    total, right = len(lines), sum(line.right for line in lines)
    confusion: dict[str, Counter] = defaultdict(Counter)
    for line in lines:
        confusion[line.expected][line.given] += 1
    result = {"count": right, "of": total, "share": right / total if total else None, "low": None, "high": None, "macro_f1": None}
    if total:
        from sklearn.metrics import f1_score

        kept = [one for one in scored if one.lines]
        if right in (0, total):
            bounds = wilson(len(kept) if right else 0, len(kept))
            result["low"], result["high"] = bounds["low"], bounds["high"]
        elif len(kept) > 1:
            parts = [one.right for one in kept], [len(one.lines) for one in kept]
            result["low"], result["high"] = _resampled(parts, lambda r, n: r / n, seed)
        pairs = [line.expected for line in lines], [line.given for line in lines]
        labels = [flag for flag in FLAGS if flag in pairs[0]]
        result["macro_f1"] = float(f1_score(*pairs, labels=labels, average="macro", zero_division=0)) if labels else None
    result["by_flag"] = {flag: confusion[flag][flag] / confusion[flag].total() for flag in LABELS if flag in confusion}
    result["confusion"] = {flag: dict(confusion[flag]) for flag in LABELS if flag in confusion}
    return result


def difference(first: Sequence[Scored], second: Sequence[Scored], seed: int = 0) -> dict | None:
    """Share of right flags of `first` minus that of `second` on the same reports, with its paired 95 % interval.

    None with fewer than two reports that have flags.
    """
    pairs = [(a.right, b.right, len(a.lines)) for a, b in zip(first, second, strict=True) if a.lines]
    if len(pairs) < 2:
        return None
    a, b, total = zip(*pairs, strict=True)
    low, high = _resampled((a, b, total), lambda x, y, n: (x - y) / n, seed)
    return {"difference": (sum(a) - sum(b)) / sum(total), "low": low, "high": high, "reports": len(pairs)}


def critical_scores(scored: Sequence[Scored]) -> dict:
    """Critical values found (`recall`), missed (`miss_rate`), and `false_alarms` among the others, each with Wilson's interval."""
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
    """Abnormal analytes left out, analytes invented, values and units repeated rightly, numbers that follow from the report."""
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
    """The conclusions: precision, recall and F1 over all patterns, found and expected `by_name`, DFG stages, exact reports."""
    kept = [one for one in scored if one.patterns]
    by_name: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in kept:
        for name in one.patterns:
            by_name[name][0] += name in one.given_patterns
            by_name[name][1] += 1
    shared = sum(len(one.patterns & one.given_patterns) for one in kept)
    given = sum(len(one.given_patterns) for one in kept)
    expected = sum(len(one.patterns) for one in kept)
    stages = [(right, of) for name, (right, of) in by_name.items() if name.startswith("dfg abaisse, stade")]
    return {
        "precision": shared / given if given else None,
        "recall": shared / expected if expected else None,
        "f1": 2 * shared / (given + expected) if given + expected else None,
        "by_name": {
            name: {"found": right, "of": of} for name, (right, of) in sorted(by_name.items(), key=lambda item: -item[1][1])
        },
        "dfg_stage": wilson(sum(right for right, _ in stages), sum(of for _, of in stages)),
        "exact_reports": wilson(sum(one.exact for one in kept), len(kept)),
    }


def abstention_scores(scored: Iterable[Scored]) -> dict:
    """Right refusals («indéterminé» where it is due), flags made up there, wrong refusals elsewhere, with Wilson's intervals."""
    lines = [line for one in scored for line in one.lines]
    due = [line for line in lines if line.expected == UNDETERMINED]
    other = [line for line in lines if line.expected != UNDETERMINED]
    return {
        "right_refusals": wilson(sum(line.right for line in due), len(due)),
        "made_up_flags": wilson(sum(line.given in FLAGS for line in due), len(due)),
        "wrong_refusals": wilson(sum(line.given == UNDETERMINED for line in other), len(other)),
    }


def scores(scored: Sequence[Scored], seed: int = 0) -> dict:
    """Every score of one source of answers, as evaluation.json keeps it."""
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


def release(checks: Sequence[tuple[str, float | None, str, float]], gate: str) -> dict:
    """The verdict on `checks` (what, value, "≥" or "≤", threshold); a value of None was not measured and counts as failed.

    Returns `released` and `checks`, a row each.

    Raises:
        MedAnalyzrError: a check failed and `gate` is "stop".
    """
    rows = []
    for what, value, sign, threshold in checks:
        passed = value is not None and (value >= threshold if sign == "≥" else value <= threshold)
        rows.append({"check": what, "value": value, "asked": f"{sign} {threshold:g}", "passed": passed})
    failed = [row["check"] for row in rows if not row["passed"]]
    if failed and gate == "stop":
        raise MedAnalyzrError(f"Not released: {', '.join(failed)} (evaluation.json has every number); gate='warn' goes on.")
    return {"released": not failed, "checks": rows}
