"""The rules beside the model's answer."""

import pytest
from medanalyzr.inference.cross_check import NOT_A_DEVICE, check_html, cross_check
from medanalyzr.lab.report import parse_report
from medanalyzr.lab.rules import interpret

REPORT = """Patient : femme, 60 ans
Potassium : 6,8 mmol/L (3,5 - 5,0)
Sodium : 140 mmol/L
Glycémie à jeun : 1,10 g/L
Calcium : 2,10 mmol/L (2,20 - 2,60)
Index : 3 (1 - 2)
Truc : 5 : normal"""


def by_name(answer, report=REPORT):
    return {c.name: c for c in cross_check(report, answer)}


def test_the_reports_own_interval_comes_first_then_the_table():
    found = by_name("")
    assert (found["Potassium"].interval, found["Potassium"].source) == ("3,5 - 5,0", "compte rendu")
    assert (found["Sodium"].interval, found["Sodium"].source, found["Sodium"].rules) == ("135 - 145", "table", "normal")
    assert (found["Glycémie à jeun"].interval, found["Glycémie à jeun"].rules) == ("0,70 - 1,08", "élevé")
    assert by_name("", "Hb : 125 g/L")["Hb"].source == ""
    assert by_name("", "Patient : homme\nHb : 125 g/L")["Hb"].rules == "bas"
    assert by_name("", "Sodium : 140")["Sodium"].source == ""
    assert by_name("", "Truc : 5 : normal")["Truc"].rules == "indéterminé"


def test_the_tables_of_adults_are_silent_for_others():
    for head in ("Patient : garçon, 6 ans", "Patient : femme enceinte, 30 ans"):
        assert by_name("", f"{head}\nSodium : 128 mmol/L")["Sodium"].rules == "indéterminé"
    found = by_name("", "Patient : femme enceinte, 30 ans\nHb : 105 g/L")["Hb"]
    assert (found.source, found.rules) == ("table", "bas")
    urine = cross_check(
        "URINES\nPotassium : 61 mmol/L\nSANG\nPotassium : 4,1 mmol/L (3,5 - 5,0)", "Potassium : 4,1 mmol/L : normal"
    )
    assert [(c.rules, c.verdict, c.critical) for c in urine] == [
        ("indéterminé", "le modèle ne dit rien", False),
        ("normal", "accord", False),
    ]


def test_the_reference_answer_is_never_contradicted():
    assert {c.verdict for c in cross_check(REPORT, interpret(parse_report(REPORT)))} == {"accord", "le modèle s'abstient"}


@pytest.mark.parametrize(
    ("line", "name", "verdict"),
    [
        ("Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé, critique", "Potassium", "accord"),
        ("Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé", "Potassium", "DÉSACCORD"),
        ("Potassium : 6,8 mmol/L : indéterminé", "Potassium", "DÉSACCORD"),
        ("Calcium : 2,10 mmol/L : normal", "Calcium", "DÉSACCORD"),
        ("Sodium : 140 mmol/L (intervalle manquant) : indéterminé", "Sodium", "le modèle s'abstient"),
        ("Truc : 5 : élevé", "Truc", "sans intervalle connu"),
        ("", "Calcium", "le modèle ne dit rien"),
        ("CRP : 3 mg/L : normal", "CRP", "absent du compte rendu"),
    ],
)
def test_verdicts(line, name, verdict):
    assert by_name(line)[name].verdict == verdict


def test_the_table_escapes_and_names_critical_values():
    shown = check_html(cross_check(REPORT.replace("Index", "Index <script>"), "<b>CRP : 3 mg/L : normal"))
    assert "<script>" not in shown and "Index &lt;script&gt;" in shown and "DÉSACCORD" not in shown
    assert "Valeur critique selon les règles : Potassium 6,8 mmol/L" in shown and NOT_A_DEVICE in shown
    assert "Aucune analyse reconnue" in check_html([])
