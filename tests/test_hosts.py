"""Colab and Kaggle by their recorded package lists, GPUs by their architectures, kernels and tokens as users have them."""

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import nbformat
import pytest
from conftest import copy_of_project, papermill
from medanalyzr import MedAnalyzrError
from medanalyzr.core import device as devices
from medanalyzr.core.hub import check_hub
from medanalyzr.export.push import push
from medanalyzr.notebook import pipeline, setup
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LISTS = Path(__file__).parent / "hosts"
PYTHON = {"colab": "3.13", "kaggle": "3.12"}
KERNEL = {
    "ipykernel", "ipython", "tornado", "traitlets", "jupyter-client", "pyzmq", "prompt-toolkit", "protobuf", "torch", "numpy", "pandas",
}  # fmt: skip
ADDED = {
    "trl", "bitsandbytes", "cut-cross-entropy", "gguf", "mistral-common", "ftfy", "phonenumbers", "python-stdnum", "rapidfuzz", "py3langid",
    "sacrebleu", "colorama", "portalocker", "pycountry", "pydantic-extra-types",
}  # fmt: skip
REPLACED = {
    "transformers": ("5.15.0", "5.17.0"), "peft": ("0.20.0", "0.21.2"), "datasets": ("4.0.0", "4.8.5"), "accelerate": ("1.14.0", "1.15.0"),
    "tokenizers": ("0.22.2", "0.23.3"), "pyarrow": ("18.1.0", "26.0.1"),
}  # fmt: skip
EXPECTED = {
    "colab": (ADDED | {"papermill"}, REPLACED),
    "kaggle": (
        ADDED,
        REPLACED
        | {"transformers": ("5.0.0", "5.17.0"), "peft": ("0.19.1", "0.21.2"), "accelerate": ("1.13.0", "1.15.0")}
        | {"safetensors": ("0.7.0", "0.8.0")},
    ),
}
# What packages of the hosts declare of others (their metadata, read on 26 November 2026), where it excludes a version of ours.
LIMITS = {
    "google-ai-generativelanguage": "protobuf<6",
    "grpcio-status": "protobuf<6",
    "bigframes": "rich<14",
    "gcsfs": "fsspec==2025.3.0",
    "cudf-cu12": "pandas<2.4",
}


def recorded(host):
    """Normalized name and version of each package of the host; a version that is not recorded is "unknown"."""
    lines = (LISTS / f"{host}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version or "unknown" for name, _, version in pairs}


@pytest.fixture(params=["colab", "kaggle"])
def host(request, monkeypatch, tmp_path):
    """A hosted machine as recorded; pip is called in name only."""
    have = recorded(request.param)
    monkeypatch.setattr(setup, "installed", lambda name: have.get(canonicalize_name(name)))
    monkeypatch.setattr(setup, "all_installed", lambda: have)
    monkeypatch.setattr(setup, "packages_distributions", dict)
    monkeypatch.setenv("MEDANALYZR_ARTIFACTS", str(tmp_path))
    monkeypatch.delenv("MEDANALYZR_PACKAGES", raising=False)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    monkeypatch.setenv("COLAB_RELEASE_TAG" if request.param == "colab" else "KAGGLE_KERNEL_RUN_TYPE", "x")
    calls = []
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(setup.subprocess, "run", lambda command, **_: calls.append(command) or done)
    return SimpleNamespace(name=request.param, have=have, calls=calls, done=done, patch=monkeypatch)


def would_install(host):
    """Name and version of all that pip would put there: what is asked for, and of its dependencies what the host lacks or has too old.

    The dependencies are those that the same versions declare in this environment.
    """
    queue, result = list(setup.wanting(host.name)), {}
    while queue:
        need = queue.pop()
        name = canonicalize_name(need.name)
        if name in result:
            continue
        result[name] = importlib.metadata.version(name)
        assert need.specifier.contains(result[name]), need
        for line in importlib.metadata.requires(name) or []:
            wants = Requirement(line)
            about = {"python_version": PYTHON[host.name], "sys_platform": "linux"}
            if wants.marker and not any(wants.marker.evaluate(about | {"extra": extra}) for extra in need.extras or {""}):
                continue
            there = host.have.get(canonicalize_name(wants.name))
            if there is None or there != "unknown" and not wants.specifier.contains(there, prereleases=True):
                queue.append(wants)
    return result


def test_what_a_host_gets(host):
    comes = would_install(host)
    added, replaced = EXPECTED[host.name]
    assert {name for name in comes if name not in host.have} == added
    assert {name: (host.have[name], version) for name, version in comes.items() if name in host.have} == replaced
    assert all(Version(old) < Version(new) for old, new in replaced.values())
    assert not KERNEL & set(comes)


def test_no_declared_limit_of_a_host_is_broken(host):
    after = host.have | would_install(host)
    for package, limit in LIMITS.items():
        assert package in after
        limit = Requirement(limit)
        assert limit.specifier.contains(after[canonicalize_name(limit.name)]), package


def test_pip_is_held_to_the_packages_of_the_host(host):
    setup.bootstrap()
    removal, deps, bare = (command[3:] for command in host.calls)
    assert removal == ["uninstall", "--quiet", "--yes", "torchao"]
    assert bare[:3] == ["install", "--quiet", "--no-deps"] and bare[3:] == [
        str(need) for need in setup.read_requirements(setup.NO_DEPS)
    ]
    assert deps[:3] == ["install", "--quiet", "--constraint"] and deps[4:] == list(map(str, setup.wanting(host.name)))
    held = dict(line.split("==") for line in Path(deps[3]).read_text(encoding="utf-8").splitlines())
    wanted = {canonicalize_name(need.name) for need in setup.wanting(host.name)}
    known = {name: version for name, version in host.have.items() if version != "unknown"}
    assert held == {name: version for name, version in known.items() if name not in wanted}
    assert set(held) >= KERNEL


def test_the_user_reads_what_happens(host, capsys):
    setup.bootstrap()
    removed, installed = capsys.readouterr().out.strip().splitlines()
    assert removed == "Removing torchao 0.10.0: peft refuses to train 16-bit weights beside it, and nothing here uses it."
    assert installed.startswith("Installing: transformers==5.17.0") and "unsloth==2026.10.9" in installed


@pytest.mark.parametrize("module", ["pyarrow", "torchao"])
def test_what_is_loaded_already_asks_for_a_restart(host, module):
    host.patch.setattr(setup, "packages_distributions", lambda: {module: [module], "json5": ["json5"]})
    host.patch.setitem(sys.modules, module, SimpleNamespace())
    with pytest.raises(MedAnalyzrError, match=f"^{module} had been loaded .* restart the runtime"):
        setup.bootstrap()
    assert len(host.calls) == 3


def test_a_host_that_is_ready_is_left_alone(host):
    needs = [*setup.wanting(host.name), *setup.read_requirements(setup.NO_DEPS)]
    host.have |= {canonicalize_name(need.name): str(need.specifier)[2:] for need in needs}
    host.have["torchao"] = "0.16.0"
    assert setup.install_commands(host.name) == []


def test_pips_first_error_is_the_reason(host):
    host.done.returncode, host.done.stderr = (
        1,
        "WARNING: x\nERROR: Cannot install a and b\nERROR: ResolutionImpossible\n[notice] new pip",
    )
    with pytest.raises(MedAnalyzrError, match="^pip could not install the packages: ERROR: Cannot install a and b$"):
        setup.bootstrap()


CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((6, 0), CU128, False), ((6, 0), ["sm_50", "sm_60", *CU128], True), ((7, 5), CU128, True), ((8, 0), CU128, True),
        ((8, 9), CU128, True), ((8, 7), ["sm_89"], False), ((9, 0), ["sm_90a"], True), ((9, 1), ["sm_90a"], False),
        ((12, 0), CU128, True), ((12, 1), ["sm_90", "compute_90"], True), ((12, 0), ["sm_90"], False),
        ((9, 4), ["gfx90a", "gfx942"], True), ((8, 0), [], True),
    ],
)  # fmt: skip
def test_which_gpu_a_torch_serves(capability, built_for, runs):
    assert devices.has_code_for(capability, built_for) is runs


@pytest.fixture
def gpu(monkeypatch):
    """torch with one GPU of 16 GiB; `fractions` collects what is set of its memory."""
    card, fractions = SimpleNamespace(name="Tesla T4", major=7, minor=5, total_memory=16 * 2**30), []
    cuda = SimpleNamespace(
        is_available=lambda: True, get_device_properties=lambda _: card, get_arch_list=lambda: CU128, device_count=lambda: 1,
        set_per_process_memory_fraction=fractions.append,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="2.10.0+cu128"))
    monkeypatch.delenv("MEDANALYZR_GPU_MEMORY_GIB", raising=False)
    devices._cap_memory.cache_clear()
    yield SimpleNamespace(card=card, fractions=fractions, patch=monkeypatch)
    devices._cap_memory.cache_clear()


def test_a_p100_is_refused_in_one_sentence(gpu):
    assert devices.device().name == "Tesla T4"
    gpu.card.name, gpu.card.major, gpu.card.minor = "Tesla P100-PCIE-16GB", 6, 0
    with pytest.raises(MedAnalyzrError, match=r"no code for this GPU \(Tesla P100-PCIE-16GB, compute capability 6.0;.*«GPU T4 x2»"):
        devices.device()


def test_asking_for_the_device_changes_nothing(gpu):
    assert devices.device().memory_gib == devices.device().memory_gib == 16
    assert gpu.fractions == []
    gpu.patch.setenv("MEDANALYZR_GPU_MEMORY_GIB", "4")
    assert devices.device().memory_gib == devices.device().memory_gib == 4
    assert gpu.fractions == [0.25]
    for wrong in ("lots", "0", "-4", "nan"):
        gpu.patch.setenv("MEDANALYZR_GPU_MEMORY_GIB", wrong)
        with pytest.raises(MedAnalyzrError, match=f"MEDANALYZR_GPU_MEMORY_GIB='{wrong}' must be a number"):
            devices.device()


def test_the_chain_runs_in_the_python_of_its_first_notebook(tmp_path, monkeypatch):
    """A machine on which the name python3 stands for another, broken environment."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nowhere/python", "{connection_file}"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setattr(pipeline, "NOTEBOOKS", tmp_path)
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), tmp_path / "child.ipynb")
    pipeline.run_notebook("child", {}, tmp_path / "run")
    executed = nbformat.read(tmp_path / "run" / "notebooks" / "child.ipynb", 4)
    assert executed.cells[-1].outputs[0].text.strip() == sys.executable


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub of our own; `seen` collects paths and the tokens shown with them, `status` is what it answers."""
    state = SimpleNamespace(seen=[], status=200)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            state.seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(b'{"id": "owner/name"}')

        do_POST = do_GET

        def log_message(self, *_):
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    stored = tmp_path / "token"
    stored.write_text("hf_of_this_test")
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(stored))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    yield state
    server.shutdown()
    server.server_close()


def test_the_token_of_a_login_is_used(hub):
    check_hub("owner/name")
    check_hub("owner/name", "datasets")
    asked = [(path, token) for path, token in hub.seen if "owner/name" in path]
    assert asked == [(f"/api/{kind}/owner/name", "Bearer hf_of_this_test") for kind in ("models", "datasets")]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "hf auth login"), (403, "HF_TOKEN"), (404, "check the name"), (429, "later"), (503, "later")]
)
def test_what_the_hub_refuses(hub, status, words):
    hub.status = status
    with pytest.raises(MedAnalyzrError, match=rf"The hub does not give owner/name \(HTTP {status}\): .*{words}"):
        check_hub("owner/name")


def test_what_is_no_name_on_the_hub():
    with pytest.raises(MedAnalyzrError, match="'a/b/c' is not a name on the hub"):
        check_hub("a/b/c")


def test_a_push_uses_the_login_too_and_does_not_show_it(hub, tmp_path, monkeypatch):
    hub.status = 403
    with pytest.raises(MedAnalyzrError, match="push_to_hub='owner/name' was refused") as said:
        push(tmp_path, "owner/name")
    assert ("/api/repos/create", "Bearer hf_of_this_test") in hub.seen and "hf_of_this_test" not in str(said.value)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MedAnalyzrError, match="was refused"):
        push(tmp_path, "owner/name")


def test_the_readmes_command_in_a_folder_with_spaces_and_accents(tmp_path):
    project = tmp_path / "Thèse médicale n°1" / "projet"
    copy_of_project(project)
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    command = readme.split("```bash\n")[1].splitlines()[0].split(" && ")[-1].split()[1:]
    command = [sys.executable, *(part.replace("00_pipeline", "01_setup") for part in command)]
    (project / "artifacts").mkdir()
    done = subprocess.run(command, cwd=project, env=os.environ | {"MEDANALYZR_ARTIFACTS": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (project / "artifacts" / "runs" / "demo" / "environment.json").is_file()


def test_a_notebook_that_was_uploaded_alone_finds_the_project_by_its_address(tmp_path):
    """The first cell clones REPOSITORY; without it, it says what is missing."""
    folder, source = tmp_path / "alone", tmp_path / "git"
    folder.mkdir()
    copy_of_project(source)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(source)]
    for part in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*git, *part], check=True)
    notebook = nbformat.read(source / "notebooks" / "01_setup.ipynb", 4)
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells = notebook.cells[: first + 1]
    nbformat.write(notebook, folder / "01_setup.ipynb")
    lost = papermill("01_setup.ipynb", "out.ipynb", cwd=folder, environment={"MEDANALYZR_REPO": ""})
    assert lost.returncode and "The folder medanalyzr/ is not beside this notebook" in lost.stderr
    found = papermill("01_setup.ipynb", "out.ipynb", cwd=folder, environment={"MEDANALYZR_REPO": str(source)})
    assert found.returncode == 0, found.stderr[-2000:]
    assert (folder / "medanalyzr-project" / "notebooks" / "medanalyzr").is_dir()
