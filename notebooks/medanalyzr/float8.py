"""Products with the frozen base model in 8-bit floats while it trains: on an H100 nearly twice as fast as in bfloat16.

Values are float8_e4m3fn (4 bits of exponent, 3 of mantissa, largest 448), with one scale a row of the left factor and one a column of
the right one: the scheme that torchao calls rowwise. The base weights are rounded once, in both orientations, activations and
gradients at each product. The adapter's own products, its gradients and the optimizer stay as they are.
"""

import torch

LARGEST = torch.finfo(torch.float8_e4m3fn).max

try:
    import triton
    import triton.language as tl
except ImportError:  # not on every machine without a GPU, and used on a GPU alone
    pass
else:

    @triton.jit
    def _round_row(source, values, scales, width, largest: tl.constexpr, block: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        columns = tl.arange(0, block)
        inside = columns < width
        x = tl.load(source + row * width + columns, mask=inside, other=0.0).to(tl.float32)
        scale = tl.maximum(tl.max(tl.abs(x), axis=0), 1e-12) / largest
        tl.store(values + row * width + columns, (x / scale).to(tl.float8e4nv), mask=inside)
        tl.store(scales + row, scale)


def to_float8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`x` (rows × columns) as float8_e4m3fn values and the float32 scale of each row (rows × 1): x ≈ values · scale.

    The largest value of a row becomes 448; a row of zeros stays zero.
    """
    if not x.is_cuda:
        scales = x.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / LARGEST
        return (x.float() / scales).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scales
    x = x.contiguous()
    rows, width = x.shape
    values, scales = torch.empty_like(x, dtype=torch.float8_e4m3fn), torch.empty(rows, 1, device=x.device)
    block = triton.next_power_of_2(width)
    _round_row[(rows,)](x, values, scales, width, LARGEST, block, num_warps=min(16, max(1, block // 512)))
    return values, scales


class Float8Matrix:
    """A frozen matrix (inputs × outputs) as a right factor: torch brings `x @ matrix`, also with `out` or added in place by
    `addmm_`, to `product`, and refuses every other operation. `t()` is its transpose, rounded by itself.
    """

    ndim = 2

    def __init__(self, matrix: torch.Tensor):
        values, scales = to_float8(matrix.t().contiguous())
        self._values, self._scales = values.t(), scales.view(1, -1)
        self.shape, self.dtype, self.device = matrix.shape, matrix.dtype, matrix.device

    @classmethod
    def of_weight(cls, weight: torch.Tensor) -> "Float8Matrix":
        """What stands in for `Linear.weight` (outputs × inputs) in the LoRA kernels of Unsloth: they ask for x @ weight.t() and
        dy @ weight.
        """
        found, transposed = cls(weight), cls(weight.t())
        found._transposed, transposed._transposed = transposed, found
        return found

    def t(self) -> "Float8Matrix":
        return self._transposed

    def product(self, left: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """left @ self in the dtype of `left`, which is rounded here."""
        values, scales = to_float8(left.reshape(-1, left.shape[-1]))
        flat = None if out is None else out.view(-1, self.shape[1])
        found = torch._scaled_mm(values, self._values, scales, self._scales, out_dtype=left.dtype, use_fast_accum=True, out=flat)
        return found.view(*left.shape[:-1], self.shape[1])

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        if function in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            return arguments[1].product(arguments[0], **(named or {}))
        if function is torch.Tensor.addmm_:
            return arguments[0].add_(arguments[2].product(arguments[1]))
        return NotImplemented


def _projections(model) -> list[torch.nn.Module]:
    """The base layers that carry an adapter."""
    from peft.tuners.lora import LoraLayer

    return [module.get_base_layer() for module in model.modules() if isinstance(module, LoraLayer)]


def train_in_float8(model) -> None:
    """Take the products with the base weights in 8-bit floats until `back_from_float8`; the weights themselves stay beside. Does
    nothing where it is so already (the cell was run again after a training that was interrupted).
    """
    for layer in _projections(model):
        if not isinstance(layer.weight, Float8Matrix):
            layer.exact = layer._parameters.pop("weight")
            layer.weight = Float8Matrix.of_weight(layer.exact.data)


def back_from_float8(model) -> None:
    """Take the products with the weights themselves again; does nothing where it was so."""
    for layer in _projections(model):
        if isinstance(layer.weight, Float8Matrix):
            del layer.weight
            layer.weight = layer._parameters.pop("exact")


def in_float8(model) -> bool:
    """Whether the products with the base weights are taken in 8-bit floats."""
    return all(isinstance(layer.weight, Float8Matrix) for layer in _projections(model))
