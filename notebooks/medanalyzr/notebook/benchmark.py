"""Training configurations measured under the same conditions: each in its own process, on the same rows."""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.run_folder import NOTEBOOKS, existing, read_json, write_json
from medanalyzr.notebook.pipeline import run_notebook
from medanalyzr.training.profiles import PROFILES, Profile

PLAIN = "plain"
WARM_UP = 2  # steps left out of the medians: start-up and compilation


def _steps_of_notebook(record: dict) -> list[dict]:
    """Seconds and tokens of each step in a training.json."""
    steps, before = [], 0.0
    for row in record["history"]:
        if "seconds" in row:
            steps.append({"seconds": row["seconds"], "tokens": row["num_input_tokens_seen"] - before})
            before = row["num_input_tokens_seen"]
    return steps


def measured(
    name: str, steps: Sequence[dict], wall: float, peak_gib: float, epoch_tokens: int, flops_per_token: float, matmul_flops: float
) -> dict:
    """One row of the table. `steps` have seconds and tokens, and the first two are ignored; `wall` is the time of the whole run in
    seconds.

    `mfu` is the model FLOPs utilization (Chowdhery et al., arXiv:2204.02311), here relative to `matmul_flops`, the measured speed
    of a large matrix product. It counts forward and backward pass once; recomputation (gradient checkpointing) does not count.
    `start_up_s` is the time of the run beyond its steps (each counted at the median).

    Raises:
        MedAnalyzrError: fewer than three steps.
    """
    kept = steps[WARM_UP:]
    if not kept:
        raise MedAnalyzrError(f"{name} ran {len(steps)} steps: measure at least {WARM_UP + 1}.")
    per_step = statistics.median(step["seconds"] for step in kept)
    speed = sum(step["tokens"] for step in kept) / sum(step["seconds"] for step in kept)
    return {
        "configuration": name,
        "seconds_per_step": per_step,
        "tokens_per_step": statistics.mean(step["tokens"] for step in kept),
        "tokens_per_second": speed,
        "epoch_s": epoch_tokens / speed,
        "mfu": speed * flops_per_token / matmul_flops,
        "peak_gib": peak_gib,
        "start_up_s": max(0.0, wall - per_step * len(steps)),
    }


def median_run(runs: Sequence[dict], name: str) -> dict:
    """The row of `measured` with the median speed of a configuration (of an even number of runs, the slower of the middle two)."""
    lines = sorted((run for run in runs if run["configuration"] == name), key=lambda run: run["tokens_per_second"])
    return lines[(len(lines) - 1) // 2]


def run_profile(name: str, parameters: dict, folder: Path) -> tuple[list[dict], float, float]:
    """Steps, total seconds and peak memory in GiB of 03_train with profile `name`, run in a folder of its own."""
    run = folder / name
    seconds = run_notebook("03_train", parameters | {"run": str(run), "profile": name, "resume": False}, run)
    record = read_json(run / "training.json", "03_train")
    return _steps_of_notebook(record), seconds, record["peak_memory_gib"]


def run_plain(profile: Profile, base: str, rows: Path, steps: int, seed: int, folder: Path) -> tuple[list[dict], float, float]:
    """The same for `medanalyzr.training.plain_trainer`, with batch size and learning rate of `profile`.

    Raises:
        MedAnalyzrError: the process failed (its last line).
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"base_model": str(existing(base) or base), "rows": str(rows.resolve()), "steps": steps, "seed": seed}
    asked |= {name: getattr(profile, name) for name in ("batch_size", "gradient_accumulation_steps", "learning_rate", "train_on")}
    asked |= {"max_seq_length": 2048, "checkpointing": profile.checkpointing != "off"}
    asked["result"] = str((folder / "plain.json").resolve())
    write_json(folder / "plain_settings.json", asked)
    command = [sys.executable, "-m", "medanalyzr.training.plain_trainer", str((folder / "plain_settings.json").resolve())]
    process = subprocess.run(command, cwd=NOTEBOOKS, capture_output=True, text=True)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise MedAnalyzrError(f"{PLAIN} failed: {last}")
    found = read_json(folder / "plain.json", PLAIN)
    return found["times"], found["seconds"], found["peak_memory_gib"]


def configurations(asked: str, chosen: str) -> list[str]:
    """The names in `asked` ("a,b"). "auto" means the recipe (on a GPU), the profile of this machine, and plain.

    Raises:
        MedAnalyzrError: a name that is neither a profile nor "plain".
    """
    names = list(dict.fromkeys((["recipe"] if chosen != "cpu" else []) + [chosen, PLAIN])) if asked == "auto" else asked.split(",")
    for name in names:
        if name not in (*PROFILES, PLAIN):
            raise MedAnalyzrError(f"configurations names {name!r}: choose among {', '.join((*PROFILES, PLAIN))}, or auto.")
    return names
