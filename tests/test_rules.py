import pytest
from medanalyzr.lab import references, rules
from medanalyzr.lab.report import parse_line, parse_report, write_measurement
from medanalyzr.lab.rules import comparison, interpret
from rule_cases import check


def test_every_case():
    check(rules, references)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Potassium : 6,8 mmol/L (3,5 - 5,0)", "3,5 ≤ 5,0 < 6,8"),
        ("Potassium : 3,5 mmol/L (3,5 - 5,0)", "3,5 ≤ 3,5 ≤ 5,0"),
        ("Albumine : 32 g/L (35 - 50)", "32 < 35"),
        ("ASAT : 92 UI/L (≤ 35)", "35 < 92"),
        ("ASAT : 22 UI/L (≤ 35)", "22 ≤ 35"),
        ("DFG : 95 mL/min/1,73 m² (≥ 90)", "90 ≤ 95"),
        ("TSH : <0,01 mUI/L (0,40 - 4,00)", "0,01 ≤ 0,40"),
        ("TSH : >100,00 mUI/L (0,40 - 4,00)", "0,40 ≤ 4,00 ≤ 100,00"),
        ("CRP : <1 mg/L (≤ 5)", "1 ≤ 5"),
        ("Glycémie : 1,10 g/L (3,9 - 5,5 mmol/L)", "3,9 ≤ 5,5 < 6,1 mmol/L"),
        ("Glycémie : 0,60 g/L (3,9 - 5,5 mmol/L)", "3,3 < 3,9 mmol/L"),
        ("Glycémie : 0,90 g/L (3,9 - 5,5 mmol/L)", "3,9 ≤ 5,0 ≤ 5,5 mmol/L"),
        ("Potassium : 4,1 mmol/L", "intervalle manquant"),
        ("Potassium : 4,1", "intervalle et unité manquants"),
        ("Hb : 125 g/L", "sexe manquant"),
        ("TSH : <1,0 mUI/L (0,40 - 4,00)", "valeur exacte manquante"),
    ],
)
def test_comparison(line, expected):
    assert comparison(parse_line(line)) == expected


def test_a_normal_report_has_no_pattern():
    answer = interpret(parse_report("Sodium : 140 mmol/L (135 - 145)"))
    assert answer == "Sodium : 140 mmol/L (135 ≤ 140 ≤ 145) : normal\nConclusion : valeurs dans les intervalles."


def test_a_value_outside_without_a_pattern_is_named():
    answer = interpret(parse_report("Magnésium : 1,10 mmol/L (0,75 - 1,05)"))
    assert answer.splitlines()[1] == "Conclusion : hors intervalle : Magnésium."


def test_a_critical_value_is_phoned_first():
    last = interpret(parse_report("Potassium : 6,8 mmol/L (3,5 - 5,0)")).splitlines()[-1]
    assert last == "Suite : prévenir le médecin sans délai (Potassium) ; faire un ECG et écarter une hémolyse du tube."


def test_what_is_missing_is_said_and_asked_for():
    answer = interpret(parse_report("Patient : 50 ans\nHb : 125 g/L\nSodium : 140 mmol/L\nCRP : 3 (≤ 5)"))
    assert answer.splitlines() == [
        "Hb : 125 g/L (sexe manquant ; critique 66 < 125 < 199) : indéterminé",
        "Sodium : 140 mmol/L (intervalle manquant ; critique 120 < 140 < 158) : indéterminé",
        "CRP : 3 (3 ≤ 5) : normal",
        "Conclusion : valeurs dans les intervalles ; sexe manquant : Hb ; intervalle manquant : Sodium ; unité manquante : CRP.",
        "Suite : préciser le sexe ; demander l'intervalle du laboratoire ; demander l'unité.",
    ]


def test_nothing_to_interpret():
    assert interpret(parse_report("Sodium : 140 mmol/L")).splitlines()[1] == "Conclusion : intervalle manquant : Sodium."


def test_bounds_keep_their_decimals_beside_a_whole_value():
    answer = interpret(parse_report("Potassium : 6 mmol/L (3,5 - 5,0)\nCalcium : 2.1 mmol/L (2.20 - 2.60)"))
    assert "Potassium : 6 mmol/L (3,5 ≤ 5,0 < 6 ; critique 6,2 > 6) : élevé" in answer
    assert "Calcium : 2,1 mmol/L (2,1 < 2,2 ; critique 1,65 < 2,1) : bas" in answer
    assert write_measurement(parse_report("Potassium : 6 mmol/L (3,5 - 5,0)").measurements[0]) == "Potassium : 6 mmol/L (3,5 - 5,0)"
