"""The projections of a training whose base model is in 16 bits: fewer and larger products than Unsloth's, and the same results.

Projections of the same input (query, key and value; gate and up) are fused: one product with all their weights and one with all
their matrices A, forward and backward. What A makes of an input is kept for the backward pass. In the MLP the adapter is added inside
the kernel that multiplies gate and up, which saves one pass over these widest tensors. The products with the frozen weights are
exact (`Frozen`) or in 8-bit floats (see `medanalyzr.acceleration.float8`). These functions replace those of Unsloth.
"""

from collections.abc import Callable, Sequence

import torch

from medanalyzr.acceleration.compat import usable
from medanalyzr.acceleration.float8 import Float8Frozen
from medanalyzr.core.errors import MedAnalyzrError

try:
    import triton
    import triton.language as tl
except ImportError:  # missing on some machines without a GPU, and used only on a GPU
    triton = None
else:

    @triton.jit
    def _adapted(base, low, right, m, n, rows, width, r, ends, low_stride, k_stride, n_stride, inner: tl.constexpr):
        """A tile of base + low @ right in the dtype of base (base: rows × width with row stride `ends`; low: rows × r; right: r ×
        width).
        """
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
    """silu(gate + low_gate @ bg.t()) · (up + low_up @ bu.t()), rows × width.

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


class Frozen:
    """The frozen weights of linear layers with one input (each outputs × inputs), side by side, multiplied as they are.

    Several weights move into one tensor, of which they are views from then on; no memory is added.
    """

    def __init__(self, layers: Sequence[torch.nn.Module]):
        weights = [layer.weight for layer in layers]
        self._whole = torch.cat([weight.data for weight in weights]) if len(weights) > 1 else weights[0].data
        for weight, part in zip(weights, self._whole.split([len(weight) for weight in weights]), strict=True):
            weight.data = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs of all layers side by side (rows × outputs) for x (rows × inputs)."""
        return x @ self._whole.t()

    def backward(self, dys: Sequence[torch.Tensor]) -> torch.Tensor:
        """The gradient of x, given those of the outputs (a list, or one tensor side by side)."""
        return (torch.cat(list(dys), 1) if len(dys) > 1 else dys[0]) @ self._whole


class Projections:
    """LoRA layers that share one input, with their frozen weights side by side in a `Frozen` or its like.

    The adapter of a layer adds scale · (x @ A.t()) @ B.t(); A is r × inputs, B is outputs × r. `left` stacks all matrices scale ·
    A, `right` lists the matrices B, both in the dtype of x.
    """

    def __init__(self, layers: Sequence[torch.nn.Module], frozen: Callable = Frozen):
        bases, ranks = [layer.get_base_layer() for layer in layers], [len(layer.lora_A["default"].weight) for layer in layers]
        self._layers, self._frozen = layers, frozen(bases)
        self._widths, self._ranks = [len(base.weight) for base in bases], ranks
        scales = torch.tensor([layer.scaling["default"] for layer in layers])
        self._scales = scales.repeat_interleave(torch.tensor(ranks))[:, None].to(bases[0].weight.device)

    def adapters(self) -> list[torch.nn.Parameter]:
        """The matrices A of all layers, then the matrices B."""
        return [getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B") for layer in self._layers]

    def factors(self, adapters: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        """`left`, and then `right`."""
        count = len(self._layers)
        return [(torch.cat(adapters[:count]) * self._scales).to(dtype), *(b.to(dtype) for b in adapters[count:])]

    def parts(self, x: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The products of x (rows × inputs) with the weights and with `left` (called `low`), for all layers side by side."""
        return self._frozen.forward(x), x @ left.t()

    def outputs(self, x: torch.Tensor, left: torch.Tensor, *right: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """The output of each layer (rows × outputs) for x, and `low`."""
        found, low = self.parts(x, left)
        found = found.split(self._widths, 1)
        for out, part, b in zip(found, low.split(self._ranks, 1), right, strict=True):
            out.addmm_(part, b.t())
        return found, low

    def gradient_parts(self, dys: Sequence[torch.Tensor], *right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From the gradients of the outputs (a list, or one tensor side by side): the gradient of x through the weights, and that
        of `low`.
        """
        each = dys if len(dys) > 1 else dys[0].split(self._widths, 1)
        return self._frozen.backward(dys), torch.cat([dy @ b for dy, b in zip(each, right, strict=True)], 1)

    def adapter_gradients(
        self, x: torch.Tensor, low: torch.Tensor, dys: Sequence[torch.Tensor], dlow: torch.Tensor
    ) -> list[torch.Tensor]:
        """The gradients of `adapters`."""
        of_b = [dy.t() @ part for dy, part in zip(dys, low.split(self._ranks, 1), strict=True)]
        return [*((dlow.t() @ x) * self._scales).split(self._ranks), *of_b]


def _flat(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])


class _Project(torch.autograd.Function):
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


def _parts(block) -> list[list[torch.nn.Module]]:
    """The projections of a layer, those of one input together: query, key, value; output; gate, up; down."""
    attention, mlp = block.self_attn, block.mlp
    return [
        [attention.q_proj, attention.k_proj, attention.v_proj],
        [attention.o_proj],
        [mlp.gate_proj, mlp.up_proj],
        [mlp.down_proj],
    ]


def _base(layer) -> torch.nn.Module:
    return getattr(layer, "base_layer", layer)


def in_16_bits(model) -> bool:
    """Whether all projections have weights of two bytes."""
    kinds = {_base(layer).weight.dtype for block in _blocks(model) for part in _parts(block) for layer in part}
    return kinds <= {torch.bfloat16, torch.float16}


def obstacle(block) -> str:
    """Why the projections of this layer cannot be fused, in words; "" if they can."""
    layers = [layer for part in _parts(block) for layer in part]
    joined = type(getattr(block.mlp, "act_fn", torch.nn.SiLU())).__name__
    if not hasattr(block.self_attn, "apply_qkv"):
        return f"the layers of {type(block).__name__} are not Unsloth's"
    if "silu" not in joined.lower():
        return f"gate and up are joined by {joined}"
    if any("default" not in getattr(layer, "lora_A", {}) or any(layer.use_dora.values()) for layer in layers):
        return "a projection has no adapter of the usual form"
    if any(_base(layer).bias is not None for layer in layers):
        return "a projection has a bias"
    if triton is None and _base(layers[0]).weight.is_cuda:
        return "the package triton is missing"
    return ""


def _fuse(block, frozen: Callable) -> None:
    attention, mlp = block.self_attn, block.mlp
    block.replaced, block.products = (attention.apply_qkv, attention.apply_o, mlp.forward), frozen
    heads, out, wide, down = (Projections(layers, frozen) for layers in _parts(block))
    attention.apply_qkv = lambda _, x: _Project.apply(x, heads, *heads.adapters())
    attention.apply_o = lambda _, x: _Project.apply(x, out, *out.adapters())[0]
    mlp.forward = lambda x: _Mlp.apply(x, wide, down, *wide.adapters(), *down.adapters())


def fuse_projections(model, wanted: bool = True, float8: bool = False) -> None:
    """Compute the projections of a base model in 16 bits together until `unfuse_projections` is called, with `float8` in 8-bit floats.

    Does nothing unless `wanted`, to a base model in 4 bits, or if it was done before (a cell that is run again after an
    interruption). Where the layers are of another kind, one line says so, and they stay as they are.

    Raises:
        MedAnalyzrError: `float8`, and the layers are of another kind.
    """
    if not wanted or fused(model) or not in_16_bits(model):
        return
    reason = next(filter(None, map(obstacle, _blocks(model))), "")
    if reason and float8:
        raise MedAnalyzrError(f"float8='on' does not support this model, because {reason}: set float8='off'.")
    if reason:
        print(f"The projections of a layer are computed one by one: {reason}.")
        return
    for block in _blocks(model):
        _fuse(block, Float8Frozen if float8 and usable("8-bit float products") else Frozen)


def unfuse_projections(model) -> None:
    """Use Unsloth's functions and the 16-bit weights again; does nothing if they are in use."""
    for block in _blocks(model):
        if hasattr(block, "replaced"):
            block.self_attn.apply_qkv, block.self_attn.apply_o, block.mlp.forward = block.replaced
            del block.replaced, block.products


def fused(model) -> bool:
    """Whether projections of one input are computed together."""
    return any(hasattr(block, "replaced") for block in _blocks(model))


def in_float8(model) -> bool:
    """Whether the products with the base weights are in 8-bit floats."""
    return any(getattr(block, "products", None) is Float8Frozen for block in _blocks(model))
