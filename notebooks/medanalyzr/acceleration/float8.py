"""FP8 training: products with the frozen base weights in 8-bit floats, on an H100 nearly twice as fast as in bfloat16.

Values are float8_e4m3fn (4 exponent bits, 3 mantissa bits, largest value 448). Each row of the left factor and each column of the
right factor has its own scale; torchao calls this scheme rowwise. The base weights are quantized once, in both orientations;
activations and gradients are quantized for each product. The products of the adapter, its gradients and the optimizer stay in
bfloat16 and float32.

Projections of the same input (query, key and value; gate and up) are fused: one quantization, one product with all their weights
and one with all their matrices A, forward and backward. In the MLP the adapter is added inside the kernel that multiplies gate and
up, which saves one pass over these widest tensors. These kernels replace those of Unsloth.
"""

from collections.abc import Sequence

import torch

from medanalyzr.acceleration.compat import usable
from medanalyzr.core.errors import MedAnalyzrError

LARGEST = torch.finfo(torch.float8_e4m3fn).max

try:
    import triton
    import triton.language as tl
except ImportError:  # missing on some machines without a GPU, and used only on a GPU
    pass
else:

    @triton.jit
    def _load_row(source, row, width, block: tl.constexpr):
        columns = tl.arange(0, block)
        return tl.load(source + row * width + columns, mask=columns < width, other=0.0).to(tl.float32)

    @triton.jit
    def _store_row(values, x, width, block: tl.constexpr):
        columns = tl.arange(0, block)
        tl.store(values + columns, x.to(tl.float8e4nv), mask=columns < width)

    @triton.jit
    def _round_rows(
        a, b, c, values, scales, wa, wb, wc, largest: tl.constexpr, na: tl.constexpr, nb: tl.constexpr, nc: tl.constexpr
    ):
        row = tl.program_id(0).to(tl.int64)
        x = _load_row(a, row, wa, na)
        top = tl.max(tl.abs(x), axis=0)
        if nb:
            y, z = _load_row(b, row, wb, nb), _load_row(c, row, wc, nc)
            top = tl.maximum(top, tl.maximum(tl.max(tl.abs(y), axis=0), tl.max(tl.abs(z), axis=0)))
        scale = tl.maximum(top, 1e-12) / largest
        start = values + row * (wa + wb + wc)
        _store_row(start, x / scale, wa, na)
        if nb:
            _store_row(start + wa, y / scale, wb, nb)
            _store_row(start + wa + wb, z / scale, wc, nc)
        tl.store(scales + row, scale)

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


def to_float8(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One or three `parts` (such as query, key and value; rows × columns each) side by side as float8_e4m3fn values, and one
    float32 scale per row (rows × 1): parts ≈ values · scale.

    The largest magnitude of a row becomes 448, the largest E4M3 value (Micikevicius et al., arXiv:2209.05433); a row of zeros stays zero.
    """
    if not parts[0].is_cuda:
        x = torch.cat(parts, 1).float()
        scales = x.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
        return (x / scales).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scales
    parts = [part.contiguous() for part in parts]
    rows, widths = len(parts[0]), [part.shape[1] for part in parts] + [0] * (3 - len(parts))
    values = torch.empty(rows, sum(widths), dtype=torch.float8_e4m3fn, device=parts[0].device)
    scales = torch.empty(rows, 1, device=parts[0].device)
    blocks = [triton.next_power_of_2(width) if width else 0 for width in widths]
    given = [*parts, *parts[:1] * (3 - len(parts))]
    _round_rows[(rows,)](*given, values, scales, *widths, LARGEST, *blocks, num_warps=min(16, max(1, max(blocks) // 512)))
    return values, scales


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


class Float8Matrix:
    """A frozen matrix (inputs × outputs) as a right factor."""

    def __init__(self, matrix: torch.Tensor):
        values, scales = to_float8(matrix.t().contiguous())
        self._values, self._scales, self._dtype = values.t(), scales.view(1, -1), matrix.dtype

    def product(self, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """The product of a result of `to_float8` (rows × inputs) with this matrix, in the dtype of the matrix."""
        return torch._scaled_mm(values, self._values, scales, self._scales, out_dtype=self._dtype, use_fast_accum=True)


class Projections:
    """LoRA layers that share one input, with their frozen weights side by side in FP8.

    The adapter of a layer adds scale · (x @ A.t()) @ B.t(); A is r × inputs, B is outputs × r. `left` stacks all matrices scale ·
    A, `right` lists the matrices B, both in the dtype of x.
    """

    def __init__(self, layers: Sequence[torch.nn.Module]):
        weights = [layer.get_base_layer().weight.data for layer in layers]
        whole, ranks = torch.cat(weights), [len(layer.lora_A["default"].weight) for layer in layers]
        self._layers, self._weight, self._transposed = layers, Float8Matrix(whole.t()), Float8Matrix(whole)
        self._widths, self._ranks = [len(weight) for weight in weights], ranks
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
        return self._weight.product(*to_float8(x)), x @ left.t()

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
        return self._transposed.product(*to_float8(*dys)), torch.cat([dy @ b for dy, b in zip(each, right, strict=True)], 1)

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


def train_in_float8(model, wanted: bool = True) -> None:
    """Compute the products with the base weights in FP8 until `back_from_float8` is called; the 16-bit weights are kept.

    Does nothing unless `wanted`, or if it was done before (a cell that is run again after an interruption).

    Raises:
        MedAnalyzrError: Unsloth has no fast layers for this model (it has them for Llama, Mistral and similar models).
    """
    if not wanted or in_float8(model) or not usable("8-bit float products"):
        return
    for block in _blocks(model):
        attention, mlp = block.self_attn, block.mlp
        if not hasattr(attention, "apply_qkv"):
            raise MedAnalyzrError(f"float8='on' does not support the layers of {type(block).__name__}: set float8='off'.")
        block.exact = attention.apply_qkv, attention.apply_o, mlp.forward
        heads = Projections([attention.q_proj, attention.k_proj, attention.v_proj])
        out, wide, down = (Projections(layers) for layers in ([attention.o_proj], [mlp.gate_proj, mlp.up_proj], [mlp.down_proj]))
        attention.apply_qkv = lambda _, x, heads=heads: _Project.apply(x, heads, *heads.adapters())
        attention.apply_o = lambda _, x, out=out: _Project.apply(x, out, *out.adapters())[0]
        mlp.forward = lambda x, wide=wide, down=down: _Mlp.apply(x, wide, down, *wide.adapters(), *down.adapters())


def back_from_float8(model) -> None:
    """Use the 16-bit weights again; does nothing if they are in use."""
    for block in _blocks(model):
        if hasattr(block, "exact"):
            block.self_attn.apply_qkv, block.self_attn.apply_o, block.mlp.forward = block.exact
            del block.exact


def in_float8(model) -> bool:
    """Whether the products with the base weights are computed in FP8."""
    return any(hasattr(block, "exact") for block in _blocks(model))
