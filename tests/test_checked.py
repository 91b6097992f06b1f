"""What the check makes of a model's errors: shown as verified, corrected where the strict reader read the result, or marked."""

import pytest
from medanalyzr.evaluation.checked import check_counts, check_table, checked_answer, silent_share
from medanalyzr.evaluation.scoring import score
from medanalyzr.lab.report import parse_report
from medanalyzr.lab.rules import interpret

REPORT = "Patient : homme, 61 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)\nHémoglobine : 81 g/L (130 - 170)"
POTASSIUM, HEMOGLOBIN, *_ = REFERENCE = interpret(parse_report(REPORT)).splitlines()
NOTE = "kaliémie contrôlée hier, 3,9 puis ce matin 6,8"  # the strict reader reads nothing of it
ROW = {"input": REPORT, "output": "\n".join(REFERENCE)}


def counts(answer, row=ROW):
    return check_table({"": check_counts([row], [answer])}).iloc[0].tolist()


@pytest.mark.parametrize(
    ("answer", "expected"),  # lines; wrong: all, shown as verified, corrected, marked; right: not verified, made wrong
    [
        (ROW["output"], [2, 0, 0, 0, 0, 0, 0]),
        (POTASSIUM, [1, 0, 0, 0, 0, 0, 0]),
        (POTASSIUM.replace("élevé, critique", "normal") + "\n" + HEMOGLOBIN, [2, 1, 0, 1, 0, 0, 0]),
        (POTASSIUM.removesuffix(", critique"), [1, 1, 0, 1, 0, 0, 0]),
        (POTASSIUM.replace("6,8", "5,8"), [1, 1, 0, 1, 0, 0, 0]),
        (HEMOGLOBIN.replace("81", "18") + ", critique", [1, 1, 0, 1, 0, 0, 0]),
        ("", [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_errors_are_corrected_and_right_lines_verified(answer, expected):
    assert counts(answer) == expected


def test_what_nobody_can_prove_is_marked():
    row = {"input": NOTE, "output": "Potassium : 6,8 mmol/L (intervalle manquant ; critique 6,0 ≤ 6,8) : indéterminé, critique"}
    assert counts(row["output"], row) == [1, 0, 0, 0, 0, 1, 0]
    assert counts("Potassium : 3,9 mmol/L (intervalle manquant) : indéterminé", row) == [1, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            "Le bilan trouve le sodium à 149 mmol/L, pour des valeurs usuelles de 135 - 145.",
            "sodium : 149 mmol/L (135 ≤ 145 < 149) : élevé",
        ),
        (
            "Ponction lombaire. Le bilan trouve la glucose à 2,8 mmol/L, pour des valeurs usuelles de 2,2 - 3,9.",
            "glucose (LCR) : 2,8 mmol/L (2,2 ≤ 2,8 ≤ 3,9) : normal",
        ),
    ],
)
def test_a_right_line_is_not_replaced_by_another_reading(report, line):
    assert counts(line, {"input": report, "output": line})[-1] == 0


def test_the_first_line_of_an_analyte_counts():
    assert counts(POTASSIUM.replace("6,8", "5,8") + "\n" + POTASSIUM)[2] == 0


def test_a_missed_critical_value_is_shown():
    missed = POTASSIUM.replace("élevé, critique", "normal") + "\n" + HEMOGLOBIN + "\nConclusion : anémie."
    check = checked_answer(REPORT, missed)
    before, after = (score(REPORT, text, ROW["output"]) for text in (missed, check.text))
    assert [line.called_critical for line in before.lines] == [False, False]
    assert [(line.given, line.called_critical) for line in after.lines] == [("élevé", True), ("bas", False)]
    assert len(check.verified) == 1 and "Conclusion : anémie" in check.text


def test_the_share_of_silent_errors():
    assert silent_share([{"lines": 97, "wrong, shown as verified": 0}, {"lines": 3, "wrong, shown as verified": 1}]) == 0.01
    assert silent_share([{"lines": 0, "wrong, shown as verified": 0}]) is None
