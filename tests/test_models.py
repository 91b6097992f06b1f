"""The files that the packages bring are unpacked once."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from conftest import NOTEBOOKS
from medanalyzr.training.base_models import _cached, _made_once


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


def test_what_is_remembered_is_remembered_in_its_block_alone():
    calls = []
    module = SimpleNamespace(read=lambda path: calls.append(path) or [path])
    own = module.read
    with pytest.raises(KeyboardInterrupt), _cached(module, "read"):
        assert module.read("a") is module.read("a") and calls == ["a"]
        raise KeyboardInterrupt
    assert module.read is own


def test_the_conversion_leaves_the_package_gguf_as_it_was(artifacts):
    """In a process of its own, which converts if no test before it did."""
    script = (
        "import gguf; own = gguf.GGUFReader, gguf.get_tensor_name_map\n"
        "from medanalyzr.training.base_models import smollm2_folder; smollm2_folder()\n"
        "assert own == (gguf.GGUFReader, gguf.get_tensor_name_map)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=NOTEBOOKS).returncode == 0


def test_what_was_cut_is_unpacked_again(tmp_path):
    def cut(folder):
        (folder / "config.json").write_text("{", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _made_once(tmp_path / "model", cut)
    assert not (tmp_path / "model").exists()
    _made_once(tmp_path / "model", lambda folder: (folder / "config.json").write_text("{}", encoding="utf-8"))
    assert (tmp_path / "model" / "config.json").read_text(encoding="utf-8") == "{}"
