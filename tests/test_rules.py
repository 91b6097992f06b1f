import pytest
from medanalyzr.lab import references, rules
from medanalyzr.lab.engine import facts
from medanalyzr.lab.report import parse_line, parse_report, write_measurement
from medanalyzr.lab.rules import comparison, interpret
from rule_cases import check, check_definitions, check_tables


def test_every_case():
    check(rules, facts)
    check_definitions(facts)
    check_tables(references)


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
        ("TSH : <1,0 mUI/L (0,40 - 4,00)", "limite de mesure non classable"),
    ],
)
def test_comparison(line, expected):
    assert comparison(parse_line(line)) == expected


def test_a_normal_report_has_no_pattern():
    answer = interpret(parse_report("Sodium : 140 mmol/L (135 - 145)"))
    assert answer == "Sodium : 140 mmol/L (135 ≤ 140 ≤ 145) : normal\nConclusion : valeurs dans les intervalles."


def test_a_critical_value_is_phoned_first_whether_or_not_its_interval_is_printed():
    for line in ("Potassium : 6,8 mmol/L (3,5 - 5,0)", "Potassium : 6,8 mmol/L"):
        conclusion, steps = interpret(parse_report(f"Sodium : 132 mmol/L (135 - 145)\n{line}")).splitlines()[-2:]
        assert "hyperkaliémie sévère" in conclusion
        assert steps.startswith("Suite : prévenir le médecin sans délai (potassium 6,8 mmol/L) ; ECG immédiat, ")


def test_the_corrected_calcium_decides_in_any_unit():
    answer = interpret(parse_report("Calcium : 109 mg/L (88 - 104)\nAlbumine : 28 g/L (35 - 52)"))
    assert "Calcium : 109 mg/L (88 ≤ 104 < 109 ; corrigé 3,02 mmol/L ; critique 3,00 ≤ 3,02 mmol/L) : élevé, critique" in answer
    assert "prévenir le médecin sans délai (calcium corrigé 3,02 mmol/L)" in answer
    printed = interpret(parse_report("Calcium : 2,50 mmol/L (2,20 - 2,60)\nCalcium corrigé : 3,05 mmol/L (2,20 - 2,60)"))
    assert printed.count(", critique") == 2 and printed.splitlines()[-1].count("3,05 mmol/L") == 1


def test_two_samples_of_one_analyte_keep_both_lines_and_marks():
    answer = interpret(parse_report("Potassium : 4,1 mmol/L (3,5 - 5,0)\nPotassium : 6,4 mmol/L (3,5 - 5,0)"))
    assert answer.splitlines()[1].endswith(": élevé, critique") and "(potassium 6,4 mmol/L)" in answer


def test_venous_gases_have_no_arterial_limit():
    answer = interpret(parse_report("Gaz du sang veineux\npH : 7,36 (7,32 - 7,38)\nPO2 : 38 mmHg\nPCO2 : 62 mmHg"))
    assert "critique" not in answer.split("Conclusion")[0]


def test_what_is_missing_is_said_and_asked_for():
    answer = interpret(parse_report("Patient : 50 ans\nHb : 125 g/L\nSodium : 140 mmol/L\nCRP : 3 (≤ 5)"))
    assert answer.splitlines() == [
        "Hb : 125 g/L (sexe manquant ; appel sous 70 ou dès 200) : indéterminé",
        "Sodium : 140 mmol/L (intervalle manquant ; appel sous 125 ou dès 155) : indéterminé",
        "CRP : 3 (3 ≤ 5) : normal",
        "Conclusion : unité manquante : CRP ; valeurs dans les intervalles ; sexe manquant : Hb ; intervalle manquant : sodium.",
        "Suite : demander l'unité avant toute conclusion ; préciser le sexe ; demander l'intervalle du laboratoire.",
    ]


def test_routine_requests_are_silent_beside_an_urgent_value():
    last = interpret(parse_report("Potassium : 6,8 mmol/L (3,5 - 5,0)\nSodium : 140 mmol/L\nCRP : 3 (≤ 5)")).splitlines()[-1]
    assert "demander l'intervalle" not in last and last.endswith("demander l'unité avant toute conclusion.")


def test_bounds_keep_their_decimals_beside_a_whole_value():
    answer = interpret(parse_report("Potassium : 6 mmol/L (3,5 - 5,0)\nCalcium : 2.1 mmol/L (2.20 - 2.60)"))
    assert "Potassium : 6 mmol/L (3,5 ≤ 5,0 < 6 ; critique 6,0 ≤ 6) : élevé, critique" in answer
    assert "Calcium : 2,1 mmol/L (2,1 < 2,2 ; appel sous 1,80) : bas" in answer
    assert write_measurement(parse_report("Potassium : 6 mmol/L (3,5 - 5,0)").measurements[0]) == "Potassium : 6 mmol/L (3,5 - 5,0)"
