"""Greedy answers on a GPU by replayed steps: one step of decoding is captured as a CUDA graph, so that no kernel waits for the CPU.

The step is written here in plain torch for models of the Llama family (Llama, Mistral), with weights in 16 or 4 bits and LoRA
adapters, over keys and values in places that do not move. It computes what `model.generate` computes, with other kernels, so
scores differ by their rounding. Rows stand at the left: the prompt from slot 0 on, its answer after it; a token sees the slots up to
its own, and what a shorter prompt leaves behind it is overwritten before it is seen.
"""

from collections.abc import Callable, Sequence
from functools import cache
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from medanalyzr.inference.decoding.continuous import PERIODS, bare

WINDOW = 256  # slots by which the room for keys and values grows
READ = 16384  # tokens of prompts that are read at once
LOOK = 8  # steps between two looks at whether all rows have ended
ROUNDING = 0.1  # difference of two probabilities that 16-bit products may explain
_PROJECTIONS = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
_COMPARED: WeakKeyDictionary = WeakKeyDictionary()  # the difference of each model that was compared
_PLAIN = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0, "num_beams": 1, "guidance_scale": 1.0}
_UNUSED = "suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias", "min_new_tokens", "forced_eos_token_id"


def obstacle(model, longest: int) -> str:
    """Why answers of this model, `longest` tokens with their prompts, cannot be written by `write`, in words; "" if they can."""
    model, settings = bare(model), model.generation_config
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type not in ("llama", "mistral") or getattr(config, "hidden_act", "") != "silu":
        return f"models of type {config.model_type} have other layers"
    if rope.get("rope_type", "") != "default" or "rope_theta" not in rope:
        return f"positions of type {rope.get('rope_type')} are not known here"
    if (getattr(config, "sliding_window", None) or longest) < longest:
        return f"the model sees {config.sliding_window} tokens of {longest}"
    if any(getattr(settings, name, None) not in (None, usual) for name, usual in _PLAIN.items()):
        return "the model's generation_config changes its scores"
    if any(getattr(settings, name, None) for name in _UNUSED):
        return "the model's generation_config changes its scores"
    for block in model.model.layers:
        for part, names in _PROJECTIONS.items():
            for name in names:
                layer = getattr(getattr(block, part), name)
                base = getattr(layer, "base_layer", layer)
                if not isinstance(base, torch.nn.Linear) or base.weight.device != model.device:
                    return f"{name} is a {type(base).__name__} on {base.weight.device}"
                if not base.weight.is_floating_point() and getattr(base.weight, "quant_state", None) is None:
                    return f"{name} has 8-bit weights"
                if any(getattr(layer, "use_dora", {}).values()) or any(getattr(layer, "lora_bias", {}).values()):
                    return "the adapter is more than a product"
    return ""


class _Linear:
    """A linear layer with the products of its active adapters, rounded as Unsloth rounds them: base product first, then one added."""

    def __init__(self, layer, dtype: torch.dtype):
        self._base = getattr(layer, "base_layer", layer)
        self._state = getattr(self._base.weight, "quant_state", None)
        active = [] if layer is self._base or layer.disable_adapters or layer.merged else layer.active_adapters
        self._added = [
            (layer.lora_A[name].weight.to(dtype).t(), layer.lora_B[name].weight.to(dtype).t(), layer.scaling[name])
            for name in active
            if name in layer.lora_A
        ]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        weight = self._base.weight
        if self._state is not None:
            from bitsandbytes.functional import dequantize_4bit

            weight = dequantize_4bit(weight.data, self._state).to(x.dtype)
        out = functional.linear(x, weight, self._base.bias)
        for a, b, scale in self._added:
            out.addmm_(x @ a, b, alpha=scale)
        return out


class _Layer:
    """The parts of one decoder layer, and its keys and values (rows × heads × slots × size)."""

    def __init__(self, block, dtype: torch.dtype):
        for part, names in _PROJECTIONS.items():
            for name in names:
                setattr(self, name.split("_")[0], _Linear(getattr(getattr(block, part), name), dtype))
        self.norms = block.input_layernorm, block.post_attention_layernorm
        self.keys = self.values = None


def _norm(module, x: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(x, x.shape[-1:], module.weight.to(x.dtype), module.variance_epsilon)


class Decoder:
    """A padded batch of prompts and what is written after them: `scores` are those of the next token of each row (rows × vocabulary)."""

    def __init__(self, model, ids: torch.Tensor, mask: torch.Tensor):
        model = bare(model)
        config, self._model, self._device = model.config, model.model, ids.device
        self._dtype = self._model.embed_tokens.weight.dtype
        self._heads, self._shared = config.num_attention_heads, config.num_key_value_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._theta = config.rope_parameters["rope_theta"]
        self._layers, self._head = [_Layer(block, self._dtype) for block in self._model.layers], _Linear(model.lm_head, self._dtype)
        self._rows, self._graph = torch.arange(len(ids), device=self._device), None
        self._positions, self._longest, self._window = mask.sum(1), ids.shape[1], 0  # slots in use, and there
        self._tokens = ids[:, -1].clone()
        self._grow()
        self.scores = self._read(ids.gather(1, mask.argsort(dim=1, descending=True, stable=True)))

    def _grow(self) -> None:
        """Make room for more slots; the step is captured anew, because keys and values move."""
        more = -(-(self._longest + 1) // WINDOW) * WINDOW - self._window
        self._window, self._graph = self._window + more, None
        for layer in self._layers:
            if layer.keys is None:
                shape = len(self._rows), self._shared, self._window, self._size
                layer.keys, layer.values = (torch.zeros(shape, dtype=self._dtype, device=self._device) for _ in range(2))
            else:
                layer.keys, layer.values = (functional.pad(store, (0, 0, 0, more)) for store in (layer.keys, layer.values))
        self._slots = torch.arange(self._window, device=self._device)
        turns = torch.arange(0, self._size, 2, device=self._device).float() / self._size
        angles = self._slots[:, None].float() * self._theta**-turns
        self._turned = torch.cat([angles, angles], 1).cos().to(self._dtype), torch.cat([angles, angles], 1).sin().to(self._dtype)

    def _queries_keys_values(self, layer: _Layer, x: torch.Tensor, positions: torch.Tensor):
        """For hidden states and positions of single tokens: each tokens × heads × size, with positions turned in."""
        x = _norm(layer.norms[0], x)
        both = torch.cat([layer.q(x), layer.k(x)], 1).unflatten(1, (-1, self._size))
        cosine, sine = (table[positions][:, None] for table in self._turned)
        first, second = both.chunk(2, -1)
        both = both * cosine + torch.cat([-second, first], -1) * sine
        return *both.split([self._heads, self._shared], 1), layer.v(x).unflatten(1, (-1, self._size))

    @staticmethod
    def _finish(layer: _Layer, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """A layer from its attention on."""
        x = x + layer.o(seen)
        y = _norm(layer.norms[1], x)
        return x + layer.down(functional.silu(layer.gate(y)) * layer.up(y))

    def _choose(self, x: torch.Tensor) -> torch.Tensor:
        return self._head(_norm(self._model.norm, x))

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        """The scores after the prompts `ids`, which stand at the left; some rows at once, so that memory does not grow with them."""
        length, found = ids.shape[1], []
        places = torch.arange(length, device=self._device)
        for rows in self._rows.split(max(1, READ // length)):
            own = slice(int(rows[0]), int(rows[-1]) + 1)
            x, positions = self._model.embed_tokens(ids[own]).flatten(0, 1), places.repeat(len(rows))
            for layer in self._layers:
                q, k, v = (
                    part.unflatten(0, (-1, length)).transpose(1, 2) for part in self._queries_keys_values(layer, x, positions)
                )
                layer.keys[own, :, :length], layer.values[own, :, :length] = k, v
                k, v = (part.repeat_interleave(self._heads // self._shared, 1) for part in (k, v))  # for GPUs before the A100
                seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = self._finish(layer, x, seen.transpose(1, 2).reshape(len(x), -1))
            found.append(self._choose(x.unflatten(0, (-1, length))[self._rows[: len(rows)], self._positions[own] - 1]))
        return torch.cat(found)

    def _compute(self) -> torch.Tensor:
        """The scores after `_tokens` at `_positions`. Heads that share a key are the queries of one call, so no key is copied."""
        later = self._slots > self._positions[:, None]
        hidden = torch.zeros(later.shape, dtype=self._dtype, device=self._device).masked_fill_(later, float("-inf"))[:, None, None]
        x = self._model.embed_tokens(self._tokens)
        for layer in self._layers:
            q, k, v = self._queries_keys_values(layer, x, self._positions)
            layer.keys[self._rows, :, self._positions], layer.values[self._rows, :, self._positions] = k, v
            q = q.unflatten(1, (self._shared, -1))
            seen = functional.scaled_dot_product_attention(q, layer.keys, layer.values, attn_mask=hidden)
            x = self._finish(layer, x, seen.reshape(len(x), -1))
        return self._choose(x)

    def _capture(self) -> None:
        """Capture `_compute`, after a run beside, in which libraries prepare what cannot be captured."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._compute()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self.scores = self._compute()

    def take(self, tokens: torch.Tensor) -> None:
        """Write one token to each row; `scores` are then those of the next."""
        self._longest += 1
        if self._longest > self._window:
            self._grow()
        self._tokens.copy_(tokens)
        if self._device.type != "cuda":
            self.scores = self._compute()
        else:
            if self._graph is None:
                self._capture()
            self._graph.replay()
        self._positions += 1


def _ends(model, eos: int, device) -> torch.Tensor:
    """The tokens that end an answer: the tokenizer's, and the model's own."""
    own = model.generation_config.eos_token_id
    return torch.tensor(sorted({eos, *([own] if isinstance(own, int) else own or [])}), device=device)


@torch.inference_mode()
@sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
def write(
    model, inputs: dict, limits: Sequence[int], eos: int, pad: int, guide=None
) -> list[tuple[int, list[int], list[float], int]]:
    """Greedy answers to a padded batch, as `generation` has them from `model.generate`: row, tokens, the log-probability of each, and
    how many were forced by a `guide`. A row ends with an end token, in a loop, or at its limit.
    """
    ids, device = inputs["input_ids"], inputs["input_ids"].device
    decoder, ends, most = Decoder(model, ids, inputs["attention_mask"]), _ends(model, eos, device), max(limits)
    written = torch.full((len(ids), most), pad, device=device)
    logs = torch.zeros(len(ids), most, device=device)
    ended, counts = (torch.zeros(len(ids), dtype=kind, device=device) for kind in (torch.bool, torch.long))
    allowed, periods = torch.tensor(limits, device=device), torch.arange(PERIODS[0], PERIODS[1] + 1, device=device)
    repeated = torch.zeros(
        len(ids), len(periods), dtype=torch.long, device=device
    )  # tokens in a row equal to those a period before
    for step in range(most):
        scores = decoder.scores.float()
        if guide:
            scores = guide((written[:, step - 1 : step] if step else ids[:, -1:]).cpu(), scores)
        best, token = scores.max(-1)
        logs[:, step] = best - scores.logsumexp(-1)
        token = torch.where(ended, pad, token)
        counts += ~ended
        same = (written[:, (step - periods).clamp(min=0)] == token[:, None]) & (periods <= step)
        written[:, step] = token
        repeated = torch.where(same, repeated + 1, 0)
        ended |= (token[:, None] == ends).any(1) | (repeated >= 2 * periods).any(1) | (allowed <= step + 1)
        if step + 1 == most or (step % LOOK == LOOK - 1 and bool(ended.all())):
            break
        decoder.take(token)
    forced = guide.forced if guide else [0] * len(ids)
    rows = zip(counts.tolist(), written.tolist(), logs.tolist(), forced, strict=True)
    return [(row, text[:count], log[:count], own) for row, (count, text, log, own) in enumerate(rows)]


def difference(model, inputs: dict, eos: int, pad: int, steps: int = 4) -> float:
    """The largest difference between the probabilities of `Decoder` and of `model.generate` for the first tokens of two rows."""
    ids, mask = inputs["input_ids"][:2], inputs["attention_mask"][:2]
    out = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=steps, eos_token_id=eos, pad_token_id=pad,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    decoder, largest = Decoder(model, ids, mask), 0.0
    for scores, token in zip(out.scores, out.sequences[:, ids.shape[1] :].T, strict=True):
        going_on = (out.sequences[:, ids.shape[1] :] != pad)[:, : len(out.scores)].all(1)
        apart = (decoder.scores.float().softmax(-1) - scores.float().softmax(-1)).abs()
        largest = max(largest, float(apart[going_on].max()) if going_on.any() else 0.0)
        decoder.take(token)
    return largest


@cache
def _say(reason: str) -> None:
    print(f"Answers are written by model.generate, several times slower: {reason}.")


def write_if_possible(
    model, inputs: dict, limits: Sequence[int], eos: int, pad: int, new_guide: Callable
) -> list[tuple[int, list[int], list[float], int]] | None:
    """The same on a GPU. None on a CPU, and where this model or this GPU cannot, or where the first tokens of the first batch come with
    other probabilities than `model.generate` gives them; then one line says why, once.
    """
    if model.device.type != "cuda":
        return None
    reason = obstacle(model, inputs["input_ids"].shape[1] + max(limits))
    if not reason:
        try:
            if model not in _COMPARED:
                with torch.inference_mode():
                    _COMPARED[model] = difference(model, inputs, eos, pad)
            if _COMPARED[model] > ROUNDING:
                _say(f"probabilities differ by {_COMPARED[model]:.2f} from those of the model")
                return None
            return write(model, inputs, limits, eos, pad, new_guide())
        except RuntimeError as error:  # out of memory, or a step that this version of CUDA does not capture
            reason = str(error).partition("\n")[0]
    _say(reason)
    return None
