"""Examples in composed layouts beside the rows: how many, of which rows, the same every time; the test rows stay out."""

from collections import Counter

from medanalyzr.dataset import layouts
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.layouts import TRAINED, with_layouts
from medanalyzr.dataset.sources.moved import moved_rows
from medanalyzr.dataset.split import split_rows
from medanalyzr.lab.references import critical_limits
from medanalyzr.lab.report import parse_answer, parse_report
from medanalyzr.lab.rules import interpret

PARTS = split_rows(load_bundled(), 0.05, 0.1, 3407)
TRAIN = PARTS["train"][::8]


def composed(rows):
    return [row for row in rows if "layout" in row]


def test_composed_examples_stand_beside_the_rows_shuffled():
    together = with_layouts(TRAIN, 60, 3407)
    made = composed(together)
    assert len(together) == len(TRAIN) + 60 and len(made) == 60
    assert {row["layout"] for row in made} <= set(TRAINED) and len({row["layout"] for row in made}) > 5
    assert Counter(row["input"] for row in together if "layout" not in row) == Counter(row["input"] for row in TRAIN)
    places = [i for i, row in enumerate(together) if "layout" in row]
    assert places[0] < 30 and places[-1] > len(together) - 30
    assert len({row["patient"] for row in made}) > 50  # of rows drawn from all, not of the first patient's


def test_the_same_seed_gives_the_same_examples_and_another_seed_others():
    first, again, other = (with_layouts(TRAIN, 20, seed) for seed in (1, 1, 2))
    assert first == again
    assert not {row["input"] for row in composed(first)} & {row["input"] for row in composed(other)}


def test_many_examples_are_composed_in_shares_and_are_the_same(monkeypatch):
    few = with_layouts(TRAIN, 30, 3)
    monkeypatch.setattr(layouts, "MANY", 10)
    assert with_layouts(TRAIN, 30, 3) == few
    monkeypatch.setattr(layouts, "in_shares", lambda make, tasks: make(tasks[:11]) + make(tasks[11:]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert with_layouts(TRAIN, 30, 3) == few


def test_without_a_count_the_rows_stay_as_they_are():
    assert with_layouts(TRAIN, 0, 3407) == TRAIN


def test_composed_examples_are_made_of_the_rows_that_are_given():
    asked = {row["patient"] for row in TRAIN}
    made = composed(with_layouts(TRAIN, 40, 5))
    assert {row["patient"] for row in made} <= asked and not {row["patient"] for row in made} & {
        r["patient"] for r in PARTS["test"]
    }
    assert not {row["input"] for row in made} & {row["input"] for part in PARTS.values() for row in part}
    assert all(parse_answer(row["output"]) for row in made)


def test_a_dataset_that_answers_in_free_text_is_not_composed_from():
    free = [row | {"output": "Le bilan est rassurant."} for row in TRAIN[:20]]
    assert composed(with_layouts(free, 10, 1)) == []
    mixed = with_layouts([*free, *TRAIN[20:40]], 10, 1)
    assert len(composed(mixed)) == 10 and {row["patient"] for row in composed(mixed)} <= {row["patient"] for row in TRAIN[20:40]}


def test_values_move_to_limits_and_the_rules_write_the_answers():
    rows = PARTS["train"]
    new = moved_rows(rows, 3407)
    assert new == moved_rows(rows, 3407) != moved_rows(rows, 3408)
    changed = [(old, now) for old, now in zip(rows, new, strict=True) if old != now]
    assert 300 < len(changed) < sum(row["origin"] == "measured" for row in rows)
    for old, now in changed:
        assert old["origin"] == "measured" and now["origin"] == "moved" and now["output"] == interpret(parse_report(now["input"]))
        assert old | {"input": "", "output": "", "origin": ""} == now | {"input": "", "output": "", "origin": ""}
        before, after = (parse_report(row["input"]).measurements for row in (old, now))
        assert [(m.name, m.unit, m.low, m.high) for m in before] == [(m.name, m.unit, m.low, m.high) for m in after]

    def critical(part):
        return sum(m.critical for row in part for m in parse_answer(row["output"]).values())

    old, now = zip(*changed, strict=True)
    assert critical(now) > 5 * critical(old)
    assert not {row["input"] for row in now} & {row["input"] for part in ("validation", "test") for row in PARTS[part]}


def test_moved_values_stand_on_both_sides_of_a_critical_limit():
    limit = critical_limits("creatinine").high
    values = [
        m.value
        for row in moved_rows(PARTS["train"], 3407)
        if row["origin"] == "moved"
        for m in parse_report(row["input"]).measurements
        if m.analyte == "creatinine" and m.unit == "µmol/L"
    ]
    near = [value for value in values if 0.6 * limit <= value <= 1.4 * limit]
    assert sum(value < limit for value in near) >= 10 and sum(value >= limit for value in near) >= 20
