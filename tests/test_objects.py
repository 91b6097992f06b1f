"""JSON reports in forms of the sender's own: what is certain is read with its interval, the rest is refused with a reason."""

import json
from random import Random

import pytest
from medanalyzr.dataset.layouts import compose
from medanalyzr.inference.verify import verify
from medanalyzr.lab.reader import read_report

FIRST = {"nom": "Kaliémie", "resultat": 2.4, "unite": "mmol/L", "min": 3.5, "max": 5.0}
SECOND = {"nom": "Hémoglobine", "resultat": 98, "unite": "g/L", "min": 120, "max": 160}
POTASSIUM, HB = ("potassium", "2,4", "mmol/L", 3.5, 5.0, "sang"), ("hb", "98", "g/L", 120.0, 160.0, "sang")
NO_BOUNDS = {"min": None, "max": None}


def results(report):
    return [(m.analyte, m.text, m.unit, m.low, m.high, m.specimen) for m in report.measurements]


def read(doc):
    """The reading of a JSON report, the same on one line and on many."""
    report, other = (read_report(json.dumps(doc, ensure_ascii=False, indent=indent)) for indent in (None, 2))
    assert results(report) == results(other) and len(report.unread) == len(other.unread)
    return report


def with_first(**more):
    """The reading of a report with potassium and haemoglobin, the fields of potassium replaced or added to."""
    return read({"patient": {"sexe": "F", "age": 52}, "resultats": [FIRST | more, SECOND]})


def test_results_and_patient_of_a_plain_list():
    report = with_first()
    assert results(report) == [POTASSIUM, HB] and (report.sex, report.age, report.unread) == ("F", 52, ())


@pytest.mark.parametrize(
    "more",
    [
        {"resultat": "2,4", "min": "3,5 mmol/L", "max": "5,0"},
        {"resultat": {"valeur": 2.4, "unite": "mmol/L"}, "unite": None},
        {"resultat": ["2.4", "mmol/L"], "unite": None},
        {"resultat": "2,4 mmol/L", "unite": None},
        NO_BOUNDS | {"reference": "3,5 - 5,0"},
        NO_BOUNDS | {"reference": [3.5, 5.0]},
        NO_BOUNDS | {"referenceRange": {"low": {"value": 3.5}, "high": {"value": 5.0}}},
        NO_BOUNDS | {"normes": [{"type": "max", "valeur": 5.0}, {"type": "min", "valeur": 3.5}]},
        NO_BOUNDS | {"reference": {"hommes": "3,4 - 4,9", "femmes": "3,5 - 5,0"}},
        {"statut": "validé", "code": "K", "methode": "Potentiométrie", "nabm": "1610", "section": "Ionogramme", "flag": "L"},
        {"anterieur": {"valeur": 4.4, "date": "2019-01-01"}, "critique_bas": 2.8, "anormal": True},
        {"nom": {"code": "2823-3", "libelle": "Kaliémie"}},
    ],
)
def test_the_same_result_in_other_forms(more):
    assert results(with_first(**more)) == [POTASSIUM, HB]


@pytest.mark.parametrize(
    "more",
    [
        {"statut": "annulé"}, {"statusCode": "cancelled"}, {"valide": False}, {"commentaire": "hémolysé"}, {"qualite": "HEM"},
        {"anormal": False}, {"flag": "H"}, {"rang": "antérieur"}, {"comparateur": "<"}, {"limite": "<"}, {"multiplicateur": "X1000"},
        {"valeur_si": 2.4, "resultat": 9.4}, {"valeur_2": 5.1}, {"fraction": "CONJUGUEE"}, {"nom2": "Natrémie"}, {"c1": 7}, {"unite2": "g/L"},
        {"resultat": None, "n-1": 4.4}, {"resultat": None, "prix": 1.89}, {"resultat": "1.250"}, {"resultat": "2,4 (ant. 3,1)"},
        {"resultat": None, "n": 3}, {"code": "K_URINE"}, {"methode": "Bandelette urinaire"},
        {"resultat": None, "2019-01-01": 4.4}, {"date": "12 mars 2019"}, {"prelevement": "UR"}, {"valeur_urinaire": 80},
        NO_BOUNDS | {"seuils": {"min": 2.5, "max": 6.5}}, NO_BOUNDS | {"limites": {"bas": 2.5, "haut": 6.5}},
        NO_BOUNDS | {"reference": "inférieur à cinq"}, NO_BOUNDS | {"plage": "3-5"}, NO_BOUNDS | {"reference": "0.270-4.200 ou 5"},
        NO_BOUNDS | {"reference": {"hommes": "3,4 - 4,9"}}, {"min": "3,5*"}, {"min": 6.0}, {"delai_max": 24}, {"temperature_min": 2},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(more):
    report = with_first(**more)
    assert results(report) == [HB]


PLAIN = FIRST | {"nom": "Potassium"}  # «kaliémie» is of blood


@pytest.mark.parametrize(
    ("around", "specimen"),
    [
        ({"urines": [PLAIN]}, "urine"),
        ({"LCR": {"Glucose": {"valeur": 0.6, "unite": "g/L"}}}, "lcr"),
        ({"echantillon": {"nature": "Urines de 24h"}, "analyses": [PLAIN]}, "urine"),
        ({"specimen": {"code": "UR"}, "analyses": [PLAIN]}, "urine"),
        ({"bilan": {"intitule": "Chimie urinaire", "resultats": [PLAIN]}}, "urine"),
        ({"resultats": [PLAIN | {"unite": "mmol/24h"}]}, "urine"),
    ],
)
def test_the_specimen_around_results(around, specimen):
    assert [m.specimen for m in read(around).measurements] == [specimen]


@pytest.mark.parametrize(
    "doc",
    [
        {"statut": "provisoire", "resultats": [FIRST]},
        {"historique": [FIRST]},
        {"objectifs": [FIRST]},
        {"traitements": [{"nom": "Fer", "posologie": "80 mg"}]},
        {"resultats": [FIRST, FIRST | {"resultat": 4.1}]},
        {"resultats": [FIRST | {"commentaire": "à contrôler"}, FIRST | {"resultat": 4.1}]},
        {"resultats": [FIRST | {"date": "2024-03-12"}, SECOND | {"date": "2019-03-12"}]},
        {"edition": "2024-03-12", "resultats": [FIRST | {"date": "2019-03-12"}]},
        {"2024": [FIRST], "2019": [SECOND]},
        {"patients": {"P1": {"resultats": [FIRST]}, "P2": {"resultats": [SECOND]}}},
        [{"nom": "Dupont", "resultats": [FIRST]}, {"nom": "Martin", "resultats": [SECOND]}],
        [{"id": "1", "analyses": [FIRST]}, {"id": "2", "analyses": [SECOND]}],
        {"historique": {"Kaliémie": "4,4 mmol/L (3,5 - 5,0)"}},
        {"resultats": [{"titre": "Antériorités du 01/01/2020"}, FIRST]},
        {"resultats": [{"type": "section", "libelle": "Ionogramme urinaire"}, FIRST]},
        {"sections": [["urines", [FIRST]]]},
        {"provisoire": True, "resultats": [FIRST]},
        {"definitif": False, "resultats": [FIRST]},
        {"conclusion": "Bilan annulé", "resultats": [FIRST]},
        {"statut": {"code": "P"}, "resultats": [FIRST]},
        {"date_recueil_urines": "2024-03-01", "resultats": [FIRST]},
        {"compte_rendu": {"date": "2024-05-30"}, "bilan": {"date": "2019-01-01", "resultats": [FIRST]}},
        {"resultats": [FIRST | {"resultat": None, "valeurs": [None, 4.1]}]},
        {"resultats": {"Potassium": {"valeur": 4.1, "unite": "mmol/L"}}, "normes": {"Potassium": "3,5-5,0"}},
    ],
)
def test_other_days_and_other_patients_are_refused(doc):
    assert results(read(doc)) == []


def test_what_cannot_be_parsed_is_said():
    twice = read_report('{"Kaliémie": {"valeur": 4.1, "unite": "mmol/L"}, "Kaliémie": {"valeur": 6.8, "unite": "mmol/L"}}')
    deep = read_report("[" * 5000 + "]" * 5000)
    assert [[u.why for u in r.unread] for r in (twice, deep)] == [["une clé y est deux fois"], ["trop de niveaux"]]
    assert read_report('{"resultats": [{"nom": "Kaliémie", "valeur": NaN, "unite": "mmol/L"}]}').measurements == ()


@pytest.mark.parametrize(
    ("patient", "sex", "age"),
    [
        ({"patient": {"sexe": "F", "age": "8 mois"}}, "F", pytest.approx(8 / 12, abs=0.01)),
        ({"patient": {"age": 8, "ageUnite": "mois"}}, None, None),
        ({"patient": {"age": 8, "periode": "mois"}}, None, None),
        ({"patient": {"age": "8 months", "grossesse": 0}}, None, None),
        ({"patient": {"gender": "male", "age": 45}, "medecin": {"sexe": "F", "age": 60}}, "H", 45),
        ({"prescripteur": {"genre": "F"}, "delai": "2 jours", "automate": {"age": 3}}, None, None),
    ],
)
def test_sex_and_age_are_those_of_the_patient(patient, sex, age):
    report = read(patient | {"resultats": [FIRST]})
    assert (report.sex, report.age) == (sex, age) and results(report) == [POTASSIUM]


def test_an_age_in_months_is_none_in_years():
    assert read_report("Age : 8 mois\nSodium : 140 mmol/L (136 - 145)").age == pytest.approx(8 / 12, abs=0.01)


READ = """Patient : F, 52 ans
Kaliémie : 2,4 mmol/L (3,5 - 5,0)
Hémoglobine : 98 g/L (120 - 160)
Plaquettes : 28 G/L (150 - 400)
INR : 1,10 (0,80 - 1,20)
CRP : 12 mg/L (< 5)
"""


@pytest.mark.parametrize("family", ["json", "json_nested", "tree_json"])
def test_nothing_composed_is_read_wrong(family):
    plain, count = read_report(READ), 0
    for seed in range(60):
        text, true = compose(plain, Random(seed), family, more=Random(seed + 1) if seed % 2 else None)
        due = {(m.name, m.value, m.sign, m.low, m.high) for m in true.measurements}
        found = {(m.name, m.value, m.sign, m.low, m.high) for m in read_report(text).measurements if m.specimen == "sang"}
        assert found <= due, text
        count += len(found)
    assert count > 100


def test_a_right_line_is_verified_and_a_wrong_one_corrected():
    text = json.dumps({"resultats": [FIRST, SECOND]}, ensure_ascii=False)
    right = "Kaliémie : 2,4 mmol/L (2,4 < 3,5 ; critique 2,8 ≥ 2,4) : bas, critique"
    wrong = "Hémoglobine : 98 g/L (98 ≤ 160) : normal"
    found = verify(text, f"{right}\n{wrong}")
    assert [(r.verified, r.flag, r.critical) for r in found.results] == [(True, "bas", True), (False, "bas", False)]
    assert found.critical == ["Kaliémie"] and found.left_out == []


def test_a_text_that_begins_with_a_bracket_is_searched_as_text():
    text = "[Laboratoire]\n- Potassium dosé = 4,1 mmol/L  N 3,5 - 5,0 ce jour"
    assert read_report(text).measurements == ()  # so the strict reader proves nothing
    assert verify(text, "Potassium : 4,1 mmol/L (3,5 ≤ 4,1 ≤ 5,0) : normal").results[0].verified


def test_a_result_that_the_answer_lacks_is_listed():
    text = json.dumps({"resultats": [FIRST, SECOND]}, ensure_ascii=False)
    assert [r.name for r in verify(text, "Hémoglobine : 98 g/L (98 < 120 ; appel sous 70) : bas").left_out] == ["Kaliémie"]
