"""The settings that 03_train shows are those it trains with: its cells are run here without a model."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import NOTEBOOKS
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import IGNORED
from medanalyzr.training.callbacks import ShowProgress
from medanalyzr.training.profiles import PROFILES
from medanalyzr.training.trainer import stopping, training_guard


def cell(words):
    """The source of the one code cell of 03_train that holds `words`."""
    cells = json.loads((NOTEBOOKS / "03_train.ipynb").read_text(encoding="utf-8"))["cells"]
    (source,) = [s for c in cells if c["cell_type"] == "code" and words in (s := "".join(c["source"]))]
    return source


def config_of(profile, validate=True, evaluations=4, keep_best=False, early_stopping=0, dtype="bfloat16"):
    """The arguments that 03_train gives to SFTConfig, by name."""
    import torch

    names = {"settings": profile, "folder": Path("run"), "seed": 1, "max_seq_length": 2048, "torch": torch}
    names |= {
        "model": SimpleNamespace(dtype=getattr(torch, dtype)),
        "examples": {"train": [{}] * 2182, "validation": [{}] * validate},
    }
    names |= {"evaluations": evaluations, "keep_best": keep_best, "early_stopping": early_stopping}
    exec(cell("import SFTConfig, SFTTrainer").replace("from trl import SFTConfig, SFTTrainer", "SFTConfig = dict"), names)
    exec(cell("config = SFTConfig("), names)
    return names["config"]


def test_the_comments_of_the_recipe_are_its_values():
    recipe, said = config_of(PROFILES["recipe"]), {}
    for line in cell("config = SFTConfig(").splitlines():
        if found := re.match(r"\s+(\w+)=.*# recipe: (\S+?)(,|$)", line):
            said[found[1]] = found[2]
    assert len(said) == 9
    assert {name: str(recipe[name]) for name in said} == said | {"optim": said["optim"].strip('"'), "learning_rate": str(2e-4)}
    assert said["learning_rate"] == "2e-4"


def test_every_argument_is_written_out():
    assert "**" not in cell("config = SFTConfig(") and "trainer.train(resume_from_checkpoint=checkpoint)" in cell("trainer.train(")


def test_a_loss_that_is_not_a_number_is_not_logged_as_zero(tmp_path):
    from test_checks import tiny_llama
    from transformers import Trainer, TrainingArguments

    model = tiny_llama()
    model.lm_head.weight.data.fill_(math.nan)
    ours = config_of(PROFILES["cpu"], validate=False)
    given = {name: ours[name] for name in ("logging_steps", "logging_nan_inf_filter", "report_to", "disable_tqdm")}
    rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 2
    arguments, pad = TrainingArguments(tmp_path, max_steps=2, use_cpu=True, **given), SimpleNamespace(pad_token_id=0)
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=pad, callbacks=[ShowProgress()])
    with (
        pytest.raises(MedAnalyzrError, match="The loss is nan at step 1: lower learning_rate"),
        training_guard(trainer, None),
    ):
        trainer.train()


def test_schedules():
    cpu = PROFILES["cpu"]
    assert config_of(cpu, True, 10, True)["load_best_model_at_end"] and config_of(cpu, True, 10)["eval_steps"] == 0.1
    once = config_of(cpu, True, 1)["save_steps"]
    assert once < 1 and math.ceil(272 * once) == 272  # 1 would be a checkpoint at every step
    assert config_of(cpu, False)["eval_strategy"] == "no" and config_of(cpu, True)["metric_for_best_model"] is None
    for wanted in ({"keep_best": True}, {"early_stopping": 2}):
        assert config_of(cpu, True, **wanted)["metric_for_best_model"] == "eval_loss"
        with pytest.raises(MedAnalyzrError, match="there is no validation row: set validation_examples"):
            config_of(cpu, False, **wanted)
    assert stopping(0) == [] and stopping(3)[0].early_stopping_patience == 3
    with pytest.raises(MedAnalyzrError, match="optimizer='adamw_9bit' does not exist: try adamw_8bit"):
        config_of(replace(cpu, optimizer="adamw_9bit"))


def test_precision_and_packing_follow_the_profile():
    half, large = config_of(PROFILES["t4"], dtype="float16"), config_of(PROFILES["80gb"])
    assert half["fp16"] and not half["bf16"] and not half["packing"] and half["pad_to_multiple_of"] is None
    assert large["bf16"] and large["packing"] and large["pad_to_multiple_of"] == 64 and not large["gradient_checkpointing"]


@pytest.mark.parametrize("train_on", ["answer", "all"])
def test_the_cell_that_encodes_says_when_the_package_does_it_otherwise(tokenizer, train_on, monkeypatch):
    from medanalyzr.dataset import prompts

    names = {"rows": {"train": load_bundled()[:3]}, "tokenizer": tokenizer, "settings": SimpleNamespace(train_on=train_on)}
    exec(cell("def encode(rows)"), names)
    example = next(names["encode"](names["rows"]["train"]))
    assert example["input_ids"][-1] == tokenizer.eos_token_id and (IGNORED in example["labels"]) is (train_on == "answer")
    monkeypatch.setattr(prompts, "encode", lambda *_: {})
    with pytest.raises(AssertionError, match="05_evaluation encodes so"):
        exec(cell("def encode(rows)"), names)
