import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.notebook.parameters import check_parameters, declared_parameters


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
    values = namespace(learning_rate=0, run=2024) | {"learning_rate": 0.5}
    check_parameters("03_train", values)
    assert values["run"] == "2024"
    values = namespace(num_train_epochs=3)
    assert isinstance(check_parameters("03_train", values)["num_train_epochs"], float)
