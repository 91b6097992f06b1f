import pytest
from medanalyzr.reports import parse_line, parse_report
from medanalyzr.rules import ckd_epi_2009, comparison, dfg_stage, flag, interpret, is_critical, patterns


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Potassium : 3,4 mmol/L (3,5 - 5,0)", "bas"),
        ("Potassium : 3,5 mmol/L (3,5 - 5,0)", "normal"),
        ("Potassium : 5,0 mmol/L (3,5 - 5,0)", "normal"),
        ("Potassium : 5,1 mmol/L (3,5 - 5,0)", "élevé"),
        ("ASAT : 35 UI/L (≤ 35)", "normal"),
        ("DFG : 89 mL/min/1,73 m² (≥ 90)", "bas"),
        ("Potassium : 4,1 mmol/L", "indéterminé"),
        ("TSH : <0,1 mUI/L (0,40 - 4,00)", "bas"),
        ("TSH : <1,0 mUI/L (0,40 - 4,00)", "indéterminé"),
        ("CRP : <5 mg/L (≤ 5)", "normal"),
        ("TSH : >150 mUI/L (0,40 - 4,00)", "élevé"),
    ],
)
def test_flag(line, expected):
    assert flag(parse_line(line)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Potassium : 6,8 mmol/L (3,5 - 5,0)", True),
        ("Potassium : 6,2 mmol/L (3,5 - 5,0)", True),
        ("Potassium : 6,1 mmol/L (3,5 - 5,0)", False),
        ("Potassium : 2,8 mmol/L (3,5 - 5,0)", True),
        ("Hémoglobine : 6,5 g/dL (12,0 - 16,0)", True),
        ("Hémoglobine : 65 ng/L (120 - 160)", False),
        ("Hématies : 1,00 T/L (4,20 - 5,20)", False),
    ],
)
def test_critical(line, expected):
    assert is_critical(parse_line(line)) is expected


def test_ckd_epi_2009():
    # worked by hand from the published equation
    assert ckd_epi_2009(0.9 * 88.4, 55, "F") == pytest.approx(144 * (0.9 / 0.7) ** -1.209 * 0.993**55)
    assert ckd_epi_2009(0.5 * 88.4, 30, "H") == pytest.approx(141 * (0.5 / 0.9) ** -0.411 * 0.993**30)
    assert round(ckd_epi_2009(80, 60, "H")) == 92


@pytest.mark.parametrize(
    ("stage", "highest", "lowest"),
    [("G1", 130, 90), ("G2", 89, 60), ("G3a", 59, 45), ("G3b", 44, 30), ("G4", 29, 15), ("G5", 14, 0)],
)
def test_dfg_stage(stage, highest, lowest):
    assert dfg_stage(highest) == dfg_stage(lowest) == stage


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            "Hb : 110 g/L (120 - 160)\nVGM : 70 fL (80 - 100)\nFerritine : 8 µg/L (15 - 150)",
            "anémie microcytaire compatible avec une carence martiale",
        ),
        ("Hb : 110 g/L (120 - 160)\nVGM : 80 fL (80 - 100)", "anémie normocytaire"),
        ("Hb : 110 g/L (120 - 160)\nVGM : 101 fL (80 - 100)", "anémie macrocytaire"),
        ("Hb : 110 g/L (120 - 160)", "anémie"),
        ("ASAT : 36 UI/L (≤ 35)", "cytolyse"),
        ("ASAT : 351 UI/L (≤ 35)", "cytolyse majeure"),
        ("PAL : 181 UI/L (30 - 120)\nGGT : 39 UI/L (≤ 38)", "cholestase"),
        ("PAL : 181 UI/L (30 - 120)\nGGT : 38 UI/L (≤ 38)", "PAL élevée à GGT normale"),
        ("PAL : 130 UI/L (30 - 120)", "PAL élevée"),
        ("Créatinine : 150 µmol/L (60 - 115)\nDFG : 44 mL/min/1,73 m² (≥ 90)", "DFG abaissé, stade G3b"),
        ("Rapport kappa/lambda : 1,66 (0,26 - 1,65)", "excès de chaînes légères kappa"),
        ("Rapport kappa/lambda : 0,25 (0,26 - 1,65)", "excès de chaînes légères lambda"),
        ("Glycémie : 7,0 mmol/L (3,9 - 5,5)", "glycémie compatible avec un diabète"),
        ("Glycémie : 6,9 mmol/L (3,9 - 5,5)", "hyperglycémie modérée à jeun"),
        ("Glycémie : 6,0 mmol/L (3,9 - 5,5)", "glycémie au-dessus de l'intervalle"),
        ("Plaquettes : 149 G/L (150 - 400)", "thrombopénie"),
    ],
)
def test_patterns(report, expected):
    assert [p.name for p in patterns(parse_report(report))] == [expected]


def test_a_normal_report_has_no_pattern():
    answer = interpret(parse_report("Sodium : 140 mmol/L (135 - 145)"))
    assert answer == "Sodium : 140 mmol/L (135 ≤ 140 ≤ 145) : normal\nConclusion : valeurs dans les intervalles."


def test_a_critical_value_is_phoned():
    answer = interpret(parse_report("Potassium : 6,8 mmol/L (3,5 - 5,0)"))
    assert "élevé, critique" in answer and "prévenir le médecin sans délai (Potassium)" in answer


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Albumine : 32 g/L (35 - 50)", "32 < 35"),
        ("Albumine : 35 g/L (35 - 50)", "35 ≤ 35 ≤ 50"),
        ("Potassium : 6,8 mmol/L (3,5 - 5,0)", "3,5 ≤ 5,0 < 6,8"),
        ("ASAT : 20 UI/L (≤ 35)", "20 ≤ 35"),
        ("ASAT : 92 UI/L (≤ 35)", "35 < 92"),
        ("DFG : 52 mL/min/1,73 m² (≥ 90)", "52 < 90"),
        ("DFG : 95 mL/min/1,73 m² (≥ 90)", "90 ≤ 95"),
        ("TSH : <0,1 mUI/L (0,4 - 4,0)", "0,4 - 4,0"),
        ("Albumine : 32 g/L", ""),
    ],
)
def test_comparison_is_in_rising_order(line, expected):
    assert comparison(parse_line(line)) == expected


def test_without_interval_the_answer_says_so():
    answer = interpret(parse_report("Créatinine : 100 µmol/L"))
    assert "indéterminé" in answer and "sans intervalle ni sexe : Créatinine" in answer
