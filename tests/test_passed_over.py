"""What a report prints and nobody tells is named: no value is lost in silence."""

import pytest
from medanalyzr.inference.verify import verify

SODIUM = "Sodium : 139 mmol/L (136 - 145)"


def unread(text, answer=""):
    return [u["text"] for u in verify(text, answer).unread]


@pytest.mark.parametrize(
    "line",
    [
        "SMS labo : Mme M. K 7,2 créat 402",
        "NFS : GB 18,4 Hb 8,2 PLQ 21",
        "88121|POTASSIUM|SANG|7.2|mmol/L|3.5|5.1",
        "La kaliémie est à sept virgule deux.",
        "Hyponatrémie à 112 d'installation progressive.",
        "Paracétamolémie 186 mg/L",
        "la créatinine, à 88 à l'entrée, est ce matin à 464 µmol/L",
        "K7,2",
        "Date         Hb (g/dL)   PNN (G/L)\n16/05/2046   7,1         0,08",
    ],
)
def test_a_value_that_neither_the_reader_nor_the_answer_tells_is_named(line):
    assert any(line.splitlines()[0][:40].strip() in text or text in line for text in unread(f"{SODIUM}\n{line}"))


def test_what_the_answer_tells_is_not_named_again():
    text = f"{SODIUM}\nSMS labo : K 7,2"
    assert unread(text, "K : 7,2 (sans intervalle) : indéterminé, critique") == []
    assert len(unread(text, "Créatinine : 7,2 (sans intervalle) : indéterminé")) == 1  # of another analyte


@pytest.mark.parametrize(
    "line",
    [
        "Objectif HbA1c < 7 %", "Alerte si K > 6 mmol/L", "Le potassium est à un taux normal.", "Sérologie VIH 1 et 2, Ag p24",
        "Antériorité : 140 mmol/L", "Ringer lactate 500 mL", "Valeurs de référence : 136 - 145 mmol/L",
        "Urines : sodium 88 mmol/L", "Tél. 01 23 45 67 89", "Amoxicilline 1 g x 3 par jour",
    ],
)  # fmt: skip
def test_what_is_no_result_of_blood_is_not_named(line):
    assert unread(f"{SODIUM}\n{line}") == []


def test_each_value_of_a_long_line_is_shown():
    line = "Au total, K 7,2 ; le patient est vu ce matin en consultation avec sa famille, sans plainte, et le reste va bien ; Na 118 ; fin."
    shown = " ".join(unread(line))
    assert "7,2" in shown and "118" in shown
