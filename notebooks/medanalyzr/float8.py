"""Products with the frozen base model in 8-bit floats while it trains: on an H100 nearly twice as fast as in bfloat16.

Values are float8_e4m3fn (4 bits of exponent, 3 of mantissa, largest 448), with one scale a row of the left factor and one a column of
the right one: the scheme that torchao calls rowwise. The base weights are rounded once, in both orientations, activations and
gradients at each product. The adapter's own products, its gradients and the optimizer stay in bfloat16 and float32.

Projections of one input (query, key and value; gate and up) are taken together: one rounding, one product with all their matrices A,
and backward one product of all their gradients with all their weights. These kernels stand in for those of Unsloth.
"""

from collections.abc import Sequence

import torch

from medanalyzr.errors import MedAnalyzrError

LARGEST = torch.finfo(torch.float8_e4m3fn).max

try:
    import triton
    import triton.language as tl
except ImportError:  # not on every machine without a GPU, and used on a GPU alone
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
    def _round_rows(a, b, c, values, scales, wa, wb, wc, largest: tl.constexpr, na: tl.constexpr, nb: tl.constexpr, nc: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        x = _load_row(a, row, wa, na)
        top = tl.max(tl.abs(x), axis=0)
        if nb:
            y = _load_row(b, row, wb, nb)
            top = tl.maximum(top, tl.max(tl.abs(y), axis=0))
        if nc:
            z = _load_row(c, row, wc, nc)
            top = tl.maximum(top, tl.max(tl.abs(z), axis=0))
        scale = tl.maximum(top, 1e-12) / largest
        start = values + row * (wa + wb + wc)
        _store_row(start, x / scale, wa, na)
        if nb:
            _store_row(start + wa, y / scale, wb, nb)
        if nc:
            _store_row(start + wa + wb, z / scale, wc, nc)
        tl.store(scales + row, scale)


def to_float8(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One to three `parts` (rows × columns each) side by side as float8_e4m3fn values and the float32 scale of each row (rows × 1):
    parts ≈ values · scale.

    The largest value of a row becomes 448; a row of zeros stays zero.
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


class Float8Matrix:
    """A frozen matrix (inputs × outputs) as a right factor."""

    def __init__(self, matrix: torch.Tensor):
        values, scales = to_float8(matrix.t().contiguous())
        self._values, self._scales, self._dtype = values.t(), scales.view(1, -1), matrix.dtype

    def product(self, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """The product of what `to_float8` gave (rows × inputs) with this matrix, in its dtype."""
        return torch._scaled_mm(values, self._values, scales, self._scales, out_dtype=self._dtype, use_fast_accum=True)


class Projections:
    """The LoRA layers `layers` of one input, their frozen weights in 8-bit floats.

    The adapter of each adds scale · (x @ A.t()) @ B.t(); A is r × inputs, B outputs × r.
    """

    def __init__(self, layers: Sequence[torch.nn.Module]):
        weights = [layer.get_base_layer().weight.data for layer in layers]
        self._layers = layers
        self._weights, self._transposed = [Float8Matrix(weight.t()) for weight in weights], Float8Matrix(torch.cat(weights))
        self._ends = torch.tensor([layer.lora_A["default"].weight.shape[0] for layer in layers]).cumsum(0).tolist()
        self._scales = [layer.scaling["default"] for layer in layers]

    def adapters(self) -> list[torch.nn.Parameter]:
        """The matrices A of all layers, then the matrices B."""
        return [getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B") for layer in self._layers]

    def _each(self, joined: torch.Tensor, dim: int) -> tuple[torch.Tensor, ...]:
        return joined.tensor_split(self._ends[:-1], dim)

    def outputs(self, x: torch.Tensor, adapters: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The output of each layer (rows × outputs) for x (rows × inputs), and x @ A.t() of all side by side."""
        count = len(self._weights)
        rounded = to_float8(x)
        found = [weight.product(*rounded) for weight in self._weights]
        low = x @ torch.cat(adapters[:count]).to(x.dtype).t()
        for out, part, b, scale in zip(found, self._each(low, 1), adapters[count:], self._scales, strict=True):
            out.addmm_(part, b.to(x.dtype).t(), alpha=scale)
        return found, low

    def input_gradient(self, dys: Sequence[torch.Tensor], adapters: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of x for those of the outputs, and that of x @ A.t()."""
        count = len(dys)
        found = self._transposed.product(*to_float8(*dys))
        parts = [scale * (dy @ b.to(dy.dtype)) for dy, b, scale in zip(dys, adapters[count:], self._scales, strict=True)]
        low = torch.cat(parts, 1)
        return found.addmm_(low, torch.cat(adapters[:count]).to(low.dtype)), low

    def adapter_gradients(self, x: torch.Tensor, low: torch.Tensor, dys: Sequence[torch.Tensor], dlow: torch.Tensor) -> list[torch.Tensor]:
        """The gradients of `adapters`."""
        of_b = [scale * (dy.t() @ part) for dy, part, scale in zip(dys, self._each(low, 1), self._scales, strict=True)]
        return [*self._each(dlow.t() @ x, 0), *of_b]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, projections, *adapters):
        ctx.projections, flat = projections, x.reshape(-1, x.shape[-1])
        found, low = projections.outputs(flat, adapters)
        ctx.save_for_backward(flat, low, *adapters)
        return tuple(out.view(*x.shape[:-1], -1) for out in found)

    @staticmethod
    def backward(ctx, *dys):
        flat, low, *adapters = ctx.saved_tensors
        shape, dys = dys[0].shape[:-1], [dy.reshape(-1, dy.shape[-1]) for dy in dys]
        dx, dlow = ctx.projections.input_gradient(dys, adapters)
        return dx.view(*shape, -1), None, *ctx.projections.adapter_gradients(flat, low, dys, dlow)


class _SwigluDown(torch.autograd.Function):
    """silu(gate) · up, and the projection of that, which is made again backward instead of kept."""

    @staticmethod
    def forward(ctx, gate, up, projections, *adapters):
        from unsloth.kernels.swiglu import swiglu_fg_kernel

        ctx.projections, h = projections, swiglu_fg_kernel(gate, up)
        (found,), low = projections.outputs(h.view(-1, h.shape[-1]), adapters)
        ctx.save_for_backward(gate, up, low, *adapters)
        return found.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx, dy):
        from unsloth.kernels.swiglu import swiglu_DWf_DW_dfg_kernel

        gate, up, low, *adapters = ctx.saved_tensors
        dy = dy.reshape(-1, dy.shape[-1])
        dh, dlow = ctx.projections.input_gradient([dy], adapters)
        flat = (part.view(-1, part.shape[-1]) for part in (gate, up))
        h, dup, dgate = swiglu_DWf_DW_dfg_kernel(dh, *flat)
        return dgate.view_as(gate), dup.view_as(up), None, *ctx.projections.adapter_gradients(h, low, [dy], dlow)


def _blocks(model) -> list[torch.nn.Module]:
    """The decoder layers."""
    return [module for module in model.modules() if hasattr(module, "self_attn") and hasattr(module, "mlp")]


def train_in_float8(model) -> None:
    """Take the products with the base weights in 8-bit floats until `back_from_float8`; the weights themselves stay beside. Does
    nothing where it is so already (the cell was run again after a training that was interrupted).

    Raises:
        MedAnalyzrError: the model is none whose layers Unsloth runs by itself (Llama, Mistral and their like).
    """
    if in_float8(model):
        return
    for block in _blocks(model):
        attention, mlp = block.self_attn, block.mlp
        if not hasattr(attention, "apply_qkv"):
            raise MedAnalyzrError(f"float8='on' does not know the layers of {type(block).__name__}: set float8='off'.")
        block.exact = attention.apply_qkv, attention.apply_o, mlp.forward
        heads = Projections([attention.q_proj, attention.k_proj, attention.v_proj])
        out, wide, down = (Projections(layers) for layers in ([attention.o_proj], [mlp.gate_proj, mlp.up_proj], [mlp.down_proj]))
        attention.apply_qkv = lambda _, x, heads=heads: _Project.apply(x, heads, *heads.adapters())
        attention.apply_o = lambda _, x, out=out: _Project.apply(x, out, *out.adapters())[0]
        mlp.forward = lambda x, wide=wide, down=down: _SwigluDown.apply(
            *_Project.apply(x, wide, *wide.adapters()), down, *down.adapters()
        )


def back_from_float8(model) -> None:
    """Take the products with the weights themselves again; does nothing where it was so."""
    for block in _blocks(model):
        if hasattr(block, "exact"):
            block.self_attn.apply_qkv, block.self_attn.apply_o, block.mlp.forward = block.exact
            del block.exact


def in_float8(model) -> bool:
    """Whether the products with the base weights are taken in 8-bit floats."""
    return any(hasattr(block, "exact") for block in _blocks(model))
