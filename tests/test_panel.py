from medanalyzr.panel import show_panel


def pressed(report, answer):
    panel = show_panel("exemple", answer)
    box, button, out = panel.children
    assert box.value == "exemple"
    box.value = report
    button.click()
    assert not button.disabled
    return out.value


def test_the_button_shows_the_streamed_answer_as_text():
    shown = pressed("Hb : 110 g/L", lambda report: iter([f"lu : {report}", " <script>alert(1)</script>"]))
    assert "lu : Hb : 110 g/L" in shown
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_an_error_is_one_sentence_and_the_button_works_again():
    def fails(report):
        yield "début"
        raise ValueError("le rapport est <vide>")

    shown = pressed("", fails)
    assert "le rapport est &lt;vide&gt;" in shown and "Traceback" not in shown
