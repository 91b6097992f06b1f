"""Every test writes into a temporary artifacts folder: a user's runs are never touched.

Two workers (pytest-xdist) share that folder, a file of tests each, with one thread each: torch's threads would wait for each other.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))


def papermill(notebook, out, *, cwd=NOTEBOOKS, options=(), environment=(), **parameters):
    """Run `papermill` as a user would in a terminal, with `parameters` as -p; returns the finished process."""
    given = [str(part) for name, value in parameters.items() for part in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), "--no-progress-bar", *options, *given]
    return subprocess.run(command, cwd=cwd, env=os.environ | dict(environment), capture_output=True, text=True, timeout=900)


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def copy_of_project(folder):
    """notebooks/ and what its first cells look for, copied into `folder`; returns the copy of notebooks/."""
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for path in NOTEBOOKS.parent.glob("requirements*.txt"):
        shutil.copy(path, folder)
    return folder / "notebooks"


LONG = (
    "twice",
    "resume",
    "mistakes",
    "notebooks",
    "mistral",
    "stored_outputs",
    "parallel",
    "browser",
)  # minutes each, longest first


def pytest_collection_modifyitems(items):
    """The long files before the rest, so that no worker is left with one of them at the end."""
    rank = {f"test_{name}": i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def artifacts(tmp_path_factory):
    """The artifacts folder of the whole test session: the base model is converted once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "artifacts"
    folder.mkdir(exist_ok=True)
    os.environ["MEDANALYZR_ARTIFACTS"] = str(folder)
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    return folder


@pytest.fixture(scope="session", params=["SmolLM2", "Mistral"])
def tokenizer(request, artifacts):
    """The real tokenizers of the two base models."""
    from medanalyzr.core.hub import SMOLLM2
    from medanalyzr.training.base_models import mistral_tokenizer, resolve_base_model
    from transformers import AutoTokenizer

    return mistral_tokenizer() if request.param == "Mistral" else AutoTokenizer.from_pretrained(resolve_base_model(SMOLLM2))


@pytest.fixture(scope="session")
def tiny_mistral(tmp_path_factory, artifacts):
    """A folder with Mistral's own class and v3 tokenizer, two small layers, untrained."""
    import torch
    from medanalyzr.training.base_models import mistral_tokenizer
    from transformers import MistralConfig, MistralForCausalLM

    folder, tokenizer = tmp_path_factory.mktemp("mistral"), mistral_tokenizer()
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=4096, sliding_window=None, rope_theta=1e6,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def smoke_run(artifacts, tmp_path_factory):
    """The run folder of a chain with three steps, called from the project's root without --cwd, with relative paths alone.

    The worker that asks first runs it for both.
    """
    folder = artifacts / "runs" / "smoke"
    with FileLock(artifacts / "smoke.lock"):
        if not (folder / "manifest.json").is_file():
            run_smoke(artifacts, tmp_path_factory)
    return folder


def run_smoke(artifacts, tmp_path_factory):
    """See `smoke_run`."""
    out, root = tmp_path_factory.mktemp("out") / "00.ipynb", NOTEBOOKS.parent
    reports = out.with_name("reports.txt")
    reports.write_text(
        "Patient : homme, 50 ans\nASAT : 40 UI/L (≤ 35)\n\nVS : 12 mm\n---\nGlycémie à jeun : 7,2 mmol/L (3,9 - 5,5)\n",
        encoding="utf-8",
    )
    few = {
        "max_steps": 3,
        "validation_examples": 2,
        "max_new_tokens": 24,
        "test_reports": 3,
        "base_reports": 1,
        "perturbations": 1,
        "layout_reports": 0,
    }
    given = {"run": "smoke", "reports": os.path.relpath(reports, root)} | few
    relative = {"MEDANALYZR_ARTIFACTS": os.path.relpath(artifacts, root)}
    process = papermill("notebooks/00_pipeline.ipynb", out, cwd=root, environment=relative, **given)
    assert process.returncode == 0, process.stderr[-2000:]
