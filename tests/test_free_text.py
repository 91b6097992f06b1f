"""Flags read out of free French text: sentences with the flags they state, and how 05_evaluation reports them.

Batch 1 of free_text_cases.csv was written before the reader, the others after it. When first read, 92, 81, 77, 90, 88 and 88 % of
batches 2 to 7 were right, and 31 sentences gave a flag that was not expected; the reader was mended after each batch, and about ten
expectations were. A line feed is written \\n.
"""

import csv
from pathlib import Path

import pytest
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.split import keys_of, split_rows
from medanalyzr.evaluation.prose import LINES, PROSE, bundled_reports, by_form, form_table, stated_lines
from medanalyzr.lab.prose.flags import flags_in_text
from medanalyzr.lab.references import analytes
from medanalyzr.lab.report import parse_answer

BUNDLED = load_bundled()
FOREIGN = {
    "instruction": "Que montre ce bilan ?",
    "input": "Natrémie 140 mmol/L",
    "output": "La natrémie est normale.",
    "prompt": "",
}
REPORT = "Patient : homme, 50 ans\nSodium : 128 mmol/L (135 - 145)\nPotassium : 6,8 mmol/L (3,5 - 5,0)\nCRP : 2 mg/L (≤ 5)"
REFERENCE = "\n".join(
    (
        "Sodium : 128 mmol/L (128 < 135) : bas",
        "Potassium : 6,8 mmol/L (5,0 < 6,8) : élevé, critique",
        "CRP : 2 mg/L (2 ≤ 5) : normal",
    )
)


@pytest.fixture(scope="module")
def cases():
    """Each text with the flags it states and those that are read."""
    with open(Path(__file__).parent / "free_text_cases.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (
            row["text"],
            dict(pair.split("=") for pair in row["flags"].split(";") if pair),
            flags_in_text(row["text"].replace("\\n", "\n"), row["asked"].split()),
        )
        for row in rows
    ]


def test_the_sentences_are_many_differ_and_name_known_analytes(cases):
    assert len({text for text, _, _ in cases}) == len(cases) >= 500
    assert {analyte for _, due, _ in cases for analyte in due} <= set(analytes())
    assert sum(not due for _, due, _ in cases) > 150


def test_at_least_97_of_100_sentences_are_read_rightly(cases):
    wrong = [(text, due, given) for text, due, given in cases if given != due]
    assert len(wrong) <= 0.03 * len(cases), wrong


def test_no_flag_is_read_where_none_is_said(cases):
    assert [(text, given) for text, due, given in cases if set(given) - set(due)] == []


def test_no_flag_is_read_wrong(cases):
    assert [
        (text, given) for text, due, given in cases if any(flag.split(",")[0] != due[a].split(",")[0] for a, flag in given.items())
    ] == []


def test_what_the_bundled_questions_ask_and_answer_is_no_statement_about_a_patient():
    texts = [row[column] for row in BUNDLED if row["kind"] == "question" for column in ("instruction", "output")]
    assert len(texts) > 400 and [text for text in texts if flags_in_text(text)] == []


def test_what_our_conclusions_state_does_not_contradict_our_lines():
    """Their wording is not this reader's: «autres valeurs hors intervalle : PaO2 basse»."""
    stated, against = 0, []
    for row in BUNDLED[::7]:
        flags = {key: m.flag for key, m in parse_answer(row["output"]).items() if m.flag != "indéterminé"}
        conclusion = next((line for line in row["output"].splitlines() if line.startswith("Conclusion")), "")
        read = {analyte: flag.split(",")[0] for analyte, flag in flags_in_text(conclusion).items() if analyte in flags}
        stated += len(read)
        against += [(conclusion, a, flag) for a, flag in read.items() if flag != flags[a]]
    assert stated > 300 and len(against) <= 0.01 * stated, against


def test_nothing_odd_stops_the_reader():
    for text in ("", "\n\n", ")", "((", "»?!;", "et ou ni", "pas", "normal", ": →", "9" * 500, "a " * 500, "La CRP " * 200):
        assert flags_in_text(text, ["crp"]) == {}


def test_a_group_is_said_of_what_was_asked_and_is_not_mentioned():
    text = "La kaliémie est élevée ; le reste du bilan est normal. La CRP est à contrôler."
    assert flags_in_text(text) == {"potassium": "élevé"}
    assert flags_in_text(text, ["potassium", "sodium", "crp"]) == {"potassium": "élevé", "sodium": "normal"}
    assert flags_in_text("Bicarbonates abaissés.", ["hco3_art"]) == {"hco3_art": "bas"}


def test_prose_becomes_lines_of_the_report():
    lines = stated_lines(REPORT, "Hyponatrémie et hyperkaliémie critique. Ferritine basse.")
    assert {key: (m.flag, m.critical) for key, m in parse_answer(lines).items()} == {
        "sodium": ("bas", False),
        "potassium": ("élevé", True),
    }
    assert stated_lines(REPORT, "Il faut contrôler le sodium.") == ""


def test_flags_of_lines_and_of_prose_are_counted_apart():
    row = {"input": REPORT, "output": REFERENCE}
    answers = [REFERENCE, "Natrémie et CRP normales, hyperkaliémie.", "Consultez un médecin."]
    found = by_form([row] * 3 + [FOREIGN], {"model": [*answers, "La natrémie est normale."], "base": []})
    lines, prose = found["model"][LINES], found["model"][PROSE]
    assert (lines["reports"], lines["count"], lines["of"]) == (1, 3, 3) and found["base"] == {}
    assert (prose["reports"], prose["count"], prose["of"], prose["refused"]["count"]) == (2, 2, 6, 3)
    table = form_table(found)
    assert table.index.to_list() == [("model", "flags in our lines"), ("model", "flags read from free text")]
    assert table["flags right"].iloc[1].startswith("0.33 [") and form_table(by_form([FOREIGN], {"model": ["Rien."]})).empty


def test_other_data_is_asked_the_bundled_test_reports_and_bundled_data_is_not():
    rows = bundled_reports([FOREIGN], 3407)
    test = split_rows(BUNDLED, 0.05, 0.1, 3407)["test"]
    assert len(rows) > 150 and all(row in test and parse_answer(row["output"]) for row in rows)
    assert bundled_reports([FOREIGN, BUNDLED[0]], 3407) == []
    copied = {name: rows[0][name] for name in ("instruction", "input", "output", "prompt")}  # trained on without its origin
    left = bundled_reports([FOREIGN, copied], 3407)
    assert rows[0] not in left and not {*keys_of(copied)} & {key for row in left for key in keys_of(row)}
