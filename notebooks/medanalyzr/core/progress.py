"""One line of progress, rewritten in place: in JupyterLab, on Colab, and in the notebooks papermill writes."""

import sys
import time
from collections.abc import Callable
from functools import partial

from IPython.display import display

from medanalyzr.core.run_folder import artifacts_folder

_WIDTH = 24


class _Line:
    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def live_text() -> Callable[[str], None]:
    """A place for text in the notebook's output: call it with the text to show there from now on."""
    handle = display(_Line(""), display_id=True)
    return lambda text: handle.update(_Line(text)) if handle else None


def clock(seconds: float) -> str:
    """Minutes and seconds, as 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """A bar with elapsed and remaining time: `update(done, note)`. Shown by a notebook's display, never as a widget."""

    def __init__(self, title: str, total: int):
        self.title, self.total, self.first = title, max(total, 1), 0
        self._start = time.monotonic()
        self._show = live_text()
        self.update(0)

    def resume_at(self, done: int) -> None:
        """Count the remaining time from `done` on: what came before was not done now."""
        self.first, self._start = done, time.monotonic()

    def _text(self, done: int, note: str) -> str:
        elapsed = time.monotonic() - self._start
        now = done - self.first
        left = f", {clock(elapsed / now * (self.total - done))} left" if now and done < self.total else ""
        filled = _WIDTH * done // self.total
        bar = "█" * filled + "·" * (_WIDTH - filled)
        return f"{self.title} {bar} {done}/{self.total}, {clock(elapsed)}{left}{', ' + note if note else ''}"

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done, with a short note."""
        self._show(self._text(done, note))


def quiet() -> None:
    """No bars while weights load and rows are tokenized: they would be stored in the notebook as broken widgets.

    Paths under artifacts/ that Unsloth prints on a CPU begin there: no path of this machine is stored either.
    """
    import datasets
    import transformers
    from tqdm import tqdm
    from transformers import modeling_gguf_pytorch_utils

    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)  # its bar has no other switch
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    if loader := sys.modules.get("unsloth_zoo.cpu.loader"):
        own = getattr(loader._print, "own", loader._print)
        loader._print = lambda text: own(text.replace(str(artifacts_folder().resolve()), "artifacts"))
        loader._print.own = own
