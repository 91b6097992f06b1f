"""The schema of MedAnalyzr on Mistral's own class and v3 tokenizer, tiny and untrained, through the very notebooks."""

import json
import random

import pytest
from conftest import papermill


def free_text(count):
    """Rows as MedAnalyzr has them: French reports and English questions with an empty input, free answers, no patient."""
    rng = random.Random(0)
    words = ["bilan", "taux", "valeur", "dosage", "suivi", "foie", "rein", "sang", "carence", "inflammation", "contrôle", "avis"]
    rows = []
    for i in range(count):
        topic = f"{''.join(rng.choices('bcdfglmnprst', k=3))}{''.join(rng.choices('aeiou', k=2))}{i}"
        text = " ".join(rng.choices(words, k=90))
        if i % 4:
            rows.append(
                {"instruction": "Commentez ce bilan.", "input": f"Bilan {topic} : {rng.uniform(1, 9):.1f} g/L, {text[:200]}"}
            )
        else:
            rows.append({"instruction": f"What does {topic} mean, and when is it {rng.choice(words)}?", "input": ""})
        rows[-1] |= {"output": f"Pour {topic} : {text}.", "prompt": "Vous êtes un médecin professionnel."}
    return rows


@pytest.fixture(scope="module")
def run(tiny_mistral, artifacts, tmp_path_factory):
    """The run folder of 02 to 07 on 2,182 rows, of which 03_train takes eight steps."""
    folder = tmp_path_factory.mktemp("mistral")
    data = folder / "rows.json"
    data.write_text(json.dumps(free_text(2182)), encoding="utf-8")
    for notebook, parameters in (
        ("02_data", {"dataset": data}),
        (
            "03_train",
            {"dataset": data, "base_model": tiny_mistral, "max_steps": 8, "learning_rate": 2e-3, "validation_examples": 2},
        ),
        ("04_inference", {"max_new_tokens": 8}),
        ("05_evaluation", {"test_reports": 2, "base_reports": 1, "loss_reports": 1}),
        ("06_export", {"compared_reports": 2, "max_new_tokens": 8}),
    ):
        process = papermill(f"{notebook}.ipynb", folder / "out.ipynb", run="mistral", **parameters)
        assert process.returncode == 0, process.stderr[-2000:]
    return artifacts / "runs" / "mistral"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_row_is_used_and_split_without_leaks(run):
    report = read(run / "data_report.json")
    assert report["rows_used"] == 2182 and report["findings"] == [] and report["grouped_by"] == "text without numbers"
    assert sum(report["rows"].values()) == 2182 and report["rows"]["test"] > 200 and report["overlap"]["same answer"] == 0
    assert 250 < report["tokens"]["Mistral v3"]["mean"] < 350


def test_mistral_learns(run, tiny_mistral):
    record = read(run / "training.json")
    layers, r = 2, 16
    shapes = [(128, 128), (128, 64), (128, 64), (128, 128), (128, 256), (128, 256), (256, 128)]
    assert record["trainable_parameters"] == layers * sum(r * (a + b) for a, b in shapes)
    assert record["steps"] == 8 and record["examples"] == read(run / "data_report.json")["rows"]["train"]
    assert record["dataset"].endswith("rows.json")
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]
    assert len((run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_free_answers_are_scored_as_text_alone(run):
    evaluation = read(run / "evaluation.json")
    assert evaluation["structured"] is False and evaluation["results"]["tuned model"]["flags"]["share"] is None
    assert 0 < evaluation["text"]["tuned model"]["chrf"] < 100 and evaluation["answer_loss"] > 0
    assert not evaluation["verdict"]["released"]


def test_the_export_answers_like_the_adapter(run):
    same = read(run / "export.json")["agreement"]["merged"]
    assert same["reports"] == same["same_answers"] == 2
    names = {path.relative_to(run / "export").as_posix() for path in (run / "export").rglob("*") if path.is_file()}
    assert {"merged/model.safetensors", "merged/tokenizer.json", "model-q8_0.gguf", "Modelfile", "README.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_the_benchmark_sets_a_profile_beside_the_plain_trainer(run, tiny_mistral, artifacts, tmp_path):
    options = {"base_model": tiny_mistral, "steps": 3, "run": "bench"}
    process = papermill("07_benchmark.ipynb", tmp_path / "out.ipynb", **options)
    assert process.returncode == 0, process.stderr[-2000:]
    record = read(artifacts / "runs" / "bench" / "benchmark.json")
    assert [row["configuration"] for row in record["runs"]] == ["cpu", "plain"]
    ours, plain = record["configurations"]
    assert (ours["configuration"], plain["configuration"]) == ("cpu", "plain")
    for row in (ours, plain):
        assert row["tokens_per_second"] > 0 and row["peak_gib"] > 0.2
        reached = row["tokens_per_second"] * record["flops_per_token"]
        assert row["mfu"] == pytest.approx(reached / record["matmul_flops"])
    assert 1e9 < record["matmul_flops"] < 1e15 and record["flops_per_token"] > 4 * 32768 * 128  # at least its head
    assert ours["tokens_per_step"] == pytest.approx(plain["tokens_per_step"], rel=0.5)
