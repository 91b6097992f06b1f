"""The processes that train together, one a GPU, as torchrun starts them (see `medanalyzr.notebook.launch`); the first alone writes."""

import os
from contextlib import AbstractContextManager, nullcontext

from medanalyzr.core.errors import MedAnalyzrError


def processes() -> int:
    """How many processes train together (1 unless torchrun started this one)."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def _group():
    """accelerate's group of the processes; without a GPU it is one only when asked for the CPU."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def first_process_first() -> AbstractContextManager:
    """A block that the first process runs before the others."""
    return _group().main_process_first() if processes() > 1 else nullcontext()


def wait_for_all() -> None:
    """Until every process has come here."""
    if processes() > 1:
        _group().wait_for_everyone()


def shared(batch_size: int, accumulation: int) -> tuple[int, int]:
    """Batch and accumulation of one process, whose product over all processes is that of the arguments.

    Raises:
        MedAnalyzrError: the number of processes divides neither.
    """
    count = processes()
    if accumulation % count == 0:
        return batch_size, accumulation // count
    if batch_size % count == 0:
        return batch_size // count, accumulation
    raise MedAnalyzrError(
        f"{count} processes cannot share batch_size={batch_size} × gradient_accumulation_steps={accumulation}: "
        "set one of them to a multiple of the processes."
    )
