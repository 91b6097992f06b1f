"""The text box of 04_inference: type a report, press the button, read the answer as it is written."""

import html
from collections.abc import Callable, Iterator

import ipywidgets as widgets
from IPython.display import display

from medanalyzr.layouts import in_our_layout


def show_panel(example: str, answer: Callable[[str], Iterator[str]]) -> widgets.VBox:
    """Show a box that holds `example` and a button; `answer(report)` yields the pieces of the answer to
    the report, its lines brought to the layout of the training data.

    Works where a front end with ipywidgets listens (JupyterLab, Colab, Kaggle); elsewhere only a sentence is left.
    Report and answer are shown as text, never as HTML. Returns the widget: box, button, answer.
    """
    box = widgets.Textarea(value=example, layout=widgets.Layout(width="100%", height="9em"))
    button = widgets.Button(description="Interpréter", button_style="primary")
    out = widgets.HTML()

    def press(_) -> None:
        button.disabled, text = True, ""
        try:
            for piece in answer(in_our_layout(box.value)):
                text += piece
                out.value = f"<pre style='white-space:pre-wrap'>{html.escape(text)}</pre>"
        except Exception as error:
            out.value = f"<b>{html.escape(str(error))}</b>"
        finally:
            button.disabled = False

    button.on_click(press)
    panel = widgets.VBox([box, button, out])
    bundle = panel._repr_mimebundle_()
    bundle["text/plain"] = "A box for your own report: open this notebook in JupyterLab, Colab or Kaggle to use it."
    display(bundle, raw=True)
    return panel
