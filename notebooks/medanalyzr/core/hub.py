"""The names of our models and datasets, the parts of a mixture, and whether the model hub answers."""

import os

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import existing

SMOLLM2 = "SmolLM2-135M-Instruct"
MISTRAL = "unsloth/mistral-7b-v0.3"
BUNDLED = "bundled"
MEDANALYZR = "Nassira/MedAnalyzr"
HUB_TIMEOUT = 10  # seconds to connect, and to wait for an answer


def sources_of(dataset: str) -> list[str]:
    """The parts of a mixture such as "mine.csv+bundled"; of any other dataset the name as it is.

    A path may hold a "+" itself: from the left, the longest piece that exists is one part. A name with nothing before or after a
    "+" is no mixture.

    Raises:
        MedAnalyzrError: a part is named twice.
    """
    pieces, parts = dataset.split("+"), []
    while pieces:
        lengths = range(len(pieces), 1, -1)
        taken = next((n for n in lengths if existing("+".join(pieces[:n]).strip())), 1)
        parts.append("+".join(pieces[:taken]).strip())
        pieces = pieces[taken:]
    if len(parts) == 1 or not all(parts):
        return [dataset]
    named = [str(existing(part) or part) if part != BUNDLED else part for part in parts]
    if twice := [part for i, part in enumerate(parts) if named[i] in named[:i]]:
        raise MedAnalyzrError(f"dataset={dataset!r} names {twice[0]!r} twice: name each source once.")
    return parts


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
        raise MedAnalyzrError(f"{repository!r} is not a name on the hub: write owner/name, or a local path.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        busy = status == 429 or status >= 500
        advice = "try again later" if busy else "check the name, and log in with `hf auth login` or set HF_TOKEN"
        raise MedAnalyzrError(f"The hub does not give {repository} (HTTP {status}): {advice}.") from None
    except (HTTPError, OSError):
        raise MedAnalyzrError(
            f"{repository} comes from the Hugging Face hub and {address} cannot be reached: connect, or set HF_ENDPOINT, or "
            f"{'dataset' if kind == 'datasets' else 'base_model'} to a local path, or HF_HUB_OFFLINE=1 if it is in the cache."
        ) from None
