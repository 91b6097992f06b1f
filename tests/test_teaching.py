"""The figures that explain a training are drawn from real weights, shapes, tokens and lengths."""

from types import SimpleNamespace

import pytest
import torch
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import encode, format_prompt
from medanalyzr.evaluation import figures
from medanalyzr.notebook import teaching


@pytest.fixture(autouse=True)
def quiet_display(monkeypatch):
    monkeypatch.setattr(figures, "display", lambda figure: None)


def test_nf4_is_better_than_even_levels_on_normal_weights(tmp_path):
    torch.manual_seed(0)
    weight = torch.randn(128, 256).bfloat16()
    errors = teaching.quantization_errors(weight)
    even, nf4, double = (errors[scheme] for scheme in teaching.SCHEMES)
    assert nf4["error"] < even["error"] < 0.2 and nf4["error"] <= double["error"] < 1.02 * nf4["error"]
    assert even["bits"] == nf4["bits"] == 4.5 and double["bits"] == pytest.approx(4.127, abs=1e-3)
    teaching.nf4_figure("a matrix", weight, errors, tmp_path / "nf4.png")
    assert (tmp_path / "nf4.png").stat().st_size > 10_000


def test_even_levels_lose_nothing_where_the_weights_lie_on_them():
    levels = (2 * torch.arange(16) / 15 - 1).repeat(8)
    assert teaching.quantization_errors(levels.reshape(2, 64))[teaching.SCHEMES[0]]["error"] < 1e-6


def test_the_weight_is_that_of_the_files_or_of_the_head(tiny_mistral):
    from transformers import MistralForCausalLM

    model = MistralForCausalLM.from_pretrained(tiny_mistral)
    name, weight = teaching.real_weight(model, str(tiny_mistral))
    assert name == "layers.1.self_attn.q_proj" and weight.equal(model.model.layers[1].self_attn.q_proj.weight.to(weight.dtype))
    name, weight = teaching.real_weight(model, "some/hub-id")
    assert name == "lm_head" and weight.equal(model.lm_head.weight)


def test_the_shapes_are_those_of_the_adapter(tiny_mistral, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import MistralForCausalLM

    wanted = LoraConfig(r=4, lora_alpha=8, target_modules=["k_proj", "down_proj"])
    model = get_peft_model(MistralForCausalLM.from_pretrained(tiny_mistral), wanted)
    shapes = teaching.adapted_shapes(model)
    assert shapes == {"k_proj": (64, 128, 2), "down_proj": (128, 256, 2)}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == sum(4 * (outputs + inputs) * layers for outputs, inputs, layers in shapes.values())
    teaching.lora_figure(shapes, 4, 8, tmp_path / "lora.png")
    assert (tmp_path / "lora.png").stat().st_size > 10_000


def test_the_texts_of_the_tokens_make_up_the_example(tokenizer, tmp_path):
    row = next(row for row in load_bundled() if "µ" in row["input"] and "≥" in row["input"])
    example = encode(row, tokenizer)
    texts = teaching.token_texts(example["input_ids"], tokenizer)
    assert len(texts) == len(example["input_ids"]) and "\ufffd" not in "".join(texts)
    assert "".join(texts) == tokenizer.decode(example["input_ids"])
    assert format_prompt(row).strip()[:40] in "".join(texts)
    teaching.mask_figure(example, tokenizer, tmp_path / "mask.png")
    assert (tmp_path / "mask.png").stat().st_size > 10_000


def test_tokens_are_placed_in_lines():
    placed = teaching._placed(["ab", "cd\n", "efg", "h"], 4)
    assert placed == [(0, 0, "ab"), (1, 0, "cd↵"), (2, 0, "efg"), (2, 3, "h")]


def test_packed_rows_hold_every_example_whole(tmp_path):
    lengths = [300, 200, 450, 280, 310, 260, 700]
    rows = teaching.packed_rows(lengths, 1024)
    assert sorted(length for row in rows for length in row) == sorted(lengths)
    assert all(sum(row) <= 1024 for row in rows) and len(rows) == 3
    teaching.packing_figure(lengths, 4, 1024, 64, tmp_path / "packing.png")
    assert (tmp_path / "packing.png").stat().st_size > 10_000


def test_the_padding_that_is_shown_is_counted():
    said = {}
    axis = SimpleNamespace(barh=lambda *a, **k: None, set=lambda **k: said.update(k), set_yticks=lambda ticks: None)
    teaching._bars(axis, [[30], [60]], [60, 60], "packing off")
    assert said["title"] == "packing off: 2 rows, 25% padding"
