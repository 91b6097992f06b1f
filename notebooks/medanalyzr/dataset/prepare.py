"""The files of 02_data: a split without leaks, what its parts still have in common, and the data report."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import sources_of
from medanalyzr.core.processes import first_process_first
from medanalyzr.core.run_folder import is_reference, read_json, read_jsonl, replacing, write_json, write_jsonl
from medanalyzr.dataset.bundled import ORIGINS, is_measured
from medanalyzr.dataset.loading import Row
from medanalyzr.dataset.mixture import about_sources, checked_sources, keys_across, repeated_rows, split_mixture
from medanalyzr.dataset.split import fingerprint, groups_of, keys_of, overlap, split_rows

FRACTIONS = (0.05, 0.1)  # shares of the rows for validation and test where nothing else is asked for
QUICK = ("hémoglobine et rein", "hématologie", "glycémie", "lipides")  # what a small model learns in minutes (tries.json)


def prepare(dataset: str, folder: Path, validation_fraction: float, test_fraction: float, seed: int, privacy: str = "auto") -> dict:
    """Load, check and split `dataset`, write data/{train,validation,test}.jsonl and data_report.json, return the report.

    `medanalyzr.dataset.mixture` explains what happens to several sources ("mine.csv+bundled"); the report has each under `sources`.

    Raises:
        MedAnalyzrError: the dataset cannot be used, or holds personal data and `privacy` stops (then nothing is written).
    """
    sources = checked_sources(dataset, privacy)
    mixed, fractions = len(sources) > 1, (validation_fraction, test_fraction)
    parts = split_mixture(sources, *fractions, seed) if mixed else split_rows(sources[0].rows, *fractions, seed)
    if not parts["train"]:
        raise MedAnalyzrError(f"dataset={dataset!r} leaves no row to train on: lower validation_fraction and test_fraction.")
    rows = [row for source in sources for row in source.rows]
    groups = {name: Counter(groups_of(part, keys_across if mixed else keys_of)) for name, part in parts.items()}
    by_patient = sum("patient" in row for row in rows)
    shared = overlap(parts["train"], parts["test"])
    if mixed:
        parts["train"] += repeated_rows(parts["train"])
        about = {"sources": about_sources(sources, parts)}
        about |= {name: sum(one[name] for one in about["sources"].values()) for name in ("rows_read", "rows_used")}
    else:
        about = sources[0].about()
    report = {
        "dataset": dataset,
        "seed": seed,
        **about,
        "rows": {name: len(part) for name, part in parts.items()},
        "groups": {name: len(sizes) for name, sizes in groups.items()},
        "grouped_by": "patient" if by_patient == len(rows) else "patient or text" if by_patient else "text without numbers",
        "largest_group": max(size for sizes in groups.values() for size in sizes.values()),
        "overlap": shared,
        "categories": dict(Counter(row.get("category", "") for row in rows)),
        "fingerprint": {name: fingerprint(part) for name, part in parts.items()},
    }
    with replacing(folder / "data") as data:
        for name, part in parts.items():
            write_jsonl(data / f"{name}.jsonl", part)
    write_json(folder / "data_report.json", report)
    return report


def prepared(dataset: str, default: str, folder: Path, seed: int, fractions: tuple[float, float]) -> dict:
    """The data report of a run for 03_train: what 02_data prepared; else `dataset` ("auto": `default`) is prepared now, with the
    `fractions` of the rows for validation and test.

    Raises:
        MedAnalyzrError: the run folder holds another dataset than the one asked for, or rows that are not those of its report; or it
            is that of the reference adapter, which nothing is to replace.
    """
    if is_reference(folder):
        raise MedAnalyzrError(
            f"run={folder.name!r} answers with the adapter that comes with the project: choose another run to train in."
        )
    with first_process_first():
        if not (folder / "data_report.json").is_file():
            return prepare(default if dataset == "auto" else dataset, folder, *fractions, seed)
    report = read_json(folder / "data_report.json", "02_data")
    if dataset not in ("auto", report["dataset"]) and sorted(sources_of(dataset)) != sorted(sources_of(report["dataset"])):
        raise MedAnalyzrError(
            f"The run folder holds the dataset {report['dataset']!r} and {dataset!r} was asked for: run 02_data with it first, "
            "or choose another run."
        )
    for name, expected in report["fingerprint"].items():
        if fingerprint(load_split(folder, name)) != expected:
            raise MedAnalyzrError(
                f"data/{name}.jsonl holds other rows than data_report.json says: run 02_data with this run again."
            )
    return report


def subset_of(rows: Sequence[Row], name: str) -> list[Row]:
    """All rows, or with name "measured" the complete reports of measured values, with "quick" those of the categories `QUICK`.

    Rows whose `origin` is none of the bundled set's are kept: only the bundled set has this choice, in a mixture, too.
    """

    def chosen(row: Row) -> bool:
        return is_measured(row) and (name == "measured" or row["category"] in QUICK)

    return [row for row in rows if name == "all" or row.get("origin") not in ORIGINS or chosen(row)]


def _prepare_reference(folder: Path) -> None:
    """The split that the reference adapter was trained with; says so where the rows have changed since."""
    origin = (training := read_json(folder / "training.json", "03_train"))["origin"]
    report = prepare(training["dataset"], folder, *FRACTIONS, origin["split"]["seed"])
    if report["fingerprint"] != origin["data"]:
        print("The rows have changed since the reference adapter was trained: it may have seen some of these test rows.")


def load_split(folder: Path, name: str) -> list[Row]:
    """The rows of one split of a prepared run; for the reference adapter they are prepared where they are missing."""
    if is_reference(folder) and not (folder / "data").is_dir():
        _prepare_reference(folder)
    return read_jsonl(folder / "data" / f"{name}.jsonl", "02_data")
