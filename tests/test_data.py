import hashlib
import json
import re
from collections import Counter

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.balance import balance, flags_by_analyte
from medanalyzr.dataset.bundled import KINDS, load_bundled
from medanalyzr.dataset.loading import LONGEST, check_rows, load_rows, map_columns
from medanalyzr.dataset.prepare import QUICK, load_split, prepare, prepared, subset_of
from medanalyzr.dataset.split import groups_of, overlap, split_rows
from medanalyzr.lab.references import TABLES, fold
from medanalyzr.lab.report import parse_answer

ROW = {"instruction": "Que montre ce bilan ?", "input": "Hb : 110 g/L", "output": "Anémie.", "prompt": ""}
WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliette",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
]


def rows_of(count, **changes):
    """`count` rows that share nothing but their form."""
    return [
        ROW | {"input": f"Bilan {WORDS[i % 16]} {WORDS[i // 16]}", "output": f"Avis {WORDS[i // 16]} {WORDS[i % 16]}."} | changes
        for i in range(count)
    ]


# The bundled set


def test_the_bundled_rows_are_complete_and_say_whence_they_come():
    rows = load_bundled()
    assert 2700 <= len(rows) <= 3000
    assert all(row[name] for row in rows for name in ("instruction", "output", "prompt", "patient", "category", "origin", "source"))
    assert {row["origin"] for row in rows} == {"measured", "simulated", "reference"}
    assert all((row["source"] == "simulated") == (row["origin"] == "simulated") for row in rows)
    assert all((row["input"] == "") == (row["kind"] == "question") for row in rows)
    measured = {row["source"] for row in rows if row["origin"] == "measured"}
    assert measured == {"pbcseq", "pbc", "liver", "mgus2", "flchain", "ais", "Diabetes", "Pima.tr"}
    assert sum(row["origin"] == "measured" for row in rows) > 0.4 * len(rows)
    categories = Counter(row["category"] for row in rows)
    assert min(categories.values()) >= 50 and len(categories) == 18


def test_every_difficult_kind_is_there_and_is_what_it_says():
    rows = load_bundled()
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == set(KINDS) and min(kinds.values()) >= 25
    says = {"sans sexe": "sexe manquant", "sans intervalle": "intervalle manquant", "sans unité": "unité"}
    for row in rows:
        if row["kind"] in says:
            assert says[row["kind"]] in row["output"], row["input"]
        if row["kind"] == "censuré":
            assert re.search(r": [<>]\d", row["input"])
        if row["kind"] == "unités mêlées":
            assert re.search(r"\([^)]*\d (mmol|µmol|g)/L\)|mmHg\)", row["input"]), row["input"]
        assert row["kind"] not in ("", "borne") or "manquant" not in row["output"]
        if row["kind"] == "enfant":
            assert re.search(r"^Patient : (garçon|fille|nourrisson).* (ans|mois)$", row["input"], re.MULTILINE)
        if row["kind"] == "grossesse":
            assert "femme enceinte" in row["input"]
        if row["kind"] == "autre prélèvement":
            assert "résultats non sanguins non interprétés ici" in row["output"]


def test_no_constant_answer_is_a_strategy():
    table = balance(load_bundled())
    total = table.loc["all"]
    flags = total[["bas", "normal", "élevé", "indéterminé"]]
    assert flags.max() / flags.sum() < 0.5 and flags["bas"] / flags.sum() > 0.2
    assert 0.6 < total["women"] / total["men"] < 1.7
    assert total["critical"] >= 250 and (table["critical"] > 0).sum() >= 9
    by_analyte = flags_by_analyte(load_bundled())
    assert len(by_analyte) >= 40
    single = [name for name, flags in by_analyte.items() if max(flags.values()) == flags.total()]
    assert not single


def test_critical_values_are_learnt_without_an_interval_and_beyond_what_a_method_measures_too():
    train = split_rows(load_bundled(), 0.05, 0.1, seed=3407)["train"]
    lines = [line for row in train if row["input"] for line in row["output"].splitlines() if line.endswith(", critique")]
    assert len(lines) >= 500 and all(re.search(r"critique [\d,]+ [≤≥] [\d,]+", line) for line in lines)
    assert sum("indéterminé" in line for line in lines) >= 50
    assert sum(re.search(r" : [<>]", line) is not None for line in lines) >= 15


def test_the_bundled_file_is_what_the_script_makes():
    import csv

    from medanalyzr.dataset.sources.build_bundled import COLUMNS, table

    with open(TABLES / "bundled_values.csv", encoding="utf-8", newline="") as file:
        stored = list(csv.reader(file))
    assert stored[0] == list(COLUMNS)
    assert stored[1:] == [[str(cell) for cell in row] for row in table()]


def test_simulated_values_keep_their_relations():
    """pH from PaCO2 and bicarbonates, chlorides from the anion gap, saturation from iron and transferrin."""
    import math

    from medanalyzr.dataset.sources.simulate import simulated

    for report, made in simulated():
        v = made.values
        assert 20 <= made.age <= 90
        if "ph" in v:
            assert v["ph"] == pytest.approx(6.1 + math.log10(v["hco3_art"] / (0.03 * v["paco2"])))
        if "chlore" in v:
            assert 8 <= v["sodium"] - v["chlore"] - v["bicarbonates"] <= 28
        if "cst" in v:
            assert v["cst"] == pytest.approx(min(99, v["fer"] / (25 * v["transferrine"]) * 100))
        assert all(value > 0 for value in v.values()), report


# The split


def test_train_and_test_share_no_patient_report_or_answer():
    parts = split_rows(load_bundled(), 0.05, 0.1, seed=3407)
    assert len(parts["test"]) > 200 and len(parts["validation"]) > 100
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        for key in ("patient", "output"):
            assert not {r[key] for r in parts[one]} & {r[key] for r in parts[other]}, (one, other, key)
        reports = [{fold(r["input"]) for r in parts[part] if r["input"]} for part in (one, other)]
        assert not reports[0] & reports[1]
    measured = overlap(parts["train"], parts["test"])
    assert (measured["same patient or text"], measured["same report"], measured["same answer"]) == (0, 0, 0)


def test_subsets_are_a_choice_of_the_bundled_set_alone():
    rows = load_bundled()
    measured = subset_of(rows, "measured")
    assert subset_of(rows, "all") == rows and 1000 < len(measured) < len(rows)
    assert {(row["origin"], row["kind"]) for row in measured} == {("measured", "")}
    quick = subset_of(rows, "quick")
    assert {row["category"] for row in quick} == set(QUICK) < {row["category"] for row in measured}
    assert quick == [row for row in measured if row["category"] in QUICK]
    own = [ROW, ROW | {"origin": "Lyon", "kind": "NFS"}]
    assert subset_of(own, "measured") == subset_of(own, "quick") == own


def test_overlap_sees_a_leak():
    train, test = rows_of(20), rows_of(3) + [ROW | {"input": "Autre chose", "output": "Rien."}]
    measured = overlap(train, test)
    assert (measured["same report"], measured["same answer"]) == (3, 3)
    assert measured["nearest"]["highest"] == 100 and measured["nearest"]["95 or more"] == 3
    assert overlap(train, [])["nearest"] is None


def test_visits_of_one_patient_would_leak_by_row():
    rows = [row | {"patient": f"p{i % 10}"} for i, row in enumerate(rows_of(100))]
    parts = split_rows(rows, 0.1, 0.2, seed=1)
    assert sum(map(len, parts.values())) == 100
    assert len(parts["test"]) == 20 and len({row["patient"] for row in parts["test"]}) == 2


def test_groups_join_over_patient_report_and_answer():
    a = ROW | {"input": "Hb : 110 g/L", "output": "A 1", "patient": "p1"}
    b = ROW | {"input": "Hb : 111 g/L", "output": "B 2", "patient": "p1"}
    c = ROW | {"input": "hb :  111  G/L", "output": "C 3", "patient": "p2"}
    d = ROW | {"input": "Sodium : 140", "output": "c 3", "patient": "p3"}
    e = ROW | {"input": "Sodium : 141", "output": "E 4", "patient": "p4"}
    assert groups_of([a, b, c, d, e]) == [0, 0, 0, 0, 4]


def test_without_patients_texts_that_differ_in_numbers_stay_together():
    a, b = (ROW | {"input": f"Bilan, Hb : {value} g/L", "output": value} for value in ("110", "7,5"))
    assert groups_of([a, ROW, b]) == [0, 1, 0]


def test_the_split_is_the_same_on_every_machine():
    parts = split_rows(rows_of(120), 0.05, 0.1, 1)
    text = repr({name: [row["input"] for row in part] for name, part in parts.items()})
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "7cac9eafb45d"
    assert parts != split_rows(rows_of(120), 0.05, 0.1, 2)


# Loading


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_local_files(tmp_path, ending):
    import pandas as pd

    path = tmp_path / f"rows.{ending}"
    frame = pd.DataFrame([ROW, ROW | {"input": "", "instruction": "What is anemia?", "output": "A low hemoglobin;\nsay 110."}])
    match ending:
        case "json":
            frame.to_json(path, orient="records", force_ascii=False)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case "csv":
            frame.to_csv(path, index=False, sep=";", encoding="utf-8-sig")
        case "parquet":
            frame.to_parquet(path)
    rows, found = check_rows(load_rows(str(path)), str(path))
    assert [row["instruction"] for row in rows] == [ROW["instruction"], "What is anemia?"]
    assert rows[0]["input"] == ROW["input"] and rows[1]["input"] == "" and rows[1]["output"] == "A low hemoglobin;\nsay 110."
    assert found.table() == [] and found.kept == [1, 2]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("instruction", "input", "output", "prompt"), {"instruction": "instruction", "output": "output"}),
        (("anchor", "positive"), {"instruction": "anchor", "output": "positive"}),
        (("question", "answer", "context"), {"instruction": "question", "output": "answer", "input": "context"}),
        (("Question", "Réponse", "Contexte"), {"instruction": "Question", "output": "Réponse", "input": "Contexte"}),
        (("instruction", "question", "output"), {"instruction": "instruction", "output": "output"}),
    ],
)
def test_columns_by_synonyms(names, expected):
    assert expected.items() <= map_columns(names, "x").items()


def test_faulty_rows_are_dropped_repaired_or_kept_by_the_rules():
    raw = rows_of(40)
    raw[3]["output"], raw[4]["output"], raw[5]["output"] = " ", None, 3
    raw[6]["output"] = "x" * (LONGEST + 1)
    raw[7]["input"] = "cr\ufffdatinine"
    raw[8]["output"] = "CrÃ©atinine Ã©levÃ©e"
    raw[9]["input"] = "### Response: normal"
    raw[10] = dict(raw[11])
    raw[12] = raw[13] | {"output": raw[13]["output"].upper()}
    raw[14] = raw[15] | {"output": "Tout autre chose."}
    rows, found = check_rows(raw, "x")
    assert {(entry["fault"], entry["column"]): entry["rows"] for entry in found.table()} == {
        ("empty instruction or output", "output"): [4, 5],
        ("not text", "output"): [6],
        (f"longer than {LONGEST} characters", "output"): [7],
        ("unreadable characters", "input"): [8],
        ("wrongly decoded characters", "output"): [9],
        ("prompt marker in the text", "input"): [10],
        ("exact duplicate", "all"): [12],
        ("near-duplicate", "all"): [14],
        ("same question, another answer", "output"): [16],
    }
    assert len(rows) == 40 - 6 and rows[found.kept.index(9)]["output"] == "Créatinine élevée"


def as_json(rows, **options):
    return json.dumps(rows, ensure_ascii=False, **options).encode()


BAD = {
    "no bytes": ("a.json", b"", "the file is empty"),
    "blank": ("a.jsonl", b" \n\n ", "the file is empty"),
    "no rows": ("a.json", b"[]", "0 of 0 rows"),
    "header alone": ("a.csv", b"instruction,input,output\n", "0 of 0 rows"),
    "cut off": ("a.json", as_json(rows_of(3))[:-9], "line 1, column .* is not valid JSON"),
    "an object": ("a.json", as_json({"train": rows_of(3)}), "holds a dict with the keys train, not a list of rows"),
    "a number": ("a.json", b"42", "holds a int, not a list of rows"),
    "rows of lists": ("a.json", b"[[1, 2]]", "row 1 is a list, not an object"),
    "too deep": ("a.json", b"[" * 100_000, "nested too deeply"),
    "nested cell": ("a.json", as_json(rows_of(3, output={"text": "x"})), "not text in column output: rows 1, 2, 3"),
    "list cell": ("a.jsonl", b'{"instruction": ["a"], "output": "b"}\n', "not text in column instruction: row 1"),
    "broken line": ("a.jsonl", as_json(ROW) + b"\nnot json\n", "line 2 is not valid JSON"),
    "line of another kind": ("a.jsonl", as_json(ROW) + b'\n"text"\n', "row 2 is a str"),
    "latin-1": ("a.csv", "instruction,output\na,b\nà,é\n".encode("latin-1"), "line 3 is not UTF-8"),
    "utf-16": ("a.json", as_json(rows_of(3)).decode().encode("utf-16"), "line 1 is not UTF-8"),
    "binary": ("a.csv", bytes(range(128)) * 50, "null characters"),
    "missing column": ("a.csv", b"instruction,input\na,b\n", "lacks the column output: it has instruction, input"),
    "unknown columns": ("a.json", as_json([{"x": "a", "y": "b"}]), "lacks the column instruction, output"),
    "two claims": ("a.json", as_json([{"question": "a", "query": "b", "output": "c"}]), "'question' and 'query' could both"),
    "ragged": ("a.csv", b"instruction;output\na;b\na;b;c\n", "row 2 has 3 cells and the header has 2"),
    "short row": ("a.csv", b"instruction;input;output\na;b;c\na;b\n", "row 2 has 2 cells"),
    "open quote": ("a.csv", b'instruction,output\na,"b\n', "line"),
    "empty outputs": (
        "a.json",
        as_json(rows_of(9, output="")),
        "empty instruction or output in column output: rows 1, 2, 3, 4, 5…",
    ),
    "null outputs": ("a.json", as_json(rows_of(4)[:3] + rows_of(1, output=None)), "1 of 4 rows are unusable.*column output: row 4"),
    "number for text": ("a.json", as_json(rows_of(3) + rows_of(1, instruction=7)), "not text in column instruction: row 4"),
    "one answer for all": ("a.json", as_json(rows_of(12, output="Normal.")), "all 12 rows have the same text in column output"),
    "one answer, renamed": (
        "a.csv",
        ("question;answer\n" + "".join(f"Q {w} ?;Oui\n" for w in WORDS)).encode(),
        "the same text in column answer",
    ),
    "replacement characters": ("a.json", as_json(rows_of(3, input="cr\ufffdatinine")), "unreadable characters in column input"),
    "several faults": (
        "a.json",
        as_json(rows_of(2) + rows_of(1, output="") + rows_of(1, input=5)),
        "2 of 4 rows are unusable \\(empty .* column output: row 3; not text in column input: row 4\\)",
    ),
    "no parquet": ("a.parquet", b"PAR1 but not really", "cannot be read as parquet"),
    "wrong ending": ("a.txt", b"text", "is not a .json"),
    "50 MB, cut off": (
        "a.json",
        b"[" + as_json(ROW | {"output": "x" * 50_000}) * 1 + (b"," + as_json(ROW)) * 600_000,
        "is not valid JSON",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_files_get_one_sentence_and_write_nothing(tmp_path, fault):
    name, content, words = BAD[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MedAnalyzrError, match=words) as caught:
        prepare(str(path), tmp_path / "run", 0.05, 0.1, 1)
    sentence = str(caught.value)
    assert "\n" not in sentence and name in sentence and len(sentence) < 500
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_signs_that_end_a_line_elsewhere_stay_in_the_rows(tmp_path, ending):
    import csv

    signs, path = "a\u2028b\u2029c\x85d\x0be\x0cf", tmp_path / f"rows.{ending}"
    rows = [row | {"output": f"{row['output']} {signs}", "patient": f"{i} {signs}"} for i, row in enumerate(rows_of(20))]
    match ending:
        case "json":
            path.write_bytes(as_json(rows))
        case "jsonl":
            path.write_bytes(b"\n".join(map(as_json, rows)))
        case "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    report = prepare(str(path), tmp_path / "run", 0.1, 0.1, 1)
    kept = [row for part in ("train", "validation", "test") for row in load_split(tmp_path / "run", part)]
    mended = [row["output"].replace("\x85", "…") for row in rows]  # what Windows' 85 means, by ftfy
    assert report["rows_used"] == 20 and sorted(row["output"] for row in kept) == sorted(mended)
    assert {row["patient"] for row in kept} == {row["patient"] for row in rows}
    assert prepared("auto", "bundled", tmp_path / "run", 1, (0.1, 0.1)) == report


def test_a_preparation_that_is_cut_leaves_the_earlier_one(tmp_path, monkeypatch):
    from medanalyzr.dataset import prepare as module

    path = tmp_path / "rows.json"
    path.write_bytes(as_json(rows_of(20)))
    prepare(str(path), tmp_path / "run", 0.1, 0.1, 1)
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*.json*")}
    write = module.write_jsonl
    monkeypatch.setattr(module, "write_jsonl", lambda file, rows: write(file, rows) if file.name == "train.jsonl" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(str(path), tmp_path / "run", 0.2, 0.2, 2)
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("dataset", ["missing.json", "/nowhere/rows.csv", "nonsense"])
def test_unknown_path(dataset):
    with pytest.raises(MedAnalyzrError, match="is not a file"):
        load_rows(dataset)


def test_unreachable_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(MedAnalyzrError, match="cannot be reached.*HF_ENDPOINT.*dataset"):
        load_rows("Nassira/MedAnalyzr")


def test_prepared_run_is_not_mixed_with_another_dataset(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(as_json(rows_of(20)))
    report = prepare(str(path), tmp_path / "run", 0.1, 0.1, 1)
    assert report["rows"] == {"train": 16, "validation": 2, "test": 2}
    assert prepared("auto", "bundled", tmp_path / "run", 1, (0.05, 0.1)) == report
    with pytest.raises(MedAnalyzrError, match="holds the dataset"):
        prepared("bundled", "bundled", tmp_path / "run", 1, (0.05, 0.1))


def test_free_text_has_no_balance():
    assert balance(rows_of(5)) is None and flags_by_analyte(rows_of(5)) == {}
    assert all(not parse_answer(row["output"]) for row in load_bundled() if row["kind"] == "question")
