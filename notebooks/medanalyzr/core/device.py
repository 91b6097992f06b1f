"""The host and the device that trains: a GPU, or the CPU."""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError


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


def has_code_for(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether a torch that is built for the architectures `built_for` (`torch.cuda.get_arch_list()`) runs on a GPU of this compute
    capability.

    Machine code (`sm_86`) runs on its own major number from its minor number on (8.6 and 8.9), PTX (`compute_90`) on every later
    GPU, and what ends in a letter (`sm_90a`) on that capability alone (NVIDIA, CUDA C++ Programming Guide, "Application
    compatibility"). A build that names no such architecture (ROCm) is not judged.
    """
    found = re.findall(r"\b(sm|compute)_(\d+)(\d)([a-z]?)", " ".join(built_for))
    if not found:
        return True
    for kind, major, minor, letter in found:
        code = int(major), int(minor)
        if code == capability or not letter and code <= capability and (kind == "compute" or code[0] == capability[0]):
            return True
    return False


@cache
def _cap_memory(share: float) -> None:
    """Let this process take `share` of the GPU's memory: set once, however often the device is asked for."""
    import torch

    torch.cuda.set_per_process_memory_fraction(share)


def _memory_gib(total: float) -> float:
    """What this process may take of `total` GiB of a GPU: all of it, or what MEDANALYZR_GPU_MEMORY_GIB says."""
    asked = os.environ.get("MEDANALYZR_GPU_MEMORY_GIB")
    if not asked:
        return total
    if not re.fullmatch(r"\d*\.?\d+", asked) or not float(asked):
        raise MedAnalyzrError(f"MEDANALYZR_GPU_MEMORY_GIB={asked!r} must be a number of GiB above 0, as 15 or 7.5.")
    memory = min(total, float(asked))
    _cap_memory(memory / total)
    return memory


def device() -> Device:
    """The device training would use (the first GPU, or the CPU).

    MEDANALYZR_GPU_MEMORY_GIB caps the memory that this process may take of the GPU, so that it can be shared.

    Raises:
        MedAnalyzrError: the installed torch cannot run on the GPU, or the cap is no number.
    """
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        capability = card.major, card.minor
        if not has_code_for(capability, torch.cuda.get_arch_list()):
            raise MedAnalyzrError(
                f"torch {torch.__version__} has no code for this GPU ({card.name}, compute capability {card.major}.{card.minor}; it "
                f"serves {', '.join(torch.cuda.get_arch_list())}): choose another accelerator (on Kaggle «GPU T4 x2»), install a torch "
                "that serves it, or start with CUDA_VISIBLE_DEVICES= (empty) to train on the CPU."
            )
        memory = _memory_gib(card.total_memory / 2**30)
        return Device("cuda", card.name, memory, card.major >= 8, torch.cuda.device_count(), cores, capability >= (8, 9))
    return Device("cpu", "CPU", psutil.virtual_memory().total / 2**30, cpu_has_bfloat16(), 0, cores)
