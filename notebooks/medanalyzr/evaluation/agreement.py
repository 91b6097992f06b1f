"""How far the answers of two models agree."""

from collections.abc import Sequence

from medanalyzr.lab.report import parse_answer


def agreement(first: Sequence[str], second: Sequence[str]) -> dict:
    """How many answers are identical, and how many flags of `first` are the same in `second`."""
    pairs = [(parse_answer(a), parse_answer(b)) for a, b in zip(first, second, strict=True)]
    flags = [(key in b and (b[key].flag, b[key].critical) == (m.flag, m.critical)) for a, b in pairs for key, m in a.items()]
    same = sum(a == b for a, b in zip(first, second, strict=True))
    return {"reports": len(first), "same_answers": same, "flags": len(flags), "same_flags": sum(flags)}
