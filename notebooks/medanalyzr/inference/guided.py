"""Answers that follow a grammar (see `inference.grammar`): the model chooses among what the grammar allows, and is not asked where only
one thing is allowed.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from llguidance import LLMatcher, LLTokenizer, grammar_from

from medanalyzr.core.errors import MedAnalyzrError


@lru_cache(maxsize=4)
def _vocabulary(tokenizer) -> LLTokenizer:
    """The tokenizer as llguidance knows it. Byte-level tokens are named as such: SmolLM2's decoder, made from a GGUF file, is a chain
    in which llguidance does not find that.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    if (spec["pre_tokenizer"] or {}).get("type") == "ByteLevel":
        spec["decoder"] = spec["pre_tokenizer"]
    return LLTokenizer(json.dumps(spec), eos_token=tokenizer.eos_token_id)


def lead_of(tokenizer) -> str:
    """What an answer's tokens begin with before its first word: a space for Mistral, nothing for SmolLM2."""
    first = tokenizer("a", add_special_tokens=False).input_ids
    return " " if _vocabulary(tokenizer).decode_str(first).startswith(" ") else ""


@dataclass
class _Row:
    """One answer: what is written, what of it the model has not read yet, the log-probability of each token, and how many were forced."""

    place: int
    limit: int
    matcher: LLMatcher | None
    written: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    forced: int = 0
    ended: bool = False

    def take(self, chosen: list[int], logs: list[float]) -> None:
        self.written += chosen
        self.pending += chosen
        self.logs += logs

    def choose(self, scores: np.ndarray, eos: int) -> None:
        """Take the best allowed token, and all that the grammar forces after it."""
        if self.matcher is not None:
            allowed = np.unpackbits(np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            scores = np.where(np.pad(allowed, (0, max(0, len(scores) - len(allowed))))[: len(scores)], scores, -np.inf)
        best = int(scores.argmax())
        self.take([best], [float(-np.log(np.exp(scores - scores[best]).sum()))])
        self.ended = best == eos
        if self.matcher is not None and not self.ended:
            self.matcher.consume_token(best)
            self.jump()
            if self.matcher.is_stopped():
                self.take([eos], [0.0])
                self.ended = True
        self.ended = self.ended or len(self.written) >= self.limit

    def jump(self) -> None:
        """Take what can only follow."""
        only = self.matcher.compute_ff_tokens() if self.matcher is not None else []
        if only:
            self.matcher.consume_tokens(only)
            self.take(only, [0.0] * len(only))
            self.forced += len(only)


def _matcher(grammar: str | None, tokenizer) -> LLMatcher | None:
    if grammar is None:
        return None
    try:
        matcher = LLMatcher(_vocabulary(tokenizer), grammar_from("gbnf", grammar), log_level=0)
        fault = matcher.get_error()
    except ValueError as error:
        fault = str(error)
    if fault:
        raise MedAnalyzrError(f"The grammar of an answer is not accepted ({fault[:200]}): answer with guided off.")
    return matcher


def _compact(cache, mask):
    """Take the padding out of the middle of the cache: what each row has read moves to the right, in its order. Returns the new mask."""
    import torch

    most = int(mask.sum(1).max())
    order = torch.sort(mask, dim=1, stable=True).indices[:, -most:]
    for layer in cache.layers:
        at = order[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
        layer.keys, layer.values = layer.keys.gather(2, at), layer.values.gather(2, at)
    return mask.gather(1, order)


def write_guided(
    model, tokenizer, inputs: dict, limits: Sequence[int], grammars: Sequence[str | None], looped
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to a padded batch under their grammars, as they end: row, tokens, log-probability of each token among those
    that were allowed, and how many tokens were forced.

    The rows of a batch read their new tokens together: as many at once as they have on average. A row with fewer is padded, and the
    padding hidden from attention and taken out again; a row with more reads on in the next step. `looped` tells whether tokens
    repeat themselves.

    Raises:
        MedAnalyzrError: a grammar is not accepted.
    """
    import torch

    eos, pad, device = tokenizer.eos_token_id, tokenizer.pad_token_id, model.device
    rows = [_Row(i, limit, _matcher(grammar, tokenizer)) for i, (limit, grammar) in enumerate(zip(limits, grammars, strict=True))]
    ids, mask, cache = inputs["input_ids"], inputs["attention_mask"], None
    for row in rows:
        row.jump()
    while rows:
        with torch.inference_mode():
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        cache, scores = out.past_key_values, out.logits[:, -1].float().cpu().numpy()
        for row, own in zip(rows, scores, strict=True):
            if not row.pending:
                row.choose(own, eos)
        left = [i for i, row in enumerate(rows) if not row.ended and not looped(row.written)]
        for row in (row for i, row in enumerate(rows) if i not in left):
            yield row.place, row.written[: row.limit], row.logs, row.forced
        if not left:
            return
        if len(left) < len(rows):
            cache.batch_select_indices(torch.tensor(left, device=device))
            rows, mask = [rows[i] for i in left], mask[left]
        if mask.shape[1] > 1.2 * int(mask.sum(1).max()):
            mask = _compact(cache, mask)
        width = math.ceil(sum(len(row.pending) for row in rows) / len(rows))
        now = [row.pending[:width] for row in rows]
        ids = torch.tensor([[pad] * (width - len(new)) + new for new in now], device=device)
        fresh = torch.tensor([[0] * (width - len(new)) + [1] * len(new) for new in now], device=device)
        mask = torch.cat([mask, fresh], 1)
        for row in rows:
            row.pending = row.pending[width:]
