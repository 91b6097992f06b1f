"""The README.md of an exported model or adapter: ModelCardData of huggingface_hub in front, text for people behind."""

from collections.abc import Mapping
from pathlib import Path

from medanalyzr.core.hub import BUNDLED, HUB_TIMEOUT, sources_of
from medanalyzr.core.run_folder import write_text
from medanalyzr.evaluation.tables import share
from medanalyzr.export.adapter import WARNING, hub_id

UNKNOWN = "unknown"


def licence_of(dataset: str) -> str:
    """The licence of a dataset: that of the project for the bundled rows, what its card says for one of the hub, else "unknown" (a local
    file, a card without it, no connection); of a mixture "other" where its sources have different ones.
    """
    sources = sources_of(dataset)
    if len(sources) > 1:
        licences = {licence_of(source) for source in sources}
        return UNKNOWN if UNKNOWN in licences else licences.pop() if len(licences) == 1 else "other"
    if dataset == BUNDLED:
        return "apache-2.0"
    if hub_id(dataset) is None:
        return UNKNOWN
    from httpx import HTTPError
    from huggingface_hub import HfApi

    try:
        card = HfApi().dataset_info(dataset, timeout=HUB_TIMEOUT).card_data
    except (HTTPError, OSError, ValueError):
        return UNKNOWN
    found = getattr(card, "license", None)
    return (found[0] if isinstance(found, list) else found) or UNKNOWN


def _of_data(dataset: str, licence: str) -> str:
    if dataset == BUNDLED:
        return "The bundled training data are facts from published sources (values, intervals), Apache-2.0 like the project"
    if licence == UNKNOWN:
        return "The licence of the training data is not known: ask for it before you use the model"
    return f"The card of the training data says {licence}"


def _measured(evaluation: Mapping | None) -> str:
    if evaluation is None:
        return "**Not evaluated**: run 05_evaluation before you publish this model."
    tuned = evaluation["results"]["tuned model"]
    rows = {
        "flags right": share(tuned["flags"]),
        "critical values found": share(tuned["critical"]["recall"]),
        "false alarms": share(tuned["critical"]["false_alarms"]),
        "right refusals": share(evaluation["abstention"]["right_refusals"]),
        "loss per answer token": f"{evaluation['answer_loss']:.3f}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    verdict = "RELEASED" if evaluation["verdict"]["released"] else "NOT RELEASED"
    head = f"On {evaluation['reports']} reports of patients never seen (95 % intervals):\n\n| what | measured |\n|---|---|\n"
    return f"{head}{table}\n\nVerdict of the release gate: **{verdict}**."


def _public(name: str) -> str:
    """`name` of a dataset for readers elsewhere: a local file without its folders, which are private."""
    return "+".join(part if part == BUNDLED or hub_id(part) else Path(part).name for part in sources_of(name))


def metadata(training: Mapping, evaluation: Mapping | None, library: str, licence: str) -> str:
    """The YAML at the top of a card, which the hub reads. The metrics are in its model-index; it contains no local path."""
    from huggingface_hub import EvalResult, ModelCardData

    data, measured = training["dataset"], {}
    if evaluation is not None:
        tuned = evaluation["results"]["tuned model"]
        measured["flags right"] = "accuracy", tuned["flags"]["share"]
        measured["critical values found"] = "recall", tuned["critical"]["recall"]["share"]
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=_public(data).replace(" ", "-"),
            dataset_name=f"{_public(data)}, test reports",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for name, (kind, value) in measured.items()
        if value is not None
    ]
    card = ModelCardData(
        language="fr",
        license=licence,
        base_model=hub_id(training["base_model"]),
        base_model_relation="adapter" if library == "peft" else "finetune",
        library_name=library,
        pipeline_tag="text-generation",
        tags=["medical", "laboratory", "lora"],
        datasets=[source for source in sources_of(data) if hub_id(source)] or None,
        model_name="MedAnalyzr",
        eval_results=results or None,
    )
    return card.to_yaml()


def model_card(training: Mapping, evaluation: Mapping | None, library: str, use: str, licence: str) -> str:
    """The README.md of what is exported for `library` (transformers or peft): what it is, data and their `licence` (see `licence_of`),
    measurements, how to `use` it, limits.
    """
    base = hub_id(training["base_model"]) or "a local base model"
    data = _public(training["dataset"]) + ("" if training["subset"] == "all" else f" ({training['subset']} rows)")
    kind = "LoRA adapter" if library == "peft" else "LoRA merged into 16-bit weights"
    return f"""---
{metadata(training, evaluation, library, licence)}
---

# MedAnalyzr

{base}, fine-tuned to interpret French laboratory reports: a flag for each analyte, critical values, a conclusion.

{WARNING} No clinician reviewed the training data.

## Training

{data}, {training["examples"]} examples, {training["steps"]} steps, profile `{training["profile"]}`, {kind}.

## Measured

{_measured(evaluation)}

## Use

{use}

A report may hold `</s>`, `<|im_end|>` or `### Response:`. This project reads them as plain characters; llama.cpp, Ollama, LM Studio and
vLLM would read them as tokens, and the report could then end the prompt. **The chat template breaks them inside the report**
(`< /s>`). Ollama's own template language cannot, and a raw prompt is sent as it is: break them there before you send a report.

## Limits

It reads adult reports in French, written as the training data write them (`Potassium : 6,8 mmol/L (3,5 - 5,0)`). Values and
intervals are repeated from the report; a flag it gives may be wrong, however well it writes: check each against its interval.

## Licence

{_of_data(training["dataset"], licence)}; the licence of the base model holds as well.
"""


def save_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the named texts into `folder`, each whole or not at all."""
    for name, text in texts.items():
        write_text(folder / name, text)
