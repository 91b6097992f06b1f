"""Upload to the hub."""

from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError


def push(folder: Path, repository: str, token: str | None = None) -> str:
    """Upload `folder` to the hub as a private repository; returns its address.

    Without `token`, with the one that huggingface_hub finds: HF_TOKEN, Colab's secret of that name, or what `hf auth login` stored.

    Raises:
        MedAnalyzrError: there is no token, or the hub refuses.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError

    token = token or get_token()
    if not token:
        raise MedAnalyzrError("push_to_hub needs a token with write access: run `hf auth login`, or set HF_TOKEN.")
    try:
        api = HfApi(token=token)
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (HTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(token, "***")
        raise MedAnalyzrError(f"push_to_hub={repository!r} was refused ({reason}): check the name and the token.") from None
    return str(url)
