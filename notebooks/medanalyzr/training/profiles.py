"""The training profiles, and the choice of one for a machine."""

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
    """Settings of one class of machines.

    `subset` is "all", "measured" or "quick" (see `medanalyzr.dataset.prepare.subset_of`): a CPU has time for little, so it learns
    from measured, complete reports of four categories. `layouts` is "own" (the rows as they are), "moved" (values of
    bundled rows moved to limits, see `medanalyzr.dataset.sources.moved`) or "composed" (also `composed_examples` reports with their
    values in other layouts, see `medanalyzr.dataset.layouts`).

    `precision` is "fp32", "fp16", "bf16" or "best" (the device's native format). `load_in_4bit` is "on" or "off" (the base model in
    16 bits: faster where it fits). `float8` is "on" or "off" (products with a 16-bit base model in FP8, see `medanalyzr.acceleration.fused`).

    `max_steps` of -1 means whole epochs. `packing` is "on", "off" or "shared" (packed, and the common beginning of all prompts is
    computed once per step, see `medanalyzr.acceleration.shared_prefix`). `checkpointing` is "on", "off" or "unsloth" (activations
    are moved to the memory of the CPU). `optimizer` is a name that transformers knows. `train_on` is "answer" (loss on the answer)
    or "all" (on the whole text).
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
        return self.num_train_epochs / self.passes if self.passes > 1 else self.num_train_epochs

    @property
    def gradient_checkpointing(self) -> str | bool:
        """`checkpointing` as an argument of Unsloth: True, False or "unsloth"."""
        return {"on": True, "off": False}.get(self.checkpointing, self.checkpointing)


PROFILES = {
    p.name: p
    for p in (
        Profile("cpu", "no GPU", SMOLLM2, BUNDLED, "quick", "best", 1, 1, 3e-3, 1, 200, "off", "off", "answer", layouts="moved"),
        Profile("t4", "GPU under 20 GiB, or without bf16", MISTRAL, MEDANALYZR, "all", "fp16", 2, 4, 2e-4, 1, -1, "off", "unsloth", "answer"),
        Profile("24gb", "GPU of 20 to 36 GiB", MISTRAL, MEDANALYZR, "all", "bf16", 1, 4, 8e-4, 1, -1, "shared", "unsloth", "answer", optimizer="adamw_torch_fused"),
        Profile("40gb", "GPU of 36 to 60 GiB", MISTRAL, MEDANALYZR, "all", "bf16", 2, 2, 8e-4, 1, -1, "shared", "off", "answer", optimizer="adamw_torch_fused"),
        Profile("80gb", "GPU of 60 GiB or more", MISTRAL, MEDANALYZR, "all", "bf16", 4, 1, 8e-4, 1, -1, "shared", "off", "answer", optimizer="adamw_torch_fused", load_in_4bit="off", layouts="composed", composed_examples=4000),
        Profile("recipe", "on request", MISTRAL, MEDANALYZR, "all", "best", 2, 4, 2e-4, 1, -1, "off", "unsloth", "all", 0.0, 0.0),
    )
}  # fmt: skip


def choose_profile(requested: str, machine: Device) -> tuple[Profile, str]:
    """The profile for `requested` ("auto" or a name) on `machine`, and the reason in words.

    Raises:
        MedAnalyzrError: the profile does not exist, or it needs a GPU and there is none.
    """
    if requested != "auto":
        if requested not in PROFILES:
            raise MedAnalyzrError(f"profile={requested!r} does not exist: choose 'auto', {', '.join(PROFILES)}.")
        if requested != "cpu" and machine.kind != "cuda":
            raise MedAnalyzrError(f"profile={requested!r} needs a CUDA GPU and this machine has none: set profile='cpu' or 'auto'.")
        return PROFILES[requested], "asked for by the parameter profile"
    if machine.kind != "cuda":
        return PROFILES["cpu"], "no CUDA GPU was found"
    if machine.memory_gib < 20 or not machine.bf16:
        name = "t4"
    else:
        name = "24gb" if machine.memory_gib < 36 else "40gb" if machine.memory_gib < 60 else "80gb"
    bf16 = "with" if machine.bf16 else "without"
    return PROFILES[name], f"{machine.name} has {machine.memory_gib:.0f} GiB, {bf16} bf16"


def check_settings(settings: Profile, machine: Device) -> None:
    """Check that `machine` supports `settings`.

    Raises:
        MedAnalyzrError: the device does not support the precision, FP8 or packing, or FP8 is combined with a 4-bit base model or
            with unpacked rows.
    """
    if settings.precision == "bf16" and not machine.bf16:
        raise MedAnalyzrError(f"precision='bf16' and this {machine.name} has no native bfloat16: set precision='best'.")
    if settings.precision == "fp16" and machine.kind != "cuda":
        raise MedAnalyzrError("precision='fp16' needs a CUDA GPU and this machine has none: set precision='best'.")
    if settings.float8 == "on" and not machine.float8:
        raise MedAnalyzrError(
            f"float8='on' needs a GPU that multiplies 8-bit floats (H100, L40S…), not {machine.name}: set float8='off'."
        )
    if settings.float8 == "on" and (settings.load_in_4bit == "on" or settings.precision != "bf16"):
        raise MedAnalyzrError("float8='on' needs a base model in bfloat16: set load_in_4bit='off' and precision='bf16'.")
    if settings.float8 == "on" and settings.packing == "off":
        raise MedAnalyzrError("float8='on' needs packed rows: set packing='shared' or 'on', or float8='off'.")
    if settings.packing != "off" and machine.kind != "cuda":
        raise MedAnalyzrError(f"packing={settings.packing!r} needs a CUDA GPU (Unsloth turns it off on a CPU): set packing='off'.")


def dtype_of(settings: Profile, machine: Device) -> str:
    """The name of torch's number format that `settings.precision` means on `machine`."""
    return {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(settings.precision, machine.dtype)


def planned_steps(settings: Profile, examples: int) -> int:
    """`max_steps` for the trainer. The profile `recipe` takes only the full batches of its epochs, as published (2,182 rows: 272
    steps). The others take the value that is set, or -1: whole epochs, with a smaller last batch.
    """
    if settings.name != "recipe" or settings.max_steps != -1:
        return settings.max_steps
    batch = settings.batch_size * settings.gradient_accumulation_steps * processes()
    return max(1, int(settings.epochs * examples) // batch)


def override(profile: Profile, parameters: Mapping[str, Any]) -> Profile:
    """`profile` with the notebook parameters of the same names, except "auto" and -1; the batch is divided among the processes."""
    names = (field.name for field in fields(profile) if field.name in parameters)
    asked = {name: parameters[name] for name in names if parameters[name] not in ("auto", -1)}
    if "num_train_epochs" in asked and "max_steps" not in asked:
        asked["max_steps"] = -1
    if "composed_examples" in asked and "layouts" not in asked:
        asked["layouts"] = "composed"
    settings = replace(profile, **asked)
    batch_size, accumulation = shared(settings.batch_size, settings.gradient_accumulation_steps)
    return replace(settings, batch_size=batch_size, gradient_accumulation_steps=accumulation)
