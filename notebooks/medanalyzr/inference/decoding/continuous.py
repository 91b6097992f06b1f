"""Greedy answers on a CPU: continuous batching and speculative decoding.

The row of an answer that has ended takes the next prompt, so that no step is spent on ended rows (Yu et al., Orca, OSDI 2022). A
prompt is read alone, without padding, and only from where it differs from the prompt before it.

A step reads several tokens of a row at hardly more cost than one, because the weights must come from memory either way. So a guess
at the next tokens is read together with the last one, and kept as far as the model would have written the same (Leviathan et al.,
ICML 2023; see `guesses`). A guess that is wrong costs time and changes nothing. Tokens that a grammar forces are read in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from os.path import commonprefix

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

from medanalyzr.inference.decoding.guesses import LONGEST, Guesses
from medanalyzr.inference.guidance.guided import Matcher

GUESSES = 4, LONGEST  # fewest and most tokens of a guess
PERIODS = 4, 64  # tokens of the shortest and the longest piece whose repetition ends an answer


def in_a_loop(ids: Sequence[int]) -> bool:
    """Whether a text ends with the same 4 to 64 tokens three times in a row."""
    shortest, longest = PERIODS
    return any(
        ids[-1] == ids[-1 - p] and ids[-p:] == ids[-2 * p : -p] == ids[-3 * p : -2 * p]
        for p in range(shortest, min(longest, len(ids) // 3) + 1)
    )


def bare(model):
    """The model without the wrapper of PEFT, whose call accelerate runs in the number format of the training; adapters stay active."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@dataclass
class _Row:
    """One answer: what is written, what of it the model has not read yet, the log-probability of each token, and how many were forced.

    The model has read `length` tokens of prompt and answer, whose keys and values are `kept` (of each layer; heads × slots × size);
    `guessed` are those that it reads beyond what is written.
    """

    place: int
    limit: int
    matcher: Matcher
    prompt: Sequence[int]
    guesses: Guesses
    most: int = GUESSES[1]
    length: int = 0
    written: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    guessed: list[int] = field(default_factory=list)
    kept: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    forced: int = 0
    ended: bool = False

    def _take(self, chosen: list[int], log: float = 0.0) -> None:
        self.written += chosen
        self.pending += chosen
        self.logs += [log] * len(chosen)

    def jump(self) -> None:
        """Take what can only follow."""
        self._take(self.matcher.forced)
        self.forced += len(self.matcher.forced)

    def guess(self) -> None:
        """Guess the next tokens: the first guess of which the grammar allows anything."""
        found = (self.matcher.accepted(guess[: self.most]) for guess in self.guesses.after(self.written))
        self.guessed = next(filter(None, found), [])

    def choose(self, scores: torch.Tensor, ends: Sequence[int], eos: int) -> None:
        """Take the best allowed token of `scores` (vocabulary), and all that the grammar forces after it."""
        allowed = self.matcher.allowed(len(scores))
        if allowed is not None:
            scores = scores.masked_fill(torch.from_numpy(~allowed), -torch.inf)
        token = int(scores.argmax())
        self._take([token], float(scores[token] - scores.logsumexp(0)))
        self.ended = token in ends
        if not self.ended:
            over = self.matcher.take(token)
            self.jump()
            if over:
                self._take([eos])
            self.ended = over or len(self.written) >= self.limit or in_a_loop(self.written)

    def follow(self, scores: torch.Tensor, ends: Sequence[int], eos: int) -> None:
        """Write as far as the guess was right; `scores` (tokens × vocabulary) come after the last written token and each guessed one."""
        right = 0
        while not self.ended and not self.pending:
            self.choose(scores[right], ends, eos)
            while self.pending and right < len(self.guessed) and self.pending[0] == self.guessed[right]:
                self.pending.pop(0)
                right += 1
        self.length += right
        if self.guessed:
            self.most = min(max(GUESSES[0], 2 * right), GUESSES[1])


class _Prompts:
    """What the model has read of the last prompt."""

    def __init__(self):
        self._read, self._ids = DynamicCache(), []

    def begin(self, ids: Sequence[int], most: int) -> tuple[DynamicCache, Sequence[int]]:
        """A cache for a prompt, with what it has in common with the last one (at most its first `most` tokens), and the other tokens."""
        same = len(commonprefix([self._ids, ids[:most]]))
        self._read.crop(same - self._read.get_seq_length())
        self._ids = ids
        return self._read, ids[same:]


def _dtype_of_products(model) -> torch.dtype:
    """The number format in which the layers multiply (see `acceleration.cpu.answer_on_cpu`); keys and values are kept in it."""
    return next(filter(None, (getattr(module, "products", None) for module in model.modules())), model.dtype)


def _with_room(known: torch.Tensor, slots: int, dtype: torch.dtype) -> torch.Tensor:
    """Keys or values of one row (1 × heads × tokens × size) with room for others: heads × slots × size."""
    _, heads, length, size = known.shape
    store = known.new_empty(heads, slots, size, dtype=dtype)
    store[:, :length] = known[0]
    return store


def _attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, parts=None, **kwargs):
    """torch's attention, in which heads share keys; transformers copies the keys for each head.

    A prompt is one causal row, of which the cache may have the beginning. Later the new tokens of all rows come as one row of queries,
    and `parts` has those of each row: its keys and values, where the new tokens stand among all and in the row, and what they may see
    of it. Heads that share a key are then queries of one call.
    """
    attend = torch.nn.functional.scaled_dot_product_attention
    if parts is None:
        new, known = query.shape[2], key.shape[2]
        seen = torch.ones(new, known, dtype=torch.bool).tril(known - new) if new < known else None
        return attend(query, key, value, seen, is_causal=seen is None, scale=scaling, enable_gqa=True).transpose(1, 2), None
    out, size = [], query.shape[3]
    for kept, new, slots, mask in parts:
        keys, values = kept[module.layer_idx]
        keys[:, slots], values[:, slots] = key[0, :, new], value[0, :, new]
        whole = keys[None, :, : slots.stop], values[None, :, : slots.stop]
        own = query[:, :, new].reshape(1, len(keys), -1, size).to(keys.dtype)
        out.append(attend(own, *whole, attn_mask=mask, scale=scaling).reshape(1, query.shape[1], -1, size))
    return torch.cat(out, 2).to(query.dtype).transpose(1, 2), None


AttentionInterface.register("continuous", _attention)
AttentionMaskInterface.register("continuous", lambda *args, **kwargs: None)


def _read_prompt(model, row: _Row, prompts: _Prompts) -> torch.Tensor:
    """Read a prompt, what a grammar forces after it and a guess; returns the scores after the last token that is no guess, and after
    each guessed one (tokens × vocabulary).
    """
    row.guess()
    ids, last = [*row.prompt, *row.pending, *row.guessed], 1 + len(row.guessed)
    read, new = prompts.begin(ids, len(ids) - last)
    out = model(input_ids=torch.tensor([new]), past_key_values=read, use_cache=True, logits_to_keep=last)
    slots = len(ids) + row.limit + GUESSES[1]
    kept = _dtype_of_products(model)
    row.kept = [(_with_room(layer.keys, slots, kept), _with_room(layer.values, slots, kept)) for layer in read.layers]
    row.length, row.pending = len(ids) - len(row.guessed), []
    return out.logits[0].float()


def _read_on(model, rows: Sequence[_Row]) -> Iterator[tuple[_Row, torch.Tensor]]:
    """Read pending and guessed tokens of all rows; yields each row with scores as from `_read_prompt`."""
    for row in rows:
        row.guess()
    now = [[*row.pending, *row.guessed] for row in rows]
    ends = list(accumulate(map(len, now)))
    groups, parts = model.config.num_attention_heads // model.config.num_key_value_heads, []
    for row, new, end in zip(rows, now, ends, strict=True):
        slots, mask = slice(row.length, row.length + len(new)), None
        if len(new) > 1:
            later = torch.full((len(new), len(new)), -torch.inf, dtype=row.kept[0][0].dtype).triu(1)
            mask = torch.nn.functional.pad(later, (row.length, 0)).repeat(groups, 1)
        parts.append((row.kept, slice(end - len(new), end), slots, mask))
    places = torch.tensor([[place for _, _, slots, _ in parts for place in range(slots.start, slots.stop)]])
    out = model(input_ids=torch.tensor([sum(now, [])]), position_ids=places, use_cache=False, parts=parts)
    for row, end in zip(rows, ends, strict=True):
        row.length, row.pending = row.length + len(row.pending), []
        yield row, out.logits[0, end - len(row.guessed) - 1 : end].float()


def write_continuously(
    model,
    tokenizer,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    grammars: Sequence[str | None],
    most: int,
    unfinished: bool = False,
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to the prompts (token ids), at most `most` at once, as they end: place of the prompt, tokens, log-probability
    of each among those that were allowed, and how many tokens a grammar forced. With `unfinished`, an answer comes after every step.

    Settings of `model.generation_config` that change scores (a repetition penalty) are not applied.

    Raises:
        MedAnalyzrError: a grammar is not accepted, or the package llguidance is not installed.
    """
    model = bare(model)
    eos, own, usual = tokenizer.eos_token_id, model.generation_config.eos_token_id, model.config._attn_implementation
    ends = {eos, *(own if isinstance(own, list) else [own])}
    waiting, rows, read = list(range(len(prompts)))[::-1], [], _Prompts()
    model.set_attn_implementation("continuous")
    try:
        while rows or waiting:
            with torch.inference_mode():
                if waiting and len(rows) < most:
                    i = waiting.pop()
                    row = _Row(i, limits[i], Matcher(grammars[i], tokenizer), prompts[i], Guesses(prompts[i], tokenizer))
                    row.jump()
                    rows.append(row)
                    row.follow(_read_prompt(model, row, read), ends, eos)
                else:
                    for row, scores in _read_on(model, rows):
                        row.follow(scores, ends, eos)
            for row in rows:
                if row.ended or unfinished:
                    yield row.place, row.written[: row.limit], row.logs, row.forced
            rows = [row for row in rows if not row.ended]
    finally:
        model.set_attn_implementation(usual)
