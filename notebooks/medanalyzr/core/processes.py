"""The processes of a distributed training, one per GPU, started by `medanalyzr.notebook.launch`; only the first writes."""

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from medanalyzr.core.errors import MedAnalyzrError


def processes() -> int:
    """The number of processes that train together (1 unless torchrun started this one)."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


@cache
def _group():
    """accelerate's process group; without a GPU it exists only if the CPU is requested.

    On a CPU it ends before Python does: Gloo's threads abort a process that exits with an open group (pytorch/pytorch#179291).
    """
    import torch
    from accelerate import PartialState

    on_cpu = not torch.cuda.is_available()
    state = PartialState(cpu=on_cpu)
    if on_cpu:
        atexit.register(state.destroy_process_group)
    return state


def first_process_first() -> AbstractContextManager:
    """A block that the first process runs before the others."""
    return _group().main_process_first() if processes() > 1 else nullcontext()


def wait_for_all() -> None:
    """Wait until every process has reached this line."""
    if processes() > 1:
        _group().wait_for_everyone()


def own_share(count: int) -> range:
    """Which of `count` things are this process's: an equal part, the parts of the processes one after the other."""
    number = int(os.environ.get("RANK", 0)) % processes()
    return range(number * count // processes(), (number + 1) * count // processes())


def in_shares(make: Callable[[Sequence], list], items: Sequence) -> list:
    """What `make` gives for `items` (a list, one for each of them), the same list in every process: each makes its share."""
    share = own_share(len(items))
    made = make(items[share.start : share.stop])
    if processes() == 1:
        return made
    from accelerate.utils import gather_object

    _group()
    return gather_object(made)


def shared(batch_size: int, accumulation: int) -> tuple[int, int]:
    """Batch size and accumulation per process, so that all processes together have the product of the arguments.

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
