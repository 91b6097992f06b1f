"""Estimates of the time and memory that a training needs on this machine, made before it starts."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medanalyzr.core.device import Device
from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import BUNDLED, MEDANALYZR, MISTRAL, SMOLLM2
from medanalyzr.core.processes import processes
from medanalyzr.core.run_folder import read_json
from medanalyzr.training.profiles import Profile

GIB = 2**30
MFU = 0.52  # MFU of our compute-bound trainings, relative to the measured matrix products (artifacts/benchmarks)
MFU_FLOAT8 = 0.9  # the same with FP8, relative to products in bfloat16
LAYER_S = {"off": 0.009, "on": 0.012, "unsloth": 0.0145}  # s per layer and micro-batch, if kernel-launch-bound (same source)
RUNTIME_GIB = 0.9  # libraries, optimizer and buffers


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama or Mistral model that determine time and memory."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int

    @property
    def projections(self) -> int:
        """Parameters of the seven projections of all layers."""
        attention = self.hidden * self.head_size * (2 * self.heads + 2 * self.key_value_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def matrices(self) -> int:
        """Parameters that take part in products for each token: projections and output head. The embedding is only looked up."""
        return self.projections + self.vocabulary * self.hidden

    @property
    def flops_per_token(self) -> int:
        """Operations of a LoRA training step per token: two per parameter forward, two backward (base weights have no gradient)."""
        return 4 * self.matrices


TYPICAL = {BUNDLED: (499, 121_495), MEDANALYZR: (2182, 2182 * 316)}  # rows and tokens of an epoch with the profile's own data
SHAPES = {SMOLLM2: Shape(30, 576, 1536, 9, 3, 64, 49152), MISTRAL: Shape(32, 4096, 14336, 32, 8, 128, 32768)}


def shape_of(base: str) -> Shape:
    """The shape of a model folder or hub id, from its config.json: transformers must not be imported before Unsloth."""
    from huggingface_hub import hf_hub_download

    own = Path(base) / "config.json"
    c = read_json(own if own.is_file() else Path(hf_hub_download(base, "config.json")), "the export of this model")
    heads = c["num_attention_heads"]
    return Shape(
        c["num_hidden_layers"],
        c["hidden_size"],
        c["intermediate_size"],
        heads,
        c.get("num_key_value_heads", heads),
        c.get("head_dim") or c["hidden_size"] // heads,
        c["vocab_size"],
    )


def measure_matmul_flops(machine: Device, dtype: str) -> float:
    """The floating-point operations per second of a large matrix product in `dtype` on this device, the median of five.

    On a GPU 8192 × 8192, on a CPU 2048 × 2048. A product of n × n matrices takes 2 n³ operations.
    """
    import torch

    cuda = machine.kind == "cuda"
    size, times = (8192, 10) if cuda else (2048, 2)
    a = torch.randn(size, size, device=machine.kind, dtype=getattr(torch, dtype))
    found = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(times):
            a @ a
        if cuda:
            torch.cuda.synchronize()
        found.append(times * 2 * size**3 / (time.perf_counter() - start))
    return statistics.median(found[2:])


def expected_seconds(
    settings: Profile, shape: Shape, machine: Device, examples: int, tokens: int, matmul_flops: float, longest: int
) -> float:
    """Seconds of a training without its start-up: the larger of two times.

    Compute-bound: the operations at `MFU` (with FP8 `MFU_FLOAT8`) of `matmul_flops` operations per second, and a third more with
    gradient checkpointing, which computes the forward pass twice (Chen et al., arXiv:1604.06174). Kernel-launch-bound, on a GPU:
    `LAYER_S` per layer and micro-batch. `examples` and `tokens` are those of one epoch, which several processes share; packed rows hold
    `longest` tokens.
    """
    rows = math.ceil(tokens / longest) if settings.packing != "off" else examples
    micro_batches = settings.epochs * rows / (settings.batch_size * processes())
    if settings.max_steps > 0:
        micro_batches = settings.max_steps * settings.gradient_accumulation_steps
    seen = micro_batches * settings.batch_size * tokens / rows
    mfu = MFU_FLOAT8 if settings.float8 == "on" else MFU
    arithmetic = seen * shape.flops_per_token * (1 if settings.checkpointing == "off" else 4 / 3) / (mfu * matmul_flops)
    launching = micro_batches * shape.layers * LAYER_S[settings.checkpointing] if machine.kind == "cuda" else 0.0
    return max(arithmetic, launching)


def expected_memory_gib(settings: Profile, shape: Shape, machine: Device, tokens: int, r: int) -> float:
    """Peak memory in GiB of a training whose micro-batch holds up to `tokens` tokens.

    The sum of three parts. The base model: a 4-bit weight takes 0.56 bytes with its scales, or four bytes once a CPU has decoded
    it; FP8 adds two copies of one byte each. The adapter of rank `r` in float32, with gradient and optimizer: 14 bytes per
    parameter. The activations kept for the backward pass: 2 × intermediate + 8 × hidden values per token and layer, or those of one
    layer with gradient checkpointing.
    """
    width = 2 if machine.kind == "cuda" else 4
    packed = 0.56 if settings.load_in_4bit == "on" and machine.kind == "cuda" else width + 2 * (settings.float8 == "on")
    weights = shape.projections * packed + shape.vocabulary * shape.hidden * width * 2
    attention = 4 * shape.hidden + shape.head_size * (2 * shape.heads + 2 * shape.key_value_heads)  # inputs and outputs
    adapter = 14 * r * shape.layers * (attention + 3 * (shape.hidden + shape.intermediate))
    kept = 2 * shape.intermediate + 8 * shape.hidden
    layers = shape.layers if settings.checkpointing == "off" else 1
    return (weights + adapter + tokens * layers * kept * width) / GIB + RUNTIME_GIB


def check_memory(settings: Profile, shape: Shape, machine: Device, max_seq_length: int, r: int) -> str:
    """The minimum memory of the training, in words. Examples that are not packed are left out, because their length is not known yet.

    Raises:
        MedAnalyzrError: the machine has less.
    """
    tokens = settings.batch_size * max_seq_length if settings.packing != "off" else 0
    least = expected_memory_gib(settings, shape, machine, tokens, r)
    if least > machine.memory_gib:
        raise MedAnalyzrError(
            f"{settings.base_model} with batch_size={settings.batch_size} needs about {least:.0f} GiB and {machine.name} has "
            f"{machine.memory_gib:.0f}: lower batch_size or max_seq_length, or set load_in_4bit='on' and checkpointing='unsloth'."
        )
    return f"at least {least:.1f} GiB of {machine.memory_gib:.0f}"


def expectation(
    settings: Profile, shape: Shape, machine: Device, lengths: Sequence[int], max_seq_length: int, r: int, matmul_flops: float
) -> dict[str, float]:
    """Minutes of the steps (without start-up) and peak memory in GiB of a training on examples of `lengths` tokens."""
    row = max_seq_length if settings.packing != "off" else max(lengths)
    seconds = expected_seconds(settings, shape, machine, len(lengths), sum(lengths), matmul_flops, max_seq_length)
    return {"minutes": seconds / 60, "memory_gib": expected_memory_gib(settings, shape, machine, settings.batch_size * row, r)}
