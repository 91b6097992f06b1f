"""The adapter by itself: to be loaded by PEFT or vLLM from any folder, without this project."""

import shutil
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import SMOLLM2
from medanalyzr.core.run_folder import read_json, write_json, write_text
from medanalyzr.dataset.prompts import PREAMBLE
from medanalyzr.export.chat import INSTRUCTION, chat_template
from medanalyzr.training.base_models import named

WARNING = "**Not a medical device.** For study: a flag may be wrong however well it is written; check each against its interval."
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes


def hub_id(base: str) -> str | None:
    """The hub id of a base model as training.json names it; None for a local folder."""
    if base == SMOLLM2:  # shipped without its owner
        return f"HuggingFaceTB/{SMOLLM2}"
    local = Path(base).expanduser().is_dir() or base.startswith((".", "~")) or Path(base).is_absolute()
    return None if local or base.count("/") != 1 else base


def example(template: str, adapter: str) -> str:
    """Ten lines that ask the adapter in the folder or hub repository `adapter`, without this project."""
    prompt = template.format(preamble=PREAMBLE, instruction=INSTRUCTION, input="{report}")
    return f"""from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

folder = {adapter!r}
model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(folder)
prompt = {prompt!r}
text = prompt.replace("{{report}}", "Potassium : 6,8 mmol/L (3,5 - 5,0)")
inputs = tokenizer(text, split_special_tokens=True, return_tensors="pt").to(model.device)
answer = model.generate(**inputs, max_new_tokens=320, do_sample=False, pad_token_id=tokenizer.pad_token_id)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def check_for_vllm(adapter: Path) -> int:
    """Whether vLLM takes the adapter (`vllm serve BASE --enable-lora --lora-modules lab=FOLDER`); returns the --max-lora-rank it needs.

    vLLM wants plain LoRA on linear layers: no bias, no DoRA, no further trained modules, a rank of at most 512.

    Raises:
        MedAnalyzrError: it does not (the message says why).
    """
    config = read_json(adapter / "adapter_config.json", "03_train")
    wrong = [name for name in ("use_dora", "modules_to_save", "rank_pattern", "lora_bias") if config.get(name)]
    wrong += ["bias"] if config.get("bias", "none") != "none" else []
    if config["peft_type"] != "LORA" or wrong or config["r"] > VLLM_RANKS[-1]:
        raise MedAnalyzrError(
            f"vLLM does not serve this adapter ({', '.join(wrong) or 'its kind or rank'}): serve the merged model."
        )
    return next(rank for rank in VLLM_RANKS if rank >= config["r"])


def complete(adapter: Path, tokenizer, base: str, template: str) -> None:
    """Let the `adapter` folder of a run be loaded from anywhere, without this project: its base model `base` by hub id or absolute path,
    the prompt of the training as its chat template, and a README with an example.

    Raises:
        MedAnalyzrError: the base model cannot be had.
    """
    _name(adapter, named(base))
    write_text(adapter / "chat_template.jinja", chat_template(template, tokenizer))
    write_text(
        adapter / "README.md",
        f"# LoRA adapter for French laboratory reports\n\n```python\n{example(template, '.')}```\n\n{WARNING}\n",
    )


def publishable(adapter: Path, target: Path, base: str, chat: str, card: str) -> None:
    """Write a copy of the `adapter` folder to `target` that names its base model by hub id where it has one (else by its absolute path),
    with the chat template `chat` and `card` as its README.

    Raises:
        MedAnalyzrError: the base model cannot be had.
    """
    shutil.copytree(adapter, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("prompt_template.json"))
    _name(target, hub_id(base) or named(base))
    write_text(target / "chat_template.jinja", chat)
    write_text(target / "README.md", card)


def _name(adapter: Path, base: str) -> None:
    config = read_json(adapter / "adapter_config.json", "03_train")
    write_json(adapter / "adapter_config.json", config | {"base_model_name_or_path": base})
