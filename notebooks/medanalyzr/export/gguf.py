"""The tuned model for other programs: a GGUF file, Ollama's Modelfile, a model card."""

import json
import re
from pathlib import Path

import numpy as np

from medanalyzr.core.errors import MedAnalyzrError

KINDS = ("F16", "Q8_0", "Q4_K_M")  # weights of 16, about 8.5 and about 4.8 bits
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


def kinds_of(names: str) -> list[str]:
    """The kinds in "F16+Q8_0", from small files to large ones.

    Raises:
        MedAnalyzrError: a name is none of `KINDS`.
    """
    asked = names.split("+")
    if wrong := [name for name in asked if name not in KINDS]:
        raise MedAnalyzrError(
            f"kinds={names!r}: {wrong[0]!r} is not a kind of GGUF file written here: choose among {', '.join(KINDS)}."
        )
    return [kind for kind in reversed(KINDS) if kind in asked]


def _storage(name: str, width: int, block: int, blocks: int, kind: str):
    """How a matrix is stored in a file of `kind`. Q4_K_M is llama.cpp's mixture: six bits for the outputs of the model and, in half
    of the layers, for values and ffn_down; where rows do not divide into 256, eight bits for six and five for four.
    """
    from gguf import GGMLQuantizationType as Type

    if kind != "Q4_K_M":
        return Type[kind]
    often = block < blocks // 8 or block >= 7 * blocks // 8 or (block - blocks // 8) % 3 == 2
    six = name.startswith(("output", "token_embd")) or (often and name.endswith(("attn_v.weight", "ffn_down.weight")))
    if width % 256:
        return Type.Q8_0 if six else Type.Q5_0
    return Type.Q6_K if six else Type.Q4_K


def _quantized(weight, kind):
    """The bytes of a matrix in `kind`; the kinds of 256 values a block come from the package libgguf.

    Raises:
        MedAnalyzrError: libgguf is needed and not installed.
    """
    import gguf

    if kind not in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K):
        return gguf.quants.quantize(weight, kind)
    try:
        import libgguf
    except ImportError:
        raise MedAnalyzrError(
            "A GGUF file of kind Q4_K_M needs the package libgguf: pip install libgguf, or leave it out."
        ) from None
    rows = libgguf.quantize_rows(weight, libgguf.GGMLQuantizationType[kind.name])
    return np.asarray(rows, dtype=np.uint8).reshape(weight.shape[0], -1)


def write_gguf(folder: Path, path: Path, kind: str = "Q8_0", chat_template: str = "") -> None:
    """Write the Llama or Mistral model saved in `folder` as GGUF with weights of `kind` (see `KINDS`), norms in float32, and with a
    `chat_template` (without one, llama.cpp takes ChatML for a chat, which no model of this project was trained on).

    The layout is that of the package gguf, llama.cpp's own; with Q8_0 a value is off by at most 1/254 of the largest in its
    block of 32.

    Raises:
        MedAnalyzrError: the model is of another architecture, its tokenizer of another kind, or `kind` is none of `KINDS`.
    """
    import gguf
    import torch
    from safetensors import safe_open

    kinds_of(kind)
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
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    _vocabulary(writer, folder, config["vocab_size"])
    if chat_template:
        writer.add_chat_template(chat_template)
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
                    block = int(found[1]) if (found := re.match(r"blk\.(\d+)\.", name)) else 0
                    stored = _storage(name, weight.shape[1], block, config["num_hidden_layers"], kind)
                    writer.add_tensor(name, _quantized(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
