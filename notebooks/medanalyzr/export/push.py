"""Upload to the hub."""

from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError


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
