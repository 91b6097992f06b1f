import logging
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.core.device import Device, cpu_has_bfloat16, where
from medanalyzr.core.packages import LOCAL, NO_DEPS, RUN, read_requirements, requirements
from medanalyzr.dataset.split import split_rows
from medanalyzr.notebook import setup
from medanalyzr.notebook.parameters import declared_parameters
from medanalyzr.notebook.setup import install_commands
from medanalyzr.training.profiles import PROFILES, check_settings, choose_profile, dtype_of, override, planned_steps
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CPU = Device("cpu", "CPU", 16, False, 0, 2)


def card(memory, bf16):
    return Device("cuda", "GPU", memory, bf16, 1, 8)


@pytest.fixture
def bare(monkeypatch):
    """One's own machine with its own torch and matplotlib, an old transformers, and nothing else."""
    have = {"torch": "2.9.0+cu128", "matplotlib": "3.10.0", "transformers": "4.57.1", "pandas": "2.2.2"}
    monkeypatch.setattr(setup, "installed", have.get)
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "MEDANALYZR_PACKAGES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def complete(bare):
    """A machine that has every package as tested."""
    have = {r.name: re.sub("[=>]", "", str(r.specifier)) for r in requirements()}
    bare.setattr(setup, "installed", have.get)
    return bare


def test_a_local_machine_is_told_the_commands_of_the_readme(bare):
    assert where() == "local"
    told = [command[4:] for command in install_commands("local")]
    assert told == [["--quiet", "-r", "requirements.txt"], ["--quiet", "--no-deps", "-r", "requirements-no-deps.txt"]]
    with pytest.raises(
        MedAnalyzrError, match=r"lacks .*transformers==5.17.0.* run: .* -m pip install --quiet -r requirements.txt && "
    ):
        setup.bootstrap()


@pytest.mark.parametrize("python", ["/opt/other env/bin/python", "/srv/Thèse médicale n°1/.venv/bin/python"])
def test_the_advice_installs_into_the_python_of_the_kernel(bare, python):
    bare.setattr(setup.sys, "executable", python)
    with pytest.raises(MedAnalyzrError) as said:
        setup.bootstrap()
    told = str(said.value)
    assert f"kernel ({python})" in told
    first, second = (shlex.split(part) for part in told.split(" run: ")[1].split(" && "))
    assert first[:3] == second[:3] == [python, "-m", "pip"]


def test_as_is_names_what_differs(bare, capsys):
    bare.setenv("MEDANALYZR_PACKAGES", "as-is")
    setup.bootstrap()
    said = capsys.readouterr().out
    assert "transformers==5.17.0" in said and "unsloth==2026.10.9" in said and "triton" in said


def test_one_notice_is_not_shown_and_every_other_is(complete, caplog):
    setup.bootstrap()
    said = logging.getLogger("bitsandbytes.backends.cpu.ops")
    said.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "No module named 'kernels'")
    said.warning("another warning")
    assert caplog.messages == ["another warning"]


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


def test_a_project_without_its_requirements(tmp_path):
    with pytest.raises(MedAnalyzrError, match="^requirements.txt is not beside the folder notebooks/"):
        read_requirements(tmp_path / "requirements.txt")


def lines_of(name):
    return [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_pins_are_exact_and_explained():
    for name in ("requirements-run.txt", "requirements.txt", "requirements-test.txt", "requirements-no-deps.txt"):
        assert (ROOT / name).read_text(encoding="utf-8").startswith("# "), name
    ranges = {need.name for need in read_requirements(RUN) if "==" not in str(need.specifier)}
    own = {Requirement(line).name for line in lines_of("requirements.txt")[1:]}
    assert ranges <= own and not (own - ranges) & {need.name for need in read_requirements(RUN)}
    loose = [need.name for need in read_requirements(LOCAL) + read_requirements(NO_DEPS) if "==" not in str(need.specifier)]
    assert loose == ["triton"]
    assert all("==" in line for line in lines_of("requirements-test.txt")[1:])
    tested = {need.name: need.specifier for need in read_requirements(LOCAL)}
    for need in read_requirements(RUN):
        assert str(tested[need.name])[2:] in need.specifier, need


def test_the_files_stand_in_each_other_and_all_instructions_name_them():
    assert lines_of("requirements.txt")[0] == "-r requirements-run.txt"
    assert lines_of("requirements-test.txt")[0] == "-r requirements.txt"
    conda = (ROOT / "environment.yml").read_text()
    bare = "pip install --no-deps -r requirements-no-deps.txt"
    assert "python=3.11" in conda and "- -r requirements.txt" in conda and bare in conda
    run, test = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    for block, name in ((run, "requirements.txt"), (test, "requirements-test.txt")):
        assert f"pip install -r {name} && python -m {bare} && " in block
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
    more = override(PROFILES["cpu"], untouched | {"layouts": "auto", "composed_examples": 50})
    assert PROFILES["cpu"].composed == 0 and (more.layouts, more.composed) == ("composed", 50)
    assert override(PROFILES["cpu"], untouched | {"layouts": "composed"}).composed == PROFILES["cpu"].composed_examples > 0
    assert (
        override(PROFILES["80gb"], untouched | {"layouts": "own", "composed_examples": 50}).composed
        == 0
        < PROFILES["80gb"].composed
    )


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
