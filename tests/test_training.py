"""Tokens, labels, scores and history, with the real tokenizers of SmolLM2 and Mistral."""

import pytest
import torch
from medanalyzr import MedAnalyzrError
from medanalyzr.acceleration.cpu import EXPLICIT, attend_on_cpu
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import IGNORED, encode, format_prompt, token_lengths
from medanalyzr.training import encoding
from medanalyzr.training.base_models import mistral_tokenizer
from medanalyzr.training.encoding import drop_overlong, encode_all
from medanalyzr.training.record import history
from transformers import AutoModelForCausalLM, AutoTokenizer

ROWS = load_bundled()[::40]


def test_labels_are_the_answer_and_its_end(tokenizer):
    for row in ROWS:
        example = encode(row, tokenizer)
        prompt = tokenizer(format_prompt(row)).input_ids
        assert example["input_ids"][: len(prompt)] == prompt
        assert example["labels"][: len(prompt)] == [IGNORED] * len(prompt)
        assert example["labels"][len(prompt) :] == example["input_ids"][len(prompt) :]
        assert tokenizer.decode(example["labels"][len(prompt) : -1]) == row["output"]
        assert example["labels"][-1] == tokenizer.eos_token_id


def test_whole_text_labels(tokenizer):
    example = encode(ROWS[0], tokenizer, "all")
    assert example["labels"] == example["input_ids"]


def test_token_lengths_match_the_examples(tokenizer):
    lengths = token_lengths(ROWS, tokenizer)
    for row, length in zip(ROWS, lengths, strict=True):
        assert abs(length - len(encode(row, tokenizer)["input_ids"])) <= 1


def test_mistral_tokenizer_is_mistrals_own():
    from medanalyzr.training.base_models import _package_folder
    from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer

    path = _package_folder("mistral_common") / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    own, ours = SentencePieceTokenizer(str(path)), mistral_tokenizer()
    for row in ROWS:
        text = format_prompt(row) + row["output"]
        assert ours(text).input_ids == own.encode(text, bos=True, eos=False)
    assert len(ours) == 32768


def test_over_length_examples_are_left_out_whole():
    tokenizer = mistral_tokenizer()
    lengths = sorted({len(encode(row, tokenizer)["input_ids"]) for row in ROWS})
    encoded = [encode(row, tokenizer) for row in ROWS]
    examples, kept = drop_overlong(encoded, ROWS, lengths[1])
    assert [encode(row, tokenizer) for row in kept] == examples
    assert 2 <= len(kept) < len(ROWS) and max(len(example["input_ids"]) for example in examples) == lengths[1]
    assert drop_overlong([], [], 64) == ([], [])
    with pytest.raises(MedAnalyzrError, match="None of .* rows fits max_seq_length=64"):
        drop_overlong(encoded[:3], ROWS[:3], 64)


def test_all_rows_are_encoded_in_steps(tokenizer, monkeypatch):
    monkeypatch.setattr(encoding, "STEP", 7)
    examples, steps = encode_all(lambda rows: (encode(row, tokenizer) for row in rows), ROWS), []
    assert [{name: ids.tolist() for name, ids in example.items()} for example in examples] == [encode(r, tokenizer) for r in ROWS]
    assert (
        encode_all(lambda rows: steps.append(len(rows)) or ({"input_ids": []} for _ in rows), ROWS[:17])[0]["input_ids"].nbytes == 0
    )
    assert steps == [7, 7, 3] and encode_all(steps.extend, []) == []


def test_history_joins_what_one_step_logged():
    log = [
        {"step": 1, "loss": "2.5", "learning_rate": 1e-3},
        {"step": 1, "eval_loss": 2.0, "eval_runtime": 9},
        {"step": 2, "train_runtime": 3},
    ]
    assert history(log) == [{"step": 1, "loss": 2.5, "learning_rate": 1e-3, "eval_loss": 2.0}]


def test_smooth_keeps_length_and_mean_of_a_window():
    from medanalyzr.evaluation.figures import smooth

    assert smooth([1.0, 2.0, 6.0], window=3) == [1.5, 3.0, 4.0]


def test_on_a_cpu_short_examples_are_trained_with_explicit_attention_and_the_same_loss(tiny_mistral):
    model = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype=torch.float32)
    example = encode(ROWS[0], AutoTokenizer.from_pretrained(tiny_mistral))
    batch = {name: torch.tensor([example[name]]) for name in ("input_ids", "labels")}
    found = []
    for longest in (EXPLICIT + 1, EXPLICIT):
        attend_on_cpu(model, longest)
        found.append((model.config._attn_implementation, float(model(**batch).loss)))
    assert [name for name, _ in found] == ["sdpa", "eager"]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)
