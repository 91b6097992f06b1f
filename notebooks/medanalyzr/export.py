"""The tuned model for other programs: a GGUF file, Ollama's Modelfile, a model card."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from medanalyzr.errors import MedAnalyzrError
from medanalyzr.prompts import PREAMBLE
from medanalyzr.runs import write_text

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def _vocabulary(writer, folder: Path, size: int) -> None:
    """Tokens, types and merges of a saved tokenizer, of the two families our base models have.

    Byte-level BPE (SmolLM2) is GGUF's "gpt2"; BPE with byte tokens (Mistral) is "llama", which knows no merges: there the score
    of a token is minus the place of the first merge that makes it.

    Raises:
        MedAnalyzrError: another kind of tokenizer.
    """
    from gguf import TokenType
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if model["type"] != "BPE":
        raise MedAnalyzrError(f"The tokenizer in {folder.name} is of type {model['type']}: only BPE can be written as GGUF here.")
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    special, tokens, types = set(tokenizer.all_special_ids), [], []
    for number in range(size):
        name = names.get(number, f"[unused{number}]")
        kind = TokenType.UNUSED if number not in names else TokenType.CONTROL if number in special else TokenType.NORMAL
        tokens.append(name)
        types.append(TokenType.BYTE if kind == TokenType.NORMAL and _BYTE.fullmatch(name) else kind)
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    spm = any("▁" in "".join(pair) for pair in merges[:100])
    writer.add_tokenizer_model("llama" if spm else "gpt2")
    writer.add_tokenizer_pre("default" if spm else "smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if spm:
        places = {"".join(pair): place for place, pair in reversed(list(enumerate(merges)))}
        writer.add_token_scores([-float(places.get(token, len(merges))) for token in tokens])
    else:
        writer.add_token_merges([" ".join(pair) for pair in merges])
    for name in ("bos", "eos", "pad", "unk"):
        if (number := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    begins = tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    writer.add_add_bos_token(begins)
    writer.add_add_space_prefix(spm)


def _interleaved(weight, heads: int):
    """The rows of a query or key projection as GGUF has them: the two halves of each head's rotary pairs in turn."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(folder: Path, path: Path) -> None:
    """Write the Llama or Mistral model saved in `folder` as GGUF with 8-bit weights (Q8_0), norms in float32.

    The layout is that of the package gguf, llama.cpp's own; a value is off by at most 1/254 of the largest in its block of 32.

    Raises:
        MedAnalyzrError: the model is of another architecture, or its tokenizer of another kind.
    """
    import gguf
    import torch
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["architectures"] not in (["LlamaForCausalLM"], ["MistralForCausalLM"]):
        raise MedAnalyzrError(f"{config['architectures'][0]} cannot be written as GGUF here: only Llama and Mistral models can.")
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    writer.add_name("MedAnalyzr")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    rope = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta", 10_000.0)
    writer.add_rope_freq_base(rope)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _vocabulary(writer, folder, config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118
                weight = weights.get_tensor(key).to(torch.float32).numpy()
                if key.endswith(("q_proj.weight", "k_proj.weight")):
                    weight = _interleaved(weight, heads if "q_proj" in key else groups)
                name = names.get_name(key, try_suffixes=(".weight",))
                if weight.ndim == 1:
                    writer.add_tensor(name, weight)
                else:
                    kind = gguf.GGMLQuantizationType.Q8_0
                    writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def modelfile(gguf_name: str, template: str, instruction: str, end: str) -> str:
    """Ollama's Modelfile: the prompt of the training with the report as the user's message, greedy, ended by `end`."""
    text = template.format(preamble=PREAMBLE, instruction="{{ .System }}", input="{{ .Prompt }}")
    return (
        f'FROM ./{gguf_name}\nTEMPLATE """{text}"""\nSYSTEM """{instruction}"""\n'
        f'PARAMETER temperature 0\nPARAMETER num_ctx 2048\nPARAMETER stop "{end}"\n'
    )


def agreement(first: Sequence[str], second: Sequence[str]) -> dict:
    """How many answers are the same to the letter, and how many flags are, of those in `first`."""
    from medanalyzr.reports import parse_answer

    pairs = [(parse_answer(a), parse_answer(b)) for a, b in zip(first, second, strict=True)]
    flags = [(key in b and (b[key].flag, b[key].critical) == (m.flag, m.critical)) for a, b in pairs for key, m in a.items()]
    same = sum(a == b for a, b in zip(first, second, strict=True))
    return {"reports": len(first), "same_answers": same, "flags": len(flags), "same_flags": sum(flags)}


def _measured(evaluation: dict | None) -> str:
    if evaluation is None:
        return "**Not evaluated**: run 05_evaluation before you publish this model."
    from medanalyzr.tables import share

    tuned = evaluation["results"]["tuned model"]
    rows = {
        "flags right": share(tuned["flags"]),
        "critical values found": share(tuned["critical"]["recall"]),
        "false alarms": share(tuned["critical"]["false_alarms"]),
        "right refusals": share(evaluation["abstention"]["right_refusals"]),
        "loss per answer token": f"{evaluation['answer_loss']:.3f}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    verdict = "RELEASED" if evaluation["verdict"]["released"] else "NOT RELEASED"
    return f"On {evaluation['reports']} reports of patients never seen (95 % intervals):\n\n| what | measured |\n|---|---|\n{table}\n\nVerdict of the release gate: **{verdict}**."


def model_card(training: dict, evaluation: dict | None, base: str) -> str:
    """The README.md of the exported model: what it is, data, measurements, limits, licence."""
    data = training["dataset"] if training["subset"] == "all" else f"{training['dataset']} ({training['subset']} rows)"
    return f"""---
language: fr
license: apache-2.0
base_model: {base}
tags: [medical, laboratory, lora]
---

# MedAnalyzr

{base}, fine-tuned to interpret French laboratory reports: a flag for each analyte, critical values, a conclusion.

**Not a medical device.** For study; a biologist decides. No clinician reviewed the training data.

## Training

{data}, {training["examples"]} examples, {training["steps"]} steps, profile `{training["profile"]}`, LoRA merged into 16-bit weights.

## Measured

{_measured(evaluation)}

## Limits

It reads adult reports in French, written as the training data write them (`Potassium : 6,8 mmol/L (3,5 - 5,0)`). Values and
intervals are repeated from the report; a flag it gives may be wrong, however well it writes: check each against its interval.

## Licence

Apache-2.0 for what was trained; the licence of the base model and of the dataset hold as well.
"""


def push(folder: Path, repository: str, token: str | None) -> str:
    """Upload `folder` to the hub as a private repository; returns its address.

    Raises:
        MedAnalyzrError: there is no token in the environment, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not token:
        raise MedAnalyzrError("push_to_hub needs a token with write access in the environment variable HF_TOKEN.")
    try:
        api = HfApi(token=token)
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0].replace(token, "***")
        raise MedAnalyzrError(f"push_to_hub={repository!r} was refused ({reason}): check the name and the token.") from None
    return str(url)


def save_texts(folder: Path, texts: dict[str, str]) -> None:
    """Write the named texts into `folder`, each whole or not at all."""
    for name, text in texts.items():
        write_text(folder / name, text)
