"""Shared prefix: the tokens that all prompts begin with are computed once per packed step instead of once per example.

The trainer packs whole examples into a row. Here the row is shortened: the prefix once, then the rest of each example. Each token
of a rest attends to the prefix and to the earlier tokens of its own rest. Steps, loss and gradients are the same as with whole
examples: the prefix has no labels, and its gradient is the sum over the examples. Unsloth's layers accept such rows (it groups
prompts this way for GRPO). The attention is one call of torch's FlashAttention instead of Unsloth's FlexAttention kernel, whose
blocks of 128 tokens do not suit short examples.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import torch

from medanalyzr.acceleration.compat import share_attention, usable
from medanalyzr.core.device import device
from medanalyzr.dataset.prompts import IGNORED, first_learnt


def flash_attention() -> bool:
    """Whether torch has FlashAttention for the first GPU: it needs native bfloat16 (NVIDIA compute capability 8.0 or later)."""
    return device().bf16 and torch.backends.cuda.is_flash_attention_available()


class AttentionIndices:
    """Which tokens each part of a row sees. The row has `prefix` tokens and then `rests`; a rest sees the prefix and itself.

    `seen` lists these tokens as indices into the row, part after part. `own` gives, for each token of the row, its index in `seen`
    within its own part; `copies` (rests × prefix) gives the indices in `seen` of the prefix in front of each rest.
    """

    def __init__(self, prefix: int, rests: Sequence[int], target: torch.device):
        first, seen, own, copies, end = torch.arange(prefix), [torch.arange(prefix)], [torch.arange(prefix)], [], prefix
        for number, length in enumerate(rests, 1):
            rest = torch.arange(end, end + length)
            seen += [first, rest]
            copies.append(first + end + (number - 1) * prefix)
            own.append(rest + number * prefix)
            end += length
        self.seen, self.own, self.copies = torch.cat(seen).to(target), torch.cat(own).to(target), torch.stack(copies).to(target)

    def gathered(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient of the row, from the gradient of the tokens in `seen`."""
        found = gradient[self.own]
        found[: self.copies.shape[1]] += gradient[self.copies].sum(0)
        return found


class RowSegments:
    """A row of `prefix` tokens and then `rests` (their lengths); `spared` is how many tokens whole examples would add."""

    def __init__(self, prefix: int, rests: Sequence[int]):
        self.prefix, self.rests, self.spared, self._device = prefix, rests, prefix * (len(rests) - 1), None

    def on(self, target: torch.device) -> tuple[AttentionIndices, list]:
        """The `AttentionIndices`, and where parts end: of queries, of keys, the longest of each. Made once for all layers."""
        if self._device != target:
            queries, keys = [self.prefix, *self.rests], [self.prefix, *(self.prefix + length for length in self.rests)]
            ends = [torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=target) for lengths in (queries, keys)]
            self._made, self._device = (AttentionIndices(self.prefix, self.rests, target), [*ends, max(queries), max(keys)]), target
        return self._made


class _Attend(torch.autograd.Function):
    """Causal attention within parts whose last tokens are the queries (the operator behind torch.nn.attention.varlen)."""

    @staticmethod
    def forward(ctx, query, key, value, segments, scale):
        indices, parts = segments.on(query.device)
        key, value = key[indices.seen], value[indices.seen]
        out, logs, state, *_ = torch.ops.aten._flash_attention_forward(query, key, value, *parts, 0.0, True, False, scale=scale)
        ctx.segments, ctx.scale = segments, scale
        ctx.save_for_backward(query, key, value, out, logs, state)
        return out

    @staticmethod
    def backward(ctx, gradient):
        *given, state = ctx.saved_tensors
        indices, parts = ctx.segments.on(gradient.device)
        dq, *rest = torch.ops.aten._flash_attention_backward(gradient, *given, *parts, 0.0, True, state, state, scale=ctx.scale)
        return dq, *map(indices.gathered, rest), None, None


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: RowSegments, scale: float | None = None
) -> torch.Tensor:
    """Attention of a row with a shared prefix; all tensors 1 × tokens × heads × size, `key` and `value` may have fewer heads."""
    return _Attend.apply(query.squeeze(0), key.squeeze(0), value.squeeze(0), segments, scale).unsqueeze(0)  # no copy backward


class SharedPrefix:
    """The tokens `ids` with which all `examples` (see `prompts.encode`) begin, at most up to the token before the first label;
    empty if nothing is shared, or if `wanted` is False.
    """

    def __init__(self, examples: Sequence[Mapping[str, Sequence[int]]], wanted: bool = True):
        longest = max(0, min((first_learnt(example["labels"]) for example in examples), default=1) - 1) if wanted else 0
        self.ids = list(os.path.commonprefix([np.asarray(example["input_ids"][:longest]).tolist() for example in examples]))

    def install(self, trainer) -> None:
        """Make a packing trainer compute the prefix, if there is one, once per step; says so where FlashAttention is missing."""
        if not (self.ids and usable("the shared beginning of prompts")):
            return
        if not (flash_attention() and (trainer.args.bf16 or trainer.args.fp16)):
            print(
                "The common beginning of the prompts is computed for each of them: sharing it needs FlashAttention (an A100 or later, 16 bits)."
            )
            return
        share_attention(attend)
        self._collate, self.padding_free = trainer.data_collator, True
        self._padding = trainer.processing_class.pad_token_id, trainer.args.pad_to_multiple_of
        trainer.data_collator = self

    def __call__(self, rows: Sequence[Mapping]) -> dict:
        return self.batch(self._collate(rows), *self._padding)

    def batch(self, packed: Mapping[str, torch.Tensor], pad: int, multiple: int) -> dict:
        """A packed batch of the trainer (1 × tokens, with the length of each example in `packed_seq_lengths`) in which only the
        first example keeps its prefix, padded to a `multiple` of tokens.

        `packed_seq_lengths` become those of the prefix and of each rest; `prefix_seg_info`, the name under which Unsloth carries
        it, is the `RowSegments`.
        """
        lengths, prefix = packed["packed_seq_lengths"].tolist(), len(self.ids)
        rests = [length - prefix for length in lengths]
        end = -(prefix + sum(rests)) % multiple

        def row(whole: torch.Tensor, last: int) -> torch.Tensor:
            first, *others = whole[0, : sum(lengths)].split(lengths)
            return torch.cat([first, *(other[prefix:] for other in others), torch.full((end,), last)])[None]

        return {
            "input_ids": row(packed["input_ids"], pad),
            "labels": row(packed["labels"], IGNORED),
            "position_ids": row(packed["position_ids"], 0),
            "packed_seq_lengths": torch.tensor([prefix, *rests], dtype=torch.int32),
            "prefix_seg_info": RowSegments(prefix, [*rests[:-1], rests[-1] + end]),
        }


def share_prefix(trainer, examples: Sequence[Mapping[str, Sequence[int]]], wanted: bool) -> None:
    """Make `trainer` compute the common prefix of `examples` once per step, if `wanted` and possible (see `SharedPrefix.install`)."""
    SharedPrefix(examples, wanted).install(trainer)
