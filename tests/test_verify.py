"""Every line of an answer against the text of its report: right lines are verified, wrong ones caught, and nothing gets lost."""

import json
import random
import time
from collections import Counter
from dataclasses import fields

import pytest
from medanalyzr.inference.verification.proof import Proofs
from medanalyzr.inference.verify import Result, as_line, verify
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.names import key
from medanalyzr.lab.report import Report
from medanalyzr.lab.rules import flag, interpret
from verify_cases import LAYOUTS, cases, wrong_lines

REPORT = """Patient : femme, 54 ans
Sodium : 141 mmol/L (136 - 145)
Potassium : 6,8 mmol/L (3,5 - 5,0)
Créatinine : 72 µmol/L (45 - 84)
CRP : <3 mg/L (< 5)
URINES
Sodium : 62 mmol/L
"""
POTASSIUM = "Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,0 ≤ 6,8) : élevé, critique"


@pytest.fixture(scope="module")
def generated():
    return [(case, read_report(case.text)) for case in cases(seed=11, of_each=3)]


def why(report, line):
    """Why a line is not verified; "" where it is."""
    (result,) = verify(report, line).results
    assert result.verified == (result.why == "")
    return result.why.partition(" ; corrigé")[0]


def test_right_answers_are_verified_in_every_layout(generated):
    right, verified = Counter(), Counter()
    for case, report in generated:
        lines = case.right()
        results = verify(report, "\n".join(lines)).results
        assert [r.name for r in results] == [m.name for m in case.measurements]
        right[case.layout] += len(lines)
        verified[case.layout] += sum(r.verified for r in results)
    assert set(right) == {layout.__name__ for layout in LAYOUTS}
    assert verified.total() >= 0.97 * right.total()
    assert not {layout for layout in right if verified[layout] < 0.9 * right[layout]}


def test_wrong_answers_are_caught(generated):
    made, missed = Counter(), []
    for seed, (case, report) in enumerate(generated):
        for fault, m, line in wrong_lines(seed, case):
            made[fault] += 1
            if not why(report, line):
                missed.append((case.layout, fault, m.text, line))
    assert made.total() >= 500 and len(made) == 11
    assert len(missed) <= 0.005 * made.total(), missed


def test_every_number_of_a_report_is_no_value_but_its_own(generated):
    """An earlier result, a bound or a date, under the name of any analyte of the report."""
    tried, missed = 0, []
    for case, report in generated:
        numbers = {word.strip('().,;:*|"[]{}') for word in case.text.split()}
        numbers = {word for word in numbers if word.replace(",", "", 1).isdigit()}
        for m in case.measurements:
            for text in sorted(numbers - {m.text, m.text.lstrip("<")}):
                if float(text.replace(",", ".")) == m.value:
                    continue
                tried += 1
                line = f"{m.name} : {text} {m.unit} (intervalle manquant) : indéterminé"
                if not why(report, line):
                    missed.append((case.layout, m.text, line))
    assert tried >= 500 and not missed


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (POTASSIUM, ""),
        ("Kaliémie : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé, critique", ""),
        ("Potassium : 6,9 mmol/L (3,5 ≤ 5,0 < 6,9) : élevé, critique", "valeur absente du compte rendu"),
        ("Potassium : 72 mmol/L (3,5 ≤ 5,0 < 72) : élevé, critique", "le lecteur strict lit 6,8 mmol/L"),
        ("Potassium : 6,8 g/L (3,5 ≤ 5,0 < 6,8) : élevé, critique", "le lecteur strict lit 6,8 mmol/L"),
        ("Potassium : 6,8 mmol/L (136 ≤ 145 < 6,8) : élevé, critique", "intervalle : le lecteur strict lit 3,5 - 5"),
        ("Potassium : 6,8 mmol/L (5,0 < 6,8) : élevé, critique", "intervalle : le lecteur strict lit 3,5 - 5"),
        ("Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,0) : élevé, critique", "la comparaison porte 6"),
        ("Potassium : 6,8 mmol/L (3,5 ≤ 6,8 ≤ 5,0) : normal, critique", "indicateur : les règles disent élevé"),
        ("Potassium : 6,8 mmol/L (intervalle manquant) : élevé, critique", "un intervalle est imprimé"),
        (POTASSIUM.removesuffix(", critique"), "critique selon les règles"),
        (POTASSIUM.replace("critique 6,0", "critique 6,5"), "les règles disent critique 6,0 ≤ 6,8"),
        ("Créatinine : 72 µmol/L (45 ≤ 72 ≤ 84 ; appel dès 354) : normal", "aucune limite à dire selon les règles"),
        ("Sodium : 141 mmol/L (136 ≤ 141 ≤ 145) : normal, critique", "non critique selon les règles"),
        ("Sodium : 62 mmol/L (intervalle manquant) : indéterminé", "prélèvement : urine"),
        ("Sodium (urines) : 62 mmol/L (intervalle manquant) : indéterminé", "prélèvement : urine"),
        ("CRP : 3 mg/L (3 ≤ 5) : normal", "valeur absente du compte rendu"),
        ("CRP : <3 mg/L (3 ≤ 5) : normal", ""),
        ("Magnésium : 0,80 mmol/L (0,66 ≤ 0,80 ≤ 1,07) : normal", "nom absent du compte rendu"),
        ("Potassium : 6,8 mmol/L (3,5 ≤ 5,", "ligne non comprise"),
    ],
)
def test_the_first_reason_in_words(line, reason):
    assert why(REPORT, line) == reason


@pytest.mark.parametrize(
    "name",
    [
        "1ère heure",
        "2e heure",
        "T60",
        "à jeun",
        "2e prélèvement",
        "Avant dialyse",
        "Fin de séance",
        "Résultat",
        "Témoin",
        "H + 2",
        "4h30",
    ],
)
def test_a_moment_is_no_name_of_a_result(name):
    text = f"Dosage de la surveillance      B 6\n  {name}        4     mm           < 15"
    assert why(text, f"{name} : 4 mm (4 ≤ 15) : normal") == "ce nom n'est pas celui d'une analyse"
    for real in ("Antigène XY", "T4"):
        assert not why(text.replace(name, real), f"{real} : 4 mm (4 ≤ 15) : normal")


@pytest.mark.parametrize(
    ("report", "due", "wrong"),
    [
        ("Créatinine : 200 µmol/L (59 - 104)", "appel dès 354", "appel dès 355"),
        ("Créatinine : 83,1 mg/L (6,7 - 11,8)", "critique 354 ≤ 735 µmol/L", "critique 354 ≤ 476 µmol/L"),
        ("Calcium : 2,72 mmol/L (2,20 - 2,60)\nAlbumine : 20 g/L (35 - 52)", "corrigé 3,", "corrigé 2,"),
    ],
)
def test_a_limit_or_a_conversion_that_the_rules_do_not_say_is_not_verified(report, due, wrong):
    first = interpret(read_report(report)).splitlines()[0]
    assert due in first and why(report, first) == ""
    assert why(report, first.replace(due, wrong)).startswith("les règles disent ")


def test_a_line_that_the_report_contradicts_shows_what_the_report_says():
    for line, said in (
        ("Potassium : 3,9 mmol/L (3,5 ≤ 3,9 ≤ 5,0) : normal", "3,9 mmol/L, normal"),  # another value
        ("Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé", "6,8 mmol/L, élevé"),  # the critical mark is missing
    ):
        (result,) = verify(REPORT, line).results
        assert (result.value, result.flag, result.critical, result.verified) == ("6,8", "élevé", True, False)
        assert result.why.endswith(f" ; corrigé d'après le compte rendu (réponse : {said})")
    (result,) = verify(REPORT, "Magnésium : 0,80 mmol/L (0,66 ≤ 0,80 ≤ 1,07) : normal").results
    assert "corrigé" not in result.why  # nothing was read under that name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Insuline 0,1 U/kg/h IVSE, K 4,1 mmol/L", "Insuline : 0,1 U/kg/h (intervalle manquant) : indéterminé"),
        ("Mme M., IMC 31,4 kg/m², HbA1c 8,2 %", "IMC : 31,4 kg/m² (intervalle manquant) : indéterminé"),
        ("FiO2\t28\t%\npH\t7,31\t\t7,35 - 7,45", "FiO2 : 28 % (intervalle manquant) : indéterminé"),
    ],
)
def test_a_dose_a_weight_or_a_setting_is_no_proved_result(text, line):
    assert why(text, line)


def test_no_wrong_flag_is_shown_where_the_strict_reader_read_the_result(generated):
    for _, report in generated[::5]:
        blood = [m for m in report.measurements if m.specimen == "sang" and m.low is not None and m.high is not None]
        if [key(m.name) for m in report.measurements].count(key(blood[0].name) if blood else "") != 1:
            continue
        wrong = f"{blood[0].name} : 0,001 {blood[0].unit} (0,001 ≤ 1) : normal"
        (result,) = verify(report, wrong).results
        assert not result.verified and (result.value, result.flag) == (blood[0].text, flag(blood[0])), (wrong, result)


OF_ANTIBODIES = "valeur de « anticorps anti-tpo » pour le lecteur strict"
NO_INTERVAL = "(intervalle manquant) : indéterminé"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("La kaliémie est à 5,4 mmol/L (4,9 en mai).", f"kaliémie : 5,4 mmol/L {NO_INTERVAL}", ""),
        ("La kaliémie est à 5,4 mmol/L (4,9 en mai).", f"kaliémie : 4,9 mmol/L {NO_INTERVAL}", "le lecteur strict lit 5,4 mmol/L"),
        ("La clairance de la créatinine est à 62 mL/min.", f"créatinine : 62 mL/min {NO_INTERVAL}", "appartenance non prouvée"),
        ("Anticorps anti-TPO à 62 UI/mL, TSH 2,1 mUI/L.", f"TPO : 62 UI/mL {NO_INTERVAL}", OF_ANTIBODIES),
        ("Plaquettes 25 000 /mm3 (150 000 - 400 000)", f"Plaquettes : 25 /mm3 {NO_INTERVAL}", "valeur absente du compte rendu"),
        ("H 60 ans\nSodium    l4O    mmol/L", f"Sodium : 140 mmol/L {NO_INTERVAL}", "valeur absente du compte rendu"),
        ("Ferritine    4 ,6   µg/L    30 - 400", "Ferritine : 4 µg/L (4 < 30) : bas", "valeur absente du compte rendu"),
        ("Sodium 141 mmol/L, potassium 6,8", f"potassium : 6,8 {NO_INTERVAL}", "valeur critique non exclue sans unité connue"),
        ("Sodium\nPotassium\n\n141 mmol/L\n4,1 mmol/L", f"Potassium : 4,1 mmol/L {NO_INTERVAL}", "appartenance non prouvée"),
    ],
)
def test_a_value_belongs_to_its_name(text, line, reason):
    assert why(text, line) == reason


def test_two_results_of_one_analyte_prove_neither():
    text = (
        '[{"analyse": "Potassium", "valeur": 4.1, "unite": "mmol/L"}, {"analyse": "Potassium", "valeur": 6.8, "unite": "mmol/L"}]'
    )
    assert why(text, "Potassium : 4,1 mmol/L (intervalle manquant) : indéterminé")


@pytest.mark.parametrize(
    "text",
    [
        "Potassium : 6,8 mmol/L (3,5 - 5,0)",
        "Potassium\n6,8 mmol/L\n3,5 - 5,0",
        "Potassium : 6,8 mmol/L (3,5 - 5,0)\nLIQUIDE PLEURAL\nPotassium : 4,1 mmol/L",
    ],
)
def test_a_line_said_again_word_for_word_is_no_second_result(text):
    found = verify(text, f"{POTASSIUM}\n  {POTASSIUM} \n{POTASSIUM}")
    assert [r.verified for r in found.results] == [True]
    assert found.critical == ["Potassium"] and found.urgent == ["Potassium 6,8 mmol/L"]


def test_left_out_unread_and_critical_are_said_whoever_saw_them():
    text = REPORT + "SANG\nMagnésium : 0,8O mmol/L (0,66 - 1,07)\n"
    verified = verify(
        text, "Sodium : 141 mmol/L (136 ≤ 141 ≤ 145) : normal\nCréatinine : 720 µmol/L (45 ≤ 84 < 720) : élevé, critique"
    )
    assert [(r.name, r.value, r.critical) for r in verified.left_out if r.specimen == "sang"] == [
        ("Potassium", "6,8", True),
        ("CRP", "<3", False),
    ]
    assert {r.why for r in verified.left_out} == {"absent de la réponse"}
    assert verified.critical == ["Créatinine", "Potassium"]
    assert any("0,8O" in u["text"] for u in verified.unread) and all(u["why"] for u in verified.unread)


def test_of_two_samples_the_one_that_the_answer_lacks_is_left_out():
    text = "Patient : homme, 60 ans\nTroponine T hs T0 : 9 ng/L (< 14)\nTroponine T hs T3h : 74 ng/L (< 14)"
    report = read_report(text)
    assert len(report.measurements) == 2
    first = interpret(report).splitlines()[0]
    verified = verify(report, first)
    assert verified.results[0].verified
    assert [r.value for r in verified.left_out] == ["74"] and verified.critical == [report.measurements[1].name]


def test_the_conclusion_of_the_rules_rests_on_verified_lines_alone():
    answer = interpret(read_report(REPORT))
    verified = verify(REPORT, answer)
    assert [r.verified for r in verified.results if r.specimen == "sang"] == [True] * 4
    assert f"Conclusion : {verified.conclusion} ;" in answer and "hyperkaliémie" in verified.conclusion
    assert verified.next_steps[0].startswith("prévenir le médecin")
    without = verify(REPORT, answer.replace("6,8", "6,9"))
    assert "kali" not in without.conclusion and without.critical == ["Potassium"]
    nothing = verify(REPORT, "Sodium : 99 mmol/L (99 < 136) : bas")
    assert (nothing.conclusion, nothing.next_steps) == ("", [])


def test_a_line_of_predictions_has_the_fields_of_the_contract():
    answer = interpret(read_report(REPORT))
    line = json.loads(json.dumps(as_line("a.txt", REPORT, answer, verify(REPORT, answer)), ensure_ascii=False))
    assert list(line) == ["source", "report", "answer", "results", "unread", "left_out", "critical", "conclusion", "next_steps"]
    assert line["report"] == REPORT and line["answer"] == answer and line["critical"] == ["Potassium"]
    keys = ["analyte", "name", "specimen", "value", "unit", "low", "high", "interval_unit", "flag", "critical", "verified", "why"]
    assert [f.name for f in fields(Result)] == keys and all(list(result) == keys for result in line["results"])
    assert line["results"][1] == dict(
        zip(keys, ("potassium", "Potassium", "sang", "6,8", "mmol/L", 3.5, 5.0, "", "élevé", True, True, ""), strict=True)
    )


def test_low_bound_of_a_low_value_brings_the_whole_interval():
    (result,) = verify("Patient : homme, 40 ans\nSodium : 131 mmol/L (136 - 145)", "Sodium : 131 mmol/L (131 < 136) : bas").results
    assert (result.verified, result.low, result.high) == (True, 136.0, 145.0)


def test_a_parsed_report_without_its_text_is_checked_as_well():
    report = read_report(REPORT)
    bare = Report(report.sex, report.age, report.measurements)
    assert why(bare, POTASSIUM) == "" and why(bare, POTASSIUM.replace("6,8", "6,7")) == "valeur absente du compte rendu"


def test_no_text_makes_it_fail_and_no_line_is_lost():
    rng = random.Random(3)
    pieces = [
        *"0123456789,.:;<>≤()-–%|/\n\t²µ°'\"{}[]\u202f\u00a0",
        "Potassium",
        "6,8",
        "mmol/L",
        " : ",
        "élevé",
        "critique",
        "9" * 400,
        "1e309",
        "٣",
        "\u202e",
    ]
    for _ in range(150):
        text, answer = ("".join(rng.choices(pieces, k=rng.randint(0, 60))) for _ in range(2))
        verified = verify(text, answer)
        assert len(verified.results) == sum(bool(line.strip()) for line in answer.splitlines())
        json.dumps(as_line("x", text, answer, verified))


def test_verifying_a_thousand_reports_takes_no_two_seconds():
    made = [case for case in cases(seed=5, of_each=12) if case.layout in ("colon", "columns", "pipes", "thousands")]
    ready = [(read_report(case.text), "\n".join(case.right())) for case in made]
    verify(*ready[0])
    lines, took = sum(len(report.measurements) for report, _ in ready), []
    for _ in range(3):  # of which the fastest counts: other processes run
        began = time.process_time()
        for report, answer in ready:
            verify(report, answer)
        took.append(time.process_time() - began)
    assert min(took) / lines * 15_000 < 2


@pytest.mark.parametrize("text", ["", "Compte rendu sans résultat : 12 pages", "a." * 2000, "4,1 mmol/L\n" * 500])
def test_a_text_without_any_name_proves_nothing(text):
    assert why(text, "Potassium : 4,1 mmol/L (intervalle manquant) : indéterminé") == "nom absent du compte rendu"


@pytest.mark.parametrize("line", ["Potassium        4 4       mmol/L        3,5 - 5,1", "Potassium : 4 4 mmol/L (3,5 - 5,1)"])
@pytest.mark.parametrize("value", ["4", "4,0", "4,4"])
def test_two_numbers_a_space_apart_prove_none(line, value):
    answer = f"Potassium : {value} mmol/L (3,5 ≤ {value} ≤ 5,1) : normal"
    assert not verify(f"Homme 60 ans\n{line}", answer).results[0].verified


@pytest.mark.parametrize(
    ("text", "low", "high", "printed"),
    [
        ("Fibrinogène 970 mg/L (N de 2 000 à 4 000)", 2000, 4000, True), ("γGT\n20 UI/L\n(VN inférieur à 38)", None, 38, True),
        ("Hb 151 g/L (130,0-170,0)", 130, 170, True), ("chlorures à 88 mmol/L, usuelles de 98 - 107", 98, None, True),
        ("N : 4000 < N < 10000", 4000, 10000, True), ("créatinine 148 µmol/L (131 µmol/L en janvier)", 131, None, False),
        ("LDL 1,47 g/L\nObjectif < 0,70", None, 0.7, False), ("TP 75 % (15 - 1300)", 15, 130, False), ("TP 75 % (70 - 130)", None, None, False),
    ],
)  # fmt: skip
def test_an_interval_is_printed_in_the_form_of_one(text, low, high, printed):
    assert Proofs(read_report(text), []).prints_interval(low, high) == printed


def test_a_reading_without_its_printed_interval_corrects_nothing():
    report = "Bilan : la créatinine à 97 µmol/L, pour des valeurs usuelles de 45 - 84."
    (line,) = verify(report, "créatinine : 97 µmol/L (45 ≤ 84 < 97) : élevé").results
    assert (line.flag, line.low, line.high) == ("élevé", 45, 84)


def test_a_critical_mark_of_an_unknown_name_stays():
    report = "On retrouve l'hémogloine à 65 g/L, usuelles de 120 - 160, contre 73 le 28/06/2038."
    (line,) = verify(report, "hémogloine : 65 g/L (65 < 120 ; critique 70 ≥ 65) : bas, critique").results
    assert line.critical and not line.verified
