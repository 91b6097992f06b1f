"""Greedy answers on a CPU with continuous batching: the row of an answer that has ended takes the next prompt, so that no step is
spent on ended rows (Yu et al., Orca, OSDI 2022: "iteration-level scheduling").

A prompt is read alone, without padding. Under a grammar (see `inference.guidance`), tokens that can only follow are not asked for: a
row reads them together with the next choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from medanalyzr.inference.guidance.guided import Matcher

_FIXED = 16  # tokens that a step could read in the time that it takes for no token (the weights must come from memory)
PERIODS = 4, 64  # tokens of the shortest and the longest piece whose repetition ends an answer


def in_a_loop(ids: Sequence[int]) -> bool:
    """Whether a text ends with the same 4 to 64 tokens three times in a row."""
    shortest, longest = PERIODS
    return any(
        ids[-1] == ids[-1 - p] and ids[-p:] == ids[-2 * p : -p] == ids[-3 * p : -2 * p]
        for p in range(shortest, min(longest, len(ids) // 3) + 1)
    )


@dataclass
class _Row:
    """One answer: what is written, what of it the model has not read yet, the log-probability of each token, and how many were forced."""

    place: int
    limit: int
    matcher: Matcher
    length: int = 0
    written: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
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

    def choose(self, token: int, log: float, ends: Sequence[int], eos: int) -> None:
        """Take a token, and all that the grammar forces after it."""
        self._take([token], log)
        self.ended = token in ends
        if not self.ended:
            over = self.matcher.take(token)
            self.jump()
            if over:
                self._take([eos])
            self.ended = over or len(self.written) >= self.limit or in_a_loop(self.written)


class _Store:
    """Keys and values of the rows of a batch, each row from its first slot on: what transformers asks of a cache.

    A layer has two tensors, rows × heads × slots × size; the first `rows` rows and `_length` slots are in use. The last slot takes
    what padding writes and is never read.
    """

    def __init__(self, most: int):
        self._most, self._layers, self._length = most, [], 0

    def put(self, row: int, read: DynamicCache) -> None:
        """Store what the model has read of one prompt as row `row`."""
        length = read.get_seq_length()
        if not self._layers:
            _, heads, _, size = read.layers[0].keys.shape
            self._layers = [[layer.keys.new_zeros(self._most, heads, 0, size) for _ in range(2)] for layer in read.layers]
        self._grow(length)
        for stores, layer in zip(self._layers, read.layers, strict=True):
            for store, new in zip(stores, (layer.keys, layer.values), strict=True):
                store[row, :, :length] = new[0]

    def move(self, row: int, to: int) -> None:
        """Store row `row` as row `to`."""
        for stores in self._layers:
            for store in stores:
                store[to] = store[row]

    def place(self, positions: torch.Tensor, real: torch.Tensor) -> None:
        """Say where the next tokens of the first rows stand (`positions`, rows × tokens), and which of them are no padding (`real`)."""
        self._length = int(positions.max()) + 1
        self._grow(self._length)
        last = self._layers[0][0].shape[2] - 1
        self._at = torch.arange(len(positions))[:, None], slice(None), torch.where(real, positions, last)

    def _grow(self, length: int) -> None:
        there = self._layers[0][0].shape[2]
        if length >= there:
            more = length + length // 8 + 64 - there
            self._layers = [[torch.nn.functional.pad(store, (0, 0, 0, more)) for store in stores] for stores in self._layers]

    def update(self, keys, values, layer_idx, *args, **kwargs):
        """Put the new keys and values of a layer in their places; returns all that the rows have."""
        for store, new in zip(self._layers[layer_idx], (keys, values), strict=True):
            store[self._at] = new.transpose(1, 2)
        return tuple(store[: len(keys), :, : self._length] for store in self._layers[layer_idx])

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length


def _width(counts: Sequence[int]) -> int:
    """How many tokens of each row to read at once so that most are read in a time."""
    return max(sorted(set(counts)), key=lambda w: sum(min(count, w) for count in counts) / (_FIXED + w * len(counts)))


def _choose(rows: Sequence[_Row], scores: torch.Tensor, ends: Sequence[int], eos: int) -> None:
    """Let each of `rows` take its best allowed token; `scores` are rows × vocabulary."""
    for row, own in zip(rows, scores, strict=True):
        allowed = row.matcher.allowed(len(own))
        if allowed is not None:
            own.masked_fill_(torch.from_numpy(~allowed), -torch.inf)
    best, chosen = scores.max(-1)
    logs = best - scores.logsumexp(-1)
    for row, token, log in zip(rows, chosen.tolist(), logs.tolist(), strict=True):
        row.choose(token, log, ends, eos)


def _read_prompt(model, ids: Sequence[int], row: _Row, store: _Store, at: int) -> torch.Tensor:
    """Read a prompt, and what a grammar forces after it, into row `at` of the store; returns the scores of the next token."""
    read, ids = DynamicCache(), [*ids, *row.pending]
    out = model(input_ids=torch.tensor([ids]), past_key_values=read, use_cache=True, logits_to_keep=1)
    store.put(at, read)
    row.length, row.pending = len(ids), []
    return out.logits[:, -1].float()


def _read_on(model, rows: Sequence[_Row], store: _Store, pad: int) -> tuple[list[_Row], torch.Tensor]:
    """Read pending tokens of all rows; returns the rows that have none left, and the scores of their next tokens."""
    width = _width([len(row.pending) for row in rows])
    now = [row.pending[:width] for row in rows]
    ids = torch.tensor([[pad] * (width - len(new)) + new for new in now])
    real = torch.tensor([[False] * (width - len(new)) + [True] * len(new) for new in now])
    read = torch.tensor([row.length for row in rows])
    positions = torch.where(real, read[:, None] + real.cumsum(1) - 1, 0)
    store.place(positions, real)
    later = torch.arange(int(positions.max()) + 1) > positions[..., None]
    mask = torch.zeros(later.shape, dtype=model.dtype).masked_fill_(later, torch.finfo(model.dtype).min)
    out = model(
        input_ids=ids,
        attention_mask=mask[:, None],
        position_ids=positions,
        past_key_values=store,
        use_cache=True,
        logits_to_keep=1,
    )
    for row, new in zip(rows, now, strict=True):
        row.length, row.pending = row.length + len(new), row.pending[width:]
    done = [i for i, row in enumerate(rows) if not row.pending]
    return [rows[i] for i in done], out.logits[done, -1].float()


def write_continuously(
    model, tokenizer, prompts: Sequence[Sequence[int]], limits: Sequence[int], grammars: Sequence[str | None], most: int
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to the prompts (token ids), at most `most` at once, as they end: place of the prompt, tokens, log-probability
    of each among those that were allowed, and how many tokens a grammar forced.

    Settings of `model.generation_config` that change scores (a repetition penalty) are not applied.

    Raises:
        MedAnalyzrError: a grammar is not accepted, or the package llguidance is not installed.
    """
    eos, own = tokenizer.eos_token_id, model.generation_config.eos_token_id
    ends = {eos, *(own if isinstance(own, list) else [own])}
    waiting, rows, store = list(range(len(prompts)))[::-1], [], _Store(min(most, len(prompts)))
    while rows or waiting:
        with torch.inference_mode():
            if waiting and len(rows) < most:
                place = waiting.pop()
                row = _Row(place, limits[place], Matcher(grammars[place], tokenizer))
                row.jump()
                rows.append(row)
                _choose([row], _read_prompt(model, prompts[place], row, store, len(rows) - 1), ends, eos)
            else:
                _choose(*_read_on(model, rows, store, tokenizer.pad_token_id), ends, eos)
            ended = [row for row in rows if row.ended]
            for row in ended:
                at, last = rows.index(row), rows.pop()
                if last is not row:
                    store.move(len(rows), at)
                    rows[at] = last
        for row in ended:
            yield row.place, row.written[: row.limit], row.logs, row.forced
