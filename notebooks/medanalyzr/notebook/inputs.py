"""Check of a notebook's inputs before it spends any time."""

from collections.abc import Mapping

from medanalyzr.core.hub import BUNDLED, SMOLLM2, check_hub, sources_of


def check_inputs(parameters: Mapping[str, str]) -> None:
    """Check those of `dataset`, `base_model` and `reports` that `parameters` has.

    A dataset, or each part of a mixture, must be an existing file or a repository of the hub, a base model be whole, reports be readable.

    Raises:
        MedAnalyzrError: one of them is not; the message says which one, and what to give instead.
    """
    dataset, base_model, reports = (parameters.get(name, "") for name in ("dataset", "base_model", "reports"))
    if dataset not in ("", "auto", BUNDLED):
        from medanalyzr.dataset.loading import local_file  # takes a second to import, so only where it is needed

        distant = [part for part in sources_of(dataset) if local_file(part) is None and part != BUNDLED]
        for part in distant:
            check_hub(part, "datasets")
    if base_model not in ("", "auto", SMOLLM2):
        from medanalyzr.training.base_models import resolve_base_model

        resolve_base_model(base_model)
    if reports:
        from medanalyzr.inference.report_files import load_reports

        load_reports(reports)
