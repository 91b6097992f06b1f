"""Exported files: they say what the model says, with the prompt of the training."""

import json

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.core.run_folder import cache_folder
from medanalyzr.dataset.prompts import PROMPT, format_prompt
from medanalyzr.evaluation.agreement import agreement
from medanalyzr.export.gguf import write_gguf
from medanalyzr.export.model_card import model_card
from medanalyzr.export.ollama import modelfile
from medanalyzr.export.push import push
from medanalyzr.training.base_models import mistral_tokenizer, smollm2_folder


def test_a_gguf_file_is_read_back_as_the_same_model(tiny_mistral, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    write_gguf(tiny_mistral, tmp_path / "model.gguf")
    before = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype=torch.float32)
    after = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    ids = torch.tensor([[1, 3000, 4000, 5000, 6000, 7000]])
    with torch.no_grad():
        expected, found = before(ids).logits, after(ids).logits
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert after.config.num_key_value_heads == before.config.num_key_value_heads


def test_mistral_tokens_keep_the_order_in_which_they_merge(tiny_mistral, tmp_path):
    """Runs of spaces are left out: sentencepiece puts them last, transformers in the order of their identifiers."""
    from gguf import GGUFReader
    from sentencepiece import SentencePieceProcessor

    mistral_tokenizer()
    write_gguf(tiny_mistral, tmp_path / "model.gguf")
    fields = GGUFReader(tmp_path / "model.gguf").fields
    pieces = SentencePieceProcessor(model_file=str(cache_folder() / "mistral-v3-tokenizer" / "tokenizer.model"))
    made = [i for i in range(1027, pieces.vocab_size()) if len(pieces.id_to_piece(i).strip("▁")) > 1]
    ours = fields["tokenizer.ggml.scores"].contents()
    assert sorted(made, key=lambda i: -ours[i]) == sorted(made, key=lambda i: -pieces.get_score(i))
    assert fields["tokenizer.ggml.tokens"].contents()[4000] == pieces.id_to_piece(4000)
    assert fields["tokenizer.ggml.add_bos_token"].contents() is True
    assert fields["tokenizer.ggml.eos_token_id"].contents() == pieces.eos_id()


def test_smollm2_keeps_its_merges_and_its_end(tmp_path):
    from gguf import GGUFReader

    folder = smollm2_folder()
    write_gguf(folder, tmp_path / "model.gguf")
    fields = GGUFReader(tmp_path / "model.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == 49152 and tokens[fields["tokenizer.ggml.eos_token_id"].contents()] == "<|im_end|>"
    assert fields["tokenizer.ggml.merges"].contents()[0] == "Ġ t" and fields["tokenizer.ggml.pre"].contents() == "smollm"


def test_another_architecture_is_refused(tiny_mistral, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}), encoding="utf-8")
    with pytest.raises(MedAnalyzrError, match="BertModel cannot be written"):
        write_gguf(tmp_path, tmp_path / "model.gguf")


def test_ollama_asks_with_the_prompt_of_the_training():
    text = modelfile("model.gguf", PROMPT, "Lisez ce bilan.", "</s>")
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    asked = template.replace("{{ .System }}", "Lisez ce bilan.").replace("{{ .Prompt }}", "Hb : 110 g/L")
    assert asked == format_prompt({"instruction": "Lisez ce bilan.", "input": "Hb : 110 g/L"})
    assert 'PARAMETER stop "</s>"' in text and "PARAMETER temperature 0" in text and text.startswith("FROM ./model.gguf\n")


def test_agreement_counts_answers_and_flags():
    first = ["Hb : 110 g/L : bas\nPotassium : 6,8 mmol/L : élevé, critique", "Sodium : 140 mmol/L : normal"]
    second = ["Hb : 110 g/L : bas\nPotassium : 6,8 mmol/L : élevé", "Sodium : 140 mmol/L : normal"]
    assert agreement(first, second) == {"reports": 2, "same_answers": 1, "flags": 3, "same_flags": 2}


def test_the_card_has_the_measured_numbers_or_says_that_there_are_none():
    training = {"dataset": "bundled", "subset": "measured", "examples": 876, "steps": 260, "profile": "cpu"}
    assert "Not evaluated" in model_card(training, None, "SmolLM2") and "license: apache-2.0" in model_card(training, None, "x")
    part = {"count": 9, "of": 10, "share": 0.9, "low": 0.6, "high": 0.98}
    evaluation = {
        "results": {"tuned model": {"flags": part, "critical": {"recall": part | {"count": 3}, "false_alarms": part}}},
        "abstention": {"right_refusals": part},
        "answer_loss": 0.0712,
        "reports": 34,
        "verdict": {"released": False},
    }
    card = model_card(training, evaluation, "SmolLM2")
    assert "0.90 [0.60, 0.98] (9 of 10)" in card and "0.071" in card and "**NOT RELEASED**" in card


def test_a_push_without_a_token_is_refused(tmp_path):
    with pytest.raises(MedAnalyzrError, match="HF_TOKEN"):
        push(tmp_path, "name/model", None)
