"""Answers that follow a grammar (see `inference.guidance.grammar`): the model chooses among what the grammar allows."""

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from transformers import LogitsProcessor

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.inference.guidance.grammar import grammar_of
from medanalyzr.lab.report import Report


@lru_cache(maxsize=4)
def _vocabulary(tokenizer):
    """The tokenizer as llguidance knows it. Byte-level tokens are named as such: SmolLM2's decoder, made from a GGUF file, is a chain
    in which llguidance does not find that.
    """
    try:
        from llguidance import LLTokenizer
    except ImportError:
        raise MedAnalyzrError("Guided answers need the package llguidance: pip install llguidance, or set guided off.") from None
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    if (spec["pre_tokenizer"] or {}).get("type") == "ByteLevel":
        spec["decoder"] = spec["pre_tokenizer"]
    return LLTokenizer(json.dumps(spec), eos_token=tokenizer.eos_token_id)


@lru_cache(maxsize=4)
def _semicolons(tokenizer) -> np.ndarray:
    """The tokens that hold a semicolon."""
    vocabulary = _vocabulary(tokenizer)
    return np.array([token for token in range(vocabulary.vocab_size) if ";" in vocabulary.decode_str([token])], int)


def _goes_round(text: str) -> bool:
    """Whether a text ends with a conclusion or a next step that stands right before it, too, or twice before on its line. The rules
    write each once.
    """
    title, _, told = text.rpartition("\n")[2].partition(" : ")
    *before, last = (one.rstrip(" .") for one in told.split(" ; "))
    return title.strip() in ("Conclusion", "Suite") and (before[-1:] == [last] or before.count(last) > 1)


def grammars_for(tokenizer, reports: Sequence[str | Report]) -> list[str | None]:
    """The grammar of the answers to each report, as the model behind `tokenizer` begins them: Mistral's tokens with a space.

    Raises:
        MedAnalyzrError: the package llguidance is not installed.
    """
    first = tokenizer("a", add_special_tokens=False).input_ids
    lead = " " if _vocabulary(tokenizer).decode_str(first).startswith(" ") else ""
    return [grammar_of(report, lead) for report in reports]


class Matcher:
    """What one answer may go on with: `forced`, the tokens that can only follow, or else a choice. Without a grammar, anything.

    A grammar of free words cannot say that each conclusion stands once. So a list that goes round ends there: no semicolon may follow.

    Raises:
        MedAnalyzrError: the grammar is not accepted, or the package llguidance is not installed.
    """

    def __init__(self, grammar: str | None, tokenizer):
        self._matcher, self.forced, self._written = None, [], []
        if grammar is None:
            return
        self._vocabulary, self._semicolons = _vocabulary(tokenizer), _semicolons(tokenizer)
        from llguidance import LLMatcher, grammar_from

        try:
            self._matcher = LLMatcher(self._vocabulary, grammar_from("gbnf", grammar), log_level=0)
            fault = self._matcher.get_error()
        except ValueError as error:
            fault = str(error)
        if fault:
            raise MedAnalyzrError(f"The grammar of an answer is not accepted ({fault[:200]}): answer with guided off.")
        self._jump()

    def _jump(self) -> None:
        self.forced = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(self.forced)
        self._written += self.forced

    def allowed(self, size: int) -> np.ndarray | None:
        """Which of `size` tokens may come next; None where all may."""
        if self._matcher is None:
            return None
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        if bits[self._semicolons].any() and _goes_round(self._vocabulary.decode_str(self._written)):
            bits[self._semicolons] = 0
        return np.pad(bits, (0, max(0, size - len(bits))))[:size].astype(bool)

    def accepted(self, tokens: list[int]) -> list[int]:
        """The first of `tokens`, as far as they may come next."""
        return tokens if self._matcher is None else tokens[: self._matcher.validate_tokens(tokens)]

    def take(self, token: int) -> bool:
        """Go on with a chosen token; returns whether the answer can only end now."""
        if self._matcher is None:
            return False
        self._matcher.consume_token(token)
        self._written.append(token)
        self._jump()
        return self._matcher.is_stopped()


class Guide(LogitsProcessor):
    """Lets `model.generate` write under grammars, a token at a time, for the rows of a batch; `forced` counts by row."""

    def __init__(self, tokenizer, grammars: Sequence[str | None]):
        self._rows = [Matcher(grammar, tokenizer) for grammar in grammars]
        self._eos, self.forced, self._chose = tokenizer.eos_token_id, [0] * len(grammars), [False] * len(grammars)
        self._places = list(range(len(grammars)))

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the rows at these places alone."""
        self._places = [self._places[place] for place in places]

    def __call__(self, input_ids, scores):
        import torch

        for i, row in enumerate(self._places):
            matcher, token = self._rows[row], int(input_ids[i, -1])
            if self._chose[row] and token == self._eos:
                continue
            if self._chose[row] and matcher.take(token):
                matcher.forced = [*matcher.forced, self._eos]
            self._chose[row] = not matcher.forced
            if matcher.forced:
                only, self.forced[row] = matcher.forced.pop(0), self.forced[row] + 1
                allowed = np.arange(scores.shape[1]) == only
            else:
                allowed = matcher.allowed(scores.shape[1])
            if allowed is not None and allowed.any():
                scores[i].masked_fill_(torch.from_numpy(~allowed).to(scores.device), float("-inf"))
        return scores
