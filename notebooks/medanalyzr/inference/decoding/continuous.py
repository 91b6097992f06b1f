"""Greedy answers on a CPU: continuous batching and speculative decoding.

The row of an answer that has ended takes the next prompt, so that no step is spent on ended rows (Yu et al., Orca, OSDI 2022). A
prompt is read alone, without padding, and only from where it differs from the prompt before it.

A step reads several tokens of a row at hardly more cost than one, because the weights must come from memory either way. So a guess
at the next tokens is read together with the last one, and kept as far as the model would have written the same (Leviathan et al.,
ICML 2023). The guess is copied from what follows the same tokens in a draft (see `drafts`), in the prompt (prompt lookup; Saxena 2023)
or in what the rules may write, as far as the grammar allows it. A guess that is wrong costs time and changes nothing. Tokens that a grammar
forces are read in the same way.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from os.path import commonprefix

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

from medanalyzr.dataset.prompts import tokens
from medanalyzr.inference.guidance.guided import Matcher
from medanalyzr.lab.engine import patterns

SAME = 3, 2  # tokens that must be the same before a guess: rather three than two
GUESSES = 2, 12  # fewest and most tokens of a guess
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


class _Lookup:
    """What follows some tokens in a text."""

    def __init__(self, text: Sequence[int]):
        self._text, self._at, self._places = text, 0, {}
        for length in SAME:
            for end in range(length, len(text)):
                self._places.setdefault(tuple(text[end - length : end]), []).append(end)

    def guess(self, last: Sequence[int], most: int) -> Sequence[int]:
        """At most `most` tokens: those after the next place in the text that ends like `last`, or else after the last such place."""
        places = next((found for length in SAME if (found := self._places.get(tuple(last[-length:])))), [])
        self._at = next((place for place in places if place > self._at), places[-1] if places else self._at)
        return self._text[self._at : self._at + most] if places else ()


@lru_cache(maxsize=4)
def _phrases(tokenizer) -> _Lookup:
    """The conclusions and next steps that the rules may write, each up to its first open place: a model that learnt them writes them
    where a draft has others.
    """
    told = dict.fromkeys(text.partition("{") for row in patterns.rows() for text in (row.wording, row.next_step) if text)
    texts = [f" {text}" + " ;" * (not opened) for text, opened, _ in told]
    return _Lookup(sum(tokens(texts, tokenizer, add_special_tokens=False).input_ids, []))


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
    lookups: Sequence[_Lookup]
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
        """Guess the next tokens: what the first lookup finds that the grammar allows."""
        last = [*self.prompt[-SAME[0] :], *self.written[-SAME[0] :]][-SAME[0] :]
        found = (self.matcher.accepted(list(lookup.guess(last, self.most))) for lookup in self.lookups)
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


def _with_room(known: torch.Tensor, slots: int) -> torch.Tensor:
    """Keys or values of one row (1 × heads × tokens × size) with room for others: heads × slots × size."""
    _, heads, length, size = known.shape
    store = known.new_empty(heads, slots, size)
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
        own = query[:, :, new].reshape(1, len(keys), -1, size)
        out.append(attend(own, *whole, attn_mask=mask, scale=scaling).reshape(1, query.shape[1], -1, size))
    return torch.cat(out, 2).transpose(1, 2), None


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
    row.kept = [(_with_room(layer.keys, slots), _with_room(layer.values, slots)) for layer in read.layers]
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
            later = torch.full((len(new), len(new)), -torch.inf, dtype=model.dtype).triu(1)
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
    drafts: Sequence[Sequence[int]],
    most: int,
    unfinished: bool = False,
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to the prompts (token ids), at most `most` at once, as they end: place of the prompt, tokens, log-probability
    of each among those that were allowed, and how many tokens a grammar forced. `drafts` (token ids, maybe none) only save time.
    With `unfinished`, an answer comes after every step.

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
                    lookups = _Lookup([*prompts[i][-SAME[0] :], *drafts[i]]), _Lookup(prompts[i]), copy(_phrases(tokenizer))
                    row = _Row(i, limits[i], Matcher(grammars[i], tokenizer), prompts[i], lookups)
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
