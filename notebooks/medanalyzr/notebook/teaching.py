"""The figures that explain a training in 03_train: NF4, LoRA, masked labels and packing, drawn from the real model and its examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Patch, Rectangle

from medanalyzr.dataset.prompts import IGNORED
from medanalyzr.evaluation.figures import BLUE, GREEN, GREY, ORANGE, finish

BLOCK = 64  # weights that share one scale in NF4
PALE = "#D9D9D9"
SCHEMES = ("16 even levels", "NF4", "NF4, double quantization")


def real_weight(model, base: str) -> tuple[str, torch.Tensor]:
    """Name and 16-bit values of one matrix: a query projection from the files of the model folder `base`.

    Where `base` is a hub id, the output head of `model`: hubs also serve 4-bit files, and only the head is in 16 bits in both.
    """
    from safetensors import safe_open

    name = f"model.layers.{model.config.num_hidden_layers // 2}.self_attn.q_proj.weight"
    for path in sorted(Path(base).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118
                return name.removeprefix("model.").removesuffix(".weight"), file.get_tensor(name)
    return "lm_head", model.get_output_embeddings().weight.detach()


def _scaled(weight: torch.Tensor) -> torch.Tensor:
    """The weights in blocks of `BLOCK`, each divided by its largest magnitude."""
    blocks = weight.float().reshape(-1, BLOCK)
    return blocks / blocks.abs().amax(1, keepdim=True).clamp(min=1e-12)


def quantization_errors(weight: torch.Tensor) -> dict[str, dict[str, float]]:
    """Bits per weight and root mean square error (share of that of the weights) of each of `SCHEMES`, all in blocks of `BLOCK`.

    Source of NF4 and double quantization: Dettmers et al., arXiv:2305.14314. A scale takes 32 bits; with double quantization 8 bits, and
    32 bits more for 256 scales.
    """
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    exact, scaled = weight.float(), _scaled(weight)
    even = (((scaled + 1) * 7.5).round() / 7.5 - 1) * exact.reshape(-1, BLOCK).abs().amax(1, keepdim=True)
    found = {SCHEMES[0]: (even.reshape(exact.shape), 4 + 32 / BLOCK)}
    for scheme, double, bits in ((SCHEMES[1], False, 4 + 32 / BLOCK), (SCHEMES[2], True, 4 + 8 / BLOCK + 32 / (256 * BLOCK))):
        packed, state = quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4", compress_statistics=double)
        found[scheme] = dequantize_4bit(packed, state).float(), bits
    return {name: {"bits": bits, "error": float((w - exact).norm() / exact.norm())} for name, (w, bits) in found.items()}


def nf4_figure(name: str, weight: torch.Tensor, errors: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Histogram of a matrix's weights, each divided by the largest of its block, with NF4's 16 levels; beside it what
    `quantization_errors` found.
    """
    from bitsandbytes.functional import get_4bit_type

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), width_ratios=(3, 2))
    left.hist(_scaled(weight).flatten().cpu().numpy(), bins=121, range=(-1, 1), color=PALE, density=True)
    levels = get_4bit_type("nf4", device="cpu").tolist()
    left.vlines(levels, 0, left.get_ylim()[1], color=BLUE, lw=1)
    left.set(xlabel="weight / largest of its block of 64", ylabel="density", title=f"{name}: weights and the 16 NF4 levels")
    bars = right.barh(list(errors), [100 * e["error"] for e in errors.values()], color=[GREY, BLUE, GREEN])
    right.bar_label(bars, [f"{e['error']:.1%} · {e['bits']:.2f} bits" for e in errors.values()], padding=3, fontsize=8)
    right.set(xlabel="RMS error (% of the RMS of the weights)", title="error and bits per weight")
    right.set_xlim(right=1.75 * right.get_xlim()[1])
    right.invert_yaxis()
    finish(figure, path)


def adapted_shapes(model) -> dict[str, tuple[int, int, int]]:
    """Of each adapted projection of a PEFT model: outputs, inputs, and in how many layers it is adapted."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            last = name.rsplit(".", 1)[-1]
            shapes[last] = module.out_features, module.in_features, shapes.get(last, (0, 0, 0))[2] + 1
    return shapes


def _draw_product(axis, outputs: int, inputs: int, r: int, alpha: int) -> None:
    """W + (α/r)·B·A as rectangles to scale; what would be thinner than a line is drawn as a line."""
    size = max(inputs, outputs)
    gap, thin = 0.34 * size, max(r, 0.015 * size)
    places = ((0, inputs, outputs, PALE, "W, frozen", f"{outputs:,} × {inputs:,}"),
              (inputs + 1.5 * gap, thin, outputs, BLUE, "B", f"{outputs:,} × {r}"),
              (inputs + thin + 2.5 * gap, inputs, thin, BLUE, "A", f"{r} × {inputs:,}"))  # fmt: skip
    for x, width, height, colour, title, shape in places:
        axis.add_patch(Rectangle((x, -height / 2), width, height, color=colour))
        axis.text(x + width / 2, height / 2 + 0.05 * gap, title, ha="center", va="bottom")
        axis.text(x + width / 2, -height / 2 - 0.1 * gap, shape, ha="center", va="top", size=8)
    axis.text(inputs + 0.75 * gap, 0, f"+ {alpha}/{r} ×", ha="center", va="center")
    axis.text(inputs + thin + 2 * gap, 0, "×", ha="center", va="center")
    axis.set(xlim=(-0.1 * gap, 2 * inputs + thin + 2.6 * gap), ylim=(-outputs / 2 - 0.5 * gap, outputs / 2 + 0.4 * gap))
    axis.set_aspect("equal")
    axis.axis("off")


def lora_figure(shapes: Mapping[str, tuple[int, int, int]], r: int, alpha: int, path: Path) -> None:
    """W + (α/r)·B·A (Hu et al., arXiv:2106.09685) for the largest projection in `shapes` (see `adapted_shapes`), and the parameters
    of every projection.
    """
    largest = max(shapes, key=lambda name: shapes[name][0] * shapes[name][1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1))
    _draw_product(left, *shapes[largest][:2], r, alpha)
    left.set_title(f"{largest} with its adapter: W + (α/r)·B·A")
    whole = {name: outputs * inputs for name, (outputs, inputs, _) in shapes.items()}
    own = {name: r * (outputs + inputs) for name, (outputs, inputs, _) in shapes.items()}
    right.barh(list(shapes), [n / 1e6 for n in whole.values()], color=PALE, label="W, frozen")
    bars = right.barh(list(shapes), [n / 1e6 for n in own.values()], color=BLUE, label="A and B, trained")
    right.bar_label(bars, [f"{own[n]:,} ({own[n] / whole[n]:.1%})" for n in shapes], padding=3, fontsize=8)
    total, trained = (sum(part[name] * shapes[name][2] for name in shapes) for part in (whole, own))
    right.set(xlabel="parameters in one layer (millions)", title=f"trained: {trained:,} of {total:,} ({trained / total:.1%})")
    right.invert_yaxis()
    right.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.95))
    finish(figure, path)


def token_texts(ids: Sequence[int], tokenizer) -> list[str]:
    """What each token adds to the text; a letter that takes several tokens stands with the last of them."""
    texts, before = [], ""
    for end in range(1, len(ids) + 1):
        now = tokenizer.decode(ids[:end])
        whole = now if not now.endswith("\ufffd") else before
        texts.append(whole[len(before) :])
        before = whole
    return texts


def _placed(texts: Sequence[str], width: int) -> list[tuple[int, int, str]]:
    """Line, column and text of each token on a page `width` letters wide; a line break is shown as ↵."""
    placed, line, column = [], 0, 0
    for text in texts:
        shown = text.replace("\n", "↵")
        if column + len(shown) > width:
            line, column = line + 1, 0
        placed.append((line, column, shown))
        column += len(shown)
        if "\n" in text:
            line, column = line + 1, 0
    return placed


def mask_figure(example: Mapping[str, Sequence[int]], tokenizer, path: Path, width: int = 96) -> None:
    """The tokens of one example in boxes: grey where the label is -100, coloured where the loss counts them."""
    placed = _placed(token_texts(example["input_ids"], tokenizer), width)
    lines, learnt = placed[-1][0] + 1, [label != IGNORED for label in example["labels"]]
    figure, axis = plt.subplots(figsize=(9, 0.8 + 0.2 * lines))
    for number, ((line, column, text), counts) in enumerate(zip(placed, learnt, strict=True)):
        colour = (BLUE if number % 2 else GREEN) if counts else GREY
        axis.add_patch(Rectangle((column, line), len(text), 0.9, color=colour, alpha=0.3 if counts or number % 2 else 0.15, lw=0))
        for i, letter in enumerate(text):
            axis.text(column + i + 0.5, line + 0.5, letter, family="monospace", size=8, ha="center", va="center_baseline")
    axis.set(xlim=(0, width), ylim=(lines, 0))
    axis.set_title(f"{len(learnt)} tokens: {learnt.count(False)} with label −100 (grey), {sum(learnt)} that are learnt (coloured)")
    axis.axis("off")
    finish(figure, path)


def packed_rows(lengths: Sequence[int], longest: int) -> list[list[int]]:
    """The lengths in each row when the trainer (`trl.data_utils.pack_dataset`) packs examples of `lengths` tokens into rows of at most
    `longest` tokens.
    """
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    rows = Dataset.from_dict({"input_ids": [[0] * length for length in lengths]})
    return [list(row) for row in pack_dataset(rows, longest)["seq_lengths"]]


def _bars(axis, rows: Sequence[Sequence[int]], ends: Sequence[int], title: str) -> None:
    """Rows of examples, each with padding up to its end."""
    for y, (row, end) in enumerate(zip(rows, ends, strict=True)):
        for number, length in enumerate(row):
            axis.barh(y, length, 0.8, sum(row[:number]), color=(BLUE, GREEN)[number % 2], edgecolor="white")
        axis.barh(y, end - sum(row), 0.8, sum(row), color="white", edgecolor=ORANGE, hatch="////", lw=0.5)
    padding = 1 - sum(map(sum, rows)) / sum(ends)
    axis.set(title=f"{title}: {len(rows)} rows, {padding:.0%} padding", ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticks([])


def packing_figure(lengths: Sequence[int], batch_size: int, longest: int, multiple: int, path: Path) -> None:
    """Examples of `lengths` tokens in batches of `batch_size`, each padded to its longest one; and packed into rows of at most `longest`,
    each padded to a `multiple` of tokens.
    """
    batches = [max(lengths[i : i + batch_size]) for i in range(0, len(lengths), batch_size)]
    packed, heights = packed_rows(lengths, longest), [len(lengths) + 1]
    heights.append(len(packed) + 1)
    figure, axes = plt.subplots(2, 1, figsize=(9, 1.6 + 0.16 * sum(heights)), sharex=True, height_ratios=heights)
    ends = [batches[i // batch_size] for i in range(len(lengths))]
    _bars(axes[0], [[n] for n in lengths], ends, f"packing off, batches of {batch_size}")
    _bars(axes[1], packed, [-(-sum(row) // multiple) * multiple for row in packed], "packing on")
    axes[1].axvline(longest, color=GREY, ls="--")
    axes[1].set(xlabel=f"tokens (dashed: max_seq_length = {longest})")
    labels = [Patch(color=BLUE, label="an example"), Patch(facecolor="white", edgecolor=ORANGE, hatch="////", label="padding")]
    axes[0].legend(handles=labels, frameon=False, fontsize=8, loc="upper right")
    finish(figure, path)
