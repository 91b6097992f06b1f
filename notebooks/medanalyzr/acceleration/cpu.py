"""What a CPU does otherwise: weights decoded once, the adapter added to them, products and attention that suit few rows.

Each function does nothing on a GPU.
"""

import torch

from medanalyzr.acceleration.compat import usable


class PackedLinear(torch.nn.Linear):
    """A linear layer that, where no gradient is asked for, takes its product from a copy of the weight in oneDNN's blocked order.

    torch's own product orders the weight anew each time, which costs more than the product of few rows. The copy follows the
    weight: it is made again where that was changed in place, or is another.
    """

    _packed_of = None, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(x)
        if self._packed_of[0] is not self.weight or self._packed_of[1] != self.weight._version:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach())
            self._packed_of = self.weight, self.weight._version
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


def _grouped_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, **kwargs):
    """torch's attention, which lets several heads share one key where transformers copies the keys for each head."""
    causal = attention_mask is None and query.shape[2] > 1 and (is_causal is None or is_causal)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=causal, enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None


def answer_dtype() -> torch.dtype | None:
    """The number format to load a model in that answers: float32 on a CPU, where the sum of weight and adapter is then exact and a
    batch gives the answers of single reports; None, which leaves the choice to Unsloth, on a GPU.
    """
    return None if torch.cuda.is_available() else torch.float32


def answer_on_cpu(model) -> None:
    """Let `model` answer in float32 (see `answer_dtype`) with `PackedLinear` (three reports at once are written in half the time, 45 in
    three quarters) and without copies of the keys for each head (a padded batch of 16 a third sooner).
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.device.type != "cpu":
        return
    torch.nn.Module.float(model)  # transformers' own method refuses a model that was quantized once
    AttentionInterface.register("sdpa_grouped", _grouped_attention)
    AttentionMaskInterface.register("sdpa_grouped", sdpa_mask)
    model.set_attn_implementation("sdpa_grouped")
    if not (torch.backends.mkldnn.is_available() and usable("packed weights on the CPU")):
        return
    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = PackedLinear


def unpack_on_cpu(model) -> None:
    """On a CPU, decode the 4-bit weights once instead of at every use; on a GPU, do nothing.

    The weights keep the values that 4 bits give them, in four bytes each; the adapter is untouched.
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


def _adapted(model) -> list[torch.nn.Module]:
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def merge_on_cpu(model) -> None:
    """On a CPU, let the layers of `model` multiply with weight and adapter in one, so that answers need no small products beside the
    large ones; on a GPU, do nothing.

    The sum is taken in float32. A layer that has it already stays as it is, so the cell may be run twice; `unmerge_on_cpu` brings the
    weights back, bit for bit.
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
    """What `merge_on_cpu` did, undone; does nothing where it was not done."""
    if model.device.type != "cpu":
        return
    for layer in _adapted(model):
        base = layer.get_base_layer()
        base.weight = getattr(base.weight, "without_adapter", base.weight)
    model.base_model.enable_adapter_layers()
