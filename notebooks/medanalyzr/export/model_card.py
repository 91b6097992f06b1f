"""The README.md of an exported model or adapter: ModelCardData of huggingface_hub in front, text for people behind."""

from pathlib import Path

from medanalyzr.core.hub import BUNDLED, MEDANALYZR
from medanalyzr.core.run_folder import write_text
from medanalyzr.evaluation.tables import share
from medanalyzr.export.adapter import hub_id

LICENCES = {BUNDLED: "apache-2.0"}  # of the datasets whose licence is known


def _measured(evaluation: dict | None) -> str:
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


def metadata(training: dict, evaluation: dict | None, library: str) -> str:
    """The YAML in front of a card: what the hub reads. The metrics stand in its model-index; no path of a machine stands anywhere."""
    from huggingface_hub import EvalResult, ModelCardData

    data = training["dataset"]
    name = data if data in (BUNDLED, MEDANALYZR) or hub_id(data) else "local file"
    measured = {}
    if evaluation is not None:
        tuned = evaluation["results"]["tuned model"]
        measured = {"flags right": tuned["flags"]["share"], "critical values found": tuned["critical"]["recall"]["share"]}
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=name.replace(" ", "-"),
            dataset_name=f"{name}, test reports",
            metric_type=metric_type,
            metric_name=metric,
            metric_value=round(measured[metric], 4),
        )
        for metric, metric_type in (("flags right", "accuracy"), ("critical values found", "recall"))
        if measured.get(metric) is not None
    ]
    card = ModelCardData(
        language="fr",
        license=LICENCES.get(data, "other"),
        license_name=None if data in LICENCES else "see-the-dataset",
        base_model=hub_id(training["base_model"]),
        base_model_relation="adapter" if library == "peft" else "finetune",
        library_name=library,
        pipeline_tag="text-generation",
        tags=["medical", "laboratory", "lora"],
        datasets=[data] if hub_id(data) else None,
        model_name="MedAnalyzr",
        eval_results=results or None,
    )
    return card.to_yaml()


def model_card(training: dict, evaluation: dict | None, library: str, use: str) -> str:
    """The README.md of the exported model: what it is, data, measurements, how to use it (`use`), limits, licence."""
    base = hub_id(training["base_model"]) or "a local base model"
    named = training["dataset"] if hub_id(training["dataset"]) or training["dataset"] == BUNDLED else "a local file"
    data = named if training["subset"] == "all" else f"{named} ({training['subset']} rows)"
    kind = "LoRA adapter" if library == "peft" else "LoRA merged into 16-bit weights"
    known = LICENCES.get(training["dataset"])
    return f"""---
{metadata(training, evaluation, library)}
---

# MedAnalyzr

{base}, fine-tuned to interpret French laboratory reports: a flag for each analyte, critical values, a conclusion.

**Not a medical device.** For study; a biologist decides. No clinician reviewed the training data.

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

{"The training data are under " + known if known else "The licence of the training data is that of the dataset: look it up before use"}; \
that of the base model holds as well.
"""


def save_texts(folder: Path, texts: dict[str, str]) -> None:
    """Write the named texts into `folder`, each whole or not at all."""
    for name, text in texts.items():
        write_text(folder / name, text)
