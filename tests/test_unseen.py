"""Layouts never seen: the reports of 05_evaluation's section, and their scores by family."""

import matplotlib.image
import pytest
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.layouts import HELD_OUT, TRAINED
from medanalyzr.dataset.split import split_rows
from medanalyzr.evaluation.baselines import strict_answer
from medanalyzr.evaluation.figures import layout_figure
from medanalyzr.evaluation.unseen import by_family, layout_table, unseen_layouts
from medanalyzr.lab.report import UNDETERMINED, parse_answer

TEST = split_rows(load_bundled(), 0.05, 0.1, 3407)["test"]
ROWS = unseen_layouts(TEST, 3, 3407)


@pytest.fixture(scope="module")
def families():
    sources = {"right": [row["output"] for row in ROWS], "silent": ["" for _ in ROWS], "strict reader": [*map(strict_answer, ROWS)]}
    return by_family(ROWS, sources)


def test_as_many_reports_of_each_family_that_is_never_trained_on():
    assert [row["layout"] for row in ROWS] == [family for family in HELD_OUT for _ in range(3)]
    assert not set(HELD_OUT) & set(TRAINED)
    assert {row["patient"] for row in ROWS} <= {row["patient"] for row in TEST} and len({row["patient"] for row in ROWS}) > 15
    assert all(parse_answer(row["output"]) for row in ROWS)
    assert unseen_layouts(TEST, 3, 3407) == ROWS != unseen_layouts(TEST, 3, 3408)


def test_without_reports_or_without_our_answers_there_is_nothing_to_read():
    assert unseen_layouts(TEST, 0, 1) == [] == unseen_layouts([row | {"output": "Rien à signaler."} for row in TEST[:9]], 2, 1)
    assert by_family([], {"tuned model": []}) == {} and layout_table({}).empty


def test_right_answers_score_one_and_silence_is_left_out(families):
    assert list(families) == list(HELD_OUT)
    for sources in families.values():
        right, silent = sources["right"], sources["silent"]
        assert right["share"] == 1 and right["refused"]["count"] == 0 and right["reports"] == 3
        assert silent["share"] == 0 and silent["refused"]["share"] == 1 and silent["of"] == right["of"] > 3
        assert 0.3 < right["low"] < right["high"] <= 1


def test_the_strict_reader_is_right_or_silent_and_never_wrong():
    """What it does not get right, it leaves out or calls undetermined."""
    said = 0
    for row in ROWS:
        due = parse_answer(row["output"])
        for key, line in parse_answer(strict_answer(row)).items():
            if line.flag != UNDETERMINED and line.specimen == "sang" and key in due:
                said += 1
                assert line.flag == due[key].flag, (line, due[key], row["input"])
    assert said > 10


def test_table_and_figure_hold_every_family(families, tmp_path):
    table = layout_table(families)
    names = ["following lines", "two columns", "letter", "telegraphic", "OCR noise", "HPRIM lines as text", "JSON with other keys"]
    assert list(table.index) == names and set(table["reports"]) == {3}
    assert table["right: flags right"].str.startswith("1.00 [").all() and set(table["silent: left out"]) == {"1.00"}
    layout_figure(families, tmp_path / "layouts.png")
    assert matplotlib.image.imread(tmp_path / "layouts.png").std() > 0.05
