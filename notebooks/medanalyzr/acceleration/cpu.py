"""Faster training and answers on a CPU: weights decoded once, the adapter merged into them, products for small batches.

Each function does nothing on a GPU.
"""

import torch

from medanalyzr.acceleration.compat import usable
from medanalyzr.core.device import cpu_has_bfloat16

EXPLICIT = 640  # tokens


class PackedLinear(torch.nn.Linear):
    """A linear layer that, when no gradient is needed, multiplies with a copy of the weight in oneDNN's blocked order.

    torch reorders the weight for every product, which takes longer than a product with few rows. The copy is made again when the
    weight is replaced or changed in place. It has the number format `products`, or that of the weight.
    """

    products: torch.dtype | None = None
    _packed_of = None, 0, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x @ weight.t() + bias (x: … × inputs, result: … × outputs); with gradients, torch's own product."""
        if torch.is_grad_enabled():
            return super().forward(x)
        dtype = self.products or self.weight.dtype
        if self._packed_of[0] is not self.weight or self._packed_of[1:] != (self.weight._version, dtype):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach().to(dtype))
            self._packed_of = self.weight, self.weight._version, dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return torch.ops.mkldnn._linear_pointwise(x.to(dtype), self._packed, bias, "none", [], "").to(x.dtype)


def answer_dtype() -> torch.dtype | None:
    """The number format for loading a model that only answers.

    On a CPU float32: merging the adapter then loses no precision. On a GPU None, which leaves the choice to Unsloth.
    """
    return None if torch.cuda.is_available() else torch.float32


def answer_on_cpu(model, exact: bool = False) -> None:
    """On a CPU, make `model` answer with float32 weights (see `answer_dtype`) and `PackedLinear`.

    Where the CPU multiplies bfloat16 itself, the products of the layers are computed in it, but for the last one, whose results are
    the scores of the tokens, and an answer's keys and values are kept in it; with `exact` all stays in float32. Measured: packed
    weights halve the time of a batch of three reports, bfloat16 halves that of the products, and a row's products are bit for bit
    the same in any batch.
    """
    if model.device.type != "cpu":
        return
    torch.nn.Module.float(model)  # transformers' own method refuses a model that was quantized once
    if not (torch.backends.mkldnn.is_available() and usable("packed weights on the CPU")):
        return
    scores = model.get_output_embeddings()
    narrow = not exact and cpu_has_bfloat16() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for module in model.modules():
        if type(module) in (torch.nn.Linear, PackedLinear):
            module.__class__ = PackedLinear
            module.products = torch.bfloat16 if narrow and module is not scores else None


def unpack_on_cpu(model) -> None:
    """On a CPU, decode the 4-bit weights once instead of at every use; on a GPU, do nothing.

    The weights keep the values that 4 bits give them, in the number format of the model; the adapter is untouched.
    """
    import bitsandbytes

    if model.device.type != "cpu":
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, bitsandbytes.nn.Linear4bit):
                weight = bitsandbytes.functional.dequantize_4bit(child.weight.data, child.weight.quant_state)
                linear = torch.nn.Linear(child.in_features, child.out_features, bias=False, device="meta")
                linear.weight = torch.nn.Parameter(weight, requires_grad=False)
                setattr(parent, name, linear)


def attend_on_cpu(model, longest: int) -> None:
    """On a CPU, train with attention as explicit products if no example has more than `EXPLICIT` tokens; on a GPU, do nothing.

    The backward pass of torch's fused attention takes a sixth of a step there (measured at 256 tokens a step in bfloat16: 245
    tokens/s, with explicit products 270). Longer examples need the memory that the fused attention saves.
    """
    if model.device.type == "cpu" and longest <= EXPLICIT:
        model.set_attn_implementation("eager")


def _adapted(model) -> list[torch.nn.Module]:
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def merge_on_cpu(model) -> None:
    """On a CPU, merge the adapter into the weights of `model`, so that answers need no small extra products; on a GPU, do nothing.

    The sum is computed in float32. A layer that is already merged stays as it is, so the cell may be run twice. `unmerge_on_cpu`
    restores the weights exactly.
    """
    if model.device.type != "cpu":
        return
    for layer in _adapted(model):
        base = layer.get_base_layer()
        if not hasattr(base.weight, "without_adapter"):
            whole = base.weight.detach().float()
            for name in layer.active_adapters:
                whole = whole + layer.scaling[name] * layer.lora_B[name].weight.detach() @ layer.lora_A[name].weight.detach()
            merged = torch.nn.Parameter(whole.to(base.weight.dtype), requires_grad=False)
            merged.without_adapter = base.weight
            base.weight = merged
    model.base_model.disable_adapter_layers()


def unmerge_on_cpu(model) -> None:
    """Undo `merge_on_cpu`; does nothing to a layer that is not merged."""
    if model.device.type != "cpu":
        return
    for layer in _adapted(model):
        base = layer.get_base_layer()
        base.weight = getattr(base.weight, "without_adapter", base.weight)
    model.base_model.enable_adapter_layers()
