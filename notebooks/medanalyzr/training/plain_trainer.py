"""The recipe with transformers, PEFT and TRL only, without Unsloth: the baseline of 07_benchmark.

`python -m medanalyzr.training.plain_trainer settings.json` in notebooks/. It needs a process of its own, because importing Unsloth
changes these libraries. settings.json: base_model, rows (a JSON-lines file), batch_size, gradient_accumulation_steps,
checkpointing, steps, learning_rate, max_seq_length, seed, train_on; result (the file to write).
"""

import sys
import time
from pathlib import Path

from medanalyzr.core.device import device
from medanalyzr.core.run_folder import read_json, read_jsonl, write_json
from medanalyzr.dataset.prompts import encode


def main(asked: dict) -> dict:
    """Train `steps` steps with the settings in `asked` (see above).

    Returns `times` (seconds and tokens of each step), `peak_memory_gib` and `seconds` (total).
    """
    start = time.monotonic()
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from medanalyzr.training.profiles import TARGET_MODULES
    from medanalyzr.training.record import peak_memory_gib

    cuda, dtype = device().kind == "cuda", getattr(torch, device().dtype)
    tokenizer = AutoTokenizer.from_pretrained(asked["base_model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.unk_token
    four = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = AutoModelForCausalLM.from_pretrained(asked["base_model"], quantization_config=four, dtype=dtype)
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=asked["checkpointing"])
    examples = [encode(row, tokenizer, asked["train_on"]) for row in read_jsonl(Path(asked["rows"]), "07_benchmark")]
    times: list[dict] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.began, self.seen = time.monotonic(), 0

        def on_step_end(self, args, state, control, **kwargs):
            if cuda:
                torch.cuda.synchronize()
            now, seen = time.monotonic(), int(state.num_input_tokens_seen)
            times.append({"seconds": now - self.began, "tokens": seen - self.seen})
            self.began, self.seen = now, seen

    class OnCpu(SFTTrainer):
        """Uses the loss of transformers, because TRL's loss is a Triton kernel for GPUs."""

        def compute_loss(self, *args, **kwargs):
            return super(SFTTrainer, self).compute_loss(*args, **kwargs)

    config = SFTConfig(
        output_dir=str(Path(asked["result"]).parent / "plain"),
        per_device_train_batch_size=asked["batch_size"],
        gradient_accumulation_steps=asked["gradient_accumulation_steps"],
        learning_rate=asked["learning_rate"],
        max_steps=asked["steps"],
        optim="adamw_8bit" if cuda else "adamw_torch_fused",
        use_cpu=not cuda,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        max_length=asked["max_seq_length"],
        gradient_checkpointing=asked["checkpointing"],
        include_num_input_tokens_seen="non_padding",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=asked["seed"],
    )
    lora = LoraConfig(r=16, lora_alpha=16, target_modules=list(TARGET_MODULES), task_type="CAUSAL_LM")
    trainer = (SFTTrainer if cuda else OnCpu)(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(examples),
        peft_config=lora,
        callbacks=[Clock()],
    )
    trainer.train()
    return {"times": times, "peak_memory_gib": peak_memory_gib(), "seconds": time.monotonic() - start}


if __name__ == "__main__":
    settings = read_json(Path(sys.argv[1]), "07_benchmark")
    write_json(Path(settings["result"]), main(settings))
