"""What is said before a training is near what was measured on the machines on record."""

import json
from dataclasses import replace

import pytest
from conftest import NOTEBOOKS
from medanalyzr import MedAnalyzrError
from medanalyzr.core.device import Device, device
from medanalyzr.core.hub import BUNDLED, MEDANALYZR, MISTRAL, SMOLLM2
from medanalyzr.training.base_models import resolve_base_model
from medanalyzr.training.estimates import (
    SHAPES,
    TYPICAL,
    check_memory,
    expectation,
    expected_memory_gib,
    expected_seconds,
    measure_matmul_flops,
    shape_of,
)
from medanalyzr.training.profiles import PROFILES

H100 = Device("cuda", "NVIDIA H100 80GB HBM3", 79.2, True, 1, 16)
T4 = Device("cuda", "Tesla T4", 14.6, False, 1, 2)
CPU = Device("cpu", "CPU", 23.5, False, 0, 2)
SEVEN_B = SHAPES[MISTRAL]
BENCHMARKS = NOTEBOOKS.parent / "artifacts" / "benchmarks"
RECORD = json.loads((BENCHMARKS / "profiles.json").read_text(encoding="utf-8"))["profiles"]
H100_RECORD = json.loads((BENCHMARKS / "h100.json").read_text(encoding="utf-8"))


def test_the_shapes_are_those_of_the_models():
    assert shape_of(resolve_base_model(SMOLLM2)) == SHAPES[SMOLLM2]
    assert SHAPES[SMOLLM2].matrices == pytest.approx(134.5e6, rel=0.001)
    assert SEVEN_B.matrices + SEVEN_B.vocabulary * SEVEN_B.hidden == pytest.approx(7.248e9, rel=0.001)


@pytest.mark.parametrize("row", RECORD, ids=[row["profile"] for row in RECORD])
def test_times_and_memory_on_record(row):
    """12 steps of each profile on an H100, whose large matrix product runs at 790 TFLOP/s."""
    settings = replace(PROFILES[row["profile"]], max_steps=12, load_in_4bit="on", float8="off")
    batches = settings.batch_size * settings.gradient_accumulation_steps
    examples, tokens = (batches * 12, row["tokens_per_step"] * 12) if settings.packing == "off" else (400, 100_000)
    seconds = expected_seconds(settings, SEVEN_B, H100, examples, tokens, 790e12, 2048)
    assert seconds == pytest.approx(12 * row["seconds_per_step"], rel=0.35)
    longest = settings.batch_size * (2048 if settings.packing != "off" else 500)
    assert expected_memory_gib(settings, SEVEN_B, H100, longest, 16) == pytest.approx(row["peak_memory_gib"], rel=0.25)


def test_a_base_model_in_16_bits_and_the_longest_rows_on_record():
    for run, float8 in zip(H100_RECORD["float8"]["runs"], ("on", "off"), strict=True):
        settings = replace(PROFILES["80gb"], float8=float8)
        seconds = expected_seconds(settings, SEVEN_B, H100, 2182, 684_426, H100_RECORD["limit_tflops"] * 1e12, 2048)
        assert seconds == pytest.approx(run["epoch_s"], rel=0.25)
        assert expected_memory_gib(settings, SEVEN_B, H100, 4 * 2048, 16) == pytest.approx(run["peak_gib"], rel=0.1)
    eight = replace(PROFILES["80gb"], float8="on")  # as in these runs
    shared = expected_seconds(eight, SEVEN_B, H100, 2182, 684_426, H100_RECORD["limit_tflops"] * 1e12, 2048)
    for run in H100_RECORD["runs"]:
        if run["configuration"] == "80gb":
            assert shared == pytest.approx(run["epoch_s"], rel=0.2)
    assert expected_memory_gib(PROFILES["t4"], SEVEN_B, T4, 2 * 2027, 16) == pytest.approx(
        H100_RECORD["t4_worst_case"]["peak_gib"], rel=0.1
    )


def test_several_processes_share_an_epoch(monkeypatch):
    """SmolLM2 on four H100, 229,900 tokens/s: the record of the first training of the reference adapter."""
    record = json.loads((NOTEBOOKS.parent / "artifacts/reference/first_training.json").read_text(encoding="utf-8"))
    settings = replace(PROFILES["80gb"], batch_size=6)
    asked = settings, SHAPES[SMOLLM2], H100, record["examples"], int(record["tokens"]), 720e12, 3072
    alone = expected_seconds(*asked)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert expected_seconds(*asked) == pytest.approx(alone / 4)
    assert expected_seconds(*asked) == pytest.approx(record["seconds"], rel=1 / 3)


def test_the_published_time_on_a_small_gpu():
    seconds = expected_seconds(PROFILES["recipe"], SEVEN_B, T4, *TYPICAL[MEDANALYZR], 28e12, 2048)
    assert seconds / 60 == pytest.approx(34, rel=0.25)


def test_the_arithmetic_of_a_cpu_training():
    rows, tokens = TYPICAL[BUNDLED]
    expected = expectation(PROFILES["cpu"], SHAPES[SMOLLM2], CPU, [tokens // rows] * rows, 2048, 16, 1.5e11)
    assert expected["minutes"] * 60 == pytest.approx(200 * (tokens // rows) * 4 * 134.48e6 / (0.52 * 1.5e11), rel=0.001)
    twice = replace(PROFILES["cpu"], max_steps=400)
    assert expectation(twice, SHAPES[SMOLLM2], CPU, [tokens // rows] * rows, 2048, 16, 1.5e11)["minutes"] == pytest.approx(
        2 * expected["minutes"], rel=0.01
    )
    assert 1.5 < expected["memory_gib"] < 3


def test_what_cannot_fit_is_refused_before_it_is_loaded():
    assert check_memory(PROFILES["t4"], SEVEN_B, T4, 2048, 16).startswith("at least 5")
    with pytest.raises(MedAnalyzrError, match=r"needs about 15 GiB and Tesla T4 has 15: lower batch_size .* load_in_4bit='on'"):
        check_memory(replace(PROFILES["t4"], load_in_4bit="off"), SEVEN_B, T4, 2048, 16)
    with pytest.raises(MedAnalyzrError, match="needs about 58 GiB"):
        check_memory(replace(PROFILES["80gb"], float8="on"), SEVEN_B, replace(H100, memory_gib=40.0), 2048, 16)
    with pytest.raises(MedAnalyzrError, match="needs about 45 GiB"):
        check_memory(PROFILES["80gb"], SEVEN_B, replace(H100, memory_gib=40.0), 2048, 16)


def test_the_limit_is_a_speed():
    assert 1e9 < measure_matmul_flops(device(), "float32") < 1e15
