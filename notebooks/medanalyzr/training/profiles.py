"""The training profiles, and which one a machine gets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from medanalyzr.core.device import Device
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import BUNDLED, MEDANALYZR, MISTRAL, SMOLLM2
from medanalyzr.core.processes import processes, shared
from medanalyzr.dataset.prepare import FRACTIONS

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Profile:
    """Settings of one machine class. `max_steps` -1 means whole epochs; `packing` is "on", "off" or "shared" (packed, and what all
    prompts begin with is computed once a step, see `medanalyzr.acceleration.shared_prefix`), `checkpointing` "on", "off" or "unsloth" (activations offloaded to
    the CPU); `load_in_4bit` "on" or "off" (the base model in 16 bits: faster where it fits); `float8` "on" or "off" (products with a 16-bit
    base model in 8-bit floats, see `medanalyzr.acceleration.float8`); `optimizer` is a name that transformers knows.

    `subset` is "all", "measured" or "quick" (see `data.subset_of`): a CPU has minutes and learns from the complete reports
    of measured values in four categories. `layouts` is "own" (the rows as they are) or "composed" (beside them `composed_examples` reports
    made of their values in other layouts, see `medanalyzr.dataset.layouts`). `precision` is "fp32", "fp16", "bf16" or "best" (what the device does natively); `train_on` is
    "answer" (loss on the answer) or "all" (whole text).
    """

    name: str
    chosen_when: str
    base_model: str
    dataset: str
    subset: str
    precision: str
    batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    num_train_epochs: float
    max_steps: int
    packing: str
    checkpointing: str
    train_on: str
    validation_fraction: float = FRACTIONS[0]
    test_fraction: float = FRACTIONS[1]
    optimizer: str = "adamw_8bit"
    load_in_4bit: str = "on"
    float8: str = "off"
    layouts: str = "own"
    composed_examples: int = 2000

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares of the rows for validation and test."""
        return self.validation_fraction, self.test_fraction

    @property
    def composed(self) -> int:
        """The examples to be composed beside the rows."""
        return self.composed_examples if self.layouts == "composed" else 0

    @property
    def passes(self) -> int:
        """How often the rows are gone through with layouts drawn anew: the epochs where layouts are composed, else 1 (an epoch repeats the rows)."""
        return math.ceil(self.num_train_epochs) if self.composed and self.max_steps == -1 else 1

    @property
    def epochs(self) -> float:
        """The epochs of the trainer: over the rows, or over the rows of all passes together."""
        return self.num_train_epochs / self.passes

    @property
    def gradient_checkpointing(self) -> str | bool:
        """`checkpointing` as Unsloth takes it: True, False or "unsloth"."""
        return {"on": True, "off": False}.get(self.checkpointing, self.checkpointing)


PROFILES = {
    p.name: p
    for p in (
        Profile("cpu", "no GPU", SMOLLM2, BUNDLED, "quick", "best", 1, 1, 3e-3, 1, 150, "off", "off", "answer"),
        Profile("t4", "GPU under 20 GiB, or without bf16", MISTRAL, MEDANALYZR, "all", "fp16", 2, 4, 2e-4, 1, -1, "off", "unsloth", "answer"),
        Profile("24gb", "GPU of 20 to 36 GiB", MISTRAL, MEDANALYZR, "all", "bf16", 1, 4, 8e-4, 1, -1, "shared", "unsloth", "answer", optimizer="adamw_torch_fused"),
        Profile("40gb", "GPU of 36 to 60 GiB", MISTRAL, MEDANALYZR, "all", "bf16", 2, 2, 8e-4, 1, -1, "shared", "off", "answer", optimizer="adamw_torch_fused"),
        Profile("80gb", "GPU of 60 GiB or more", MISTRAL, MEDANALYZR, "all", "bf16", 4, 1, 8e-4, 1, -1, "shared", "off", "answer", optimizer="adamw_torch_fused", load_in_4bit="off", float8="on", layouts="composed", composed_examples=4000),
        Profile("recipe", "on request", MISTRAL, MEDANALYZR, "all", "best", 2, 4, 2e-4, 1, -1, "off", "unsloth", "all", 0.0, 0.0),
    )
}  # fmt: skip


def _fitted(profile: Profile, machine: Device) -> Profile:
    """`profile` without 8-bit floats where `machine` does not multiply them (an A100)."""
    return profile if machine.float8 else replace(profile, float8="off")


def choose_profile(requested: str, machine: Device) -> tuple[Profile, str]:
    """The profile for `requested` ("auto" or a name) on `machine`, and the reason in words.

    Raises:
        MedAnalyzrError: the profile does not exist, or it needs a GPU and there is none.
    """
    if requested != "auto":
        if requested not in PROFILES:
            raise MedAnalyzrError(f"profile={requested!r} does not exist: choose 'auto', {', '.join(PROFILES)}.")
        if requested != "cpu" and machine.kind != "cuda":
            raise MedAnalyzrError(
                f"profile={requested!r} needs a CUDA GPU and this machine shows none: set profile='cpu' or 'auto'."
            )
        return _fitted(PROFILES[requested], machine), "asked for by the parameter profile"
    if machine.kind != "cuda":
        return PROFILES["cpu"], "no CUDA GPU was found"
    if machine.memory_gib < 20 or not machine.bf16:
        name = "t4"
    else:
        name = "24gb" if machine.memory_gib < 36 else "40gb" if machine.memory_gib < 60 else "80gb"
    bf16 = "with" if machine.bf16 else "without"
    return _fitted(PROFILES[name], machine), f"{machine.name} has {machine.memory_gib:.0f} GiB, {bf16} bf16"


def check_settings(settings: Profile, machine: Device) -> None:
    """Whether `machine` can do what `settings` ask for.

    Raises:
        MedAnalyzrError: a precision, 8-bit floats or packing that the device does not have, or 8-bit floats with a 4-bit base model or
            without packing.
    """
    if settings.precision == "bf16" and not machine.bf16:
        raise MedAnalyzrError(f"precision='bf16' and this {machine.name} has no native bfloat16: set precision='best'.")
    if settings.precision == "fp16" and machine.kind != "cuda":
        raise MedAnalyzrError("precision='fp16' needs a CUDA GPU and this machine shows none: set precision='best'.")
    if settings.float8 == "on" and not machine.float8:
        raise MedAnalyzrError(
            f"float8='on' needs a GPU that multiplies 8-bit floats (H100, L40S…), not {machine.name}: set float8='off'."
        )
    if settings.float8 == "on" and (settings.load_in_4bit == "on" or settings.precision != "bf16"):
        raise MedAnalyzrError("float8='on' goes with a base model in bfloat16: set load_in_4bit='off' and precision='bf16'.")
    if settings.float8 == "on" and settings.packing == "off":
        raise MedAnalyzrError("float8='on' goes with packed rows: set packing='shared' or 'on', or float8='off'.")
    if settings.packing != "off" and machine.kind != "cuda":
        raise MedAnalyzrError(f"packing={settings.packing!r} needs a CUDA GPU (Unsloth turns it off on a CPU): set packing='off'.")


def dtype_of(settings: Profile, machine: Device) -> str:
    """The name of torch's number format that `settings.precision` means on `machine`."""
    return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(settings.precision, machine.dtype)


def planned_steps(settings: Profile, examples: int) -> int:
    """`max_steps` for the trainer: as set; for the recipe the full batches of its epochs, as published (2,182 rows: 272);
    else -1, whole epochs with a last smaller batch.
    """
    if settings.name != "recipe" or settings.max_steps != -1:
        return settings.max_steps
    batch = settings.batch_size * settings.gradient_accumulation_steps * processes()
    return max(1, int(settings.epochs * examples) // batch)


def override(profile: Profile, parameters: Mapping[str, Any]) -> Profile:
    """`profile` with every notebook parameter of the same name that is not "auto" or -1, its batch shared among the processes."""
    names = (field.name for field in fields(profile) if field.name in parameters)
    asked = {name: parameters[name] for name in names if parameters[name] not in ("auto", -1)}
    if "num_train_epochs" in asked and "max_steps" not in asked:
        asked["max_steps"] = -1
    if "composed_examples" in asked and "layouts" not in asked:
        asked["layouts"] = "composed"
    settings = replace(profile, **asked)
    batch_size, accumulation = shared(settings.batch_size, settings.gradient_accumulation_steps)
    return replace(settings, batch_size=batch_size, gradient_accumulation_steps=accumulation)
