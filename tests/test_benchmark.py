"""What 07_benchmark says of a run."""

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.notebook.benchmark import configurations, measured, median_run


def test_a_line_of_the_table_follows_from_its_steps():
    steps = [{"seconds": s, "tokens": t} for s, t in ((9, 100), (8, 100), (2, 200), (2, 300), (4, 100))]
    row = measured("cpu", steps, 40, 1.5, 9000, 1e9, 1e12)
    assert row["seconds_per_step"] == 2 and row["tokens_per_second"] == 75 and row["epoch_s"] == 120
    assert row["mfu"] == pytest.approx(0.075) and row["start_up_s"] == 30 and row["tokens_per_step"] == 200
    with pytest.raises(MedAnalyzrError, match="at least 3"):
        measured("cpu", steps[:2], 40, 1.5, 9000, 1e9, 1e12)


def test_the_run_of_median_speed_counts():
    runs = [
        {"configuration": name, "tokens_per_second": speed} for name, speed in (("a", 30), ("b", 1), ("a", 10), ("a", 20), ("b", 2))
    ]
    assert median_run(runs, "a")["tokens_per_second"] == 20 and median_run(runs, "b")["tokens_per_second"] == 1


def test_names_of_configurations():
    assert configurations("auto", "cpu") == ["cpu", "plain"] and configurations("auto", "80gb") == ["recipe", "80gb", "plain"]
    assert configurations("80gb,plain", "t4") == ["80gb", "plain"]
    with pytest.raises(MedAnalyzrError, match="'fast'"):
        configurations("fast", "cpu")
