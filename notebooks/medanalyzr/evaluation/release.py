"""The verdict on a model: released if every check reaches its threshold."""

from collections.abc import Sequence

from medanalyzr.core.errors import MedAnalyzrError


def release(checks: Sequence[tuple[str, float | None, str, float]], gate: str) -> dict:
    """The verdict on `checks` (what, value, "≥" or "≤", threshold); a value of None was not measured and counts as failed.

    Returns `released`, and `checks` with one row per check.

    Raises:
        MedAnalyzrError: a check failed and `gate` is "stop".
    """
    rows = []
    for what, value, sign, threshold in checks:
        passed = value is not None and (value >= threshold if sign == "≥" else value <= threshold)
        rows.append({"check": what, "value": value, "asked": f"{sign} {threshold:g}", "passed": passed})
    failed = [row["check"] for row in rows if not row["passed"]]
    if failed and gate == "stop":
        raise MedAnalyzrError(
            f"Not released: {', '.join(failed)} (evaluation.json has every number); gate='warn' continues anyway."
        )
    return {"released": not failed, "checks": rows}
