"""Every bad input costs one sentence, and nothing else: see bad_inputs.py for the list."""

import re

import pytest
from bad_inputs import CASES, files_in
from medanalyzr import MedAnalyzrError


def test_there_are_sixty_and_more():
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_costs_one_sentence_and_no_file(name, tmp_path, monkeypatch):
    make, words = CASES[name]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "case").mkdir()
    call = make(tmp_path / "case")
    before = files_in(tmp_path)
    with pytest.raises(MedAnalyzrError, match=words) as caught:
        call()
    sentence = str(caught.value)
    assert sentence.isprintable() and not re.search(r"[.!?]\s+[A-ZÀ-Þ]", sentence), sentence
    assert len(sentence) < 700 and "Traceback" not in sentence
    assert files_in(tmp_path) == before
