"""What composed training reports have more of: moved values, open and missing intervals, the patient anywhere, columns beside each other."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from random import Random

from medanalyzr.dataset import layouts
from medanalyzr.dataset.composer.asides import open_end
from medanalyzr.dataset.composer.pages.noise import HELD_OUT_NOISE, NOISE, noisy
from medanalyzr.dataset.composer.printing import Line, Style, phrases
from medanalyzr.dataset.layouts import HELD_OUT, TRAINED, compose, sample
from medanalyzr.dataset.sources.moved import moved, remarked
from medanalyzr.lab.engine.facts import ckd_epi_2009
from medanalyzr.lab.report import Measurement, Report, number, write_report
from medanalyzr.lab.rules import interpret
from test_composer import REPORTS

FEW = Report("F", 53.0, tuple(
    Measurement(analyte, name, text, number(text), "", unit, low, high)
    for analyte, name, text, unit, low, high in (
        ("potassium", "Potassium", "4,1", "mmol/L", 3.5, 5.0), ("hb", "Hémoglobine", "104", "g/L", 120.0, 160.0),
        ("creatinine", "Créatinine", "70", "µmol/L", 45.0, 84.0), ("dfg", "DFG", "86", "mL/min/1,73 m²", 60.0, None))))  # fmt: skip


def leant(seed):
    style = Style(Random(seed))
    style.lean(Random(seed))
    return style


def taught(family, count=120, report=FEW, most=4):
    for seed in range(count):
        yield compose(report, Random(f"{family} {seed}"), family, most, Random(seed))


def test_values_move_to_their_limits_and_what_is_computed_follows():
    seen = [moved(FEW, Random(seed)) for seed in range(400)]
    assert seen == [moved(FEW, Random(seed)) for seed in range(400)] and 120 < seen.count(FEW) < 240
    potassium = Counter(report.measurements[0].text for report in seen)
    assert {"3,5", "5,0", "5,1"} <= set(potassium) and len(potassium) > 40
    for report in seen:
        k, hb, creatinine, dfg = report.measurements
        assert all(m.value == number(m.text) > 0 for m in report.measurements) and (k.low, k.high) == (3.5, 5.0)
        if creatinine.text != "70":
            assert abs(dfg.value - ckd_epi_2009(creatinine.value, 53.0, "F")) <= 0.5
        else:
            assert dfg.text == "86"


def test_values_that_hold_each_other_stay():
    count = Report("H", 60.0, tuple(
        Measurement(a, a, t, number(t.lstrip("<")), "<" * t.startswith("<"), u, None, None)
        for a, t, u in (("hb", "134", "g/L"), ("hematocrite", "40,2", "%"), ("vgm", "89", "fL"), ("sodium", "<140", "mmol/L"))))  # fmt: skip
    assert all(moved(count, Random(seed)) == count for seed in range(40))
    urine = replace(FEW, measurements=(replace(FEW.measurements[0], specimen="urine"),))
    assert all(moved(urine, Random(seed)) == urine for seed in range(40))


def test_only_training_examples_move_values_and_lean(monkeypatch):
    leant, made = [], []
    monkeypatch.setattr(Style, "lean", lambda self, more: leant.append(more))
    monkeypatch.setattr(layouts, "moved", lambda report, *_: made.append(report) or report)
    row = {"input": write_report(FEW), "output": interpret(FEW)}
    assert len(sample([row], 60, 7, (*HELD_OUT, "columns"))) == 60 and not leant and not made
    assert {example["layout"] for example in sample([row], 60, 7)} <= set(TRAINED) and 25 < len(leant) < len(made) == 60


def test_answers_follow_what_is_printed_of_an_interval():
    open_ends, none, sexes, foot, beside = 0, 0, 0, 0, 0
    for text, report in (made for family in ("columns", "colon", "yaml") for made in taught(family)):
        k = next(m for m in report.measurements if m.analyte == "potassium")
        open_ends += (k.low is None) != (k.high is None)
        none += (k.low, k.high) == (None, None)
        sexes += bool(re.search(r"H : .*F : ", text))
        said = re.search(r"(?i)\bfemme|féminin|\bF\b|Mme|Madame|feminin", text)
        foot += bool(said) and said.start() > text.rfind(k.name[:4]) > 0
        beside += bool(re.search(r"(Mme|Femme|femme|Sexe).* {4,}\S|\S {4,}.*(Mme|Femme|femme|Sexe)", text))
    assert min(open_ends, none, sexes, foot, beside) > 15, (open_ends, none, sexes, foot, beside)


def test_a_coded_sex_stands_under_a_key_that_says_what_the_code_means():
    coded = 0
    for text, report in (made for family in ("export", "json", "tree_json", "key_value") for made in taught(family)):
        if found := re.search(r"_1[MH]_2F", text):
            coded += 1
            assert report.sex == "F" and found
        assert not re.search(r'(?i)"?(sexe?|gender)"?\s*[:=]\s*"?[12]\b', text), text
    assert coded > 20


def test_two_tables_stand_beside_each_other():
    both = [
        text for text, report in taught("halves", report=REPORTS[0], most=12) if len({m.line for m in report.measurements}) == 1
    ]
    assert len(both) > 10  # two results in each line: none has one to itself


def test_a_grid_has_values_under_their_names():
    under = 0
    for text, report in taught("grid"):
        lines = text.splitlines()
        names = next(i for i, line in enumerate(lines) if report.measurements[0].name in line)
        found = re.search(r"\S+ ?\S*", lines[names + 1])
        under += found is not None and bool(re.search(r"\d", lines[names + 1])) and not re.search(r"\d{3}", lines[names][:9])
    assert under > 90


def test_a_margin_stands_beside_the_results():
    together = 0
    for text, report in taught("margin"):
        results = [line for line in text.splitlines() if any(m.name in line for m in report.measurements)]
        together += any(re.search(r"Mme|[Ff]emme|F[ée]minin|Sexe|Dr |n°", line) for line in results)
    assert together > 70


def test_extractions_name_the_patient_and_bounds_in_columns():
    for text, report in taught("export"):
        delimiter = next(mark for mark in "\t|;," if mark in text.splitlines()[0])
        head, *rows = csv.reader(text.splitlines(), delimiter=delimiter)
        assert {len(row) for row in rows} == {len(head)}
        for m in report.measurements:
            assert sum(m.name in row for row in rows) == 1


def test_segments_have_their_fields_in_the_places_of_hl7():
    for text, report in taught("segments"):
        lines = [line.split("|") for line in text.splitlines()]
        assert [line for line in lines if line[0] == "PID"][0][8] in ("F", "", "U")
        results = [line for line in lines if line[0] == "OBX"]
        for m in report.measurements:
            one = next(line for line in results if line[3].split("^")[1] == m.name)
            assert one[5].replace(".", ",").lstrip("<> ") == m.text.lstrip("<>") and one[11] == "F"


def test_frames_hold_every_result_in_one_record():
    astm = 0
    for text, report in taught("frames"):
        mark = "|" if text.startswith("H|") else next(sign for sign in ";~#\t^!" if f"LABO{sign}" in text)
        astm += mark == "|"
        rows = [re.split(f"[{re.escape(mark)}^]" if mark == "|" else re.escape(mark), line) for line in text.splitlines()]
        for m in report.measurements:
            one = [row for row in rows if m.name in row and any(cell.replace(".", ",") == m.text for cell in row)]
            assert len(one) == 1, (m, text)
    assert 30 < astm < 90


def test_codes_are_of_seven_kinds_and_stand_at_either_side_of_the_name():
    assert {style.codes for seed in range(200) if (style := leant(seed))} == {
        "head", "consonants", "loinc", "number", "small", "short", "drawn"}  # fmt: skip
    sides = Counter()
    for text, report in taught("json", 300):
        for record in (one for part in json.loads(text).values() if isinstance(part, list) for one in part):
            codes = [i for i, key in enumerate(record) if key in phrases()["key:code"]]
            names = {m.name for m in report.measurements}
            at = next((i for i, value in enumerate(record.values()) if value in names and i not in codes), None)
            for i in codes:
                if at is not None:
                    assert abs(i - at) in (1, 2, 3)  # another field may stand between
                    sides["before" if i < at else "after"] += 1
    assert min(sides.values()) > 50, sides


def test_without_the_habits_of_training_codes_and_open_ends_are_plain():
    style = Style(Random(3))
    assert style.codes == "head" and open_end(style) == ""


def test_nested_records_say_open_ends_in_many_ways():
    shapes = Counter()
    for text, _ in taught("tree_json", 300):
        shapes["null"] += "null" in text
        shapes["signs"] += bool(re.search(r'">= ', text))
        shapes["sexes"] += bool(re.search(r'"(hommes|homme|masculin|men)": ', text))
        json.loads(text)
    assert len(shapes) == 3 and min(shapes.values()) > 5, shapes


def test_the_noise_of_training_has_no_confusion_of_the_held_out_noise():
    pairs = [{(sign, one) for sign, many in noise["digits"].items() for one in many} | set(noise["letters"].items()) | set(noise["units"])
             for noise in (NOISE, HELD_OUT_NOISE)]  # fmt: skip
    assert pairs[0] and not pairs[0] & pairs[1]
    assert not set(NOISE["point"]) & set(HELD_OUT_NOISE["point"])
    read = {}
    for digit, many in NOISE["digits"].items():
        for sign in many:
            assert read.setdefault(sign, digit) == digit  # one reading
    assert not read.keys() & set("?#*■%()[]<>+-=.,; ")  # signs of another meaning, or of a digit that nobody can read


def test_a_gap_parts_no_whole_number():
    """«4 4» may be 4 and 4; «1 2,5» is 12,5."""
    gaps = 0
    for seed in range(1200):
        style = Style(Random(f"gap {seed}"))
        line = Line(FEW.measurements[0], "Potassium", "412" if seed % 2 else f"41{style.point}2")
        value = noisy(line, style, NOISE).value
        gaps += " " in value
        assert seed % 2 == 0 or " " not in value
    assert gaps > 3
    dotted = [style for seed in range(300) if (style := Style(Random(seed))).thousands == "."]
    grouped = {noisy(Line(FEW.measurements[0], "Plaquettes", "250.000"), style, NOISE).value for style in dotted}
    assert len(dotted) > 10 and not any(" " in value for value in grouped)


def test_texts_in_capitals_and_what_is_not_given_beside_earlier_values():
    loud, lacking = 0, 0
    for text, report in taught("columns", 300):
        loud += text == text.upper() and all(m.name.isupper() or not m.name.isalpha() for m in report.measurements)
        lacking += bool(re.search(r"(?i)insuffisant|non calculable|[▓□█¿¤⌧]|à reprélever|non parvenu", text))
    assert loud > 5 and lacking > 20, (loud, lacking)


def test_remarks_change_what_is_critical_and_nothing_else():
    tp = Measurement("tp", "TP", "15", 15.0, "", "%", 70.0, None)
    said = [remarked(Report("F", 40.0, (tp,)), Random(seed)) for seed in range(200)]
    assert 20 < sum(bool(report.comments) for report in said) < 90 and all(report.measurements == (tp,) for report in said)
    assert {"critique" in interpret(replace(report, text=report.comments[0])) for report in said if report.comments} == {
        True,
        False,
    }
