"""What all prompts begin with, computed once: the batch, what its tokens see, and the same attention and loss as of whole examples."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from medanalyzr import MedAnalyzrError
from medanalyzr.acceleration import shared_prefix
from medanalyzr.acceleration.shared_prefix import SharedPrefix, attend, share_prefix
from medanalyzr.dataset.prompts import IGNORED
from medanalyzr.training.checks import check_isolation, check_trainer
from test_checks import tiny_llama, trainer_of
from torch.nn.functional import scaled_dot_product_attention

PREFIX, LENGTHS = [7, 3, 9], (9, 14, 6)


@pytest.fixture(autouse=True, scope="module")
def unsloth_before_its_parts():
    import unsloth.models  # noqa: F401


def examples(learnt=5):
    """Three examples of `LENGTHS` tokens that begin with `PREFIX` and are learnt from the token at `learnt` on."""
    rng, found = torch.Generator().manual_seed(1), []
    for number, length in enumerate(LENGTHS):
        ids = [*PREFIX, 20 + number, *torch.randint(1, 64, (length - 4,), generator=rng).tolist()]
        found.append({"input_ids": ids, "labels": [IGNORED] * learnt + ids[learnt:]})
    return found


def packed(given):
    """The examples in a row as the trainer packs them, with an end of padding."""
    ids, labels = (sum((list(e[name]) for e in given), []) for name in ("input_ids", "labels"))
    positions = [i for e in given for i in range(len(e["input_ids"]))]
    row = {"input_ids": [*ids, 0, 0], "labels": [*labels, IGNORED, IGNORED], "position_ids": [*positions, 0, 0]}
    return {name: torch.tensor([values]) for name, values in row.items()} | {
        "packed_seq_lengths": torch.tensor([len(e["input_ids"]) for e in given], dtype=torch.int32)
    }


def test_the_prefix_ends_before_what_is_learnt():
    assert SharedPrefix(examples()).ids == PREFIX
    assert (
        SharedPrefix(examples(learnt=3)).ids == PREFIX[:2]
    )  # its first token is foretold by the last of the prefix, of its own example
    assert SharedPrefix(examples(learnt=0)).ids == [] and SharedPrefix(examples(), wanted=False).ids == []
    assert SharedPrefix([]).ids == []


def test_a_batch_holds_the_prefix_once():
    given = examples()
    batch = SharedPrefix(given).batch(packed(given), pad=0, multiple=64)
    tokens = 3 + 6 + 11 + 3
    assert all(batch[name].shape == (1, 64) for name in ("input_ids", "labels", "position_ids"))
    assert batch["input_ids"][0, :tokens].tolist() == PREFIX + sum((e["input_ids"][3:] for e in given), [])
    assert batch["labels"][0, :tokens].tolist() == [IGNORED] * 3 + sum((e["labels"][3:] for e in given), [])
    assert batch["position_ids"][0, :tokens].tolist() == [*range(9), *range(3, 14), *range(3, 6)]
    assert not batch["input_ids"][0, tokens:].any() and (batch["labels"][0, tokens:] == IGNORED).all()
    assert batch["packed_seq_lengths"].tolist() == [3, 6, 11, 3] and batch["prefix_seg_info"].spared == 6


def by_parts(query, key, value, ends_of_queries, ends_of_keys, scale):
    """FlashAttention of parts by its definition: causal, the last query sees the last key."""
    queries, keys = (list(pairwise(ends.tolist())) for ends in (ends_of_queries, ends_of_keys))
    found = []
    for of_q, of_k in zip(queries, keys, strict=True):
        q, k, v = (x[slice(*part)].transpose(0, 1) for x, part in ((query, of_q), (key, of_k), (value, of_k)))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        found.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True).transpose(0, 1))
    return torch.cat(found)


@pytest.fixture(scope="module")
def flash():
    """torch's FlashAttention, which needs a GPU, by its definition on the CPU."""

    def forward(query, key, value, ends_q, ends_k, most_q, most_k, dropout, causal, debug, scale=None, **rest):
        assert causal and not dropout and not any(rest.values())
        assert most_q == max(ends_q.diff()) and most_k == max(ends_k.diff())
        empty = query.new_empty(0)
        return by_parts(query, key, value, ends_q, ends_k, scale), empty, empty, empty, empty

    def backward(
        gradient, query, key, value, out, logs, ends_q, ends_k, most_q, most_k, dropout, causal, state, unused, scale=None, **rest
    ):
        given = [x.detach().requires_grad_() for x in (query, key, value)]
        with torch.enable_grad():
            return torch.autograd.grad(by_parts(*given, ends_q, ends_k, scale), given, gradient)

    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "AutogradCPU")
    library.impl("_flash_attention_backward", backward, "AutogradCPU")
    yield
    library._destroy()


def unsloths(query, key, value, segments):
    from unsloth.utils.prefix_grouper_kernel import build_seg_info_multigroup, flex_shared_prefix_attention

    theirs, _ = build_seg_info_multigroup([(segments.prefix, segments.rests)], torch.device("cpu"))
    return flex_shared_prefix_attention(query, key, value, theirs, compiled=False)


def test_attention_and_its_gradients_are_those_of_whole_examples(flash):
    given = examples()
    segments = SharedPrefix(given).batch(packed(given), pad=0, multiple=64)["prefix_seg_info"]
    rng = torch.Generator().manual_seed(2)
    whole = [torch.randn(1, 64, heads, 8, generator=rng, dtype=torch.double, requires_grad=True) for heads in (4, 2, 2)]
    tokens = torch.randn(64, 4, 8, generator=rng, dtype=torch.double)
    rests = [range(3, 9), range(9, 20), range(20, 23)]

    def by_definition(query, key, value):
        out = torch.zeros(64, 4, 8, dtype=torch.double)
        for rest in rests:
            places = [0, 1, 2, *rest]
            q, k, v = (x[0, places].transpose(0, 1) for x in (query, key, value))
            seen = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(0, 1)
            out = out.index_put((torch.tensor(places),), seen)
        return out

    def gradients(out):
        return torch.autograd.grad((out[:23] * tokens[:23]).sum(), whole)

    found, right = attend(*whole, segments)[0], by_definition(*whole)
    torch.testing.assert_close(found[:23], right[:23])
    with torch.no_grad():
        torch.testing.assert_close(unsloths(*whole, segments)[0, :23], right[:23])
    for one, other in zip(gradients(found), gradients(right), strict=True):
        torch.testing.assert_close(one, other)


def attending(model, seen):
    """`model` with the attention that the segments asks for, the prefix hidden from the rests unless `seen`."""
    forward = model.forward

    def shared(prefix_seg_info=None, **part):
        if prefix_seg_info is None:
            return forward(**part)
        lengths = torch.tensor([prefix_seg_info.prefix, *prefix_seg_info.rests])
        mine, order = torch.arange(len(lengths)).repeat_interleave(lengths), torch.arange(int(lengths.sum()))
        mask = (order[None] <= order[:, None]) & (((mine[None] == 0) & seen) | (mine[None] == mine[:, None]))
        mask = torch.zeros(1, 1, *mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        return forward(**part, attention_mask=mask)

    model.forward = shared
    return model.eval()


def test_the_check_compares_with_whole_examples():
    given = examples()
    batch = SharedPrefix(given).batch(packed(given), pad=0, multiple=64)
    trainer = trainer_of(batch, model=attending(tiny_llama(), True))
    assert check_isolation(trainer)["packing"].startswith("3 examples in a row, 6 tokens spared, loss")
    with pytest.raises(MedAnalyzrError, match="do not see what they share: .* set packing='on'"):
        check_isolation(trainer_of(batch, model=attending(tiny_llama(), False)))
    assert check_trainer(trainer_of(batch), packing=True)["first batch"] == "1 × 64 tokens, 3 examples packed"


def test_a_trainer_gets_it_where_there_is_a_prefix_and_flash_attention(monkeypatch, capsys):
    from unsloth.utils import attention_dispatch

    given = examples()
    trainer = SimpleNamespace(data_collator=packed, processing_class=SimpleNamespace(pad_token_id=0))
    trainer.args = SimpleNamespace(pad_to_multiple_of=64, bf16=False, fp16=False)
    monkeypatch.setattr(attention_dispatch, "_flex_shared_prefix_attention", None)
    monkeypatch.setattr(shared_prefix, "flash_attention", lambda: False)
    SharedPrefix(given).install(trainer)
    assert trainer.data_collator is packed and "sharing it needs FlashAttention" in capsys.readouterr().out
    monkeypatch.setattr(shared_prefix, "flash_attention", lambda: True)
    SharedPrefix(given).install(trainer)
    assert trainer.data_collator is packed and "16 bits" in capsys.readouterr().out
    trainer.args.bf16 = True
    share_prefix(trainer, given, wanted=False)
    assert trainer.data_collator is packed and attention_dispatch._flex_shared_prefix_attention is None
    share_prefix(trainer, given, wanted=True)
    assert attention_dispatch._flex_shared_prefix_attention is attend and trainer.data_collator.padding_free
    assert trainer.data_collator(given)["packed_seq_lengths"].tolist() == [3, 6, 11, 3]
