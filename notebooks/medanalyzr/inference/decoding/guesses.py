"""Guesses at the next tokens of an answer: from its draft (see `drafts`), or what follows the same tokens in the conclusion that the
rules draw, in the prompt (prompt lookup; Saxena 2023) or in what the rules may say at all.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from functools import lru_cache

from medanalyzr.dataset.prompts import tokens
from medanalyzr.inference.decoding.drafts import CONCLUSION, Draft
from medanalyzr.lab.engine import patterns
from medanalyzr.lab.rules import WORDINGS

SAME = 3, 2  # tokens that must be the same before a guess: rather three than two
LONGEST = 12  # tokens of a guess


def _ids(text: str, tokenizer) -> list[int]:
    return tokens([text], tokenizer, add_special_tokens=False).input_ids[0]


class Lookup:
    """What follows some tokens in a text."""

    def __init__(self, text: Sequence[int]):
        self._text, self._at, self._places = text, 0, {}
        for length in SAME:
            for end in range(length, len(text)):
                self._places.setdefault(tuple(text[end - length : end]), []).append(end)

    def guess(self, last: Sequence[int]) -> list[int]:
        """The tokens after the next place in the text that ends like `last`, or else after the last such place."""
        places = next((found for length in SAME if (found := self._places.get(tuple(last[-length:])))), [])
        self._at = next((place for place in places if place > self._at), places[-1] if places else self._at)
        return list(self._text[self._at : self._at + LONGEST]) if places else []


@lru_cache(maxsize=4)
def phrases(tokenizer) -> Lookup:
    """The conclusions and next steps that the rules may write, each up to its first open place: a model that learnt them writes them
    where a draft has others.
    """
    said = [text for row in patterns.rows() for text in (row.wording, row.next_step) if text]
    parts = dict.fromkeys(text.partition("{") for text in (*said, *WORDINGS))
    texts = [f" {text}" + " ;" * (not opened) for text, opened, _ in parts]
    return Lookup(sum(tokens(texts, tokenizer, add_special_tokens=False).input_ids, []))


class Guesses:
    """The guesses for one answer."""

    def __init__(self, prompt: Sequence[int], tokenizer):
        self._tokenizer, self._prompt = tokenizer, list(prompt[-SAME[0] :])
        self._draft = Draft(tokenizer.decode(prompt, skip_special_tokens=True))
        self._copied, self._phrases = Lookup(prompt), copy(phrases(tokenizer))
        self._end: Lookup | None = None
        self._line_end = _ids("\n", tokenizer)[-1]

    def _after_line(self, ids: Sequence[int]) -> list[int]:
        """Tokens without those of the lines before the last end of a line."""
        ids = list(ids)
        return ids[len(ids) - ids[::-1].index(self._line_end) :] if self._line_end in ids else ids

    def after(self, written: Sequence[int]) -> Iterator[list[int]]:
        """Guesses at what follows some written tokens, the best first; some are empty."""
        last, text = [*self._prompt, *written[-SAME[0] :]][-SAME[0] :], self._tokenizer.decode(written)
        lines, ending, _ = text.partition(CONCLUSION)
        if not ending:
            begun, ids = text.rpartition("\n")[2], self._after_line(written)
            likely = _ids(f"\n{begun}{self._draft.after(text)}", self._tokenizer)
            likely = likely[next((k + 1 for k, token in enumerate(likely) if token == self._line_end), len(likely)) :]
            yield likely[len(ids) :][:LONGEST] if likely[: len(ids)] == ids else []
            yield self._copied.guess(last)
            return
        if self._end is None:
            end = _ids(f"\n{self._draft.end(lines.rstrip())}", self._tokenizer)
            self._end = Lookup([*end, self._tokenizer.eos_token_id])
        yield from (lookup.guess(last) for lookup in (self._end, self._copied, self._phrases))
