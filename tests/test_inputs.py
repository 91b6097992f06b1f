"""Files and folders of reports: a bad one costs its own line."""

import json

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.generation import Answer
from medanalyzr.inputs import load_reports, note, predictions, with_lengths
from medanalyzr.prompts import format_prompt

LINE = "Potassium : 6,8 mmol/L (3,5 - 5,0)"


def test_a_folder_is_read_file_by_file_and_a_bad_one_costs_its_line(tmp_path):
    (tmp_path / "a.txt").write_text(f"{LINE}\n\nCRP 3 mg/L < 5", encoding="utf-8")
    (tmp_path / "b.xml").write_text("<a/>", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text(json.dumps({"input": LINE}) + '\n{"input"\n{"input": 3}\n[]\n', encoding="utf-8")
    (tmp_path / "d.csv").write_text(f"report\n{LINE.replace(',', '.')}\n", encoding="utf-8")
    (tmp_path / "e.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "ignored.pdf").write_bytes(b"%PDF")
    found = load_reports(str(tmp_path))
    assert [(one.source, bool(one.error)) for one in found] == [
        ("a.txt, report 1", False),
        ("a.txt, report 2", False),
        ("b.xml", True),
        ("c.jsonl, row 1", False),
        ("c.jsonl, row 2", True),
        ("c.jsonl, row 3", True),
        ("c.jsonl, row 4", True),
        ("d.csv, row 1", False),
        ("e.txt", True),
    ]
    assert found[1].text == "CRP : 3 mg/L (≤ 5)" and found[7].text == LINE and found[3].text == LINE


@pytest.mark.parametrize("name", ["missing.txt", "report.pdf", "empty", "empty.txt"])
def test_what_holds_no_report_is_refused_in_one_sentence(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    with pytest.raises(MedAnalyzrError, match="reports=") as error:
        load_reports(str(tmp_path / name))
    assert "\n" not in str(error.value)


class WordTokenizer:
    """One token a word."""

    def __call__(self, text, **options):
        return type("Encoding", (), {"input_ids": text.split()})


def test_too_long_a_report_is_refused_with_its_token_count(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(f"{LINE}\n\n{'mot ' * 2000}", encoding="utf-8")
    prompt = lambda report: format_prompt({"instruction": "Lisez.", "input": report})  # noqa: E731
    short, long = with_lengths(load_reports(str(file)), prompt, WordTokenizer(), 320)
    assert not short.error and "too long" in long.error and "1728" in long.error and "20" in long.error


def test_predictions_keep_the_order_and_say_what_is_wrong(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join([json.dumps({"input": LINE}), "{", json.dumps({"input": "CRP : 3 mg/L (≤ 5)"})]), encoding="utf-8")
    answers = [Answer(LINE + " : élevé", 9, True), Answer("CRP : 3 mg/L : normal", 5, False, (), True)]
    first, second, third = predictions(load_reports(str(file)), answers)
    assert first["disagreements"] == ["Potassium"] == first["critical"] and note(first) == ""
    assert "no valid JSON" in second["error"] == note(second) and "answer" not in second
    assert third["disagreements"] == [] and note(third) == "stopped: it repeats itself"
    assert note(third | {"repeats": False}) == "cut at 5 tokens"
