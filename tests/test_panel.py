"""The panel of 04_inference, without a front end: what it reads, shows and escapes."""

import time
from datetime import datetime

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.inference.panel import LARGEST, Panel, read_upload

NOW = datetime(2026, 1, 1)
REPORT = "Potassium 6.8 mmol/l 3.5 - 5.0"


def pressed(answer, report=REPORT):
    panel = Panel({"exemple": report}, answer)
    panel.button.click()
    panel.wait()
    return panel


def test_the_answer_is_shown_with_the_rules_beside_it():
    def answer(report, length, temperature, stopped):
        assert report == "Potassium : 6,8 mmol/L (3,5 - 5,0)" and (length, temperature) == (320, 0.0)
        yield from ("Potassium : 6,8 mmol/L ", "(3,5 ≤ 5,0 < 6,8) : élevé <script>")

    panel = pressed(answer)
    assert "élevé &lt;script&gt;" in panel.out.value and "<script>" not in panel.out.value
    assert "le modèle ne dit rien" in panel.check.value and "critique selon les règles" in panel.check.value
    assert not panel.button.disabled and panel.stop.disabled and not panel.copy.disabled


def test_an_error_is_one_sentence_and_the_button_works_again():
    def fails(report, *rest):
        yield "début"
        raise ValueError("le rapport est <vide>")

    panel = pressed(fails)
    assert "le rapport est &lt;vide&gt;" in panel.note.value and "Traceback" not in panel.note.value
    assert not panel.button.disabled


def test_stop_ends_the_answer_and_keeps_what_is_there():
    def endless(report, length, temperature, stopped):
        while not stopped():
            yield "mot "
            time.sleep(0.01)

    panel = Panel({"exemple": REPORT}, endless)
    panel.button.click()
    while not panel.text:
        time.sleep(0.01)
    panel.stop.click()
    panel.wait()
    assert panel.text.startswith("mot") and "Arrêté" in panel.note.value and not panel.button.disabled


def test_examples_and_files_fill_the_box():
    panel = Panel({"a": "un", "b": "deux"}, None)
    panel.example.value = "b"
    assert panel.box.value == "deux"
    panel.upload.set_trait(
        "value", ({"name": "r.txt", "type": "", "size": 1, "last_modified": NOW, "content": memoryview(b"Hb : 110 g/L")},)
    )
    assert panel.box.value == "Hb : 110 g/L" and "r.txt" in panel.note.value
    panel.upload.set_trait(
        "value", ({"name": "<b>.xml", "type": "", "size": 1, "last_modified": NOW, "content": memoryview(b"<a/>")},)
    )
    assert panel.box.value == "Hb : 110 g/L" and "no CR-BIO report" in panel.note.value


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.txt", b"a" * (LARGEST + 1), "more than a report can have"),
        ("a.XML", b"", "XML"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(name, content, sentence):
    with pytest.raises(MedAnalyzrError, match=sentence) as error:
        read_upload(name, content)
    assert "\n" not in str(error.value)
