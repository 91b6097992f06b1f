"""Private parts of other libraries: as tested, or the fast path is off with one line."""

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.acceleration import compat


@pytest.fixture(autouse=True)
def asked_anew():
    compat.usable.cache_clear()
    yield
    compat.usable.cache_clear()


@pytest.mark.parametrize("part", compat.PARTS)
def test_the_installed_versions_are_as_tested(part):
    import unsloth.models  # noqa: F401 before its parts

    assert [compat.fault(symbol) for symbol in compat.PARTS[part]] == [""] * len(compat.PARTS[part])


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (compat.Symbol("torch", "2.13.0", "torch", "ops.mkldnn._renamed"), "torch.ops.mkldnn._renamed of torch .* is missing"),
        (compat.Symbol("torch", "2.13.0", "torch.renamed", "f"), "is missing"),
        (compat.Symbol("torch", "2.13.0", "torch", "ops.aten._scaled_mm", ("other",)), "takes other arguments"),
        (compat.Symbol("transformers", "5.17.0", "json", "dumps", ("text",)), r"\(tested with 5.17.0\) takes other arguments"),
    ],
)
def test_a_part_that_changed_turns_its_fast_path_off(monkeypatch, capsys, symbol, words):
    monkeypatch.setitem(compat.PARTS, "something fast", (symbol,))
    assert not compat.usable("something fast") and not compat.usable("something fast")
    said = capsys.readouterr().out
    assert said.startswith("Without something fast: ") and said.count("\n") == 1
    with pytest.raises(MedAnalyzrError, match=words):
        compat.require("something fast")


def test_a_cpu_answers_without_packed_weights(monkeypatch, capsys):
    import torch
    from medanalyzr.acceleration.cpu import PackedLinear, answer_on_cpu
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
    monkeypatch.setitem(compat.PARTS, "packed weights on the CPU", (compat.Symbol("torch", "2.13.0", "torch", "ops.mkldnn._gone"),))
    model = LlamaForCausalLM(config).eval()
    answer_on_cpu(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    assert model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 64)
    assert "Without packed weights on the CPU" in capsys.readouterr().out
