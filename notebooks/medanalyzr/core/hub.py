"""The model hub: the names of our models and datasets, and whether the hub answers."""

import os

import requests

from medanalyzr.core.errors import MedAnalyzrError

SMOLLM2 = "SmolLM2-135M-Instruct"


MISTRAL = "unsloth/mistral-7b-v0.3"


BUNDLED = "bundled"


MEDANALYZR = "Nassira/MedAnalyzr"


HUB_TIMEOUT = 10  # seconds


def check_hub(repository: str, kind: str = "models") -> None:
    """Make sure that the hub answers before a download starts; does nothing when HF_HUB_OFFLINE is set.

    Raises:
        MedAnalyzrError: the hub is out of reach, or it does not know the repository, within some 20 s.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    try:
        answer = requests.get(
            f"{address}/api/{kind}/{repository}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=HUB_TIMEOUT,
        )
    except requests.RequestException:
        raise MedAnalyzrError(
            f"{repository} comes from the Hugging Face hub and {address} cannot be reached: connect, or set HF_ENDPOINT, or "
            f"{'dataset' if kind == 'datasets' else 'base_model'} to a local path, or HF_HUB_OFFLINE=1 if it is in the cache."
        ) from None
    if answer.status_code in (401, 403, 404):
        raise MedAnalyzrError(f"The hub does not give {repository} (HTTP {answer.status_code}): check the name, or set HF_TOKEN.")
