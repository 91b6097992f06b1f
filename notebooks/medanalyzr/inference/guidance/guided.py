"""Answers that follow a grammar (see `inference.guidance.grammar`): the model chooses among what the grammar allows.

On a CPU it is not asked where only one thing is allowed: such tokens are read together with the next choice.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from transformers import LogitsProcessor

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.inference.guidance.grammar import grammar_of
from medanalyzr.lab.report import Report

_GROWTH = 128  # tokens by which the room for keys and values grows
_FIXED = 16  # tokens that a step on a CPU could read in the time that it takes for no token (the weights must come from memory)


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


def grammars_for(tokenizer, reports: Sequence[str | Report]) -> list[str | None]:
    """The grammar of the answers to each report, as the model behind `tokenizer` begins them: Mistral's tokens with a space.

    Raises:
        MedAnalyzrError: the package llguidance is not installed.
    """
    first = tokenizer("a", add_special_tokens=False).input_ids
    lead = " " if _vocabulary(tokenizer).decode_str(first).startswith(" ") else ""
    return [grammar_of(report, lead) for report in reports]


class _Matcher:
    """What one answer may go on with: `forced`, the tokens that can only follow, or else a choice."""

    def __init__(self, grammar: str | None, tokenizer):
        self._matcher, self.forced = None, []
        if grammar is None:
            return
        vocabulary = _vocabulary(tokenizer)
        from llguidance import LLMatcher, grammar_from

        try:
            self._matcher = LLMatcher(vocabulary, grammar_from("gbnf", grammar), log_level=0)
            fault = self._matcher.get_error()
        except ValueError as error:
            fault = str(error)
        if fault:
            raise MedAnalyzrError(f"The grammar of an answer is not accepted ({fault[:200]}): answer with guided off.")
        self._jump()

    def _jump(self) -> None:
        self.forced = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(self.forced)

    def allowed(self, size: int) -> np.ndarray | None:
        """Which of `size` tokens may come next; None where all may."""
        if self._matcher is None:
            return None
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        return np.pad(bits, (0, max(0, size - len(bits))))[:size].astype(bool)

    def take(self, token: int) -> bool:
        """Go on with a chosen token; returns whether the answer can only end now."""
        if self._matcher is None:
            return False
        self._matcher.consume_token(token)
        self._jump()
        return self._matcher.is_stopped()


class Guide(LogitsProcessor):
    """Lets `model.generate` write under grammars, a token at a time, for the rows of a batch; `forced` counts by row."""

    def __init__(self, tokenizer, grammars: Sequence[str | None]):
        self._rows = [_Matcher(grammar, tokenizer) for grammar in grammars]
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


class _Packed:
    """Keys and values of a batch, of each row from the first slot on: what transformers asks of a cache, without padding inside."""

    def __init__(self):
        self._stores, self._slots, self._length = [], None, 0

    def place(self, positions, real) -> None:
        """Say where the next tokens stand in their rows (`positions`), and which of them are no padding (`real`)."""
        import torch

        self._length = int(positions.max()) + 1
        if self._stores and self._length >= self._stores[0][0].shape[2]:
            more = self._length + _GROWTH - self._stores[0][0].shape[2]
            self._stores = [[torch.nn.functional.pad(one, (0, 0, 0, more)) for one in pair] for pair in self._stores]
        self._positions, self._real = positions, real

    def update(self, keys, values, layer_idx, *args, **kwargs):
        """Put the new keys and values of a layer in their places; returns all of it."""
        import torch

        if layer_idx == len(self._stores):
            rows, heads, _, width = keys.shape
            self._stores.append([keys.new_zeros(rows, heads, self._length + _GROWTH, width) for _ in range(2)])
        pair = self._stores[layer_idx]
        slots = torch.where(self._real, self._positions, pair[0].shape[2] - 1)  # padding goes where nobody looks
        at = torch.arange(len(keys), device=keys.device)[:, None], slice(None), slots
        for store, new in zip(pair, (keys, values), strict=True):
            store[at] = new.transpose(1, 2)
        return tuple(store[:, :, : self._length] for store in pair)

    def keep(self, rows) -> None:
        """Go on with these rows alone."""
        self._stores = [[one[rows] for one in pair] for pair in self._stores]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length


@dataclass
class _Row:
    """One answer: what is written, what of it the model has not read yet, the log-probability of each token, and how many were forced."""

    place: int
    limit: int
    matcher: _Matcher
    length: int = 0
    written: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    forced: int = 0
    ended: bool = False

    def take(self, chosen: list[int], log: float = 0.0) -> None:
        self.written += chosen
        self.pending += chosen
        self.logs += [log] * len(chosen)

    def jump(self) -> None:
        """Take what can only follow."""
        self.take(self.matcher.forced)
        self.forced += len(self.matcher.forced)

    def choose(self, scores: np.ndarray, eos: int) -> None:
        """Take the best allowed token, and all that the grammar forces after it."""
        allowed = self.matcher.allowed(len(scores))
        scores = scores if allowed is None else np.where(allowed, scores, -np.inf)
        best = int(scores.argmax())
        self.take([best], float(-np.log(np.exp(scores - scores[best]).sum())))
        self.ended = best == eos
        if not self.ended:
            over = self.matcher.take(best)
            self.jump()
            if over:
                self.take([eos])
            self.ended = over or len(self.written) >= self.limit


def _width(counts: Sequence[int]) -> int:
    """How many tokens of each row to read at once so that most are read in a time."""
    return max(sorted(set(counts)), key=lambda w: sum(min(count, w) for count in counts) / (_FIXED + w * len(counts)))


def write_guided(
    model, tokenizer, inputs: dict, limits: Sequence[int], grammars: Sequence[str | None], looped
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to a padded batch under their grammars, as they end: row, tokens, log-probability of each token among those
    that were allowed, and how many tokens were forced. `looped` tells whether tokens repeat themselves.

    The rows of a batch read their new tokens together, each in its own place (see `_Packed`): a row with fewer is padded, a row with
    more reads on in the next step.

    Raises:
        MedAnalyzrError: a grammar is not accepted, or the package llguidance is not installed.
    """
    import torch

    eos, pad, device = tokenizer.eos_token_id, tokenizer.pad_token_id, model.device
    rows = [_Row(i, limit, _Matcher(grammar, tokenizer)) for i, (limit, grammar) in enumerate(zip(limits, grammars, strict=True))]
    ids, real, cache = inputs["input_ids"], inputs["attention_mask"].bool(), _Packed()
    for row in rows:
        row.jump()
    while rows:
        read = torch.tensor([row.length for row in rows], device=device)
        positions = torch.where(real, read[:, None] + real.cumsum(1) - 1, 0)
        cache.place(positions, real)
        later = torch.arange(int(positions.max()) + 1, device=device) > positions[..., None]
        mask = torch.zeros(later.shape, dtype=model.dtype, device=device).masked_fill(later, torch.finfo(model.dtype).min)
        with torch.inference_mode():
            out = model(
                input_ids=ids,
                attention_mask=mask[:, None],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        scores = out.logits[:, -1].float().cpu().numpy()
        for row, own, new in zip(rows, scores, real.sum(1).tolist(), strict=True):
            row.length += new
            if not row.pending:
                row.choose(own, eos)
        left = [i for i, row in enumerate(rows) if not row.ended and not looped(row.written)]
        for i, row in enumerate(rows):
            if i not in left:
                yield row.place, row.written[: row.limit], row.logs, row.forced
        if len(left) < len(rows):
            cache.keep(torch.tensor(left, device=device, dtype=torch.long))
            rows = [rows[i] for i in left]
        if rows:
            width = _width([len(row.pending) for row in rows])
            now = [row.pending[:width] for row in rows]
            ids = torch.tensor([[pad] * (width - len(new)) + new for new in now], device=device)
            real = torch.tensor([[False] * (width - len(new)) + [True] * len(new) for new in now], device=device)
            for row in rows:
                row.pending = row.pending[width:]
