"""Fused LoRA layers give the results and gradients of separate ones, with exact products and, within their rounding, in 8-bit floats."""

import os
import subprocess
import sys

import pytest
import torch
from medanalyzr import MedAnalyzrError
from medanalyzr.acceleration.float8 import LARGEST, Float8Matrix, to_float8
from medanalyzr.acceleration.fused import (
    ExactMatrix,
    _fuse,
    fuse_projections,
    fused,
    restore_projections,
    swiglu,
    swiglu_backward,
)
from medanalyzr.core.device import Device
from medanalyzr.core.run_folder import NOTEBOOKS
from medanalyzr.training.profiles import PROFILES, check_settings, choose_profile, override
from torch.nn.functional import silu

ROUNDING = 0.05  # three bits of mantissa: each factor is off by up to a sixteenth, on average a fortieth
H100 = Device("cuda", "NVIDIA H100", 79.2, True, 1, 16, True)
A100 = Device("cuda", "NVIDIA A100", 79.2, True, 1, 16)


def off(found, exact):
    return float((found.detach().float() - exact.detach().float()).norm() / exact.detach().float().norm())


def test_a_row_keeps_its_largest_value_and_zeros_stay_zero():
    x = torch.tensor([[0.5, -3.0, 1e-9, 0.0], [0.0, 0.0, 0.0, 0.0], [1e4, 1.0, 2.0, 1e4]]).bfloat16()
    values, scales = to_float8(x)
    back = values.float() * scales
    assert back[0, 1] == pytest.approx(-3.0) and back[2, 0] == pytest.approx(1e4, rel=0.01)
    assert not back[1].any() and off(back, x) < 0.04


def test_parts_side_by_side_share_the_scale_of_their_row():
    parts = torch.tensor([[1.0, 2.0], [8.0, 0.0]]), torch.tensor([[-4.0], [0.5]]), torch.tensor([[3.0], [-2.0]])
    values, scales = to_float8(*parts)
    assert (scales * LARGEST).tolist() == [[4.0], [8.0]] and off(values.float() * scales, torch.cat(parts, 1)) < 0.04


def block(hidden=64, kv=32, wide=96):
    """A decoder layer with LoRA layers of rank 4 and 8, as far as `fuse_projections` looks into it."""
    from peft.tuners.lora import Linear
    from peft.tuners.lora.config import LoraConfig

    torch.manual_seed(0)
    sizes = {"q": (hidden, hidden), "k": (hidden, kv), "v": (hidden, kv), "o": (hidden, hidden)}
    sizes |= {"gate": (hidden, wide), "up": (hidden, wide), "down": (wide, hidden)}
    layers = {}
    for name, (inputs, outputs) in sizes.items():
        base = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        r = 4 if name == "k" else 8
        layer = Linear(base, "default", config=LoraConfig(r=r, lora_alpha=16), r=r, lora_alpha=16)
        layer.lora_A.float(), layer.lora_B.float()
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
        layers[f"{name}_proj"] = layer
    found = torch.nn.Module()
    found.self_attn, found.mlp = torch.nn.Module(), torch.nn.Module()
    for name, layer in layers.items():
        setattr(found.mlp if name in ("gate_proj", "up_proj", "down_proj") else found.self_attn, name, layer)
    found.mlp.act_fn = silu
    found.self_attn.apply_qkv = lambda self, x: (exact(self.q_proj, x), exact(self.k_proj, x), exact(self.v_proj, x))
    found.self_attn.apply_o = lambda self, x: exact(self.o_proj, x)
    found.mlp.forward = lambda x, m=found.mlp: exact(m.down_proj, silu(exact(m.gate_proj, x)) * exact(m.up_proj, x))
    return found


def exact(layer, x):
    """A LoRA layer by its definition, in float32."""
    a, b, base = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.get_base_layer().weight.float()
    return x @ base.t() + layer.scaling["default"] * (x @ a.t()) @ b.t()


def test_swiglu_with_adapters_and_its_gradients():
    rng = torch.Generator().manual_seed(2)
    sizes = {"both": (5, 12), "low": (5, 5), "bg": (6, 2), "bu": (6, 3), "dh": (5, 6), "dlow": (5, 4), "a": (4, 6)}
    given = {name: torch.randn(size, generator=rng, dtype=torch.double) for name, size in sizes.items()}
    both = given["both"].clone().requires_grad_()
    gate, up = both[:, :6] + given["low"][:, :2] @ given["bg"].t(), both[:, 6:] + given["low"][:, 2:] @ given["bu"].t()
    h = silu(gate) * up
    h.backward(given["dh"] + given["dlow"] @ given["a"])
    torch.testing.assert_close(swiglu(*(given[name] for name in ("both", "low", "bg", "bu"))), h.detach())
    found, gradient = swiglu_backward(*given.values())
    torch.testing.assert_close(found, h.detach())
    torch.testing.assert_close(gradient, both.grad)


@pytest.mark.skipif(sys.platform != "linux", reason="Triton is there on Linux alone")
def test_the_kernels_do_the_same_in_tritons_interpreter():
    done = subprocess.run(
        [sys.executable, "-c", KERNELS], env=os.environ | {"TRITON_INTERPRET": "1"}, cwd=NOTEBOOKS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


KERNELS = """
import torch
from medanalyzr.acceleration.fused import TILE, _grid, _inner_size, _swiglu, _swiglu_backward, swiglu, swiglu_backward
torch.manual_seed(0)
for rows, width, ranks in ((37, 200, (4, 8, 3)), (16, 128, (16, 16, 16))):
    rg, ru, rd = ranks
    both, dh = torch.randn(rows, 2 * width), torch.randn(rows, width)
    low, dlow, bg, bu, a = (torch.randn(size) for size in ((rows, rg + ru), (rows, rd), (width, rg), (width, ru), (rd, width)))
    right, h = swiglu(both, low, bg, bu), torch.empty_like(dh)
    _swiglu[_grid(h)](both, low, bg, bu, h, rows, width, rg, ru, _inner_size(rg, ru), **TILE)
    torch.testing.assert_close(h, right, atol=1e-4, rtol=1e-4)
    _, gradient = swiglu_backward(both, low, bg, bu, dh, dlow, a)
    _swiglu_backward[_grid(dh)](both, low, bg, bu, dh, dlow, a, rows, width, *ranks, _inner_size(*ranks), **TILE)
    torch.testing.assert_close(dh, right, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both, gradient, atol=1e-4, rtol=1e-4)
"""


@pytest.mark.parametrize(("matrix", "most"), [(ExactMatrix, 0.02), (Float8Matrix, 2 * ROUNDING)])  # up to four products in a row
def test_outputs_and_gradients_of_a_layer(matrix, most):
    layer = block()

    def results(dtype):
        layer.zero_grad()
        x = torch.randn(2, 24, 64, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        q, k, v = layer.self_attn.apply_qkv(layer.self_attn, x)
        o = layer.self_attn.apply_o(layer.self_attn, q)
        out = layer.mlp(x)
        (
            q.float().square().sum() + (k.float() * v.float()).sum() + o.float().square().sum() + out.float().square().sum()
        ).backward()
        gradients = {name: p.grad.clone() for name, p in layer.named_parameters() if p.requires_grad}
        return {"q": q, "k": k, "v": v, "o": o, "out": out, "dx": x.grad} | gradients

    right = results(torch.float32)
    _fuse([layer], matrix)
    found = results(torch.bfloat16)
    assert found.keys() == right.keys() and len(right) == 6 + 14
    for name, value in right.items():
        assert found[name].shape == value.shape and 0 < off(found[name], value) < most, name


def test_a_layer_gets_its_own_products_back():
    layer = block()
    before = (layer.self_attn.apply_qkv, layer.self_attn.apply_o, layer.mlp.forward)
    weights = {name: parameter.clone() for name, parameter in layer.named_parameters()}
    assert fused(layer) == "no"
    fuse_projections(layer, float8=True)
    fuse_projections(layer, float8=True)
    assert fused(layer) == "in 8-bit floats" and layer.mlp.forward is not before[2]
    restore_projections(layer)
    restore_projections(layer)
    assert fused(layer) == "no" and (layer.self_attn.apply_qkv, layer.self_attn.apply_o, layer.mlp.forward) == before
    assert all(torch.equal(parameter, weights[name]) for name, parameter in layer.named_parameters())


def test_exact_layers_share_the_memory_of_their_weights():
    layer = block()
    _fuse([layer], ExactMatrix)
    assert fused(layer) == "yes"
    gate, up = (getattr(layer.mlp, f"{name}_proj").get_base_layer().weight for name in ("gate", "up"))
    assert up.data_ptr() == gate.data_ptr() + gate.numel() * gate.element_size()


def without_qkv(layer):
    del layer.self_attn.apply_qkv


def with_bias(layer):
    layer.self_attn.k_proj.get_base_layer().bias = torch.nn.Parameter(torch.ones(32))


def with_gelu(layer):
    layer.mlp.act_fn = torch.nn.GELU()


def with_dropout(layer):
    layer.self_attn.k_proj.lora_dropout["default"] = torch.nn.Dropout(0.1)


def with_dora(layer):
    layer.mlp.up_proj.use_dora["default"] = True


@pytest.mark.parametrize("change", [without_qkv, with_bias, with_gelu, with_dropout, with_dora])
def test_layers_of_another_kind_are_refused_in_8_bit_floats(change):
    layer = block()
    change(layer)
    with pytest.raises(MedAnalyzrError, match="float8='on' does not support the layers of Module: set float8='off'"):
        fuse_projections(layer, float8=True)


def test_a_model_without_such_layers_is_refused_in_8_bit_floats():
    with pytest.raises(MedAnalyzrError, match="does not support the layers of Linear"):
        fuse_projections(torch.nn.Linear(2, 2), float8=True)


def test_the_kind_of_products_can_change():
    layer = block()
    before = layer.mlp.forward
    _fuse([layer], ExactMatrix)
    fuse_projections(layer, float8=True)
    assert fused(layer) == "in 8-bit floats"
    restore_projections(layer)
    assert layer.mlp.forward is before


def test_exact_layers_are_fused_on_a_gpu_alone():
    layer = block()
    fuse_projections(layer)
    assert fused(layer) == "no"


def test_only_where_the_gpu_multiplies_them():
    assert choose_profile("auto", H100)[0].float8 == choose_profile("80gb", A100)[0].float8 == "off"  # exact unless asked for
    check_settings(PROFILES["80gb"], H100)
    check_settings(override(PROFILES["80gb"], {"float8": "on"}), H100)
    with pytest.raises(MedAnalyzrError, match="float8='on' needs a GPU that multiplies 8-bit floats .* not NVIDIA A100"):
        check_settings(override(choose_profile("80gb", A100)[0], {"float8": "on"}), A100)
    with pytest.raises(MedAnalyzrError, match="load_in_4bit='off' and precision='bf16'"):
        check_settings(override(PROFILES["40gb"], {"float8": "on"}), H100)
    with pytest.raises(MedAnalyzrError, match="float8='on' needs packed rows"):
        check_settings(override(PROFILES["80gb"], {"float8": "on", "packing": "off"}), H100)
