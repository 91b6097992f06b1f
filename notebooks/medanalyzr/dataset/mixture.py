"""Mixtures: several sources as one dataset, such as "mine.csv+bundled"; each is checked by itself, and all are split together.

- A row carries the name of its source in the column `source`; what its file called source is its `study`.
- A row that stands word for word in an earlier source is dropped.
- What belongs together stays on one side of the split, whichever sources it comes from (see `keys_across`).
- Validation and test get their share of each source, and its rows take turns there: the first ones hold every source.
- No source is cut. The training rows of a small one are repeated whole until they are half as many as those of the largest, at most
  `MOST` times: up to four epochs of repeated data teach almost as much as new data (Muennighoff et al., NeurIPS 2023;36:50358-50376).
  Repeats carry the column `copy`. The rule counts all rows; the choice of `subset_of` among bundled rows comes after it.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.hub import BUNDLED, sources_of
from medanalyzr.dataset.bundled import ORIGINS
from medanalyzr.dataset.loading import Findings, Row, check_rows, is_local, load_rows, local_file
from medanalyzr.dataset.privacy import gate
from medanalyzr.dataset.split import SPLITS, fingerprint, groups_of, keys_of, split_rows
from medanalyzr.lab.references import fold

MOST = 4  # times that the rows of a small source are trained on
FEW_NUMBERS = 3  # from so many on, a report is known by its numbers alone


@dataclass
class Source:
    """A part of a dataset: its name, its usable rows, what was found in all it holds, and the personal data among that."""

    dataset: str
    rows: list[Row]
    found: Findings
    privacy: dict

    def about(self) -> dict:
        """Columns, rows and findings as the data report has them."""
        return {
            "columns": self.found.columns,
            "rows_read": self.found.rows_read,
            "rows_used": len(self.rows),
            "findings": self.found.table(),
            "privacy": self.privacy,
        }


def _checked(dataset: str, privacy: str) -> Source:
    """A source, loaded and searched for personal data in the mode `privacy`; "auto" stops for a local file, else warns."""
    rows, found = check_rows(load_rows(dataset), dataset)
    mode = privacy if privacy != "auto" else "stop" if is_local(dataset) else "warn"
    return Source(dataset, rows, found, {"mode": mode, "found": gate(rows, found.kept, dataset, mode)})


def checked_sources(dataset: str, privacy: str) -> list[Source]:
    """The sources of `dataset`, each loaded, checked and searched for personal data; all names are looked at first.

    Raises:
        MedAnalyzrError: one of them cannot be used, or holds personal data and its mode stops (names the source).
    """
    parts = sources_of(dataset)
    for part in parts:
        local_file(part)
    return [_checked(part, privacy) for part in parts]


def _names(sources: Sequence[Source]) -> list[str]:
    """What each source is called in its rows: a file without its folders, unless two files have one name."""
    short = [Path(one.dataset).name if is_local(one.dataset) else one.dataset for one in sources]
    return [name if short.count(name) == 1 else one.dataset for name, one in zip(short, sources, strict=True)]


def _marked(row: Row, name: str) -> Row:
    """`row` with its source; the signs of the bundled set, by which `subset_of` knows its rows, are that set's alone."""
    kept = {"study" if key == "source" else key: text for key, text in row.items()}
    if name != BUNDLED and kept.get("origin") in ORIGINS:
        del kept["origin"]
    return kept | {"source": name}


def keys_across(row: Mapping[str, str]) -> tuple[str, ...]:
    """What must stay on one side of the split of a mixture: `keys_of`, and what a report has in common with its copy elsewhere.

    That is the order of its numbers, in whatever language, signs and layout they are printed; where they are few, its words.
    """
    text = row["input"] or row["instruction"]
    numbers = [f"{float(number.replace(',', '.')):g}" for number in re.findall(r"\d+(?:[.,]\d+)?", text)]
    words = sorted(set(re.findall(r"\w+", fold(text))))
    return *keys_of(row), "numbers " + " ".join(numbers) if len(numbers) >= FEW_NUMBERS else "words " + " ".join(words)


def split_mixture(sources: Sequence[Source], validation_fraction: float, test_fraction: float, seed: int) -> dict[str, list[Row]]:
    """Train, validation and test rows of several sources, by the rules of this module; nothing is repeated yet.

    The rows of `sources` are marked in place, and what an earlier source holds is dropped there and told in its findings. A dropped
    row still joins what belongs to it: its copy may lack the patient.

    Raises:
        MedAnalyzrError: a source holds nothing else than the earlier ones.
    """
    together = [row for one in sources for row in one.rows]
    groups, seen, kept = iter(groups_of(together, keys_across)), set(), []
    for name, one in zip(_names(sources), sources, strict=True):
        mine, known = [], set(seen)
        for number, row in zip(one.found.kept, one.rows, strict=True):
            group, text = next(groups), (row["instruction"], row["input"], row["output"])
            if text in known:
                one.found.add("exact duplicate", "an earlier source", number)
            else:
                seen.add(text)
                mine.append((_marked(row, name), group))
        if not mine:
            raise MedAnalyzrError(
                f"dataset={one.dataset!r}: all its rows are also in an earlier source of the mixture; leave it out."
            )
        one.rows = [row for row, _ in mine]
        kept += mine
    parts = split_rows(
        [row for row, _ in kept], validation_fraction, test_fraction, seed, [group for _, group in kept], lambda row: row["source"]
    )
    return parts | {name: _in_turn(parts[name]) for name in SPLITS if name != "train"}


def _in_turn(rows: Sequence[Row]) -> list[Row]:
    """The first row of each source, then the second of each, and so on."""
    counts: Counter = Counter()
    turns = []
    for row in rows:
        turns.append(counts[row["source"]])
        counts[row["source"]] += 1
    return [row for _, row in sorted(zip(turns, rows, strict=True), key=lambda pair: pair[0])]


def repeats(sizes: Mapping[str, int]) -> dict[str, int]:
    """How many times the training rows of each source are learnt, from their number by source: see the rule above."""
    largest = max(sizes.values())
    return {name: min(MOST, max(1, math.ceil(largest / (2 * size)))) for name, size in sizes.items()}


def repeated_rows(train: Sequence[Row]) -> list[Row]:
    """The rows to add to `train`, so that every source has its weight."""
    times = repeats(Counter(row["source"] for row in train))
    return [row | {"copy": str(i)} for i in range(2, MOST + 1) for row in train if times[row["source"]] >= i]


def about_sources(sources: Sequence[Source], parts: Mapping[str, Sequence[Row]]) -> dict[str, dict]:
    """The part of the data report on each source of a mixture, by name: also its rows in each split, and their repeats."""
    times = repeats(Counter(row["source"] for row in parts["train"] if "copy" not in row))
    return {
        name: {"dataset": one.dataset}
        | one.about()
        | {"rows": {split: sum(row["source"] == name and "copy" not in row for row in part) for split, part in parts.items()}}
        | {"repeated": times[name], "fingerprint": fingerprint(one.rows)}
        for name, one in zip(_names(sources), sources, strict=True)
    }


def by_source(report: Mapping, rows: Sequence[Row], tokens: Sequence[int]) -> dict[str, dict]:
    """For each source of a mixture: rows and tokens (`tokens` of each of `rows`); nothing for a single source.

    `weight` is its share of the tokens that are trained on, repeats included.
    """
    lengths = defaultdict(list)
    for row, count in zip(rows, tokens, strict=True):
        lengths[row.get("source", "")].append(count)
    table = {}
    for name, one in report.get("sources", {}).items():
        mine = lengths[name]
        mean = sum(mine) / max(1, len(mine))
        table[name] = {"read": one["rows_read"], "dropped": one["rows_read"] - one["rows_used"]} | one["rows"]
        table[name] |= {"times trained": one["repeated"], "mean tokens": round(mean), "longest": max(mine, default=0)}
        table[name]["tokens trained"] = round(mean * one["rows"]["train"] * one["repeated"])
    total = sum(one["tokens trained"] for one in table.values())
    return {name: one | {"weight": round(one["tokens trained"] / total, 3)} for name, one in table.items()}
