"""All rows encoded, the examples that fit into max_seq_length, and the longest answer that is allowed."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.processes import in_shares
from medanalyzr.dataset.prompts import tokens

STEP = 1000  # rows encoded at a time: what the tokenizer notes about each token would fill the memory


def in_steps(items: Sequence) -> Iterator[Sequence]:
    """`items` in parts of at most `STEP`."""
    return (items[start : start + STEP] for start in range(0, len(items), STEP))


def encode_all(
    encode: Callable[[Sequence[Mapping[str, str]]], Iterable[dict]], rows: Sequence[Mapping[str, str]]
) -> list[dict[str, np.ndarray]]:
    """What `encode` gives for `rows`, in their order: an example of each, its lists as arrays of 4-byte integers.

    Of several processes each encodes its share.
    """

    def encoded(share: Sequence[Mapping[str, str]]) -> list[dict[str, np.ndarray]]:
        return [{name: np.array(ids, np.int32) for name, ids in one.items()} for step in in_steps(share) for one in encode(step)]

    return in_shares(encoded, rows)


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
