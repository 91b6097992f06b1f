"""The composer: what it says a report holds stands in the text, in that order; the same seed gives the same report everywhere."""

import html
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from random import Random
from xml.etree import ElementTree

import pytest
from conftest import NOTEBOOKS
from medanalyzr.dataset import layouts
from medanalyzr.dataset.composer.pages.noise import HELD_OUT_NOISE, NOISE
from medanalyzr.dataset.composer.printing import Style
from medanalyzr.dataset.composer.spellings import spellings
from medanalyzr.dataset.layouts import FAMILIES, HELD_OUT, TRAINED, _earlier, compose, sample
from medanalyzr.dataset.sources.simulate import simulated
from medanalyzr.lab.references import analytes, find_analyte, reference_interval
from medanalyzr.lab.report import UNDETERMINED, Measurement, Report, format_number, number, parse_answer, write_report
from medanalyzr.lab.rules import answer_name, flag, interpret

SEEDS = 200
DIGITS = {
    family: str.maketrans({sign: digit for digit, many in noise["digits"].items() for sign in many})
    for family, noise in (("ocr", HELD_OUT_NOISE), ("scan", NOISE))
}  # what stands for digits


def known_reports():
    for _, made in simulated():
        sex, age, measurements = made.sex, made.age, []
        for analyte, value in made.values.items():
            known, bounds = analytes()[analyte], reference_interval(analyte, sex)
            text = format_number(value, known.decimals)
            measurements.append(Measurement(analyte, known.name, text, number(text), "", known.unit, bounds.low, bounds.high))
        yield Report(sex, float(age), tuple(measurements))


REPORTS = list(known_reports())


def composed(family, seeds=SEEDS):
    for seed in range(seeds):
        more = Random(seed) if seed % 2 and family in TRAINED else None  # half of the trained ones with the habits of training
        yield seed, *compose(REPORTS[seed * 31 % len(REPORTS)], Random(f"{family} {seed}"), family, more=more)


def plain(text):
    """The text with one kind of space, decimal comma, plain digits; XML's entities resolved."""
    return re.sub(r"[\s\u00a0\u202f]+", " ", html.unescape(text)).replace("\\u00b5", "µ")


def holds(text, number_text):
    """Whether `text` holds the number, in any of the ways a report prints it."""
    whole, _, decimals = number_text.partition(",")
    digits = r"[ .]?".join(re.escape(c) for c in whole)
    tail = rf" ?[.,] ?{decimals}" if decimals else r"(?!\d)"
    return re.search(rf"(?<!\d){digits}{tail}(?!\d)", text) is not None


def read_through(text, noise):
    """`text` with the digits and decimal signs that its `noise` stands for."""
    return re.sub(r"(?<=\d)(;|'|·|,,|\.\.)(?=\d)", ",", text.translate(noise)) if noise else text


def bound_texts(bound):
    return {format_number(bound, decimals) for decimals in range(5) if abs(round(bound, decimals) - bound) < 1e-9}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_is_claimed_stands_in_the_text(family):
    for seed, text, report in composed(family):
        assert report.text == text and not re.search("[\ue000-\uf8ff]", text)
        whole, lines = plain(text), [plain(line) for line in text.splitlines()]
        noise = DIGITS.get(family, {})
        whole, lines = read_through(whole, noise), [read_through(line, noise) for line in lines]
        last = 0
        for m in report.measurements:
            where = (family, seed, m, text)
            assert read_through(plain(m.name), noise) in whole, where
            assert holds(lines[m.line - 1] if m.line else whole, m.text.lstrip("<>")) and (m.line or last) >= last, where
            last = m.line or last
            units = [unit for unit, usual in spellings().items() if usual == m.unit] or [m.unit]
            if text == text.upper():
                units = [unit.replace("µ", "u").replace("μ", "u").upper() for unit in units]
            assert not m.unit or noise or any(unit in whole for unit in units), where
            for bound in (m.low, m.high):
                assert bound is None or any(holds(whole, b) for b in bound_texts(bound)), where
            known = find_analyte(m.name) if m.specimen == "sang" else None  # a slip of the keyboard hides a name, it makes no other
            assert m.analyte is None or known is None or noise or known.id == m.analyte, where


@pytest.mark.parametrize("family", FAMILIES)
def test_every_given_result_is_answered_and_none_other(family):
    for seed, _, report in composed(family, 60):
        source = REPORTS[seed * 31 % len(REPORTS)]
        kept = [m.analyte for m in report.measurements if m.specimen == "sang"]
        assert {m.analyte for m in source.measurements} <= set(kept)
        printed = [(m.name, m.specimen) for m in report.measurements]
        assert len(printed) == len(set(printed)), seed
        answer = interpret(report).splitlines()
        due = [m for m in report.measurements if m.specimen == "sang" or flag(m) != UNDETERMINED]
        assert [line.startswith(f"{answer_name(m)} : {m.text}") for line, m in zip(answer, due, strict=False)] == [True] * len(due)


def test_the_same_seed_gives_the_same_report():
    for family in FAMILIES:
        once, twice = (list(composed(family, 20)) for _ in range(2))
        assert once == twice
        assert len({text for _, text, _ in once}) == 20


def test_held_out_families_are_never_drawn(monkeypatch):
    assert set(HELD_OUT) >= {"following_lines", "two_columns", "letter", "telegraphic", "ocr", "hprim", "json_nested"}
    assert not set(TRAINED) & set(HELD_OUT) and set(FAMILIES) == set(TRAINED) | set(HELD_OUT)
    drawn = []
    for family, make in layouts._MAKERS.items():
        monkeypatch.setitem(layouts._MAKERS, family, lambda *given, f=family, m=make: drawn.append(f) or m(*given))
    for seed in range(400):
        compose(REPORTS[seed], Random(seed))
    assert set(drawn) == set(TRAINED)


def test_programs_can_read_what_programs_write():
    for family in ("json", "json_nested"):
        for _, text, report in composed(family, 50):
            flat = json.dumps(json.loads(text), ensure_ascii=False)
            assert all(json.dumps(m.name, ensure_ascii=False) in flat for m in report.measurements)
    for _, text, report in composed("xml", 50):
        assert len(list(ElementTree.fromstring(text))) >= len(report.measurements)


def test_sizes_reach_from_one_line_to_forty():
    sizes = [len(report.measurements) for family in TRAINED for _, _, report in composed(family, 60)]
    assert min(sizes) <= 2 and 35 <= max(sizes) <= layouts.LONGEST
    for seed in range(100):
        assert len(compose(REPORTS[0], Random(seed), most=6)[1].measurements) <= 6


def test_values_stay_when_nothing_is_converted():
    for seed in range(200):
        source = REPORTS[seed]
        _, report = compose(source, Random(seed))
        given = {m.analyte: m for m in report.measurements if m.specimen == "sang"}
        for m in source.measurements:
            if given[m.analyte].unit == m.unit:
                assert (given[m.analyte].text, given[m.analyte].value) == (m.text, m.value)
                assert given[m.analyte].high in (m.high, None) and given[m.analyte].low in (m.low, 0, None)


def test_every_kind_of_report_occurs():
    texts = [text for family in FAMILIES for _, text, _ in composed(family, 60)]
    reports = [report for family in FAMILIES for _, _, report in composed(family, 60)]
    kinds = (r"\t", r" \| ", ";", r"\.{4}", "[↑↓]", "\u202f", "\xa0", "soit ", "[Aa]ntérieur", "URIN", "LCR", "[Nn]ée? le", "DDN",
             "inf. à", "inférieur à", r"\d à \d", "H : .*F : ", "en cours", "hémolysé", "négatif", r"^RES\|", "^Cher",
             r"\(mmol/[Ll]\)", "N : ", r"\[\d", "< N <", r"\d %  soit")  # fmt: skip
    missing = [kind for kind in kinds if not any(re.search(kind, text, re.MULTILINE) for text in texts)]
    assert not missing
    every = [m for report in reports for m in report.measurements]
    assert {m.specimen for m in every} == {"sang", "urine", "lcr", "autre"}
    assert sum(m.analyte is None for m in every) > 500 and len({m.name for m in every if m.analyte is None}) > 250
    assert any(m.unit == "/mm3" and m.value > 1000 for m in every) and any(m.sign for m in every)
    assert sum(report.sex is None for report in reports) > 20


SPECIAL = Report("F", 31.0, (
    Measurement("hb", "Hémoglobine", "104", 104.0, "", "g/L", 105.0, 140.0),
    Measurement("sodium", "Sodium", "92", 92.0, "", "mmol/L", 54.0, 190.0, specimen="urine"),
), pregnant=True, comments=("Traitement : fluindione",))  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_said_of_patient_and_sample_is_printed(family):
    for seed in range(60):
        more = Random(seed) if seed % 2 and family in TRAINED else None
        text, report = compose(SPECIAL, Random(seed), family, most=2, more=more)
        assert (
            report.pregnant
            and "raitement : fluindione" in text.lower()
            and re.search("(?i)enceinte|grossesse|gestation|pregnan", text)
        )
        hb, sodium = sorted(report.measurements, key=lambda m: m.specimen)
        assert (hb.specimen, sodium.specimen, sodium.analyte) == ("sang", "urine", "sodium")
        assert re.search(r"urin|\bU : |(?<![^\s;,|])U(?![^\s;,|])", text, re.IGNORECASE)
        baby, told = compose(
            replace(SPECIAL, sex="H", age=8 / 12, pregnant=False, comments=()), Random(seed), family, most=2, more=more
        )
        assert len(told.measurements) == 2 and (told.age is None or "8 mois" in baby.lower())


def test_a_birth_date_gives_the_age():
    found = 0
    date, said = r"(\d\d)/(\d\d)/(\d{4})", r"(?:n[ée]{1,2}(?:\(e\))? le|ddn :|naissance :) "
    for seed in range(400):
        text, report = compose(REPORTS[seed], Random(seed), "columns")
        if born := re.search(said + date, text, re.IGNORECASE):
            taken = re.search(rf"pr[ée]l[èe]vement[^\d\n]*{date}|pr[ée]lev[ée][^\d\n]*{date}", text, re.IGNORECASE)
            (day, month, year), (d, m, y) = (map(int, filter(None, match.groups())) for match in (born, taken))
            assert y - year - ((m, d) < (month, day)) == report.age, text
            found += 1
    assert found > 60


def test_a_result_given_twice_stays():
    twice = Report(
        "H", 60.0, tuple(Measurement("potassium", "Potassium", t, number(t), "", "mmol/L", 3.5, 5.0) for t in ("6,8", "4,1"))
    )
    for seed in range(30):
        _, report = compose(twice, Random(seed), most=2)
        assert len([m for m in report.measurements if m.analyte == "potassium"]) == 2


def test_examples_keep_the_columns_of_their_row():
    report = REPORTS[0]
    row = {"instruction": "Lisez.", "input": write_report(report), "output": interpret(report), "patient": "p", "category": "c",
           "kind": "", "origin": "simulated", "prompt": "x"}  # fmt: skip
    question = row | {"input": "", "output": "Une réponse."}
    made = sample([row, question], 12, 7)
    assert made == sample([row, question], 12, 7) != sample([row, question], 12, 8)
    assert len({example["input"] for example in made}) == 12
    for example in made:
        assert set(example) == set(row) | {"layout"} and example["layout"] in TRAINED
        assert all(example[column] == row[column] for column in ("instruction", "patient", "category", "kind", "origin", "prompt"))
        assert "Conclusion : " in example["output"]
    assert {example["layout"] for example in sample([row], 30, 1, HELD_OUT)} <= set(HELD_OUT)
    assert sample([question], 3, 1) == []


def test_five_thousand_reports_take_less_than_a_minute():
    began = time.process_time()
    for seed in range(500):
        compose(REPORTS[seed], Random(seed))
    assert time.process_time() - began < 6


def test_the_order_of_the_answer_is_that_of_the_text():
    for family in FAMILIES:
        for _, text, report in composed(family, 30):
            flat = plain(text).translate(DIGITS) if family == "ocr" else plain(text)
            at = 0
            for m in report.measurements:
                name = m.name.translate(DIGITS) if family == "ocr" else m.name
                found = flat.find(plain(name), at) if family != "letter" else flat.find(plain(name), max(at - 200, 0))
                assert found >= 0, (family, m, text)
                at = found


def test_an_earlier_value_is_never_the_value_of_today():
    potassium = Measurement("potassium", "Potassium", "4,1", 4.1, "", "mmol/L", 3.5, 5.0)
    seen = [_earlier(potassium, Style(Random(seed))) for seed in range(500)]
    assert {len(values) for values in seen} == {0, 1, 2}
    assert not {"4,1", "4.1"} & {value for values in seen for value in values}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_reads_back_line_by_line(family):
    for _, _, report in composed(family, 40):
        answered = parse_answer(interpret(report))
        due = [m for m in report.measurements if m.specimen == "sang" or flag(m) != UNDETERMINED]
        assert len(answered) == len(due)
        for line, m in zip(answered.values(), due, strict=True):
            assert (line.text, line.unit, line.flag) == (m.text, m.unit, flag(m))


def test_hashes_of_strings_do_not_matter():
    script = (
        "from random import Random; from medanalyzr.lab.report import parse_report\n"
        "from medanalyzr.dataset.layouts import FAMILIES, compose\n"
        "report = parse_report('Patient : femme, 50 ans\\nHémoglobine : 101 g/L (120 - 160)\\nCréatinine : 80 µmol/L (45 - 84)')\n"
        "for f in FAMILIES: print(*(compose(report, Random(f'{f} {i}'), f)[0] for i in range(10)))"
    )
    texts = {
        subprocess.run([sys.executable, "-c", script], cwd=NOTEBOOKS, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
                       capture_output=True, check=True).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(texts) == 1 and len(texts.pop()) > 10_000


def test_the_held_out_json_has_keys_of_its_own():
    def keys(content):
        inside = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
        return {*(content if isinstance(content, dict) else ()), *(key for part in inside for key in keys(part))}

    flat, nested, held_out = (
        set().union(*(keys(json.loads(text)) for _, text, _ in composed(f, 60))) for f in ("json", "tree_json", "json_nested")
    )
    assert len(flat) > 20 and len(nested) > 50 and len(held_out) > 15 and not (flat | nested) & held_out
