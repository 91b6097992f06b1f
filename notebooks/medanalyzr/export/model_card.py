"""The README.md of an exported model."""

from pathlib import Path

from medanalyzr.core.hub import sources_of
from medanalyzr.core.run_folder import write_text
from medanalyzr.evaluation.tables import share


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


def _public(name: str) -> str:
    """`name` of a dataset or model for readers elsewhere: a local path without its folders, which are nobody's business."""
    return "+".join(Path(part).name if Path(part).is_absolute() else part for part in sources_of(name))


def model_card(training: dict, evaluation: dict | None, base: str) -> str:
    """The README.md of the exported model: what it is, data, measurements, limits, licence."""
    base, dataset = _public(base), _public(training["dataset"])
    data = dataset if training["subset"] == "all" else f"{dataset} ({training['subset']} rows)"
    return f"""---
language: fr
license: apache-2.0
base_model: {base}
tags: [medical, laboratory, lora]
---

# MedAnalyzr

{base}, fine-tuned to interpret French laboratory reports: a flag for each analyte, critical values, a conclusion.

**Not a medical device.** For study; a biologist decides. No clinician reviewed the training data.

## Training

{data}, {training["examples"]} examples, {training["steps"]} steps, profile `{training["profile"]}`, LoRA merged into 16-bit weights.

## Measured

{_measured(evaluation)}

## Limits

It reads adult reports in French, written as the training data write them (`Potassium : 6,8 mmol/L (3,5 - 5,0)`). Values and
intervals are repeated from the report; a flag it gives may be wrong, however well it writes: check each against its interval.

## Licence

Apache-2.0 for what was trained; the licence of the base model and of the dataset hold as well.
"""


def save_texts(folder: Path, texts: dict[str, str]) -> None:
    """Write the named texts into `folder`, each whole or not at all."""
    for name, text in texts.items():
        write_text(folder / name, text)
