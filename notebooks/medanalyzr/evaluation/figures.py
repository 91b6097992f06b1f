"""The figures of the notebooks: each is shown, and saved as PNG in the run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.ticker import MaxNLocator

from medanalyzr.core.processes import is_first
from medanalyzr.evaluation.unseen import layout_name

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"  # Okabe-Ito: readable without colour vision
FLAG_COLOURS = {"bas": BLUE, "normal": GREEN, "élevé": ORANGE, "indéterminé": GREY}


def finish(figure, path: Path, title: str = "") -> None:
    """Title, save and show `figure`; its panels may have titles of their own."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    if title:
        figure.set_figheight(figure.get_figheight() + 0.35)
        figure.suptitle(title)
    figure.tight_layout()
    if is_first():
        figure.savefig(path, dpi=150)
    display(figure)
    plt.close(figure)


def length_figure(lengths: Mapping[str, Sequence[int]], max_seq_length: int, path: Path) -> None:
    """Histogram of the lengths of the examples in tokens, one outline per tokenizer."""
    figure, axis = plt.subplots(figsize=(7, 3.2))
    top = max(max(values) for values in lengths.values())
    step = max(1, top // 40)
    for (name, values), colour in zip(lengths.items(), (BLUE, ORANGE), strict=False):
        axis.hist(values, bins=range(0, top + 2 * step, step), histtype="stepfilled", alpha=0.25, color=colour)
        axis.hist(values, bins=range(0, top + 2 * step, step), histtype="step", lw=1.5, color=colour, label=name)
    if max_seq_length <= 2 * top:
        axis.axvline(max_seq_length, color=GREY, ls="--", label=f"max_seq_length = {max_seq_length}")
    axis.set(xlabel="tokens per example (prompt, answer, end)", ylabel="examples")
    axis.legend(frameon=False)
    finish(figure, path, "Length of the examples")


def flag_figure(counts: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Stacked bars of the flags of each name, as shares."""
    names = list(counts)
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.2 * len(names)))
    left = [0.0] * len(names)
    for flag, colour in FLAG_COLOURS.items():
        shares = [100 * counts[n].get(flag, 0) / sum(counts[n].values()) for n in names]
        if any(shares):
            axis.barh(names, shares, left=left, color=colour, label=flag)
            left = [a + b for a, b in zip(left, shares, strict=True)]
    axis.set(xlabel="share of the measurements (%)", xlim=(0, 100))
    axis.tick_params(axis="y", labelsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    finish(figure, path, "Flags of each analyte")


def smooth(values: Sequence[float], window: int = 9) -> list[float]:
    """The moving average over `window` values (fewer at both ends)."""
    half = window // 2
    parts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _curve(axis, history: Sequence[Mapping[str, float]], key: str, label: str, **style) -> None:
    points = [(row["step"], row[key]) for row in history if key in row]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, **style)


def loss_figure(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Training loss per token (each step and smoothed) and validation loss against the step, on a logarithmic axis."""
    figure, axis = plt.subplots(figsize=(7, 3.2))
    steps, losses = zip(*[(row["step"], row["loss"]) for row in history if "loss" in row], strict=True)
    axis.plot(steps, losses, color=BLUE, lw=0.8, alpha=0.35, label="training, each step")
    axis.plot(steps, smooth(losses), color=BLUE, lw=2, label="training, mean of 9 steps")
    _curve(axis, history, "eval_loss", "validation", color=ORANGE, lw=1.5, marker="o")
    axis.set(xlabel="step", ylabel="loss per token (nats)", yscale="log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False)
    finish(figure, path, "Training and validation loss")


def health_figure(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Learning rate, gradient norm and tokens per second against the step, one panel each."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6))
    rows = [dict(row) for row in history if "loss" in row]
    for before, row in zip(rows, rows[1:], strict=False):
        if row.get("seconds") and "num_input_tokens_seen" in row and "num_input_tokens_seen" in before:
            row["speed"] = (row["num_input_tokens_seen"] - before["num_input_tokens_seen"]) / row["seconds"]
    labels = {"learning_rate": "learning rate", "grad_norm": "gradient norm", "speed": "tokens per second"}
    for axis, (key, label), colour in zip(axes, labels.items(), (BLUE, GREEN, ORANGE), strict=True):
        _curve(axis, rows, key, label, color=colour, lw=1)
        axis.set(xlabel="step", title=label)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0].ticklabel_format(axis="y", scilimits=(0, 0))
    finish(figure, path)


def analyte_figure(counts: Mapping[str, tuple[int, int]], path: Path, most: int = 24) -> None:
    """Right and wrong flags of each analyte (`counts`: name -> right, of), the `most` frequent ones."""
    names = sorted(counts, key=lambda name: -counts[name][1])[:most]
    right = [counts[name][0] for name in names]
    wrong = [counts[name][1] - counts[name][0] for name in names]
    figure, axis = plt.subplots(figsize=(7, 1.1 + 0.2 * len(names)))
    axis.barh(names, right, color=BLUE, label="right")
    axis.barh(names, wrong, left=right, color=ORANGE, label="wrong")
    axis.set(xlabel="number of flags")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(axis="y", labelsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    finish(figure, path, "Right and wrong flags of each analyte")


def confusion_figure(confusion: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Counts of given flags (columns) for each expected flag (rows), shaded by the share of the row.

    scikit-learn's `ConfusionMatrixDisplay` needs as many rows as columns, and shades by the numbers it prints.
    """
    expected = [flag for flag in (*FLAG_COLOURS, "absent") if flag in confusion]
    given = [flag for flag in (*FLAG_COLOURS, "absent") if flag in confusion or any(flag in row for row in confusion.values())]
    counts = [[confusion[row].get(column, 0) for column in given] for row in expected]
    figure, axis = plt.subplots(figsize=(1.6 + 1.0 * len(given), 1.2 + 0.55 * len(expected)))
    axis.imshow([[value / sum(row) for value in row] for row in counts], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(counts):
        for x, value in enumerate(row):
            axis.text(x, y, value, ha="center", va="center", color="white" if value > 0.6 * sum(row) else "black")
    axis.set(xlabel="flag given", ylabel="flag expected")
    axis.set_xticks(range(len(given)), given)
    axis.set_yticks(range(len(expected)), expected)
    finish(figure, path, "Expected and given flags (counts)")


def interval_figure(shares: Mapping[str, Mapping[str, Mapping]], path: Path) -> None:
    """Shares with their 95 % intervals: one panel per title of `shares`, one line per name in it."""
    shown = {title: {name: s for name, s in rows.items() if s["of"]} for title, rows in shares.items()}
    names = list(dict.fromkeys(name for rows in shown.values() for name in rows))
    figure, axes = plt.subplots(1, len(shown), figsize=(8, 1.2 + 0.3 * len(names)), sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], shown.items(), strict=True):
        for name, share in rows.items():
            y = names.index(name)
            axis.plot([share["low"], share["high"]], [y, y], color=GREY, lw=2)
            axis.plot(share["share"], y, "o", color=BLUE)
            counts = f"{share['count']}/{share['of']}"
            axis.annotate(counts, (share["share"], y), (0, 6), textcoords="offset points", ha="center", size=7)
        axis.set(title=title, xlabel="share", xlim=(-0.05, 1.05), ylim=(len(names) - 0.5, -0.7))
        axis.set_yticks(range(len(names)), names)
    finish(figure, path)


def layout_figure(families: Mapping[str, Mapping[str, Mapping]], path: Path) -> None:
    """Right flags per layout (`families`: family -> source -> share): a point with its 95 % interval for each source of answers."""
    figure, axis = plt.subplots(figsize=(7, 1.1 + 0.42 * len(families)))
    sources = list(next(iter(families.values())))
    for i, (source, colour) in enumerate(zip(sources, (GREY, BLUE, ORANGE, GREEN), strict=False)):
        for y, shares in enumerate(families.values()):
            shown, place = shares[source], y + 0.28 * (i - (len(sources) - 1) / 2)
            axis.plot([shown["low"], shown["high"]], [place, place], color=colour, lw=2, alpha=0.5)
            axis.plot(shown["share"], place, "o", color=colour, label=source if y == 0 else None)
    axis.set_yticks(range(len(families)), [layout_name(family) for family in families])
    axis.set(xlabel="share of flags right", xlim=(-0.02, 1.02), ylim=(len(families) - 0.5, -0.5))
    axis.legend(frameon=False, ncols=len(sources), loc="lower center", bbox_to_anchor=(0.5, 1))
    finish(figure, path, "Flags in layouts never trained on, with 95% intervals")


def risk_figure(points: Sequence[Mapping[str, float]], path: Path) -> None:
    """Share of wrong flags among the most confident ones, against the share that is kept."""
    figure, axis = plt.subplots(figsize=(5.5, 3))
    axis.step([p["coverage"] for p in points], [p["risk"] for p in points], where="post", color=BLUE, clip_on=False, zorder=3)
    axis.set(xlabel="share of the flags that are kept (most confident first)", ylabel="share of wrong flags", xlim=(0, 1.02))
    axis.set_ylim(bottom=0)
    finish(figure, path, "Wrong flags among the most confident")


def category_figure(shares: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Right flags of each category (rows), one bar for each source of answers (`shares`: source -> category -> share).

    No bar where a source answered no report of the category.
    """
    names = list(dict.fromkeys(name for values in shares.values() for name in values))
    figure, axis = plt.subplots(figsize=(7, 1.1 + 0.35 * len(names)))
    height = 0.8 / len(shares)
    for i, ((source, values), colour) in enumerate(zip(shares.items(), (GREY, ORANGE, BLUE, GREEN), strict=False)):
        places = [y + (i - (len(shares) - 1) / 2) * height for y, name in enumerate(names) if name in values]
        bars = axis.barh(places, [values[name] for name in names if name in values], height, color=colour, label=source)
        axis.bar_label(bars, fmt="%.2f", padding=2, size=7)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlabel="share of flags right", xlim=(0, 1.05), ylim=(len(names) - 0.5, -0.5))
    axis.legend(frameon=False, ncols=len(shares), loc="lower center", bbox_to_anchor=(0.5, 1))
    finish(figure, path, "Right flags in each category")


def speed_figure(table: Sequence[Mapping], path: Path) -> None:
    """Tokens per second of each configuration of `benchmark.measured`, with its MFU (model FLOPs utilization)."""
    figure, axis = plt.subplots(figsize=(7, 1 + 0.45 * len(table)))
    names, speeds = [row["configuration"] for row in table], [row["tokens_per_second"] for row in table]
    bars = axis.barh(names, speeds, color=BLUE)
    axis.bar_label(bars, [f"MFU {row['mfu']:.0%}" for row in table], padding=4, fontsize=8)
    axis.set(xlabel="tokens per second", xlim=(0, 1.25 * max(speeds)))
    axis.invert_yaxis()
    finish(figure, path, "Training speed")
