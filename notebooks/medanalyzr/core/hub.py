"""The model hub: the names of our models and datasets, and whether the hub answers."""

import os

from medanalyzr.core.errors import MedAnalyzrError

SMOLLM2 = "SmolLM2-135M-Instruct"
MISTRAL = "unsloth/mistral-7b-v0.3"
BUNDLED = "bundled"
MEDANALYZR = "Nassira/MedAnalyzr"
HUB_TIMEOUT = 10  # seconds to connect, and to wait for an answer


def check_hub(repository: str, kind: str = "models") -> None:
    """Make sure that the hub answers before a download starts; does nothing when HF_HUB_OFFLINE is set.

    Asked with the token that huggingface_hub finds: HF_TOKEN, Colab's secret of that name, or what `hf auth login` stored.

    Raises:
        MedAnalyzrError: the hub is out of reach, or it does not give the repository, within some 20 s.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        HfApi(endpoint=address).repo_info(repository, repo_type=kind.removesuffix("s"), timeout=HUB_TIMEOUT)
    except HFValidationError:
        raise MedAnalyzrError(f"{repository!r} is no name on the hub: write owner/name, or the path of what lies here.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        advice = (
            "try again later"
            if status == 429 or status >= 500
            else "check the name, and log in with `hf auth login` or set HF_TOKEN"
        )
        raise MedAnalyzrError(f"The hub does not give {repository} (HTTP {status}): {advice}.") from None
    except (HTTPError, OSError):
        raise MedAnalyzrError(
            f"{repository} comes from the Hugging Face hub and {address} cannot be reached: connect, or set HF_ENDPOINT, or "
            f"{'dataset' if kind == 'datasets' else 'base_model'} to a local path, or HF_HUB_OFFLINE=1 if it is in the cache."
        ) from None
