"""The figures of the notebooks: each is saved as PNG in the run folder and shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"  # Okabe-Ito: readable without colour vision
FLAG_COLOURS = {"bas": BLUE, "normal": GREEN, "élevé": ORANGE, "indéterminé": GREY}


def _finish(figure, path: Path) -> None:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    display(figure)
    plt.close(figure)


def length_figure(lengths: Mapping[str, Sequence[int]], max_seq_length: int, path: Path) -> None:
    """Histogram of example lengths in tokens, one outline per tokenizer."""
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
    _finish(figure, path)


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
    _finish(figure, path)


def smooth(values: Sequence[float], window: int = 9) -> list[float]:
    """The mean of each value and its neighbours, `window` in all (fewer at the ends)."""
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
    axis.set(xlabel="step", ylabel="loss per token", yscale="log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False)
    _finish(figure, path)


def health_figure(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Learning rate, gradient norm and tokens per second against the step, one panel each."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6))
    rows = [dict(row) for row in history if "loss" in row]
    for before, row in zip(rows, rows[1:], strict=False):
        if row.get("seconds") and "num_input_tokens_seen" in row and "num_input_tokens_seen" in before:
            row["speed"] = (row["num_input_tokens_seen"] - before["num_input_tokens_seen"]) / row["seconds"]
    panels = (
        ("learning_rate", "learning rate", BLUE),
        ("grad_norm", "gradient norm", GREEN),
        ("speed", "tokens per second", ORANGE),
    )
    for axis, (key, label, colour) in zip(axes, panels, strict=True):
        _curve(axis, rows, key, label, color=colour, lw=1)
        axis.set(xlabel="step", title=label)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0].ticklabel_format(axis="y", scilimits=(0, 0))
    _finish(figure, path)
