import json

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.bundled import load_bundled
from medanalyzr.data import check_rows, group_of, load_rows, prepare, prepared, split_rows
from medanalyzr.references import TABLES

ROW = {"instruction": "Que montre ce bilan ?", "input": "Hb : 110 g/L", "output": "Anémie.", "prompt": ""}


def test_bundled_rows_are_many_and_of_several_studies():
    rows = load_bundled()
    assert len(rows) >= 600
    assert {"pbcseq", "mgus2", "flchain", "ais"} <= {row["source"] for row in rows}
    assert all(row[name] for row in rows for name in ("instruction", "input", "output", "prompt", "patient", "category"))


def test_the_bundled_file_is_what_the_script_makes():
    import csv

    from medanalyzr.build_bundled import COLUMNS, table

    with open(TABLES / "bundled_values.csv", encoding="utf-8", newline="") as file:
        stored = list(csv.reader(file))
    assert stored[0] == list(COLUMNS)
    assert stored[1:] == [[str(cell) for cell in row] for row in table()]


def test_no_patient_stands_on_both_sides():
    parts = split_rows(load_bundled(), 0.05, 0.1, seed=3407)
    patients = {name: {row["patient"] for row in part} for name, part in parts.items()}
    assert patients["train"] and patients["validation"] and patients["test"]
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["validation"]
    assert not patients["validation"] & patients["test"]


def test_visits_of_one_patient_would_leak_by_row():
    rows = [ROW | {"input": f"Hb : {i} g/L", "patient": f"p{i % 10}"} for i in range(100)]
    parts = split_rows(rows, 0.1, 0.2, seed=1)
    assert sum(map(len, parts.values())) == 100
    assert len(parts["test"]) == 20 and len({row["patient"] for row in parts["test"]}) == 2


def test_without_patients_texts_that_differ_in_numbers_stay_together():
    a, b = (ROW | {"input": f"Patient A, Hb : {value} g/L"} for value in ("110", "7,5"))
    assert group_of(a) == group_of(b) != group_of(ROW)


def test_split_depends_on_the_seed_alone():
    rows = load_bundled()
    assert split_rows(rows, 0.05, 0.1, 1) == split_rows(rows, 0.05, 0.1, 1) != split_rows(rows, 0.05, 0.1, 2)


def test_unusable_rows_are_counted():
    raw = [ROW, ROW, ROW | {"output": " "}, ROW | {"output": None}, ROW | {"output": 3}, ROW | {"input": None}]
    rows, dropped = check_rows(raw, "x")
    assert len(rows) == 2
    assert dropped == {"exact duplicate": 1, "empty instruction or output": 2, "not text": 1}


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_local_files(tmp_path, ending):
    import pandas as pd

    path = tmp_path / f"rows.{ending}"
    frame = pd.DataFrame([ROW, ROW | {"input": "", "instruction": "What is anemia?"}])
    match ending:
        case "json":
            frame.to_json(path, orient="records", force_ascii=False)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case "csv":
            frame.to_csv(path, index=False, sep=";")
        case "parquet":
            frame.to_parquet(path)
    rows, dropped = check_rows(load_rows(str(path)), str(path))
    assert [row["instruction"] for row in rows] == [ROW["instruction"], "What is anemia?"]
    assert rows[0]["input"] == ROW["input"] and rows[1]["input"] == "" and not dropped


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "cannot be read as json"),
        ("a.json", b"", "cannot be read as json"),
        ("a.csv", b"", "cannot be read as csv"),
        ("a.jsonl", b'{"instruction": "x"}\nnot json\n', "cannot be read as jsonl"),
        ("a.csv", "instruction,input\nà,b\n".encode("latin-1"), "cannot be read as csv"),
        ("a.csv", b"instruction,input\na,b\n", "lacks the column output"),
        ("a.json", b'[{"instruction": "a", "input": "b", "output": ""}]', "no usable row"),
        ("a.txt", b"text", "is not a .json"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MedAnalyzrError, match=words) as caught:
        prepare(str(path), tmp_path / "run", 0.05, 0.1, 1)
    assert "\n" not in str(caught.value) and name in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dataset", ["missing.json", "/nowhere/rows.csv", "nonsense"])
def test_unknown_path(dataset):
    with pytest.raises(MedAnalyzrError, match="is no file"):
        load_rows(dataset)


def test_unreachable_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(MedAnalyzrError, match="cannot be reached.*HF_ENDPOINT.*dataset"):
        load_rows("Nassira/MedAnalyzr")


def test_prepared_run_is_not_mixed_with_another_dataset(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW | {"input": f"dossier {word}"} for word in "abcdefghijklmnopqrst"]), encoding="utf-8")
    report = prepare(str(path), tmp_path / "run", 0.1, 0.1, 1)
    assert report["rows"] == {"train": 16, "validation": 2, "test": 2}
    assert prepared("auto", tmp_path / "run", 1, "bundled") == report
    with pytest.raises(MedAnalyzrError, match="holds the dataset"):
        prepared("bundled", tmp_path / "run", 1, "bundled")
