"""Fused LoRA layers: projections of one input (query, key and value; gate and up) as one product with their frozen weights.

Forward and backward there is one product with all weights and one with all matrices A. In the MLP the adapter is added inside the
kernel that multiplies gate and up, which saves one pass over these widest tensors. These functions replace those of Unsloth while a
base model in bfloat16 trains on a GPU. The products with the frozen weights are exact (bfloat16) or in 8-bit floats (`float8`); those
of the adapter, its gradients and the optimizer stay in bfloat16 and float32.
"""

from collections.abc import Sequence

import torch

from medanalyzr.acceleration.compat import usable
from medanalyzr.acceleration.float8 import Float8Matrix
from medanalyzr.core.errors import MedAnalyzrError

try:
    import triton
    import triton.language as tl
except ImportError:  # missing on some machines without a GPU, and used only on a GPU
    pass
else:

    @triton.jit
    def _adapted(base, low, right, m, n, rows, width, r, ends, low_stride, k_stride, n_stride, inner: tl.constexpr):
        """A tile of base + low @ right in the dtype of base (rows × width, row stride `ends`; low: rows × r; right: r × width)."""
        k = tl.arange(0, inner)
        x = tl.load(low + m[:, None] * low_stride + k[None, :], mask=(m[:, None] < rows) & (k[None, :] < r), other=0.0)
        y = tl.load(right + k[:, None] * k_stride + n[None, :] * n_stride, mask=(k[:, None] < r) & (n[None, :] < width), other=0.0)
        inside = (m[:, None] < rows) & (n[None, :] < width)
        start = tl.load(base + m[:, None].to(tl.int64) * ends + n[None, :], mask=inside, other=0.0)
        return (start.to(tl.float32) + tl.dot(x, y)).to(start.dtype)

    @triton.jit
    def _gate_and_up(both, low, bg, bu, m, n, rows, width, rg, ru, inner: tl.constexpr):
        g = _adapted(both, low, bg, m, n, rows, width, rg, 2 * width, rg + ru, 1, rg, inner)
        u = _adapted(both + width, low + rg, bu, m, n, rows, width, ru, 2 * width, rg + ru, 1, ru, inner)
        return g.to(tl.float32), u

    @triton.jit
    def _swiglu(both, low, bg, bu, h, rows, width, rg, ru, inner: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr):
        m, n = tl.program_id(0) * tall + tl.arange(0, tall), tl.program_id(1) * wide + tl.arange(0, wide)
        g, u = _gate_and_up(both, low, bg, bu, m, n, rows, width, rg, ru, inner)
        inside = (m[:, None] < rows) & (n[None, :] < width)
        tl.store(h + m[:, None].to(tl.int64) * width + n[None, :], (g * tl.sigmoid(g)).to(u.dtype) * u, mask=inside)

    @triton.jit
    def _swiglu_backward(
        both, low, bg, bu, dh, dlow, a, rows, width, rg, ru, rd, inner: tl.constexpr, tall: tl.constexpr, wide: tl.constexpr
    ):
        m, n = tl.program_id(0) * tall + tl.arange(0, tall), tl.program_id(1) * wide + tl.arange(0, wide)
        g, u = _gate_and_up(both, low, bg, bu, m, n, rows, width, rg, ru, inner)
        d = _adapted(dh, dlow, a, m, n, rows, width, rd, width, rd, width, 1, inner)
        s = tl.sigmoid(g)
        f = (g * s).to(u.dtype)
        inside = (m[:, None] < rows) & (n[None, :] < width)
        row = m[:, None].to(tl.int64) * width
        tl.store(dh + row + n[None, :], f * u, mask=inside)
        tl.store(both + 2 * row + n[None, :], ((d * u).to(tl.float32) * s * (1 + g * (1 - s))).to(u.dtype), mask=inside)
        tl.store(both + 2 * row + width + n[None, :], d * f, mask=inside)


TILE = {"tall": 16, "wide": 128, "num_warps": 4}


def _grid(h: torch.Tensor) -> tuple[int, int]:
    return -(-h.shape[0] // TILE["tall"]), -(-h.shape[1] // TILE["wide"])


def _inner_size(*ranks: int) -> int:
    """The inner size of a product in Triton for these ranks: a power of two of at least 16."""
    return max(16, triton.next_power_of_2(max(ranks)))


def _gate_and_up_exact(both, low, bg, bu):
    gate, up = both.chunk(2, 1)
    first, second = low.split([bg.shape[1], bu.shape[1]], 1)
    return gate + first @ bg.t(), up + second @ bu.t()


def swiglu(both: torch.Tensor, low: torch.Tensor, bg: torch.Tensor, bu: torch.Tensor) -> torch.Tensor:
    """silu(gate + low_gate @ bg.t()) · (up + low_up @ bu.t()), rows × width (SwiGLU: Shazeer, arXiv:2002.05202).

    `both` holds gate and up side by side (rows × 2 width), `low` the inputs of bg and bu (width × r each) side by side.
    """
    if not both.is_cuda:
        gate, up = _gate_and_up_exact(both, low, bg, bu)
        return torch.nn.functional.silu(gate) * up
    h, ranks = both.new_empty(len(both), len(bg)), (bg.shape[1], bu.shape[1])
    _swiglu[_grid(h)](both, low, bg, bu, h, *h.shape, *ranks, _inner_size(*ranks), **TILE)
    return h


def swiglu_backward(
    both: torch.Tensor, low: torch.Tensor, bg: torch.Tensor, bu: torch.Tensor, dh: torch.Tensor, dlow: torch.Tensor, a: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output of `swiglu` again, and the gradient of `both`, given the gradient dh + dlow @ a of that output (dlow: rows × r, a:
    r × width).

    On a GPU they overwrite dh and `both`.
    """
    if not both.is_cuda:
        gate, up = _gate_and_up_exact(both, low, bg, bu)
        s, dh = gate.sigmoid(), dh + dlow @ a
        return gate * s * up, torch.cat([dh * up * s * (1 + gate * (1 - s)), dh * gate * s], 1)
    ranks = bg.shape[1], bu.shape[1], len(a)
    _swiglu_backward[_grid(dh)](both, low, bg, bu, dh, dlow, a, *dh.shape, *ranks, _inner_size(*ranks), **TILE)
    return dh, both


class ExactMatrix:
    """A frozen matrix (inputs × outputs) as a right factor, in its own number format."""

    def __init__(self, matrix: torch.Tensor):
        self._matrix = matrix

    def product(self, *parts: torch.Tensor) -> torch.Tensor:
        """The product of `parts` side by side (rows × inputs in all) with this matrix."""
        return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]) @ self._matrix


class Projections:
    """LoRA layers that share one input, with their frozen weights side by side as a `matrix` of exact or 8-bit float products.

    Each layer's own weight becomes a view of the weights side by side, so that these need no memory of their own. The adapter of a
    layer adds scale · (x @ A.t()) @ B.t(); A is r × inputs, B is outputs × r. `left` stacks all matrices scale · A, `right` lists the
    matrices B, both in the dtype of x.
    """

    def __init__(self, layers: Sequence[torch.nn.Module], matrix: type[ExactMatrix] | type[Float8Matrix]):
        bases, ranks = [layer.get_base_layer() for layer in layers], [len(layer.lora_A["default"].weight) for layer in layers]
        self._layers, self._widths, self._ranks = layers, [len(base.weight) for base in bases], ranks
        whole = torch.cat([base.weight.data for base in bases]) if len(bases) > 1 else bases[0].weight.data
        for base, part in zip(bases, whole.split(self._widths), strict=True):
            base.weight.data = part
        self._weight, self._transposed = matrix(whole.t()), matrix(whole)
        scales = torch.tensor([layer.scaling["default"] for layer in layers])
        self._scales = scales.repeat_interleave(torch.tensor(ranks))[:, None].to(whole.device)

    def adapters(self) -> list[torch.nn.Parameter]:
        """The matrices A of all layers, then the matrices B."""
        return [getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B") for layer in self._layers]

    def factors(self, adapters: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        """`left`, and then `right`."""
        count = len(self._layers)
        return [(torch.cat(adapters[:count]) * self._scales).to(dtype), *(b.to(dtype) for b in adapters[count:])]

    def parts(self, x: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The products of x (rows × inputs) with the weights and with `left` (called `low`), for all layers side by side."""
        return self._weight.product(x), x @ left.t()

    def outputs(self, x: torch.Tensor, left: torch.Tensor, *right: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """The output of each layer (rows × outputs) for x, and `low`."""
        found, low = self.parts(x, left)
        found = found.split(self._widths, 1)
        for out, part, b in zip(found, low.split(self._ranks, 1), right, strict=True):
            out.addmm_(part, b.t())
        return found, low

    def gradient_parts(self, dys: Sequence[torch.Tensor], *right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients of x through the weights and of `low`, from those of the outputs (a list, or one tensor side by side)."""
        each = dys if len(dys) > 1 else dys[0].split(self._widths, 1)
        return self._transposed.product(*dys), torch.cat([dy @ b for dy, b in zip(each, right, strict=True)], 1)

    def adapter_gradients(
        self, x: torch.Tensor, low: torch.Tensor, dys: Sequence[torch.Tensor], dlow: torch.Tensor
    ) -> list[torch.Tensor]:
        """The gradients of `adapters` (each A: r × inputs, each B: outputs × r), from x (rows × inputs), `low` and its gradient `dlow`
        (rows × sum of r), and the gradients of the outputs (a list of rows × outputs).
        """
        of_b = [dy.t() @ part for dy, part in zip(dys, low.split(self._ranks, 1), strict=True)]
        return [*((dlow.t() @ x) * self._scales).split(self._ranks), *of_b]


def _flat(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])


class _Project(torch.autograd.Function):
    """`Projections.outputs` for x of … × inputs, with its gradients."""

    @staticmethod
    def forward(ctx, x, projections, *adapters):
        flat, factors = _flat(x), projections.factors(adapters, x.dtype)
        found, low = projections.outputs(flat, *factors)
        ctx.projections = projections
        ctx.save_for_backward(flat, low, *factors)
        return tuple(out.unflatten(0, x.shape[:-1]) for out in found)

    @staticmethod
    def backward(ctx, *dys):
        flat, low, left, *right = ctx.saved_tensors
        shape, dys = dys[0].shape[:-1], [_flat(dy) for dy in dys]
        dx, dlow = ctx.projections.gradient_parts(dys, *right)
        return dx.addmm_(dlow, left).unflatten(0, shape), None, *ctx.projections.adapter_gradients(flat, low, dys, dlow)


class _Mlp(torch.autograd.Function):
    """down(silu(gate(x)) · up(x)). Only gate and up without their adapters are stored; the backward pass recomputes their product."""

    @staticmethod
    def forward(ctx, x, wide, down, *adapters):
        flat, to_wide, to_down = _flat(x), wide.factors(adapters[:4], x.dtype), down.factors(adapters[4:], x.dtype)
        both, low = wide.parts(flat, to_wide[0])
        (found,), low_down = down.outputs(swiglu(both, low, *to_wide[1:]), *to_down)
        ctx.wide, ctx.down = wide, down
        ctx.save_for_backward(flat, both, low, low_down, *to_wide, *to_down)
        return found.view(x.shape)

    @staticmethod
    def backward(ctx, dy):
        shape, dy = dy.shape, _flat(dy)
        flat, both, low, low_down, left, bg, bu, left_down, right_down = ctx.saved_tensors
        dh, dlow_down = ctx.down.gradient_parts([dy], right_down)
        h, dboth = swiglu_backward(both, low, bg, bu, dh, dlow_down, left_down)
        of_down = ctx.down.adapter_gradients(h, low_down, [dy], dlow_down)
        dx, dlow = ctx.wide.gradient_parts([dboth], bg, bu)
        of_wide = ctx.wide.adapter_gradients(flat, low, dboth.chunk(2, 1), dlow)
        return dx.addmm_(dlow, left).view(shape), None, None, *of_wide, *of_down


def _blocks(model) -> list[torch.nn.Module]:
    """The decoder layers."""
    return [module for module in model.modules() if hasattr(module, "self_attn") and hasattr(module, "mlp")]


def _plain(layer: torch.nn.Module | None) -> bool:
    """Whether `layer` is a projection with one adapter and nothing else: no bias, no dropout, no DoRA."""
    if not hasattr(layer, "lora_A") or layer.get_base_layer().bias is not None or list(layer.active_adapters) != ["default"]:
        return False
    return isinstance(layer.lora_dropout["default"], torch.nn.Identity) and not (
        layer.use_dora.get("default") or layer.lora_bias.get("default")
    )


def _fusible(block: torch.nn.Module) -> bool:
    """Whether `block` has Unsloth's fast layers as computed here: seven plain projections with an adapter, gate through SiLU."""
    attention, mlp = block.self_attn, block.mlp
    layers = [getattr(attention, f"{name}_proj", None) for name in "qkvo"]
    layers += [getattr(mlp, f"{name}_proj", None) for name in ("gate", "up", "down")]
    one = torch.ones(1)
    return (
        hasattr(attention, "apply_qkv") and all(map(_plain, layers)) and torch.equal(mlp.act_fn(one), torch.nn.functional.silu(one))
    )


def _fuse(blocks: Sequence[torch.nn.Module], matrix: type[ExactMatrix] | type[Float8Matrix]) -> None:
    for block in blocks:
        attention, mlp = block.self_attn, block.mlp
        block.matrix, block.separate = matrix, (attention.apply_qkv, attention.apply_o, mlp.forward)
        heads = Projections([attention.q_proj, attention.k_proj, attention.v_proj], matrix)
        sets = [attention.o_proj], [mlp.gate_proj, mlp.up_proj], [mlp.down_proj]
        out, wide, down = (Projections(layers, matrix) for layers in sets)
        attention.apply_qkv = lambda _, x, heads=heads: _Project.apply(x, heads, *heads.adapters())
        attention.apply_o = lambda _, x, out=out: _Project.apply(x, out, *out.adapters())[0]
        mlp.forward = lambda x, wide=wide, down=down: _Mlp.apply(x, wide, down, *wide.adapters(), *down.adapters())


def fuse_projections(model, float8: bool = False) -> None:
    """Train with fused layers until `restore_projections` is called; with `float8`, products with the base weights are in FP8.

    Without `float8` it needs a GPU, a base model in bfloat16 throughout, and layers as those of Llama and Mistral; other models train
    as they are. A second call changes nothing (a cell that is run again after an interruption) but the kind of products.

    Raises:
        MedAnalyzrError: `float8` for layers of another kind.
    """
    float8 = float8 and usable("8-bit float products")
    if fused(model) == ("in 8-bit floats" if float8 else "yes"):
        return
    restore_projections(model)
    blocks = _blocks(model)
    wrong = next((type(block).__name__ for block in blocks if not _fusible(block)), "" if blocks else type(model).__name__)
    if float8 and wrong:
        raise MedAnalyzrError(f"float8='on' does not support the layers of {wrong}: set float8='off'.")
    weights = (weight for block in blocks for weight in block.parameters() if not weight.requires_grad)
    if not float8 and (wrong or not all(weight.is_cuda and weight.dtype == torch.bfloat16 for weight in weights)):
        return
    _fuse(blocks, Float8Matrix if float8 else ExactMatrix)


def restore_projections(model) -> None:
    """Compute each projection by itself again, with its own weight; does nothing where that is so."""
    for block in _blocks(model):
        if hasattr(block, "separate"):
            block.self_attn.apply_qkv, block.self_attn.apply_o, block.mlp.forward = block.separate
            del block.separate, block.matrix


def fused(model) -> str:
    """Whether the projections are fused: "no", "yes", or "in 8-bit floats"."""
    matrix = next((block.matrix for block in _blocks(model) if hasattr(block, "matrix")), None)
    return {None: "no", ExactMatrix: "yes", Float8Matrix: "in 8-bit floats"}[matrix]
