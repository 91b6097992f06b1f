"""The host and the device that trains: a GPU, or the CPU."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """What trains: `kind` is "cuda" or "cpu"; memory in GiB (of one GPU, or of the machine); `float8` says whether it multiplies 8-bit
    floats (NVIDIA's compute capability 8.9 and later).
    """

    kind: str
    name: str
    memory_gib: float
    bf16: bool
    count: int
    cores: int
    float8: bool = False

    @property
    def dtype(self) -> str:
        """The number format it trains fastest in: bfloat16 where it has it natively, else float16 on a GPU and float32 on a CPU."""
        return "bfloat16" if self.bf16 else "float16" if self.kind == "cuda" else "float32"


def where() -> str:
    """ "colab", "kaggle" or "local", by the environment variables those hosts set."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    return "kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else "local"


def cpu_has_bfloat16(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 itself: AMX or AVX512-BF16 (x86), the BF16 extension (Arm), as the kernel lists them.

    Without it bfloat16 is emulated, several times slower than float32. Where there is no such list (macOS, Windows): False.
    """
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & set(flags.lower().split()))


def device() -> Device:
    """The device training would use (the first GPU, or the CPU).

    MEDANALYZR_GPU_MEMORY_GIB caps the memory that this process may take of the GPU, so that it can be shared.
    """
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        native_bf16, native_float8 = card.major >= 8, (card.major, card.minor) >= (8, 9)
        total = card.total_memory / 2**30
        memory = min(total, float(os.environ.get("MEDANALYZR_GPU_MEMORY_GIB", total)))
        torch.cuda.set_per_process_memory_fraction(memory / total)
        return Device("cuda", card.name, memory, native_bf16, torch.cuda.device_count(), cores, native_float8)
    return Device("cpu", "CPU", psutil.virtual_memory().total / 2**30, cpu_has_bfloat16(), 0, cores)
