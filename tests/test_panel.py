"""The panel of 04_inference, without a front end: what it reads, shows and escapes."""

import ast
import inspect
import re
import time
from datetime import datetime

import pytest
from medanalyzr.dataset import files
from medanalyzr.inference import generation, report_files
from medanalyzr.inference.french import UNEXPECTED, in_french
from medanalyzr.inference.panel import Panel
from medanalyzr.inference.report_files import LARGEST
from medanalyzr.inference.verified_view import NOT_A_DEVICE, verified_html
from medanalyzr.inference.verify import verify
from medanalyzr.lab import formats
from medanalyzr.lab.formats import cda, fhir
from medanalyzr.lab.references import read_table
from test_formats import EXAMPLES

NOW = datetime(2026, 1, 1)
REPORT = "Potassium 6.8 mmol/l 3.5 - 5.0"


def pressed(answer, report=REPORT):
    panel = Panel({"exemple": report}, answer)
    panel.button.click()
    panel.wait()
    return panel


def test_the_answer_is_shown_and_each_line_with_what_is_proved_of_it():
    def answer(report, length, temperature, stopped):
        assert report == REPORT and (length, temperature) == (1600, 0.0)
        yield from ("Potassium : 6,8 mmol/l ", "(3,5 ≤ 5,0 < 6,8) : élevé <script>")

    panel = pressed(answer)
    assert "élevé &lt;script&gt;" in panel.out.value and "<script>" not in panel.out.value + panel.check.value
    assert "ligne non comprise" in panel.check.value and "absent de la réponse" in panel.check.value
    assert not panel.button.disabled and panel.stop.disabled and not panel.copy.disabled


@pytest.mark.parametrize("said", ["", "Tout est normal.", "Potassium : 3,8 mmol/l (3,5 ≤ 3,8 ≤ 5,0) : normal"])
def test_a_critical_value_is_shown_first_whatever_the_model_says(said):
    shown = pressed(lambda *_: iter([said])).check.value
    assert shown.startswith("<p style='color:#a00000'><b>Valeur critique : Potassium 6,8 mmol/L</b></p>")
    assert "vérifié<" not in shown and "Conclusion" not in shown and NOT_A_DEVICE in shown


TEXT = """Patient : femme, 60 ans
Potassium : 6,8 mmol/L (3,5 - 5,0)
Sodium : 14O mmol/L (135 - 145)
<b>Index</b> : 3 (1 - 2)
CRP : 3 mg/L (≤ 5)"""
ANSWER = """Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,0 ≤ 6,8) : élevé, critique
CRP : 4 mg/L (4 ≤ 5) : normal
Calcémie : 4,00 mmol/L (2,20 ≤ 2,60 < 4,00) : élevé, critique"""


def test_the_view_holds_results_reasons_what_is_left_out_unread_and_the_rules():
    verified = verify(TEXT, ANSWER)
    shown = verified_html(verified)
    first, rest = shown.split("<table>")
    assert "Potassium 6,8 mmol/L, Calcémie 4,00 mmol/L (d&#x27;après la réponse seule)" in first
    table, rest = rest.split("</table>")
    rows = table.split("<tr")[2:]
    assert [row.count("<td") for row in rows] == [5] * 4
    assert "élevé, critique" in rows[0] and ">vérifié<" in rows[0] and "3,5 - 5,0" in rows[0]
    assert "vérifié" not in rows[1] and "vérifié" not in rows[2] and "absent de la réponse" in rows[3]
    assert "ligne 3" in rest and "14O" in rest
    assert verified.conclusion and verified.next_steps
    assert verified.conclusion in rest and rest.count("<li>") == 1 + len(verified.next_steps)
    assert "<b>Index" not in shown and "&lt;b&gt;Index" in shown
    assert "Aucun résultat reconnu" in verified_html(verify("Bonjour.", ""))


def test_an_empty_box_is_not_answered():
    panel = pressed(lambda *_: iter(["Tout est normal."]), report=" \n")
    assert "La case est vide" in panel.note.value and not panel.text and not panel.button.disabled


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


def upload(panel, name, content):
    file = {"name": name, "type": "", "size": len(content), "last_modified": NOW, "content": memoryview(content)}
    panel.upload.set_trait("value", (file,))


def test_examples_and_files_fill_the_box():
    panel = Panel({"a": "un", "b": "deux"}, None)
    panel.example.value = "b"
    assert panel.box.value == "deux"
    upload(panel, "r.txt", b"Hb : 110 g/L")
    assert panel.box.value == "Hb : 110 g/L" and "r.txt" in panel.note.value
    upload(panel, "<b>.xml", b"<a/>")
    assert panel.box.value == "Hb : 110 g/L" and "pas un CR-BIO" in panel.note.value and "<b>.xml" not in panel.note.value


@pytest.mark.parametrize(
    ("name", "reports"),
    [
        ("cda/2_self_displaying.xml", 1),
        ("fhir/1_bundle_ok.json", 1),
        ("hl7v2/1_oru_ok.hl7", 1),
        ("hprim/1_structured_latin1.hpr", 1),
        ("hprim/6_fault_three_patients.hpm", 3),
    ],
)
def test_a_file_of_every_format_may_be_uploaded(name, reports):
    panel = Panel({"a": "un"}, lambda *_: iter(["Rien."]))
    upload(panel, name.split("/")[1], (EXAMPLES / name).read_bytes())
    assert len(panel.example.options) == 1 + reports and panel.box.value.startswith("Patient : ")
    assert ("comptes rendus" in panel.note.value) == (reports > 1)
    read = panel._report()
    assert read.measurements and read.text == panel.box.value
    panel.box.value += "\nBicarbonates : 7 mmol/L (22 - 29)"
    panel.button.click()
    panel.wait()
    assert "Bicarbonates 7 mmol/L" in panel.check.value, "a changed text was not read anew"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"\xff\xfe\x00", "pas en UTF-8"),
        ("a.txt", b"a" * (LARGEST + 1), "trop long pour un compte rendu"),
        ("a.XML", b"", "aucun compte rendu"),
        ("a.pdf", b"%PDF", "Format non reconnu"),
        ("a.hl7", b"MSH|^~", "Aucun compte rendu"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(name, content, sentence):
    panel = Panel({"a": "un"}, None)
    upload(panel, name, content)
    assert sentence in panel.note.value and "\n" not in panel.note.value
    assert panel.box.value in ("un", "")


REACHED = (
    formats, cda, fhir, report_files.read_reports, report_files._of_text, report_files._of_row,
    files.decode_text, files.csv_rows, files._refuse_twice, generation.check_length,
)  # fmt: skip


def sentences_of(source):
    """The sentences with which `source` (a module or function) refuses something; a value within them is 7."""
    for call in ast.walk(ast.parse(inspect.getsource(source))):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("MedAnalyzrError", "ValueError", "ReceivedReport"):
            parts = call.args[-1].values if isinstance(call.args[-1], ast.JoinedStr) else [call.args[-1]]
            text = "".join(part.value if isinstance(part, ast.Constant) else "7" for part in parts)
            if text not in ("7", "7: 7"):  # the text of a report; an error with the name of its file
                yield text


def test_every_sentence_that_the_panel_may_show_has_its_french():
    said = [text for source in REACHED for text in sentences_of(source)]
    said += [row["sentence"].format(name="CRP") for row in read_table("format_errors")]
    assert len(said) > 40
    for text in said:
        french = in_french(text)
        assert not french.startswith(UNEXPECTED), text
        assert "CRP" not in text or "CRP" in french, text
        assert not re.search(r"\b(?:the|report|is|of|not|was)\b", french.replace("«report»", "")), french


def test_what_nobody_foresaw_is_shown_as_it_is():
    assert in_french("CUDA out of memory") == "Erreur du programme : CUDA out of memory"
    assert in_french("a.csv cannot be read: line 3 is not UTF-8 text; save the file as UTF-8.") == (
        "Lecture impossible : la ligne 3 n'est pas en UTF-8 ; enregistrez le fichier en UTF-8."
    )
