"""Every test writes into a temporary artifacts folder: a user's runs are never touched."""

import os
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))


@pytest.fixture(scope="session", autouse=True)
def artifacts(tmp_path_factory):
    """The artifacts folder of the whole test session: the base model is converted once."""
    folder = tmp_path_factory.mktemp("artifacts")
    os.environ["MEDANALYZR_ARTIFACTS"] = str(folder)
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    return folder


@pytest.fixture(scope="session", params=["SmolLM2", "Mistral"])
def tokenizer(request, artifacts):
    """The real tokenizers of the two base models."""
    from medanalyzr.models import mistral_tokenizer, resolve_base_model
    from medanalyzr.profiles import SMOLLM2
    from transformers import AutoTokenizer

    return mistral_tokenizer() if request.param == "Mistral" else AutoTokenizer.from_pretrained(resolve_base_model(SMOLLM2))
