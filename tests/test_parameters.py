import json
import re
from pathlib import Path

import pytest
from conftest import NOTEBOOKS
from medanalyzr import MedAnalyzrError
from medanalyzr.notebook.parameters import USUAL, check_parameters, declared_parameters, fill_in
from medanalyzr.training.profiles import PROFILES


def namespace(notebook="03_train", injected="", **changes):
    values = declared_parameters(notebook) | changes
    return values | {"In": ["", "x = 1", f"# Parameters\n{injected}\n"]}


def test_defaults_pass_and_are_returned():
    values = check_parameters("03_train", namespace())
    assert values["max_steps"] == -1 and values["lora_r"] == 16 and values["max_seq_length"] == 2048


def test_unknown_parameter_is_refused():
    with pytest.raises(MedAnalyzrError, match="00_pipeline has no parameter max_step: it knows run, "):
        check_parameters("00_pipeline", namespace("00_pipeline", "max_step = 3"))


def test_variables_of_an_interactive_session_are_no_parameters():
    check_parameters("03_train", namespace() | {"my_own_variable": 1})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_steps", "abc", "must be of type int"),
        ("max_steps", 0, "at least 1"),
        ("max_steps", True, "must be of type int"),
        ("lora_r", 0, "at least 1"),
        ("learning_rate", -0.1, "between 0 and 1"),
        ("learning_rate", "fast", "must be of type float"),
        ("batch_size", 0, "at least 1"),
        ("max_seq_length", 3, "at least 64"),
        ("train_on", "prompt", "'auto', 'answer' or 'all'"),
        ("resume", 1, "must be of type bool"),
    ],
)
def test_bad_values(name, value, words):
    with pytest.raises(MedAnalyzrError, match=words) as caught:
        check_parameters("03_train", namespace(**{name: value}))
    assert name in str(caught.value) and repr(value) in str(caught.value)


def test_numbers_become_what_the_default_is():
    values = namespace(num_train_epochs=3)
    assert isinstance(check_parameters("03_train", values)["num_train_epochs"], float)


@pytest.mark.parametrize("typed", ["2024_11", "2024", "007", "1e3", "True", "None", "nan"])
def test_a_text_is_what_was_typed_or_is_refused_with_the_option_that_keeps_it(typed):
    """papermill's own reading of -p: what it makes a number, a truth value or None of is no text any more."""
    from papermill.cli import _resolve_type

    with pytest.raises(MedAnalyzrError, match="the parameter run=.* must be text.* with -r run 2024_11, or in quotes"):
        check_parameters("03_train", namespace(run=_resolve_type(typed)))
    assert check_parameters("03_train", namespace(run=typed))["run"] == typed


def test_paths_become_absolute_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rows.json", "auto", "bundled", "SmolLM2-135M-Instruct", "out"):
        (tmp_path / name).mkdir()
    given = {"dataset": "rows.json", "base_model": "../" + tmp_path.name + "/out"}
    found = check_parameters("03_train", namespace(**given))
    assert found["dataset"] == str(tmp_path / "rows.json") and Path(found["base_model"]).samefile(tmp_path / "out")
    assert Path(found["base_model"]).is_absolute()
    same = {"dataset": "bundled", "base_model": "SmolLM2-135M-Instruct", "run": "out"}
    assert same.items() <= check_parameters("03_train", namespace(**same)).items()
    assert check_parameters("03_train", namespace(dataset="Nassira/MedAnalyzr"))["dataset"] == "Nassira/MedAnalyzr"
    assert check_parameters("00_pipeline", namespace("00_pipeline"))["reports"] == ""


CHAIN = ("00_pipeline", "01_setup", "02_data", "03_train", "04_inference", "05_evaluation")


def comments(notebook):
    """The comment beside each parameter of a notebook."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return {line.split(":")[0]: line.partition("  # ")[2] for line in source.splitlines()}


def test_parameters_of_one_name_say_and_are_the_same_in_every_notebook():
    for notebook in CHAIN[1:]:
        here, chain = comments(notebook), comments("00_pipeline")
        for name in here.keys() & chain.keys():
            assert declared_parameters(notebook)[name] == declared_parameters("00_pipeline")[name], (notebook, name)
            by_itself = [re.search(r"-1: .*", text) for text in (here[name], chain[name])]
            assert by_itself[0] == by_itself[1] or by_itself[0][0] == by_itself[1][0], (notebook, name)


@pytest.mark.parametrize("notebook", CHAIN)
def test_the_defaults_that_comments_name_are_those_that_are_used(notebook):
    said = {name: text.partition("-1: ")[2] for name, text in comments(notebook).items() if "-1: " in text}
    for name, (cpu, others) in USUAL.items():
        if name in said:
            assert said[name] == f"{cpu} with profile cpu, else {others or 'all'}", (notebook, name)
    for name in said.keys() & {"validation_fraction", "test_fraction"}:
        used = {profile.name: getattr(profile, name) for profile in PROFILES.values()}
        assert used.pop("recipe") == 0 and {f"{100 * share:g} %, none with profile recipe" for share in used.values()} == {
            said[name]
        }


def test_minus_one_means_by_profile():
    for profile, numbers in (("cpu", [40, 7, 8, 2, 1]), ("t4", [0, 7, 0, 40, 40])):
        asked = {"test_reports": -1, "base_reports": 7, "loss_reports": -1, "perturbations": -1, "layout_reports": -1}
        fill_in(asked, profile)
        assert list(asked.values()) == numbers


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("0[1-7]_*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_fills_in_what_it_lets_be_the_profiles(notebook):
    asks = USUAL.keys() & declared_parameters(notebook.stem).keys()
    assert bool(asks) == ("fill_in(globals()" in notebook.read_text(encoding="utf-8"))
