"""The examples that fit into max_seq_length, and the longest answer that is allowed."""

import math
from collections.abc import Mapping, Sequence

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.dataset.prompts import tokens


def drop_overlong(
    examples: Sequence[dict], rows: Sequence[Mapping[str, str]], max_seq_length: int
) -> tuple[list[dict], list[Mapping[str, str]]]:
    """The encoded `examples` of at most `max_seq_length` tokens, and those of `rows` they come from.

    Longer ones are left out whole: a cut answer would lose its end token.

    Raises:
        MedAnalyzrError: there are rows and none of them fits.
    """
    fitting = [(example, row) for example, row in zip(examples, rows, strict=True) if len(example["input_ids"]) <= max_seq_length]
    if rows and not fitting:
        raise MedAnalyzrError(f"None of {len(rows)} rows fits max_seq_length={max_seq_length} tokens: raise it.")
    return [example for example, _ in fitting], [row for _, row in fitting]


def answer_limits(references: Sequence[str], tokenizer, margin: int = 16, longest: float = math.inf) -> list[int]:
    """Tokens each answer may take: those of its reference answer plus a margin, and at most `longest`."""
    lengths = (len(tokens(reference, tokenizer, add_special_tokens=False).input_ids) for reference in references)
    return [min(length + margin, longest) for length in lengths]
