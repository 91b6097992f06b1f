"""The files that the packages bring are unpacked once."""

import threading
import time

import pytest
from medanalyzr.training.base_models import _made_once


def test_notebooks_that_start_together_unpack_once(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        time.sleep(0.3)
        (folder / "config.json").write_text("{}", encoding="utf-8")

    threads = [threading.Thread(target=_made_once, args=(tmp_path / "cache" / "model", make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and (tmp_path / "cache" / "model" / "config.json").is_file()


def test_what_was_cut_is_unpacked_again(tmp_path):
    def cut(folder):
        (folder / "config.json").write_text("{", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _made_once(tmp_path / "model", cut)
    assert not (tmp_path / "model").exists()
    _made_once(tmp_path / "model", lambda folder: (folder / "config.json").write_text("{}", encoding="utf-8"))
    assert (tmp_path / "model" / "config.json").read_text(encoding="utf-8") == "{}"
