"""Products with frozen weights in 8-bit floats (FP8), on an H100 nearly twice as fast as in bfloat16.

Values are float8_e4m3fn (4 exponent bits, 3 mantissa bits, largest value 448). Each row of the left factor and each column of the
right factor has its own scale; torchao calls this scheme rowwise. The base weights are quantized once, in both orientations;
activations and gradients are quantized for each product.
"""

import torch

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


class Float8Matrix:
    """A frozen matrix (inputs × outputs) as a right factor."""

    def __init__(self, matrix: torch.Tensor):
        values, scales = to_float8(matrix.t().contiguous())
        self._values, self._scales, self._dtype = values.t(), scales.view(1, -1), matrix.dtype

    def product(self, *parts: torch.Tensor) -> torch.Tensor:
        """The product of one or three `parts` side by side (rows × inputs in all) with this matrix, in the dtype of the matrix."""
        values, scales = to_float8(*parts)
        return torch._scaled_mm(values, self._values, scales, self._scales, out_dtype=self._dtype, use_fast_accum=True)
