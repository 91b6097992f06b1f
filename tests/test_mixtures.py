"""Several sources as one dataset: read, kept apart, split together, weighed. The files here have the columns of MedAnalyzr."""

import hashlib
import json
import random
from collections import Counter

import pytest
from conftest import NOTEBOOKS
from medanalyzr import MedAnalyzrError
from medanalyzr.core.hub import sources_of
from medanalyzr.core.run_folder import read_json
from medanalyzr.dataset import loading
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.mixture import MOST, by_source, keys_across, repeats
from medanalyzr.dataset.prepare import QUICK, load_split, prepare, prepared, subset_of
from medanalyzr.dataset.split import groups_of
from medanalyzr.notebook import inputs
from medanalyzr.notebook.parameters import check_parameters, declared_parameters

SPLITS = ("train", "validation", "test")
FEW = [one for i, one in enumerate(load_bundled()) if i // 40 % 4 == 0]  # a quarter of the bundled rows, in runs
ROLE = "You are a physician who reads laboratory reports."
SYLLABLES = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]


def word(i):
    """A word of its own for each number, without a digit."""
    rng = random.Random(i)
    return "".join(rng.choices(SYLLABLES, k=6))


def row(i, **changes):
    """A row as MedAnalyzr has them: every fourth a question in English without a report, the rest free French text."""
    report = (
        ""
        if i % 4 == 0
        else f"Patient {word(i)}, {20 + i % 60} ans. Hémoglobine {70 + i} g/L, ferritine {i} µg/L, CRP {i / 10} mg/L."
    )
    question = f"What does a raised {word(i)} mean in a blood test?" if i % 4 == 0 else "Interprétez ce bilan."
    return {"instruction": question, "input": report, "output": f"Avis {word(i)} {word(i + 10_000)}.", "prompt": ROLE} | changes


@pytest.fixture(autouse=True)
def few(monkeypatch, request):
    """The bundled set is a quarter of itself, except where a test asks for `whole` in its name."""
    if "whole" not in request.node.name:
        monkeypatch.setattr(loading, "load_bundled", lambda: [dict(one) for one in FEW])


def written(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def mixture(tmp_path, *files, fractions=(0.05, 0.1), privacy="auto"):
    """The report and the splits of the mixture of `files` (lists of rows, or "bundled")."""
    names = [part if part == "bundled" else written(tmp_path / f"m{i}.json", part) for i, part in enumerate(files)]
    report = prepare("+".join(names), tmp_path / "run", *fractions, 3407, privacy)
    return report, {split: load_split(tmp_path / "run", split) for split in SPLITS}


def side_of(parts, output):
    return {split for split, rows in parts.items() if any(row["output"] == output for row in rows)}


# Names


def test_the_parts_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c++").mkdir()
    for name in ("a.csv", "a+b.csv", "c++/d.json"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert sources_of("a.csv+bundled") == sources_of("a.csv + bundled") == ["a.csv", "bundled"]
    assert sources_of("Nassira/MedAnalyzr+bundled+a.csv") == ["Nassira/MedAnalyzr", "bundled", "a.csv"]
    assert sources_of("a+b.csv") == ["a+b.csv"] and sources_of("bundled+a+b.csv") == ["bundled", "a+b.csv"]
    assert sources_of("a+b.csv+a.csv") == ["a+b.csv", "a.csv"]
    assert sources_of(f"{tmp_path}/c++/d.json+bundled") == [f"{tmp_path}/c++/d.json", "bundled"]
    assert sources_of("bundled+") == ["bundled+"] and sources_of("bundled") == ["bundled"]
    for twice in ("bundled+bundled", f"a.csv+{tmp_path}/a.csv"):
        with pytest.raises(MedAnalyzrError, match="twice"):
            sources_of(twice)


def test_each_part_becomes_absolute_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundled").mkdir()
    for name in ("a.csv", "a+b.csv"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    values = declared_parameters("02_data") | {"dataset": "a+b.csv+bundled+Nassira/MedAnalyzr+a.csv", "In": []}
    found = check_parameters("02_data", values)["dataset"]
    assert found == f"{tmp_path}/a+b.csv+bundled+Nassira/MedAnalyzr+{tmp_path}/a.csv"
    monkeypatch.chdir("/")
    assert sources_of(found) == [f"{tmp_path}/a+b.csv", "bundled", "Nassira/MedAnalyzr", f"{tmp_path}/a.csv"]


def test_every_part_is_looked_for_before_anything_is_computed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(inputs, "check_hub", lambda name, kind: asked.append((name, kind)))
    path = written(tmp_path / "a.json", [])
    inputs.check_inputs({"dataset": f"{path}+bundled+someone/reports"})
    assert asked == [("someone/reports", "datasets")]
    with pytest.raises(MedAnalyzrError, match=r"missing\.csv.* is not a file"):
        inputs.check_inputs({"dataset": "someone/reports+bundled+missing.csv"})
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[{", "line 1"),
        (json.dumps([{"text": "a"}]), "lacks the column"),
        (json.dumps([row(i, output="") for i in range(9)]), "9 of 9 rows are unusable"),
        (json.dumps([row(1), row(2, input="Mme Dupont, née le 12/03/1961")]), r"personal data in 1 rows .*row 2"),
    ],
)
def test_a_part_that_fails_is_named_and_nothing_is_written(tmp_path, content, words):
    good, bad = written(tmp_path / "good.json", [row(i) for i in range(20)]), tmp_path / "bad.json"
    bad.write_text(content, encoding="utf-8")
    for dataset in (f"{good}+{bad}", f"{bad}+{good}"):
        with pytest.raises(MedAnalyzrError, match=rf"bad\.json'.*{words}") as caught:
            prepare(dataset, tmp_path / "run", 0.1, 0.1, 1)
        assert "good.json" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_missing_part_is_told_before_another_is_loaded(tmp_path, monkeypatch):
    from medanalyzr.dataset import mixture as module

    monkeypatch.setattr(module, "load_rows", lambda name: pytest.fail(f"{name} was loaded"))
    with pytest.raises(MedAnalyzrError, match=r"missing\.json' is not a file"):
        prepare("bundled+missing.json", tmp_path / "run", 0.1, 0.1, 1)


def test_a_file_stops_for_personal_data_and_other_sources_warn(tmp_path):
    report, _ = mixture(tmp_path, [row(i) for i in range(8)], "bundled")
    assert [one["privacy"] for one in report["sources"].values()] == [{"mode": "stop", "found": {}}, {"mode": "warn", "found": {}}]
    named = [row(1), row(2, input="Mme Dupont, CRP 3 mg/L")]
    report, _ = mixture(tmp_path, named, [row(i) for i in range(5, 9)], privacy="warn")
    assert [one["privacy"]["found"] for one in report["sources"].values()] == [{"name": {"count": 1, "rows": [2]}}, {}]


# A single source stays what it was


def test_the_whole_bundled_rows_and_splits_are_what_they_were(tmp_path):
    report = prepare("bundled", tmp_path / "run", 0.05, 0.1, 3407)
    assert (
        list(report)[:7] == ["dataset", "seed", "columns", "rows_read", "rows_used", "findings", "privacy"]
        and "sources" not in report
    )
    parts = [load_split(tmp_path / "run", split) for split in SPLITS]
    assert all({"source", "origin"} <= set(one) and not {"copy", "study"} & set(one) for part in parts for one in part)
    given = {one["input"] + one["instruction"]: one for one in load_bundled()}
    assert all(given[one["input"] + one["instruction"]] == one for part in parts for one in part)


def test_the_single_split_does_not_depend_on_what_a_mixture_adds(tmp_path):
    rows = [row(i) for i in range(200)]
    prepare(written(tmp_path / "a.json", rows), tmp_path / "run", 0.05, 0.1, 3407)
    content = b"".join((tmp_path / "run" / "data" / f"{split}.jsonl").read_bytes() for split in SPLITS)
    assert hashlib.sha256(content).hexdigest()[:12] == "fd2b3d78caa2"


# Leaks across sources


@pytest.mark.parametrize("seed", range(3))
def test_no_patient_report_or_near_duplicate_stands_on_two_sides(tmp_path, seed):
    rng = random.Random(seed)
    chosen = rng.sample([one for one in FEW if one["input"].count("\n") >= 2], 90)
    mine = [row(i) for i in range(300)]
    changes = [
        lambda one, i: {"input": one["input"]},  # the same report, asked and answered in other words
        lambda one, i: {"input": one["input"].upper().replace("\n", "  ")},
        lambda one, i: {"input": one["input"].replace(",", ".").replace(" : ", "\t").replace("(", "[").replace(")", "]")},
        lambda one, i: {"instruction": "Que dites-vous de ceci ? " + one["input"], "input": ""},
        lambda one, i: {"patient": one["patient"]},  # another report of the same patient
        lambda one, i: {"output": one["output"]},
    ]
    copies = [row(1000 + i) | changes[i % len(changes)](one, i) for i, one in enumerate(chosen)]
    path = written(tmp_path / "mine.json", mine + copies)
    prepare(f"{path}+bundled", tmp_path / "run", 0.1, 0.2, seed)
    place = {}
    for split in SPLITS:
        for one in load_split(tmp_path / "run", split):
            place[one["source"], one["instruction"], one["input"], one["output"]] = split

    def side(source, one):
        return place[source, one["instruction"], one["input"], one["output"]]

    pairs = [(side("mine.json", copy), side("bundled", one)) for copy, one in zip(copies, chosen, strict=True)]
    assert [pair for pair in pairs if pair[0] != pair[1]] == [] and {one for one, _ in pairs} == set(SPLITS)


def test_a_copy_in_another_language_is_known_by_its_numbers():
    one = row(1, input="Patient : femme, 63 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)")
    other = row(2, input="Female, 63 years. Potassium: 6.80 [3.5-5.0] mmol/L")
    third = row(3, input="A woman aged 63 has K 6.9 (3.5 to 5.0)")
    assert groups_of([one, other, third], keys_across) == [0, 0, 2] and groups_of([one, other, third]) == [0, 1, 2]
    words = [row(4, instruction="Qu'est-ce que la CRP ?"), row(8, instruction="Qu’est-ce que, la « CRP » ?"), row(12)]
    assert groups_of(words, keys_across) == [0, 0, 2]
    bundled = load_bundled()
    assert max(Counter(groups_of(bundled, keys_across)).values()) <= 10  # nothing is chained together by that


def test_a_dropped_duplicate_still_joins_its_patient(tmp_path):
    bundled = [row(i, patient=f"p{i // 2}") for i in range(200)]
    copies = [{name: text for name, text in one.items() if name != "patient"} for one in bundled[::2]]
    report, parts = mixture(tmp_path, copies, bundled, fractions=(0.2, 0.3))
    (found,) = report["sources"]["m1.json"]["findings"]
    assert (found["fault"], found["column"], found["count"]) == ("exact duplicate", "an earlier source", 100)
    assert found["rows"][:2] == [1, 3] and report["sources"]["m1.json"]["rows_used"] == 100
    sides = [
        side_of(parts, one["output"]) | side_of(parts, other["output"])
        for one, other in zip(bundled[::2], bundled[1::2], strict=True)
    ]
    assert all(len(side) == 1 for side in sides) and {next(iter(side)) for side in sides} == set(SPLITS)
    with pytest.raises(MedAnalyzrError, match=r"m1\.json': all its rows are also in an earlier source"):
        mixture(tmp_path, bundled, copies)


# Shares


def test_each_row_knows_its_source_and_each_source_its_share(tmp_path):
    report, parts = mixture(tmp_path, [row(i) for i in range(900)], "bundled")
    for split, share in (("validation", 0.05), ("test", 0.1)):
        counts = Counter(one["source"] for one in parts[split])
        assert counts["m0.json"] == pytest.approx(share * 900, abs=3)
        assert counts["bundled"] == pytest.approx(share * len(FEW), abs=3)
        assert counts == {name: one["rows"][split] for name, one in report["sources"].items()}
        assert [one["source"] for one in parts[split][:8]].count("bundled") == 4  # they take turns
    assert {one["study"] for part in parts.values() for one in part if one["source"] == "bundled"} == {one["source"] for one in FEW}
    assert {one["prompt"] for part in parts.values() for one in part if one["source"] == "m0.json"} == {ROLE}
    assert sum(map(len, parts.values())) == sum(report["rows"].values())
    assert all(report["overlap"][name] == 0 for name in ("same patient or text", "same report", "same answer"))


@pytest.mark.parametrize(
    ("count", "times"), [(1, 4), (100, 4), (124, 4), (126, 4), (167, 3), (251, 2), (499, 2), (500, 1), (1000, 1)]
)
def test_small_sources_are_repeated_whole_and_none_is_cut(count, times):
    assert repeats({"large": 1000, "small": count}) == {"large": 1, "small": times}
    assert times * count >= 500 or times == MOST


def test_repeats_stand_in_the_training_rows_alone(tmp_path):
    report, parts = mixture(tmp_path, [row(i) for i in range(100)], [row(i) for i in range(1000, 1400)], fractions=(0.1, 0.1))
    trained = Counter(one["output"] for one in parts["train"])
    small = {one["output"] for one in parts["train"] if one["source"] == "m0.json"}
    assert {trained[output] for output in small} == {2} and report["sources"]["m0.json"]["repeated"] == 2
    assert {trained[output] for output in trained.keys() - small} == {1}
    assert not any("copy" in one for split in ("validation", "test") for one in parts[split])
    assert len({one["output"] for part in parts.values() for one in part}) == 500 == report["rows_used"]
    assert report["rows"]["train"] == sum(one["rows"]["train"] * one["repeated"] for one in report["sources"].values())


def test_a_subset_is_chosen_among_bundled_rows_alone(tmp_path):
    mine = [row(i, origin="measured", category="bilan", kind="") for i in range(600)]
    _, parts = mixture(tmp_path, mine, "bundled")
    for name in ("measured", "quick"):
        kept = subset_of(parts["train"], name)
        assert sum(one["source"] == "m0.json" for one in kept) == sum(one["source"] == "m0.json" for one in parts["train"])
        others = [one for one in kept if one["source"] == "bundled"]
        assert len(others) > 80 and all(one["origin"] == "measured" and not one["kind"] for one in others)
        assert name == "measured" or {one["category"] for one in others} <= set(QUICK)


def test_two_files_of_one_name_keep_their_folders(tmp_path):
    paths = []
    for i, folder in enumerate(("lyon", "nice")):
        (tmp_path / folder).mkdir()
        paths.append(written(tmp_path / folder / "rows.json", [row(j, source="service") for j in range(100 * i, 100 * i + 50)]))
    report = prepare("+".join(paths), tmp_path / "run", 0.1, 0.1, 1)
    rows = load_split(tmp_path / "run", "train")
    assert list(report["sources"]) == paths and {one["source"] for one in rows} == set(paths)
    assert {one["study"] for one in rows} == {"service"}


# The record


def test_what_02_data_prepared_is_known_again(tmp_path):
    path = written(tmp_path / "a.json", [row(i) for i in range(60)])
    report = prepare(f"{path}+bundled", tmp_path / "run", 0.1, 0.1, 1)
    for asked in ("auto", f"{path}+bundled", f"bundled+{path}", f"bundled + {path}"):
        assert prepared(asked, "bundled", tmp_path / "run", 1, (0.1, 0.1)) == report
    for asked in ("bundled", path, f"{path}+someone/reports"):
        with pytest.raises(MedAnalyzrError, match="holds the dataset"):
            prepared(asked, "bundled", tmp_path / "run", 1, (0.1, 0.1))
    (tmp_path / "run" / "data" / "train.jsonl").write_text(json.dumps(row(1)) + "\n", encoding="utf-8")
    with pytest.raises(MedAnalyzrError, match="other rows than"):
        prepared("auto", "bundled", tmp_path / "run", 1, (0.1, 0.1))


def test_a_mixture_is_the_same_on_every_run_and_changes_with_each_source(tmp_path):
    first = [row(i) for i in range(60)]
    reports = [mixture(tmp_path, first, "bundled")[0] for _ in range(2)]
    assert reports[0] == reports[1] == dict(read_json(tmp_path / "run" / "data_report.json", "02_data"))
    changed, _ = mixture(tmp_path, [*first[:-1], row(59, output="Autre avis.")], "bundled")
    prints = [{name: one["fingerprint"] for name, one in report["sources"].items()} for report in (reports[0], changed)]
    assert prints[0]["bundled"] == prints[1]["bundled"] and prints[0]["m0.json"] != prints[1]["m0.json"]
    assert changed["fingerprint"] != reports[0]["fingerprint"]


def test_the_table_of_02_data_counts_rows_and_weighs_tokens(tmp_path):
    report, parts = mixture(tmp_path, [row(0, output=""), *(row(i) for i in range(1, 101))], [row(i) for i in range(1000, 1400)])
    rows = [one for split in SPLITS for one in parts[split] if "copy" not in one]
    table = by_source(report, rows, [10 if one["source"] == "m0.json" else 30 for one in rows])
    small, large = table["m0.json"], table["m1.json"]
    assert (small["read"], small["dropped"], small["times trained"], small["mean tokens"]) == (101, 1, 2, 10)
    assert small["train"] + small["validation"] + small["test"] == 100 and large["longest"] == 30
    assert small["tokens trained"] == 20 * small["train"] and large["tokens trained"] == 30 * large["train"]
    assert small["weight"] == pytest.approx(20 * small["train"] / (20 * small["train"] + 30 * large["train"]), abs=0.001)
    assert by_source({"dataset": "bundled"}, rows, [1] * len(rows)) == {}


def test_a_model_card_names_sources_without_folders():
    from medanalyzr.export.model_card import model_card  # imports torch

    training = {"dataset": "/home/someone/mine.csv+bundled+Nassira/MedAnalyzr", "subset": "all", "examples": 3, "steps": 2}
    card = model_card(training | {"profile": "cpu", "base_model": "Mistral"}, None, "peft", "", "other")
    assert "mine.csv+bundled+Nassira/MedAnalyzr, 3 examples" in card and "someone" not in card


def code_of(notebook, text):
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    (source,) = [source for cell in cells if text in (source := "".join(cell["source"])) and cell["cell_type"] == "code"]
    return source


def test_02_data_tells_of_each_source(tmp_path, capsys):
    from types import SimpleNamespace

    path = written(tmp_path / "a.json", [{"question": f"Que dire de {word(i)} ?", "answer": f"Avis {word(i)}."} for i in range(30)])
    chosen = SimpleNamespace(validation_fraction=0.1, test_fraction=0.1)
    space = {"dataset": f"{path}+bundled", "folder": tmp_path / "run", "chosen": chosen, "seed": 1, "privacy": "auto"}
    exec(code_of("02_data", "report = prepare("), space)
    said = capsys.readouterr().out
    assert "a.json columns: instruction ← question, output ← answer\n30 rows read, 30 used" in said
    assert "bundled columns: instruction ← instruction" in said and "personal data (stop): none found" in said


def test_the_record_of_a_training_and_the_scores_know_each_source(tmp_path):
    from medanalyzr.evaluation.scoring import score
    from medanalyzr.evaluation.sources import source_scores, source_table
    from medanalyzr.inference.generation import Answer
    from medanalyzr.training.record import provenance

    report, parts = mixture(tmp_path, [row(i) for i in range(100)], "bundled")
    origin = provenance(report, 1)
    assert {name: one["fingerprint"] for name, one in origin["sources"].items()} == {
        name: one["fingerprint"] for name, one in report["sources"].items()
    }
    assert origin["sources"]["m0.json"]["repeated"] == 4 and origin["data"] == report["fingerprint"]
    test = [one for one in parts["test"] if one["source"] == "m0.json" or "intervalle" not in one["output"]][:20]
    answers = [Answer(one["output"] if one["source"] == "bundled" else "Rien.", 9, True) for one in test]
    scored = [score(one["input"], answer.text, one["output"]) for one, answer in zip(test, answers, strict=True)]
    found = source_scores({"origin": origin}, test, answers, scored, 1)
    assert found["bundled"]["results"]["flags"]["share"] == 1 and found["m0.json"]["results"]["flags"]["of"] == 0
    assert (
        found["m0.json"]["rows"] + found["bundled"]["rows"] == 20
        and found["m0.json"]["text"]["chrf"] < found["bundled"]["text"]["chrf"]
    )
    table = source_table(found)
    assert list(table.index) == ["m0.json", "bundled"] and table.loc["m0.json", "flags right"] == "—"
    assert table.loc["bundled", "flags right"].startswith("1.00") and table.loc["bundled", "critical found"] != "—"
    assert source_scores({"origin": {}}, test, answers, scored, 1) == {}
    assert source_table(source_scores({"origin": origin}, [], [], [], 1)).loc["bundled", "chrF"] == "—"
