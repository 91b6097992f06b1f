"""Bad inputs a user may bring: parameters, files, states. Each must cost one sentence and leave every file as it was.

A case has a name, words of its sentence, and a function that makes its files in an empty folder and returns what to call then.
test_bad_inputs.py runs them; those that matter most run once more through papermill in test_mistakes.py.
"""

import json
import os
import shutil
from pathlib import Path

from medanalyzr.core.device import Device
from medanalyzr.core.hub import SMOLLM2
from medanalyzr.core.run_folder import read_json, run_folder, write_json
from medanalyzr.dataset.prepare import load_split, prepare, prepared
from medanalyzr.evaluation.release import release
from medanalyzr.export.gguf import kinds_of
from medanalyzr.inference.report_files import load_reports
from medanalyzr.notebook.benchmark import configurations
from medanalyzr.notebook.inputs import check_inputs
from medanalyzr.notebook.parameters import check_parameters, declared_parameters
from medanalyzr.training.profiles import PROFILES, check_settings, choose_profile, override

CPU = Device("cpu", "CPU", 16, False, 0, 2)
FORMATS = Path(__file__).parent / "formats"
ROW = {"instruction": "Que montre ce bilan ?", "input": "Hb : 110 g/L", "output": "Anémie."}
NIR = "2 69 05 49 588 157 80"  # made up, with a valid key


def rows(count=12, **changes):
    """Rows that share nothing but their form."""
    letters = "abcdefghijklmnopqrst"
    return [ROW | {"input": f"Bilan {a}{a}", "output": f"Avis {a}{a}."} | changes for a in letters[:count]]


def parameter(notebook="03_train", injected="", **values):
    """check_parameters of a notebook whose parameters are its defaults but for `values`."""
    namespace = declared_parameters(notebook) | values | {"In": [f"# Parameters\n{injected}\n"]}
    return lambda folder: lambda: check_parameters(notebook, namespace)


def profile(name="auto", **values):
    def call():
        chosen, _ = choose_profile(name, CPU)
        check_settings(override(chosen, values), CPU)

    return lambda folder: call


def named_run(name):
    return lambda folder: lambda: run_folder(name)


def artifacts_in_a_file(folder):
    (folder / "file").write_text("kept", encoding="utf-8")
    return lambda: run_folder(str(folder / "file" / "demo"))


def dataset(name, content, privacy="auto", fractions=(0.1, 0.1)):
    """prepare of a file with `content` (bytes, text, or rows for JSON), in a run that was prepared before."""

    def make(folder):
        earlier = folder / "earlier.json"
        earlier.write_text(json.dumps(rows()), encoding="utf-8")
        prepare(str(earlier), folder / "run", 0.1, 0.1, 1)
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return lambda: prepare(str(folder / name), folder / "run", *fractions, 1, privacy)

    return make


def named_dataset(name):
    return lambda folder: lambda: check_inputs({"dataset": name})


def dataset_folder(folder):
    (folder / "rows.json").mkdir()
    return lambda: check_inputs({"dataset": str(folder / "rows.json")})


def broken_parquet(folder):
    (folder / "rows.parquet").write_bytes(b"PAR1 but not really")
    return lambda: prepare(str(folder / "rows.parquet"), folder / "run", 0.1, 0.1, 1)


def parquet_with_a_column_twice(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array(["e", "f"])]
    pq.write_table(pa.table(columns, names=["instruction", "output", "output"]), folder / "rows.parquet")
    return lambda: prepare(str(folder / "rows.parquet"), folder / "run", 0.1, 0.1, 1)


def hub_files_that_differ(folder):
    """What the hub's loader says of two files with other columns, told by the loader itself."""
    import datasets
    from medanalyzr.dataset import loading

    for name, row in (("a", ROW), ("b", ROW | {"autre": "x"})):
        (folder / f"{name}.json").write_text(json.dumps(row) + "\n", encoding="utf-8")
    files = [str(folder / f"{name}.json") for name in "ab"]

    def call():
        loader, asked = datasets.load_dataset, loading.check_hub
        elsewhere = folder.parent / f"{folder.name} cache"
        try:
            datasets.load_dataset = lambda name, split: loader("json", data_files=files, split=split, cache_dir=str(elsewhere))
            loading.check_hub = lambda *_: None
            loading.load_rows("someone/reports")
        finally:
            datasets.load_dataset, loading.check_hub = loader, asked
            shutil.rmtree(elsewhere, ignore_errors=True)

    return call


def reports(name, content):
    def make(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return lambda: load_reports(str(folder / name))

    return make


def no_reports(folder):
    (folder / "notes.docx").write_bytes(b"PK")
    return lambda: load_reports(str(folder))


def base_model(name):
    return lambda folder: lambda: check_inputs({"base_model": name})


def base_folder(**files):
    """A folder of a base model that holds `files` (name without dots -> bytes)."""

    def make(folder):
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_bytes(content)
        return lambda: check_inputs({"base_model": str(folder)})

    return make


def base_file(folder):
    (folder / "model.gguf").write_bytes(b"GGUF")
    return lambda: check_inputs({"base_model": str(folder / "model.gguf")})


def state(content, name=None):
    """training.json with `content` (bytes), of which `name` is asked."""

    def make(folder):
        if content is not None:
            (folder / "training.json").write_bytes(content)
        return lambda: read_json(folder / "training.json", "03_train")[name]

    return make


def state_rows(content):
    def make(folder):
        (folder / "data").mkdir()
        (folder / "data" / "test.jsonl").write_bytes(content)
        return lambda: [row["output"] for row in load_split(folder, "test")]

    return make


def run_of_rows(folder):
    (folder / "rows.json").write_text(json.dumps(rows()), encoding="utf-8")
    prepare(str(folder / "rows.json"), folder / "run", 0.1, 0.1, 1)
    return folder / "run"


def rows_changed_by_hand(folder):
    run = run_of_rows(folder)
    path = run / "data" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Avis", "AVIS", 1), encoding="utf-8")
    return lambda: prepared("auto", "bundled", run, 1, (0.1, 0.1))


def another_dataset(folder):
    run = run_of_rows(folder)
    return lambda: prepared("bundled", "bundled", run, 1, (0.1, 0.1))


def a_split_is_missing(folder):
    run = run_of_rows(folder)
    (run / "data" / "test.jsonl").unlink()
    return lambda: prepared("auto", "bundled", run, 1, (0.1, 0.1))


def checkpoints(harm):
    """A sealed checkpoint of a training with max_steps 60, asked for by one with 60 after `harm`, or with what `harm` returns."""
    from medanalyzr.training.checkpoints import find_checkpoint, seal

    def make(folder):
        find_checkpoint(folder, {"max_steps": 60}, resume=True)
        path = folder / "checkpoint-10"
        path.mkdir()
        (path / "adapter_model.safetensors").write_bytes(b"weights")
        seal(path)
        settings = harm(path) or {"max_steps": 60}
        return lambda: find_checkpoint(folder, settings, resume=True)

    return make


def change_the_weights(checkpoint):
    (checkpoint / "adapter_model.safetensors").write_bytes(b"others")


def lose_the_weights(checkpoint):
    (checkpoint / "adapter_model.safetensors").unlink()


def break_the_seal(checkpoint):
    (checkpoint / "seal.json").write_bytes(b'{"adapter')


def an_adapter(**changes):
    """adapter_of a run whose adapter names `changes`; its weights are no safetensors file."""

    def make(folder):
        from medanalyzr.training.base_models import adapter_of

        adapter = folder / "adapter"
        adapter.mkdir()
        record = {"base_model": SMOLLM2, "template": "", "load_in_4bit": "on"} | changes
        write_json(adapter / "prompt_template.json", {k: v for k, v in record.items() if v is not None})
        write_json(adapter / "adapter_config.json", {"base_model_name_or_path": "x"})
        if "weights" in changes:
            (adapter / "adapter_model.safetensors").write_bytes(b"cut")
        return lambda: adapter_of(folder)

    return make


def no_adapter(folder):
    from medanalyzr.training.base_models import adapter_of

    return lambda: adapter_of(folder)


def processes_that_cannot_share(folder):
    def call():
        os.environ["WORLD_SIZE"] = "3"
        try:
            override(PROFILES["t4"], {})
        finally:
            del os.environ["WORLD_SIZE"]

    return call


AS_TEXT = "must be text: papermill -p and YAML turn .* -r "
CASES = {
    # parameters
    "a name that no notebook knows": (parameter("00_pipeline", "max_step = 3"), "00_pipeline has no parameter max_step: it knows run, "),
    "run 2024_11 with -p": (parameter(run=202411), AS_TEXT + "run 2024_11"),
    "run 1e3 with -p": (parameter(run=1000.0), AS_TEXT),
    "run True with -p": (parameter(run=True), AS_TEXT),
    "reports None with -p": (parameter("04_inference", reports=None), AS_TEXT),
    "float8: on in a YAML file": (parameter(float8=True), AS_TEXT),
    "base_model as a list in a YAML file": (parameter(base_model=["a"]), AS_TEXT),
    "steps in words": (parameter(max_steps="abc"), "max_steps='abc' must be of type int"),
    "half a step": (parameter(max_steps=2.5), "max_steps=2.5 must be of type int"),
    "no step": (parameter(max_steps=0), "at least 1"),
    "True for a number": (parameter(max_steps=True), "must be of type int"),
    "a number for True": (parameter(resume=1), "must be of type bool"),
    "a learning rate that is no number": (parameter(learning_rate=float("nan")), "between 0 and 1"),
    "a negative learning rate": (parameter(learning_rate=-0.1), "between 0 and 1"),
    "endless epochs": (parameter(num_train_epochs=float("inf")), "num_train_epochs=inf must be a number above 0"),
    "examples of three tokens": (parameter(max_seq_length=3), "at least 64"),
    "rank 0": (parameter(lora_r=0), "at least 1"),
    "nearly all rows for the test": (parameter("02_data", test_fraction=0.9), "between 0 and 0.4"),
    "a negative seed": (parameter(seed=-1), "between 0 and 4294967295"),
    "a seed of 33 bits": (parameter(seed=2**32), "between 0 and 4294967295"),
    "privacy maybe": (parameter("02_data", privacy="maybe"), "must be 'auto', 'off', 'warn' or 'stop'"),
    "guided perhaps": (parameter("04_inference", guided="perhaps"), "must be 'off' or 'on'"),
    "kinds of no file": (lambda folder: lambda: kinds_of("F16+Q3_K"), "'Q3_K' is not a kind of GGUF file"),
    "gate maybe": (parameter("05_evaluation", gate="maybe"), "must be 'warn' or 'stop'"),
    "packing yes": (parameter(packing="yes"), "must be 'auto', 'on', 'shared' or 'off'"),
    "a share above 1": (parameter("05_evaluation", min_flags=95.0), "between 0 and 1"),
    "two steps to measure": (parameter("07_benchmark", steps=2), "at least 3"),
    "a profile that does not exist": (profile("huge"), "profile='huge' does not exist"),
    "a GPU's profile without a GPU": (profile("80gb"), "profile='80gb' needs a CUDA GPU"),
    "packing without a GPU": (profile(packing="on"), "packing='on' needs a CUDA GPU"),
    "8-bit floats without a GPU": (profile(float8="on"), "float8='on' needs a GPU"),
    "a configuration that does not exist": (lambda folder: lambda: configurations("cpu,fast", "cpu"), "configurations names 'fast'"),
    "processes that cannot share a batch": (processes_that_cannot_share, "3 processes cannot share batch_size=2"),
    "a run without a name": (named_run(""), "run='' is not a folder name"),
    "a run outside of the runs": (named_run("../demo"), "is not a folder name"),
    "a run with a line break": (named_run("a\nb"), r"run='a\\nb' is not a folder name"),
    "a run with a null character": (named_run("a\0b"), "is not a folder name"),
    "a run of 300 letters": (named_run("x" * 300), "cannot be written .*choose another run"),
    "a run folder inside a file": (artifacts_in_a_file, "cannot be written .*: set MEDANALYZR_ARTIFACTS"),
    "a model below what was asked": (lambda folder: lambda: release([("flags", 0.5, "≥", 0.9)], "stop"), "Not released: flags"),
    # datasets
    "a dataset that is not there": (named_dataset("missing.json"), "dataset='missing.json' is not a file"),
    "a dataset of no kind": (named_dataset("nonsense"), "is not a file"),
    "a dataset with a null character": (named_dataset("a\0b/rows.json"), "is not a file"),
    "a dataset with a name of 300 letters": (named_dataset("x" * 300), "is not a file"),
    "a folder as dataset": (dataset_folder, "is not a .json"),
    "a text as dataset": (dataset("rows.txt", "texte"), "is not a .json"),
    "an unreachable hub": (named_dataset("Nassira/MedAnalyzr"), "cannot be reached"),
    "hub files with other columns": (hub_files_that_differ, "someone/reports.* do not have the same columns"),
    "an empty file": (dataset("rows.json", b""), "the file is empty"),
    "Latin-1": (dataset("rows.csv", "instruction,output\na,é\n".encode("latin-1")), "line 2 is not UTF-8"),
    "UTF-16": (dataset("rows.json", json.dumps(rows()).encode("utf-16")), "line 1 is not UTF-8"),
    "a JSON file that was cut": (dataset("rows.json", json.dumps(rows())[:-9]), "is not valid JSON"),
    "JSON lines in a .json file": (dataset("rows.json", "\n".join(map(json.dumps, rows()))), "one object per line.*ending .jsonl"),
    "a list in a .jsonl file": (dataset("rows.jsonl", json.dumps(rows(), indent=1)), "begins with a list.*ending .json"),
    "a name twice in a JSON row": (dataset("rows.json", '[{"instruction": "a", "output": "b", "output": "c"}]'), "'output' occurs twice"),
    "a name twice in a CSV header": (dataset("rows.csv", "instruction,output,output\na,b,c\n"), "'output' occurs twice"),
    "a name twice in a parquet file": (parquet_with_a_column_twice, "'output' occurs twice"),
    "a broken parquet file": (broken_parquet, "cannot be read as parquet"),
    "a CSV row with a cell too many": (dataset("rows.csv", "instruction;output\na;b;c\n"), "row 1 has 3 cells"),
    "a CSV file with an open quote": (dataset("rows.csv", 'instruction,output\na,"b\n'), "line"),
    "no column of answers": (dataset("rows.json", [{"instruction": "a", "texte": "b"}]), "lacks the column output"),
    "two columns for one": (dataset("rows.json", [{"question": "a", "query": "b", "output": "c"}]), "could both be"),
    "one answer for all": (dataset("rows.json", rows(output="Normal.")), "have the same text in column output"),
    "numbers for answers": (dataset("rows.json", rows(output=7)), "not text in column output"),
    "half characters in a text": (dataset("rows.json", rows(input="cr\ud800atinine")), "unreadable characters in column input"),
    "half characters in a column beside": (dataset("rows.json", rows(patient="\udfff")), "unreadable characters in column patient"),
    "a security number in the patient column": (
        dataset("rows.json", [*rows(), ROW | {"patient": NIR}]), "personal data in 1 rows .social security number in 1 .first: row 13",
    ),
    "a name in the patient column": (dataset("rows.json", [*rows(), ROW | {"patient": "MARTIN Paul"}]), "name in 1 .first: row 13"),
    "a phone number in the source column": (
        dataset("rows.csv", "instruction;output;source\na;b;06 12 34 56 78\nc;d;x\n"), "phone number in 1 .first: row 1",
    ),
    "no row left to train on": (dataset("rows.json", rows(2), fractions=(0.5, 0.5)), "leaves no row to train on"),
    # reports
    "reports that are not there": (lambda folder: lambda: check_inputs({"reports": "missing.txt"}), "reports='missing.txt' is not"),
    "a PDF of reports": (reports("bilan.pdf", b"%PDF"), "bilan.pdf is in none of the supported formats"),
    "an empty file of reports": (reports("bilan.txt", "\n \n"), "holds no report"),
    "a folder without reports": (no_reports, "holds no report that can be read .*notes.docx"),
    "a message that was cut": (reports("bilan.hl7", "MSH|^~"), "bilan.hl7: The file holds no report"),
    "a document with a PDF alone": (
        reports("bilan.xml", (FORMATS / "cda" / "3_fault_level1_pdf.xml").read_bytes()), "holds a PDF and no results",
    ),
    "a FHIR file that was cut": (reports("bilan.json", '{"resourceType": "Bundle", '), "not valid JSON"),
    "reports in UTF-16": (reports("bilan.txt", "Potassium : 6,8".encode("utf-16")), "not UTF-8"),
    "binary reports": (reports("bilan.csv", bytes(range(256))), "not UTF-8"),
    "a CSV of reports with a name twice": (reports("bilan.csv", "report,report\na,b\n"), "'report' occurs twice"),
    "an XML file that is no report": (reports("bilan.xml", "<html/>"), "not a CR-BIO"),
    # base models
    "a base model that is not there": (base_model("/nowhere/model"), "neither a folder"),
    "a base model of no kind": (base_model("nonsense"), "neither a folder"),
    "a base model on an unreachable hub": (base_model("someone/model"), "cannot be reached"),
    "a file as base model": (base_file, "neither a folder"),
    "a base model without settings": (base_folder(README__md=b"# model"), "holds no config.json"),
    "a base model without weights": (base_folder(config__json=b"{}"), "holds no .safetensors file"),
    "a base model that was cut": (base_folder(config__json=b"{}", model__safetensors=b"\x10\0\0\0"), "is truncated or damaged"),
    "a base model that lacks a part": (
        base_folder(config__json=b"{}", model__safetensors__index__json=b'{"weight_map": {"a": "model-2.safetensors"}}'),
        "lacks model-2.safetensors",
    ),
    "a base model with a broken index": (
        base_folder(config__json=b"{}", model__safetensors__index__json=b'{"weight'), "is not valid JSON",
    ),
    # states
    "no training": (state(None), "training.json is missing: run 03_train"),
    "a training.json that was cut": (state(b'{"profile": "cp'), "is not valid JSON .*run 03_train again"),
    "a training.json that is no text": (state(b"\xff\xfe{}"), "is not valid JSON"),
    "a training.json that is a list": (state(b"[]"), "holds a list, not an object"),
    "a training.json without its profile": (state(b'{"steps": 3}', "profile"), "has no 'profile': run 03_train again"),
    "a row of the test that was cut": (state_rows(b'{"output": "a"}\n{"out'), "test.jsonl, line 2 is not valid JSON"),
    "a row of the test without its answer": (state_rows(b'{"input": "a"}\n'), "test.jsonl, line 1 has no 'output'"),
    "a row of the test that is a number": (state_rows(b"3\n"), "line 1 holds a int"),
    "rows changed by hand": (rows_changed_by_hand, "data/train.jsonl holds other rows than data_report.json says"),
    "a split that is missing": (a_split_is_missing, "test.jsonl is missing: run 02_data"),
    "another dataset than the prepared one": (another_dataset, "holds the dataset .* and 'bundled' was asked for"),
    "a checkpoint of other settings": (checkpoints(lambda path: {"max_steps": 61}), "max_steps: 60 -> 61.*resume=False"),
    "a checkpoint that was changed": (checkpoints(change_the_weights), "was changed"),
    "a checkpoint without its weights": (checkpoints(lose_the_weights), "is missing"),
    "a checkpoint with a broken seal": (checkpoints(break_the_seal), "seal.json is not valid JSON"),
    "no adapter": (no_adapter, "prompt_template.json is missing: run 03_train"),
    "an adapter without weights": (an_adapter(), "holds no .safetensors file"),
    "an adapter that was cut": (an_adapter(weights=True), "is truncated or damaged"),
    "an adapter that names no base model": (an_adapter(base_model=None, weights=True), "has no 'base_model'|is truncated or damaged"),
}  # fmt: skip


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with its content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
