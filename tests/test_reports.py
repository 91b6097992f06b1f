import pytest
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.lab.report import format_interval, in_unit, parse_answer, parse_line, parse_report, write_measurement, write_report
from medanalyzr.lab.rules import answer_key, flag, interpret


def test_parse_line():
    m = parse_line("- Potassium : 6,8 mmol/L (3,5 - 5,0)")
    assert (m.analyte, m.value, m.text, m.unit, m.low, m.high, m.flag) == ("potassium", 6.8, "6,8", "mmol/L", 3.5, 5.0, None)


@pytest.mark.parametrize(
    ("line", "bounds"),
    [
        ("ASAT : 92 UI/L (≤ 35)", (None, 35)),
        ("ASAT : 92 UI/L (N : < 35)", (None, 35)),
        ("DFG : 52 mL/min/1,73 m² (≥ 90)", (90, None)),
        ("Excès de base : -4,0 mmol/L (-2,0 - 2,0)", (-2, 2)),
        ("Potassium : 4,1 mmol/L", (None, None)),
    ],
)
def test_bounds(line, bounds):
    m = parse_line(line)
    assert (m.low, m.high) == bounds


def test_the_unit_of_the_interval_is_kept_where_it_differs():
    assert parse_line("Glycémie : 1,10 g/L (3,9 - 5,5 mmol/L)").interval_unit == "mmol/L"
    assert parse_line("Glycémie : 5,1 mmol/L (3,9 - 5,5 mmol/L)").interval_unit == ""
    assert parse_line("CRP : 5 mg/L (≤ 0,5 mg/dL)").interval_unit == "mg/dL"


def test_a_refusal_is_read_as_such():
    assert parse_answer("Hb : 125 g/L (sexe manquant) : indéterminé")["hb"].flag == "indéterminé"


def test_unit_with_digits_and_comma():
    assert parse_line("DFG : 52 mL/min/1,73 m² (≥ 90) : bas").unit == "mL/min/1,73 m²"


@pytest.mark.parametrize("line", ["", "Bilan hépatique", "Patient : femme, 63 ans", "Prélevé à 8 : 30", "Conclusion : cytolyse."])
def test_what_is_no_measurement(line):
    assert parse_line(line) is None


def test_answer_flag_and_critical_mark():
    given = parse_answer("Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8) : élevé, critique\nSodium : 140 mmol/L (135 - 145) : normal")
    assert given["potassium"].flag == "élevé" and given["potassium"].critical
    assert given["sodium"].flag == "normal" and not given["sodium"].critical


@pytest.mark.parametrize("answer", ["Potassium : 6,8 mmol/L (3,5 - 5,0) : non élevé", "le potassium est élevé", ""])
def test_no_flag_is_read_where_none_is_written(answer):
    assert parse_answer(answer) == {}


def test_the_first_line_of_an_analyte_counts():
    assert parse_answer("Sodium : 140 mmol/L : normal\nSodium : 140 mmol/L : bas")["sodium"].flag == "normal"


def test_sex_and_age():
    report = parse_report("Patient : femme, 63 ans\nHb : 110 g/L (120 - 160)")
    assert (report.sex, report.age) == ("F", 63)
    assert parse_report("Sexe : M").sex == "H"
    assert parse_report("Hb : 110 g/L").sex is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("Patient : garçon, 4 ans", ("H", 4, False)),
        ("Patient : fille, 17 ans", ("F", 17, False)),
        ("Patient : nourrisson (fille), 8 mois", ("F", pytest.approx(8 / 12), False)),
        ("Patient : nourrisson, 18 mois", (None, 1.5, False)),
        ("Patient : femme enceinte, 31 ans", ("F", 31, True)),
        ("Patient : femme, 18 ans", ("F", 18, False)),
        ("Patient : enfant, 30 mois", (None, 2, False)),
        ("Patient : homme, 63 ans", ("H", 63, False)),
        ("Femme, 31 ans, enceinte de 26 semaines", ("F", 31, True)),
        ("Grossesse : 24 SA, 29 ans", ("F", 29, True)),
        ("Femme non enceinte, 29 ans", ("F", 29, False)),
        ("Sexe : F\nTSH : 2,1 mUI/L (0,40 - 4,00)", ("F", None, False)),
    ],
)
def test_who_the_report_is_of(head, expected):
    report = parse_report(head)
    assert (report.sex, report.age, report.pregnant) == expected


def test_a_report_is_written_as_it_is_read():
    for text in (
        "Patient : nourrisson (garçon), 8 mois\nPrélèvement hémolysé\nPotassium : 5,1 mmol/L (3,7 - 5,6)",
        "Patient : femme enceinte, 31 ans\nTSH : 3,20 mUI/L",
        "Patient : homme, 58 ans\nSodium : 138 mmol/L (135 - 145)\nURINES\nSodium : 42 mmol/L\nSANG\nPotassium : 4,1 mmol/L",
        "LCR\nGlucose : 3,1 mmol/L (2,2 - 3,9)",
    ):
        assert write_report(parse_report(text)) == text


def test_the_specimen_is_that_of_the_heading_or_of_the_name():
    report = parse_report(
        "Sodium : 138 mmol/L\nURINES\nSodium : 42 mmol/L\nPrélèvement : sang\nSodium : 139 mmol/L\nSodium urinaire : 40 mmol/L"
    )
    assert [m.specimen for m in report.measurements] == ["sang", "urine", "sang", "urine"]
    assert [m.line for m in report.measurements] == [1, 3, 5, 6] and report.measurements[3].analyte is None


def test_an_earlier_result_is_no_part_of_the_line():
    m = parse_line("Créatinine : 150 µmol/L (59 - 104) antériorité : 95 (10/03/2039)")
    assert (m.value, m.low, m.high) == (150, 59, 104)


def test_format_interval():
    assert [format_interval(3.5, 5, 1), format_interval(None, 35, 0), format_interval(90, None, 0)] == ["3,5 - 5,0", "≤ 35", "≥ 90"]


def test_the_parser_reads_back_every_bundled_report_and_answer():
    for row in load_bundled():
        if row["kind"] == "question":
            continue
        report = parse_report(row["input"])
        assert interpret(report) == row["output"]
        given = parse_answer(row["output"])
        written = (m for m in report.measurements if m.specimen == "sang" or flag(m) != "indéterminé")
        expected = {answer_key(m): flag(m) for m in written}
        assert {key: m.flag for key, m in given.items()} == expected


@pytest.mark.parametrize("sign", ["<", ">", ""])
@pytest.mark.parametrize("interval_too", [True, False])
def test_a_value_keeps_its_sign_in_another_unit(sign, interval_too):
    m = parse_report(f"Patient : femme, 30 ans\nCréatinine : {sign} 50 µmol/L (45 - 105)").measurements[0]
    moved = in_unit(m, "mg/L", interval_too)
    assert (moved.sign, moved.text, moved.value) == (sign, f"{sign}5,7", 5.7)
    assert parse_line(write_measurement(moved)).sign == sign
