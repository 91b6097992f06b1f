"""The one exception a user's mistake raises."""


class MedAnalyzrError(Exception):
    """A mistake the user can correct: the message says what is wrong, where, and what to do.

    Notebooks show the sentence alone, without a traceback (IPython calls `_render_traceback_`).
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]
