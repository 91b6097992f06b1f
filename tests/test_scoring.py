"""The scorer against answers whose score is known by hand."""

import time

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import PREAMBLE
from medanalyzr.evaluation.baselines import constant_answer, few_shot_examples, few_shot_prompt, most_frequent_flag, rules_answer
from medanalyzr.evaluation.metrics import (
    abstention_scores,
    coverage_scores,
    critical_scores,
    difference,
    flag_scores,
    line_confidence,
    pattern_scores,
    risk_coverage,
    scores,
    wilson,
)
from medanalyzr.evaluation.perturbations import KINDS, Perturbation, consistency, make_perturbations
from medanalyzr.evaluation.release import release
from medanalyzr.evaluation.scoring import conclusion, score
from medanalyzr.evaluation.tables import guided_table, pattern_table, perturbation_table
from medanalyzr.evaluation.text_metrics import language, repeated_lines, rouge_l, text_scores
from medanalyzr.inference.answer_cache import AnswerBook, source_of
from medanalyzr.inference.generation import Answer, _line_confidence
from medanalyzr.lab.report import parse_answer, parse_report
from medanalyzr.lab.rules import flag, interpret

REPORT = """Patient : homme, 50 ans
Sodium : 140 mmol/L (135 - 145)
Potassium : 6,8 mmol/L (3,5 - 5,0)
Créatinine : 180 µmol/L (59 - 104)
Calcium : 2,10 mmol/L (2,20 - 2,60)"""
REFERENCE = interpret(parse_report(REPORT))
ROWS = [row for row in load_bundled() if row["input"]]


def flags_of(answer):
    return {line.key: line.given for line in score(REPORT, answer, REFERENCE).lines}


def test_the_reference_is_what_the_tests_below_presume():
    assert {key: (m.flag, m.critical) for key, m in parse_answer(REFERENCE).items()} == {
        "sodium": ("normal", False), "potassium": ("élevé", True), "creatinine": ("élevé", False), "calcium": ("bas", False),
    }  # fmt: skip


def test_a_perfect_oracle_scores_one_everywhere():
    scored = [score(row["input"], row["output"], row["output"]) for row in ROWS]
    result = scores(scored)
    assert result["flags"]["share"] == result["flags"]["macro_f1"] == result["flags"]["high"] == 1
    assert all(share == 1 for share in result["flags"]["by_flag"].values())
    assert result["critical"]["recall"]["share"] == 1 and result["critical"]["false_alarms"]["count"] == 0
    coverage = result["coverage"]
    assert coverage["abnormal_left_out"]["count"] == coverage["invented_analytes"] == coverage["decimal_points"] == 0
    assert coverage["values_right"]["share"] == coverage["units_right"]["share"] == coverage["numbers_that_follow"]["share"] == 1
    patterns = result["patterns"]
    assert patterns["f1"] == patterns["exact_reports"]["share"] == patterns["degrees"]["share"] == 1
    assert result["abstention"]["right_refusals"]["share"] == 1 and result["abstention"]["wrong_refusals"]["count"] == 0
    assert not any(one.faults() for one in scored)


def test_the_rules_are_a_perfect_oracle_on_the_bundled_reports():
    assert all(score(row["input"], rules_answer(row), row["output"]).exact for row in ROWS)


def test_always_eleve_scores_what_arithmetic_says():
    scored = [score(row["input"], constant_answer(row, "élevé"), row["output"]) for row in ROWS]
    flags = [m.flag for row in ROWS for m in parse_answer(row["output"]).values()]
    high, total = flags.count("élevé"), len(flags)
    result = flag_scores(scored)
    assert result["count"] == high and result["share"] == high / total
    determined = [f for f in flags if f != "indéterminé"]
    precision, f1_high = high / total, 2 * high / (high + total)
    assert precision < f1_high and result["macro_f1"] == pytest.approx(f1_high / 3)
    assert result["by_flag"] == {"bas": 0, "normal": 0, "élevé": 1, "indéterminé": 0}
    assert result["confusion"]["bas"] == {"élevé": flags.count("bas")} and len(determined) < total
    assert critical_scores(scored)["recall"]["share"] == 0 and critical_scores(scored)["false_alarms"]["count"] == 0
    assert abstention_scores(scored)["made_up_flags"]["share"] == 1


def test_an_empty_answer_is_wrong_everywhere():
    one = score(REPORT, "", REFERENCE)
    assert {line.given for line in one.lines} == {"absent"} and one.right == 0 and one.numbers == 0
    assert coverage_scores([one])["abnormal_left_out"]["count"] == 3
    assert coverage_scores([one])["numbers_that_follow"]["share"] is None
    assert critical_scores([one])["miss_rate"]["share"] == 1


def test_the_order_of_the_lines_does_not_matter():
    lines = REFERENCE.splitlines()
    assert score(REPORT, "\n".join(lines[::-1]), REFERENCE).exact


def test_a_wrong_unit_is_seen_and_a_converted_value_is_right():
    wrong = score(REPORT, REFERENCE.replace("140 mmol/L", "140 g/L"), REFERENCE).lines[0]
    assert wrong.right and not wrong.unit_right and not wrong.value_right
    converted = score(REPORT, REFERENCE.replace("Créatinine : 180 µmol/L", "Créatinine : 20,4 mg/L"), REFERENCE)
    assert converted.lines[2].unit_right and converted.lines[2].value_right and not converted.made_up
    off = score(REPORT, REFERENCE.replace("Créatinine : 180 µmol/L", "Créatinine : 20,6 mg/L"), REFERENCE)
    assert not off.lines[2].value_right and off.made_up == ("20,6",)


def test_a_decimal_point_is_the_same_number_and_is_counted():
    one = score(REPORT, REFERENCE.replace("6,8", "6.8"), REFERENCE)
    assert one.exact and not one.made_up and one.points == 4


def test_a_right_flag_on_the_wrong_analyte_is_wrong():
    swapped = REFERENCE.replace("Potassium : 6,8", "Chlorures : 6,8")
    one = score(REPORT, swapped, REFERENCE)
    assert flags_of(swapped)["potassium"] == "absent" and one.invented == ("Chlorures",) and not one.exact
    assert "invented analyte Chlorures" in one.faults() and "Potassium: absent instead of élevé" in one.faults()


@pytest.mark.parametrize("said", ["non élevé", "pas élevé", "plutôt élevé ?", "élevé ou normal", "haut", "high"])
def test_what_is_no_flag_is_absent(said):
    line = next(line for line in REFERENCE.splitlines() if line.startswith("Créatinine"))
    assert flags_of(REFERENCE.replace(line, f"Créatinine : 180 µmol/L (59 - 104) : {said}"))["creatinine"] == "absent"


def test_the_first_of_repeated_lines_counts():
    line = next(line for line in REFERENCE.splitlines() if line.startswith("Sodium"))
    assert flags_of(f"{line}\n{line.replace('normal', 'bas')}\n{REFERENCE}")["sodium"] == "normal"
    assert repeated_lines(f"{line}\n{line}\n\n{line}") == 2


def test_a_long_answer_is_scored_in_no_time():
    began = time.monotonic()
    for text in (
        "a : 1 " * 1667,
        "Sodium : " + "9" * 10_000,
        "Sodium : 140 mmol/L (" * 500,
        "\n".join([REFERENCE] * 40),
        "(" * 10_000,
    ):
        score(REPORT, text, REFERENCE)
    assert time.monotonic() - began < 5


def test_a_made_up_number_is_listed():
    one = score(REPORT, REFERENCE.replace("140 mmol/L", "141 mmol/L"), REFERENCE)
    assert one.made_up == ("141",) and not one.lines[0].value_right and one.lines[0].right


def test_conclusions_are_compared_as_sets_without_brackets():
    assert conclusion("x\nConclusion : Cytolyse ; PAL élevée (2 N).") == {"cytolyse": "Cytolyse", "pal elevee": "PAL élevée"}
    reference = "ASAT : 90 UI/L (35 < 90) : élevé\nConclusion : cytolyse ; anémie."
    one = score("", reference.replace("anémie", "Cholestase"), reference)
    assert one.faults() == ["not concluded: anémie", "concluded without cause: Cholestase"]
    assert not score("", reference.replace("anémie", "ANEMIE"), reference).faults()
    result = pattern_scores([one])
    assert result["precision"] == result["recall"] == result["f1"] == 0.5
    assert result["by_name"] == {"cytolyse": {"found": 1, "of": 1}, "anémie": {"found": 0, "of": 1}}
    assert list(pattern_table({"patterns": result}).index) == ["cytolyse", "anémie"]
    assert result["exact_reports"]["count"] == 0


def test_a_critical_mark_without_cause_is_a_false_alarm():
    one = score(REPORT, REFERENCE.replace("normal", "normal, critique").replace("élevé, critique", "élevé"), REFERENCE)
    result = critical_scores([one])
    assert result["recall"]["count"] == 0 and result["false_alarms"]["count"] == 1 and result["false_alarms"]["of"] == 3
    assert one.right == 4 and not one.exact


def test_wilson_against_the_published_formula():
    z, n, p = 1.959963984540054, 20, 18 / 20
    centre, half = (p + z * z / 2 / n) / (1 + z * z / n), z / (1 + z * z / n) * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    found = wilson(18, 20)
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half))
    assert wilson(0, 0)["share"] is None


def test_intervals_hold_their_share_and_repeat_with_the_seed():
    half = [score(row["input"], constant_answer(row, "normal"), row["output"]) for row in ROWS[::40]]
    right = [score(row["input"], row["output"], row["output"]) for row in ROWS[::40]]
    result = flag_scores(half, seed=1)
    assert 0 < result["low"] < result["share"] < result["high"] < 1
    assert flag_scores(half, seed=1) == result and flag_scores(half, seed=2)["low"] != result["low"]
    reports = sum(bool(one.lines) for one in right)
    assert flag_scores(right)["low"] == wilson(reports, reports)["low"] < 1
    wrong = [score(row["input"], "", row["output"]) for row in ROWS[::40]]
    assert flag_scores(wrong)["low"] == 0 < flag_scores(wrong)["high"] == wilson(0, reports)["high"]
    lead = difference(right, half, seed=1)
    assert lead["low"] < lead["difference"] < lead["high"] and lead["difference"] == pytest.approx(1 - result["share"])
    assert difference(half[:1], right[:1]) is None


def test_a_difference_from_which_little_is_known_says_so():
    """Newcombe's method 10 for 3 of 3 against 0 of 3, and for twice the same; the score interval of 3 of 3 is [0.438, 1]."""
    one = score("", "Sodium : 140 mmol/L (135 - 145) : normal", "Sodium : 140 mmol/L (135 - 145) : normal")
    none = score("", "", "Sodium : 140 mmol/L (135 - 145) : normal")
    lead = difference([one] * 3, [none] * 3)
    assert lead["difference"] == lead["high"] == 1 and lead["low"] == pytest.approx(1 - 2**0.5 * (1 - wilson(3, 3)["low"]))
    same = difference([one] * 40, [one] * 40)
    assert same["difference"] == 0 and -0.15 < same["low"] < 0 < same["high"] < 0.15
    mixed = difference([one, one, none], [none, one, none])
    assert mixed["difference"] == pytest.approx(1 / 3) and mixed["low"] < 0 < mixed["difference"] < mixed["high"] < 1
    many = difference([one] * 20, [none] * 10 + [one] * 10)
    assert 0.2 < many["low"] < 0.5 < many["high"] < 0.8


def test_few_or_equal_reports_have_an_interval_that_says_how_little_is_known():
    """Reports with one of two flags right each: resampling them would give [0.50, 0.50]."""
    line = "Sodium : 140 mmol/L (135 - 145) : normal"
    names = [f"{line}\n{line.replace('Sodium', 'Potassium')}", line]
    half = score("", names[1], names[0])
    assert [half.right, len(half.lines)] == [1, 2]
    two, twenty = flag_scores([half] * 2), flag_scores([half] * 20)
    assert (two["low"], two["high"]) == pytest.approx((wilson(1, 2)["low"], wilson(1, 2)["high"]))
    assert (twenty["low"], twenty["high"]) == pytest.approx((wilson(10, 20)["low"], wilson(10, 20)["high"]))
    uneven = flag_scores([half, score("", names[0], names[0])])
    assert uneven["share"] == 0.75 and uneven["low"] < 0.4 and uneven["high"] > 0.9


def test_data_without_flags_gives_no_share():
    result = scores([score("", "du texte", "un autre texte")])
    assert result["flags"]["share"] is None and result["flags"]["by_flag"] == {} and result["critical"]["recall"]["share"] is None


def test_probes_change_one_thing_and_the_rules_follow():
    perturbations = make_perturbations(ROWS, KINDS, 15, seed=3)
    assert {kind: sum(p.kind == kind for p in perturbations) for kind in KINDS} == dict.fromkeys(KINDS, 15)
    for perturbation in perturbations:
        before, after = (
            {m.key: flag(m) for m in parse_report(row["input"]).measurements}
            for row in (perturbation.original, perturbation.changed)
        )
        assert (
            perturbation.changed["output"] == interpret(parse_report(perturbation.changed["input"]))
            and before.keys() == after.keys()
        )
        different = {key for key in before if before[key] != after[key]}
        if perturbation.kind == "limit":
            assert different == {perturbation.key}
        elif perturbation.kind.startswith("no "):
            assert after[perturbation.key] == "indéterminé" and different <= {perturbation.key}
        elif perturbation.kind in ("child", "pregnant"):
            assert set(after.values()) == {"indéterminé"}
            adapted = (
                set(after) <= {"glucose", "hb", "hgpo_2h"} and perturbation.kind == "pregnant"
            )  # these have an interval in pregnancy
            assert adapted or "non applicables" in perturbation.changed["output"]
        elif perturbation.kind == "urine":
            assert perturbation.key not in parse_answer(perturbation.changed["output"]) and different <= {perturbation.key}
            assert "résultats non sanguins" in perturbation.changed["output"]
        else:
            assert not different and perturbation.changed["input"] != perturbation.original["input"]
    answers = [
        [row["output"] for row in part] for part in ([p.original for p in perturbations], [p.changed for p in perturbations])
    ]
    perfect = consistency(perturbations, *answers)
    assert all(share["share"] == 1 for part in perfect.values() for share in part.values())
    stubborn = consistency(perturbations, answers[0], answers[0])
    assert stubborn["limit"]["flipped"]["share"] == stubborn["limit"]["consistent"]["share"] == 0
    assert stubborn["limit"]["others_kept"]["share"] == stubborn["order"]["consistent"]["share"] == 1
    silent = consistency(perturbations, [""] * len(perturbations), [""] * len(perturbations))
    assert all(part["consistent"]["share"] == 0 for part in silent.values())


def test_a_probe_that_changes_another_flag_too_is_not_consistent():
    changed = REPORT.replace("Sodium : 140", "Sodium : 120")
    perturbation = Perturbation("limit", "sodium", {"output": REFERENCE}, {"output": interpret(parse_report(changed))})
    result = consistency(
        [perturbation],
        [REFERENCE],
        [perturbation.changed["output"].replace("Calcium : 2,10 mmol/L (2,10 < 2,20 ; appel sous 1,80) : bas", "")],
    )
    assert result["limit"]["flipped"]["share"] == 1 and result["limit"]["others_kept"]["share"] == 0


def test_text_scores_are_valid_for_french():
    assert rouge_l("taux élevé", "taux élevé") == 1 and rouge_l("taux eleve", "taux élevé") == 0.5 and rouge_l("", "") == 0
    assert language("Le bilan montre une anémie avec une carence en fer.") == "fr"
    assert language("The patient has a low hemoglobin and should be seen again.") == "en"
    assert language("Sodium : 140 mmol/L (135 - 145) : normal") is None
    answers = [Answer(REFERENCE, 90, True), Answer("The patient is well and has no disease at all.", 9, False)]
    result = text_scores(answers, [REFERENCE, REFERENCE])
    assert result["ended"]["share"] == result["french"]["share"] == 0.5 and 0 < result["chrf"] < 100
    assert text_scores(answers[:1], [REFERENCE])["chrf"] == pytest.approx(100)


def test_confidence_follows_the_lines():
    lines = _line_confidence(["a", "\n", "b", " c\n"], [-1.0, 0.0, -0.5, -0.5])
    assert lines == (0.3679, 0.3679, 1.0)
    assert line_confidence("Sodium : 140 mmol/L (135 - 145) : normal\nx\nSodium : 1 : bas", [0.9, 0.1, 0.5]) == {"sodium": 0.9}
    points = risk_coverage([(0.9, True), (0.8, False), (0.8, True), (0.1, False)])
    assert [(p["coverage"], p["risk"]) for p in points] == [(0.25, 0), (0.75, pytest.approx(1 / 3)), (1, 0.5)]
    assert risk_coverage([]) == []


def test_the_release_gate():
    checks = [("flags", 0.95, "≥", 0.9), ("false alarms", 0.01, "≤", 0.02)]
    assert release(checks, "stop")["released"]
    assert not release([*checks, ("critical", None, "≥", 0.9)], "warn")["released"]
    with pytest.raises(MedAnalyzrError, match="Not released: critical"):
        release([*checks, ("critical", 0.5, "≥", 0.9)], "stop")


def test_baselines():
    examples = few_shot_examples(ROWS)
    assert {m.flag for row in examples for m in parse_answer(row["output"]).values()} >= {"bas", "normal", "élevé"}
    prompt = few_shot_prompt(ROWS[0], examples)
    assert prompt.count(PREAMBLE) == 1 and prompt.count("### Response:") == len(examples) + 1
    assert prompt.endswith("### Response:\n") and all(row["output"] in prompt for row in examples)
    assert most_frequent_flag([row["output"] for row in ROWS]) == "normal" and most_frequent_flag(["texte"]) == "normal"


def test_answers_are_asked_once_and_survive_a_cut(tmp_path):
    asked = []

    def generate(prompts, limits, keep):
        for i, prompt in enumerate(prompts):
            asked.append(prompt)
            keep(i, Answer(f"é{prompt}", limits[i], True, (0.5,)))

    path = tmp_path / "answers.jsonl"
    first = AnswerBook(path).ask("m", ["a", "b", "a"], [5, 5, 5], generate)
    assert [answer.text for answer in first] == ["éa", "éb", "éa"] and asked == ["a", "b"]
    path.write_bytes(path.read_bytes()[:-7])
    again = AnswerBook(path)
    assert again.ask("m", ["a", "b"], [5, 5], generate) == first[:2] and asked == ["a", "b", "b"]
    assert AnswerBook(path).ask("m", ["b", "a"], [5, 5], generate) == [first[1], first[0]] and len(asked) == 3
    again.ask("other", ["a"], [5], generate)
    again.ask("m", ["a"], [6], generate)
    assert len(asked) == 5


def test_the_table_of_perturbations_counts_invented_analytes():
    table = perturbation_table({}, abstention_scores([score(REPORT, REFERENCE + "\nFerritine : 5 µg/L : bas", REFERENCE)]))
    assert table.loc["analytes invented", "measured"] == "1" and table.loc["right refusals", "measured"] == "—"


def test_guided_and_free_answers_are_kept_apart(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    sources = [source_of(tmp_path), source_of(tmp_path, "on")]
    book, asked = AnswerBook(tmp_path / "answers.jsonl"), []

    def generate(prompts, limits, keep):
        asked.append(prompts)
        for place in range(len(prompts)):
            keep(place, Answer(f"answer {len(asked)}", 2, True, forced=len(asked) - 1))

    given = [book.ask(source, ["a"], [5], generate)[0] for source in (*sources, *sources)]
    again = AnswerBook(tmp_path / "answers.jsonl").ask(sources[1], ["a"], [5], generate)[0]
    assert [(one.text, one.forced) for one in (*given, again)] == [
        ("answer 1", 0), ("answer 2", 1), ("answer 1", 0), ("answer 2", 1), ("answer 2", 1)
    ]  # fmt: skip


def test_free_and_guided_answers_side_by_side():
    report, reference = "Potassium : 5,4 mmol/L (3,5 - 5,0)", "Potassium : 5,4 mmol/L (3,5 ≤ 5,0 < 5,4 ; appel dès 6,0) : élevé"
    free = [Answer(reference.replace("6,0", "7,5"), 20, True)]
    bound = [Answer(reference, 20, True, forced=15)]
    results = {name: scores([score(report, given[0].text, reference)]) for name, given in (("free", free), ("guided", bound))}
    table = guided_table(results, {"free": free, "guided": bound}, {"guided": 41.6})
    assert table.loc["numbers that follow from the report", "free"].startswith("0.80")
    assert table.loc["numbers that follow from the report", "guided"].startswith("1.00")
    assert list(table.loc["tokens a second"]) == ["answered before", "42"] and list(table.loc["forced tokens"]) == ["0.00", "0.75"]


def test_a_critical_limit_of_the_table_is_no_made_up_number():
    report, reference = "Potassium : 5,4 mmol/L (3,5 - 5,0)", "Potassium : 5,4 mmol/L (3,5 ≤ 5,0 < 5,4) : élevé"
    assert not score(report, "Potassium : 5,4 mmol/L (5,0 < 5,4 ; appel dès 6,0) : élevé", reference).made_up
    assert score(report, "Potassium : 5,4 mmol/L (5,0 < 5,4 ; appel dès 6,5) : élevé", reference).made_up == ("6,5",)
    assert not score(report, "Potassium : 5,4 mmol/L (5 < 5,4) : élevé", reference).made_up  # the same number, printed otherwise
