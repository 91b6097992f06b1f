"""Each check passes what is right and stops what is wrong, with one sentence."""

import errno
import json
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.core.run_folder import replacing, run_folder, write_json, write_text
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import IGNORED, encode
from medanalyzr.notebook import pipeline
from medanalyzr.training.base_models import check_fits, check_weights, mistral_tokenizer, take_weights
from medanalyzr.training.callbacks import ShowProgress
from medanalyzr.training.checks import check_adapter, check_examples, check_fall, check_isolation, check_over_length, check_trainer
from medanalyzr.training.encoding import encode_all
from medanalyzr.training.profiles import TARGET_MODULES
from medanalyzr.training.trainer import training_guard

ROWS = load_bundled()[::60]


def test_good_examples_pass(tokenizer):
    assert len(check_examples([encode(row, tokenizer) for row in ROWS], ROWS, tokenizer)) == 4
    check_examples([encode(row, tokenizer, "all") for row in ROWS], ROWS, tokenizer, "all")


def one_more_masked(labels):
    masked = labels.count(IGNORED) + 1
    return [IGNORED] * masked + labels[masked:]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda example, row: (example | {"labels": example["labels"][:-1]}, row), "does not end with"),
        (lambda example, row: (example | {"labels": [IGNORED] * len(example["labels"])}, row), "every label is masked"),
        (lambda example, row: ({"input_ids": [], "labels": []}, row), "every label is masked"),
        (lambda example, row: (example | {"labels": [7, *example["labels"][1:]]}, row), "not every label is its own token"),
        (lambda example, row: (example | {"labels": one_more_masked(example["labels"])}, row), "do not spell its answer"),
        (lambda example, row: (example | {"labels": example["input_ids"]}, row), "do not spell its answer"),
        (lambda example, row: (example, row | {"output": "autre"}), "do not spell its answer"),
        (lambda example, row: (example, row | {"input": "autre"}), "does not start with the prompt that inference uses"),
    ],
)
def test_bad_examples_stop(tokenizer, harm, words):
    example, row = harm(encode(ROWS[0], tokenizer), ROWS[0])
    with pytest.raises(MedAnalyzrError, match=f"Training row 1.*{words}"):
        check_examples([example], [row], tokenizer)


def test_several_processes_check_all_examples_together(tokenizer, monkeypatch):
    examples, found = encode_all(lambda rows: (encode(row, tokenizer) for row in rows), ROWS), []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for wrong in range(len(ROWS)):
        rows = [row | {"output": "autre"} if i == wrong else row for i, row in enumerate(ROWS)]
        for number in ("0", "1", "2"):
            monkeypatch.setenv("RANK", number)
            try:
                check_examples(examples, rows, tokenizer)
            except MedAnalyzrError as error:
                found.append(f"Training row {wrong + 1}: the learnt tokens" in str(error))
    assert found == [True] * len(ROWS)


def test_padding_with_the_end_token_stops():
    tokenizer = mistral_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(MedAnalyzrError, match="never learn to stop"):
        check_examples([], [], tokenizer)


def test_too_many_long_rows_stop():
    assert check_over_length(10, 9, 64) == {"over length": "1 of 10 rows (10.0%) left out"}
    with pytest.raises(MedAnalyzrError, match="3 of 10 training rows are over max_seq_length=64"):
        check_over_length(10, 7, 64)
    with pytest.raises(MedAnalyzrError, match="No training row is left"):
        check_over_length(0, 0, 64)


def tiny_llama(**options):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        initializer_range=0.4, **options,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def adapted(r=4, modules=TARGET_MODULES):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(tiny_llama(), LoraConfig(r=r, target_modules=list(modules)))


def test_the_adapter_is_the_expected_one():
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj, rank 4" in check_adapter(adapted(), 4)["adapter"]
    for model, r in ((adapted(), 8), (adapted(modules=("q_proj", "v_proj")), 4), (tiny_llama(), 4)):
        with pytest.raises(MedAnalyzrError, match="The adapter is not the expected one"):
            check_adapter(model, r)
    loose = adapted()
    next(p for name, p in loose.named_parameters() if "embed" in name).requires_grad = True
    with pytest.raises(MedAnalyzrError, match="embed_tokens"):
        check_adapter(loose, 4)


def trainer_of(batch, columns=("input_ids", "labels"), model=None):
    """What the checks ask of a trainer: its first batch, its columns, its model."""
    return SimpleNamespace(
        get_train_dataloader=lambda: [batch],
        train_dataset=SimpleNamespace(column_names=list(columns)),
        model=model or adapted(),
        compute_loss_context_manager=nullcontext,
    )


def padded(label):
    import torch

    ids = torch.tensor([[5, 6, 7], [5, 0, 0]])
    return {"input_ids": ids, "labels": torch.tensor([[IGNORED, 6, 7], [5, label, label]]), "attention_mask": (ids > 0).long()}


def test_the_trainers_first_batch():
    assert check_trainer(trainer_of(padded(IGNORED)), packing=False)["first batch"] == "2 × 3 tokens, padding masked"
    for trainer, packing, words in (
        (trainer_of(padded(0)), False, "Padding is not masked"),
        (trainer_of(padded(IGNORED)), True, "the trainer does not pack"),
        (trainer_of(padded(IGNORED), ("prompt", "input_ids")), False, "has the column prompt"),
        (trainer_of(padded(IGNORED), model=adapted().bfloat16()), False, "trains in torch.bfloat16"),
    ):
        with pytest.raises(MedAnalyzrError, match=words):
            check_trainer(trainer, packing)


def packed_batch():
    import torch

    lengths, rng = (9, 14, 6), torch.Generator().manual_seed(1)
    ids = torch.randint(1, 64, (1, sum(lengths)), generator=rng)
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    labels = ids.masked_fill(positions == 0, IGNORED)
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "packed_seq_lengths": torch.tensor(lengths)}


def test_packed_examples_that_see_each_other_stop():
    import torch

    model = tiny_llama().eval()
    assert check_isolation(trainer_of(packed_batch(), model=model))["packing"].startswith("3 examples in a row")
    assert check_isolation(trainer_of(padded(IGNORED), model=model)) == {}
    leaky = tiny_llama().eval()
    forward = leaky.forward
    leaky.forward = lambda **part: forward(**part | {"position_ids": torch.arange(part["input_ids"].shape[1])[None]})
    with pytest.raises(MedAnalyzrError, match="Packed examples see each other"):
        check_isolation(trainer_of(packed_batch(), model=leaky))


def test_the_padding_behind_packed_examples_is_no_example():
    import torch

    model, plain = tiny_llama().eval(), packed_batch()
    tail = {"input_ids": 0, "labels": IGNORED, "position_ids": 0}
    padded_to_32 = {name: torch.cat([plain[name], torch.full((1, 3), value)], dim=1) for name, value in tail.items()}
    padded_to_32["packed_seq_lengths"] = torch.tensor([9, 14, 6])
    assert check_isolation(trainer_of(padded_to_32, model=model)) == check_isolation(trainer_of(plain, model=model))
    alone = {"input_ids": torch.tensor([[5, 6, 0, 0]]), "labels": torch.tensor([[IGNORED, 6, IGNORED, IGNORED]])}
    alone |= {"position_ids": torch.tensor([[0, 1, 0, 0]]), "packed_seq_lengths": torch.tensor([2])}
    with pytest.raises(MedAnalyzrError, match="the trainer does not pack"):
        check_trainer(trainer_of(alone), packing=True)


def logged(step=30, fp16=False, trained=False, **logs):
    """One `on_log` of a running training."""
    import torch

    state = SimpleNamespace(global_step=step, max_steps=99, num_input_tokens_seen=0, log_history=[{}])
    args, callback, model = SimpleNamespace(fp16=fp16), ShowProgress(trained), tiny_llama().train()
    callback.on_train_begin(args, state, None, model=model, processing_class=SimpleNamespace(pad_token_id=0))
    model(input_ids=torch.tensor([[5, 6, 7, 0]]))
    model(input_ids=torch.tensor([[5, 6, 7, 0]]), attention_mask=torch.tensor([[1, 1, 0, 0]]))
    model.eval()(input_ids=torch.tensor([[5, 6, 7, 0]]))
    for _ in range(logs.pop("times", 1)):
        callback.on_log(args, state, None, logs)
    return state


def test_a_training_gone_wrong_stops():
    last = logged(loss=0.5, grad_norm=1.0).log_history[-1]
    assert last["seconds"] > 0 and last["num_input_tokens_seen"] == 3 + 2
    logged(loss=1e-4, step=50)
    logged(loss=1e-4, step=8, trained=True)  # goes on from another training
    logged(loss=0.5, grad_norm=math.inf, fp16=True, times=20)
    for logs, words in (
        ({"loss": math.nan}, "The loss is nan at step 30: lower learning_rate"),
        ({"loss": 1e-4, "step": 8}, "no model reaches so early at step 8"),
        ({"loss": 0.5, "grad_norm": math.nan}, "gradient norm is nan"),
        ({"loss": 0.5, "grad_norm": math.inf, "fp16": True, "times": 21}, "gradient norm is inf"),
    ):
        with pytest.raises(MedAnalyzrError, match=words):
            logged(**logs)


def test_a_training_goes_on_from_the_weights_of_another_run(tmp_path, monkeypatch):
    import torch
    from peft import get_peft_model_state_dict

    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", str(tmp_path))
    base, run = tmp_path / "base", tmp_path / "runs" / "before"
    tiny_llama().save_pretrained(base)
    before, after = adapted(r=4), adapted(r=4)
    torch.nn.init.normal_(next(p for name, p in before.named_parameters() if "lora_B" in name))
    before.save_pretrained(run / "adapter")
    write_json(run / "adapter" / "prompt_template.json", {"base_model": str(base), "template": ""})
    assert take_weights(after, "", str(base)) == "a new adapter: it changes nothing yet"
    assert take_weights(after, "before", str(base)).startswith("the adapter of the run before")
    assert all(torch.equal(w, get_peft_model_state_dict(after)[name]) for name, w in get_peft_model_state_dict(before).items())
    for model, of in ((adapted(r=8), str(base)), (after, "SmolLM2-135M-Instruct")):
        with pytest.raises(
            MedAnalyzrError, match=r"start_from='before': base model, lora_r and lora_alpha .* leave start_from empty"
        ):
            take_weights(model, "before", of)
    with pytest.raises(MedAnalyzrError, match=r"adapter/prompt_template.json is missing: run 03_train"):
        take_weights(after, "never", str(base))


def test_a_loss_that_does_not_fall_stops():
    assert check_fall([3.0] * 5 + [1.0] * 20) == "3.00 over the first five steps, 1.00 over the last five"
    check_fall([1.0, 2.0, 3.0])
    with pytest.raises(MedAnalyzrError, match="did not fall .1.00 at first, 3.00 at the end."):
        check_fall([1.0] * 5 + [3.0] * 20)
    assert check_fall([0.01] * 25, trained=True).startswith("0.01 over")  # an adapter of another training may be at its floor


ON_A_CPU = SimpleNamespace(use_cpu=True, bf16=True)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("[enforce fail] file write failed")]
)
def test_a_full_disk_is_one_sentence(error):
    trainer = SimpleNamespace(model=tiny_llama(), args=ON_A_CPU, state=SimpleNamespace(global_step=7))
    with pytest.raises(MedAnalyzrError, match="The disk is full, so the checkpoint of step 7"), training_guard(trainer, None):
        raise error
    with pytest.raises(OSError, match="other"), training_guard(trainer, None):
        raise OSError(errno.EACCES, "other")


def test_a_full_gpu_is_one_sentence():
    import torch

    trainer = SimpleNamespace(model=tiny_llama(), args=ON_A_CPU)
    with pytest.raises(MedAnalyzrError, match="The GPU is out of memory: lower batch_size"), training_guard(trainer, None):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_an_interrupted_training_begins_with_its_first_weights():
    from medanalyzr.training.trainer import adapters_in_float32

    model = adapted()
    adapters_in_float32(model)
    trainer, first = SimpleNamespace(model=model, args=ON_A_CPU), {name: p.detach().clone() for name, p in model.named_parameters()}
    lora = next(module for module in model.modules() if hasattr(module, "lora_A"))
    with pytest.raises(KeyboardInterrupt), training_guard(trainer, None):
        assert not lora.cast_input_dtype_enabled  # no float32 copies of what the adapter reads
        for parameter in model.parameters():
            parameter.data.add_(1 if parameter.requires_grad else 0)
        trainer.optimizer = "moments of the steps taken"
        raise KeyboardInterrupt
    assert lora.cast_input_dtype_enabled
    with training_guard(trainer, None) as training:
        assert training.steps_left and trainer.optimizer is None
        assert all(p.equal(first[name]) for name, p in model.named_parameters())
    assert training.seconds > 0


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MedAnalyzrError, match="holds no .safetensors file"):
        check_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a header")
    with pytest.raises(MedAnalyzrError, match="model.safetensors in .* is truncated or damaged"):
        check_weights(tmp_path)
    tiny_llama().save_pretrained(tmp_path)
    check_weights(tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(MedAnalyzrError, match="is truncated or damaged"):
        check_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}')
    with pytest.raises(MedAnalyzrError, match="lacks model-00002.safetensors"):
        check_weights(tmp_path)


def test_a_run_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", str(tmp_path / "file"))
    with pytest.raises(MedAnalyzrError, match="cannot be written .*: set MEDANALYZR_ARTIFACTS"):
        run_folder("demo")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    with replacing(tmp_path / "adapter") as target:
        (target / "a").write_text("1")
    with pytest.raises(ValueError, match="cut"), replacing(tmp_path / "adapter") as target:
        (target / "a").write_text("2")
        raise ValueError("cut")
    assert (tmp_path / "adapter" / "a").read_text() == "1"
    with replacing(tmp_path / "adapter") as target:
        (target / "b").write_text("3")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and "partial" not in str(path)] == ["b"]


def test_an_adapter_of_another_model_is_refused(tmp_path):
    adapted().save_pretrained(tmp_path / "adapter")
    tiny_llama().save_pretrained(tmp_path / "base")
    check_fits(tmp_path / "adapter", str(tmp_path / "base"))
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    for change in ({"hidden_size": 64}, {"num_hidden_layers": 3}):
        (tmp_path / "base" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(MedAnalyzrError, match="was trained on another model .2 layers of width 32.*run 03_train again"):
            check_fits(tmp_path / "adapter", str(tmp_path / "base"))


def test_a_relative_artifacts_folder_is_absolute_for_the_children(tmp_path, monkeypatch):
    """A notebook of the chain runs in notebooks/, wherever its caller stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", "out")
    assert run_folder("demo") == tmp_path / "out" / "runs" / "demo"
    monkeypatch.chdir("/")
    assert run_folder("demo") == tmp_path / "out" / "runs" / "demo"


def test_a_run_folder_with_braces_is_no_template_of_papermill(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(pipeline.papermill, "execute_notebook", lambda *paths, **options: written.extend(paths))
    pipeline.run_notebook("01_setup", {}, tmp_path / "{run}")
    assert written[1].format(run="other") == str(tmp_path / "{run}" / "notebooks" / "01_setup.ipynb")


def test_a_folder_cut_between_its_two_renamings_is_not_lost(tmp_path):
    (tmp_path / ".adapter.old").mkdir()
    (tmp_path / ".adapter.old" / "a").write_text("1")
    with pytest.raises(ValueError, match="cut"), replacing(tmp_path / "adapter"):
        raise ValueError("cut")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == ["adapter/a"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.json", "half a character: \ud800")
    with pytest.raises(IsADirectoryError):
        (tmp_path / "folder").mkdir()
        write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
