"""Products with a frozen weight in 8-bit floats stand in for the exact ones, forward and backward, within their rounding."""

import pytest
import torch
from medanalyzr import MedAnalyzrError
from medanalyzr.environment import Device
from medanalyzr.float8 import Float8Matrix, back_from_float8, in_float8, to_float8, train_in_float8
from medanalyzr.profiles import PROFILES, check_settings, choose_profile, override

ROUNDING = 0.05  # three bits of mantissa: each factor is off by up to a sixteenth, on average a fortieth
H100 = Device("cuda", "NVIDIA H100", 79.2, True, 1, 16, True)
A100 = Device("cuda", "NVIDIA A100", 79.2, True, 1, 16)


def off(found, exact):
    return float((found.float() - exact.float()).norm() / exact.float().norm())


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    return (torch.randn(64, 128) / 11).bfloat16(), torch.randn(2, 48, 128).bfloat16(), torch.randn(96, 64).bfloat16()


def test_a_row_keeps_its_largest_value_and_zeros_stay_zero():
    x = torch.tensor([[0.5, -3.0, 1e-9, 0.0], [0.0, 0.0, 0.0, 0.0], [1e4, 1.0, 2.0, 1e4]]).bfloat16()
    values, scales = to_float8(x)
    back = values.float() * scales
    assert back[0, 1] == pytest.approx(-3.0) and back[2, 0] == pytest.approx(1e4, rel=0.01)
    assert not back[1].any() and off(back, x) < 0.04


def test_the_products_of_a_weight(drawn):
    exact, x, dy = drawn
    weight = Float8Matrix.of_weight(exact)
    assert 0.005 < off(torch.matmul(x, weight.t()), x @ exact.t()) < ROUNDING
    assert 0.005 < off(dy @ weight, dy @ exact) < ROUNDING and weight.t().t() is weight
    room = torch.zeros(96, 128).bfloat16()
    torch.matmul(dy, weight, out=room)
    assert off(room, dy @ exact) < ROUNDING
    assert off(room.addmm_(dy, weight), 2 * (dy @ exact)) < ROUNDING
    with pytest.raises(TypeError, match="__torch_function__"):
        torch.add(dy, weight)


def test_the_lora_kernels_of_unsloth_take_it_for_a_weight(drawn):
    import unsloth  # noqa: F401
    from unsloth.kernels.fast_lora import LoRA_W

    exact, x, _ = drawn
    a, b = torch.nn.Parameter(torch.randn(16, 128) / 11), torch.nn.Parameter(torch.randn(64, 16) / 4)

    def gradients(weight):
        a.grad = b.grad = None
        given = x.clone().requires_grad_()
        LoRA_W.apply(given, weight, None, a, b, 1.0).float().square().sum().backward()
        return given.grad, a.grad, b.grad

    for found, right in zip(gradients(Float8Matrix.of_weight(exact)), gradients(exact), strict=True):
        assert 0 < off(found, right) < ROUNDING


def test_a_model_gets_its_very_weights_back():
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**sizes)), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    assert not in_float8(model)
    train_in_float8(model)
    train_in_float8(model)
    assert in_float8(model)
    back_from_float8(model)
    back_from_float8(model)
    assert not in_float8(model) and {n: p.data_ptr() for n, p in model.named_parameters()} == before
    assert all(isinstance(p, torch.nn.Parameter) for p in model.parameters())


def test_only_where_the_gpu_multiplies_them():
    assert choose_profile("auto", H100)[0].float8 == "on" and choose_profile("80gb", A100)[0].float8 == "off"
    check_settings(PROFILES["80gb"], H100)
    with pytest.raises(MedAnalyzrError, match="float8='on' needs a GPU that multiplies 8-bit floats .* not NVIDIA A100"):
        check_settings(override(choose_profile("80gb", A100)[0], {"float8": "on"}), A100)
    with pytest.raises(MedAnalyzrError, match="load_in_4bit='off' and precision='bf16'"):
        check_settings(override(PROFILES["40gb"], {"float8": "on"}), H100)
