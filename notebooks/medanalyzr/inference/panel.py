"""The panel of 04_inference: paste or upload a report, read the answer as it is written, then see which lines are verified."""

import html
import json
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Thread

import ipywidgets as widgets
from IPython.display import Javascript, display

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.inference.french import in_french
from medanalyzr.inference.report_files import FORMATS, LARGEST, ReceivedReport, read_reports
from medanalyzr.inference.verified_view import NOT_A_DEVICE, verified_html
from medanalyzr.inference.verify import verify
from medanalyzr.lab.report import Report

Answer = Callable[[str, int, float, Callable[[], bool]], Iterator[str]]


def _text(text: str) -> str:
    return f"<pre style='white-space:pre-wrap;font-size:14px'>{html.escape(text)}</pre>"


def _doubts(one: ReceivedReport) -> str:
    """The error and the remarks of a report in French; an error that only joins the remarks is not repeated."""
    said = one.remarks if one.error == " ".join(one.remarks) else (one.error, *one.remarks)
    return " ".join(in_french(sentence) for sentence in said if sentence)


class Panel:
    """Report box, examples, upload, length and temperature, answer, and the checks of its lines.

    `answer(report, max_new_tokens, temperature, stopped)` yields the pieces of an answer until `stopped()`. It gets the report
    exactly as in the box. Every report of an uploaded file is added to the examples. Reports, answers and errors are shown as text,
    never as HTML.
    """

    def __init__(self, examples: Mapping[str, str], answer: Answer, max_new_tokens: int = 1600):
        self._examples = {name: ReceivedReport(name, text) for name, text in examples.items()}
        self._answer, self._stop, self._thread = answer, Event(), None
        wide = widgets.Layout(width="100%", height="10em")
        self.example = widgets.Dropdown(options=list(self._examples), description="Exemple")
        self.box = widgets.Textarea(value=next(iter(examples.values())), layout=wide, placeholder="Compte rendu")
        self.upload = widgets.FileUpload(multiple=False, description="Fichier", tooltip=FORMATS)
        self.length = widgets.IntSlider(value=max_new_tokens, min=16, max=2048, description="Longueur")
        self.temperature = widgets.FloatSlider(
            value=0.0, min=0.0, max=1.5, step=0.1, description="Température", style={"description_width": "initial"}
        )
        self.button = widgets.Button(description="Interpréter", button_style="primary")
        self.stop = widgets.Button(description="Arrêter", disabled=True)
        self.copy = widgets.Button(description="Copier", disabled=True)
        self.out, self.check, self.note, self._script = widgets.HTML(), widgets.HTML(), widgets.HTML(), widgets.Output()
        self.text = ""
        self.example.observe(self._choose, "value")
        self.upload.observe(self._take, "value")
        self.button.on_click(self._press)
        self.stop.on_click(lambda _: self._stop.set())
        self.copy.on_click(self._to_clipboard)
        choice, settings = widgets.HBox([self.example, self.upload]), widgets.HBox([self.length, self.temperature])
        asked = [widgets.HTML(f"<b>{NOT_A_DEVICE}</b>"), choice, self.box, settings]
        answered = [widgets.HBox([self.button, self.stop, self.copy]), self.note, self.out, self.check, self._script]
        self.widget = widgets.VBox([*asked, *answered])

    def _choose(self, change) -> None:
        chosen = self._examples[change["new"]]
        self.box.value = chosen.text
        self._say(_doubts(chosen))

    def _say(self, text: str) -> None:
        self.note.value = f"<b>{html.escape(text)}</b>"

    def _take(self, change) -> None:
        for file in change["new"]:
            name = file["name"]
            try:
                found = read_reports(name, bytes(file["content"]))
            except MedAnalyzrError as error:
                self._say(f"{name} : {in_french(str(error).removeprefix(f'{name}: '))}")
                continue
            if not found:
                self._say(f"{name} : aucun compte rendu.")
                continue
            names = [f"{name}, n° {i}" for i in range(1, len(found) + 1)] if len(found) > 1 else [name]
            self._examples |= zip(names, found, strict=True)
            self.example.options = list(self._examples)
            self.example.value = names[0]
            self._choose({"new": names[0]})
            several = f" ({len(found)} comptes rendus, voir «Exemple»)" if len(found) > 1 else ""
            self._say(f"Lu : {name}{several} {_doubts(found[0])}".strip())

    def _report(self) -> Report | str:
        """The report as read from the chosen file, as long as its text was not changed; else the text in the box."""
        chosen = self._examples[self.example.value]
        return chosen.read if chosen.read and chosen.text == self.box.value else self.box.value

    def _to_clipboard(self, _) -> None:
        self._script.clear_output()
        with self._script:
            display(Javascript(f"navigator.clipboard.writeText({json.dumps(self.text)})"))

    def _press(self, _) -> None:
        if self._thread and self._thread.is_alive():
            return
        if len(self.box.value) > LARGEST:
            self._say("Plus de 1 Mio : ce n'est pas un compte rendu.")
            return
        if not self.box.value.strip():
            self._say("La case est vide : collez un compte rendu ou choisissez un fichier.")
            return
        self._stop.clear()
        self.button.disabled, self.stop.disabled, self.text, self.check.value = True, False, "", ""
        self._thread = Thread(target=self._work, args=(self.box.value, self._report()))
        self._thread.start()

    def _work(self, text: str, report: Report | str) -> None:
        start, shown = time.monotonic(), 0.0
        try:
            for piece in self._answer(text, self.length.value, self.temperature.value, self._stop.is_set):
                self.text += piece
                if time.monotonic() - shown > 0.1:
                    self.out.value, shown = _text(self.text), time.monotonic()
            self.out.value, self.check.value = _text(self.text), verified_html(verify(report, self.text))
            self._say(("Arrêté, " if self._stop.is_set() else "") + f"{time.monotonic() - start:.0f} s")
        except Exception as error:
            self._say(in_french(str(error)))
        finally:
            self.button.disabled, self.stop.disabled, self.copy.disabled = False, True, not self.text

    def wait(self) -> None:
        """Wait until the current answer is complete."""
        if self._thread:
            self._thread.join()


def show_panel(examples: Mapping[str, str], answer: Answer, max_new_tokens: int = 1600) -> Panel:
    """Show a `Panel` in a front end with ipywidgets (JupyterLab, Colab, Kaggle); elsewhere only a sentence."""
    panel = Panel(examples, answer, max_new_tokens)
    bundle = panel.widget._repr_mimebundle_()
    bundle["text/plain"] = "A panel for your own reports: open this notebook in JupyterLab, Colab or Kaggle to use it."
    display(bundle, raw=True)
    return panel
