"""Batches of answers: rows that end early leave the batch, and no answer changes by it."""

import threading
from os.path import commonprefix
from types import SimpleNamespace

import pytest
from medanalyzr.acceleration import cpu
from medanalyzr.acceleration.cpu import PackedLinear, answer_on_cpu, merge_on_cpu, unmerge_on_cpu
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import format_prompt, tokens
from medanalyzr.inference.decoding import continuous, cuda_graphs
from medanalyzr.inference.decoding.continuous import in_a_loop
from medanalyzr.inference.decoding.drafts import Draft
from medanalyzr.inference.decoding.guesses import LONGEST, Guesses, phrases
from medanalyzr.inference.generation import _in_padded_batches, _write, batch_effect, generate, stream
from medanalyzr.inference.guidance.guided import Guide, Matcher
from medanalyzr.lab.engine import patterns
from medanalyzr.lab.reader import read_report
from medanalyzr.training.base_models import mistral_tokenizer

ROWS = load_bundled()[::300][:8]
LIMITS = [3, 30, 4, 20, 5, 40, 6, 12]


@pytest.fixture(scope="module")
def tuned(tiny_mistral):
    """The tiny model with an adapter that changes its answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype=torch.float32)
    torch.manual_seed(3407)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    return model.eval()


def test_a_batch_gives_each_prompt_the_answer_it_gets_alone(tuned):
    tokenizer, prompts, kept = mistral_tokenizer(), [format_prompt(row) for row in ROWS], []
    together = generate(tuned, tokenizer, prompts, LIMITS, 8, keep=lambda place, answer: kept.append(place))
    alone = [generate(tuned, tokenizer, [prompt], limit)[0] for prompt, limit in zip(prompts, LIMITS, strict=True)]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(answer.tokens == limit or answer.ended or answer.repeats for answer, limit in zip(together, LIMITS, strict=True))
    assert sorted(kept) == list(range(8)) and kept.index(0) < kept.index(5)
    for one, other in zip(together, alone, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)
    assert tokenizer.padding_side == mistral_tokenizer().padding_side


def test_the_end_token_ends_a_row(tuned):
    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS[:4]]
    inputs = tokens(prompts[0], tokenizer, return_tensors="pt")
    written = tuned.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(written[-1])  # what it would write next is the end
    tuned.generation_config.eos_token_id = written[-1]
    try:
        answers = generate(tuned, tokenizer, prompts, 12, 4)
    finally:
        tuned.generation_config.eos_token_id = mistral_tokenizer().eos_token_id
    assert answers[0].ended and answers[0].tokens == written.index(written[-1]) < 12


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_a_stream_that_nobody_reads_on_stops_the_model(tuned, how):
    tokenizer, before = mistral_tokenizer(), threading.active_count()
    pieces = stream(tuned, tokenizer, format_prompt(ROWS[0]), 1500, temperature=1.0)
    next(pieces)
    assert threading.active_count() == before + 1
    if how == "close":
        pieces.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            pieces.throw(KeyboardInterrupt)
    assert threading.active_count() == before


def test_a_packed_layer_is_the_layer_and_follows_its_weight():
    import torch

    torch.manual_seed(0)
    layer, x = torch.nn.Linear(96, 64), torch.randn(2, 5, 96)
    right = layer(x)
    layer.__class__ = PackedLinear
    for _ in range(2):
        with torch.inference_mode():
            assert torch.allclose(layer(x), right, atol=1e-5)
        with torch.no_grad():
            layer.weight += 0.1
            right = torch.nn.functional.linear(x, layer.weight, layer.bias)
    layer(x).sum().backward()
    assert torch.allclose(layer.weight.grad, x.sum((0, 1)).expand(64, 96), atol=1e-4)


def test_what_a_cpu_does_to_answer_sooner_changes_no_answer(tuned):
    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS[:4]]
    before = [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)]
    with tuned.disable_adapter():
        base = [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)]
    answer_on_cpu(tuned, exact=True)
    assert sum(isinstance(module, PackedLinear) for module in tuned.modules()) > 10
    with tuned.disable_adapter():
        assert [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)] == base != before
    assert [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)] == before
    weights = {name: weight.detach().clone() for name, weight in tuned.named_parameters()}
    for _ in range(2):  # a cell that is run again
        merge_on_cpu(tuned)
        assert [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)] == before
    unmerge_on_cpu(tuned)
    assert all(bool((weight == weights[name]).all()) for name, weight in tuned.named_parameters())
    assert [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)] == before
    with tuned.disable_adapter():
        assert [answer.text for answer in generate(tuned, tokenizer, prompts, 12, 4)] == base


@pytest.mark.parametrize("has", [True, False])
def test_products_are_in_bfloat16_only_where_the_cpu_has_it_and_never_those_of_the_scores(tiny_mistral, monkeypatch, has):
    import torch
    from transformers import AutoModelForCausalLM

    has &= torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(cpu, "cpu_has_bfloat16", lambda: has)
    model = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype=torch.float32).eval()
    x = torch.randn(3, model.config.hidden_size)
    layer = model.model.layers[0].mlp.up_proj
    with torch.inference_mode():
        right = layer(x)
    for exact in (False, True):
        answer_on_cpu(model, exact)
        formats = {module.products for module in model.model.modules() if isinstance(module, PackedLinear)}
        assert formats == {torch.bfloat16 if has and not exact else None} and model.lm_head.products is None
        with torch.inference_mode():
            given = layer(x)
        assert given.dtype == torch.float32 and torch.allclose(given, right, atol=0.05 * float(right.abs().max()))
        assert torch.allclose(given, right, atol=1e-5) is (exact or not has)
    answer_on_cpu(model)
    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS[:3]]
    assert batch_effect(model, tokenizer, prompts) < 0.01


def test_an_interrupted_merge_is_finished_by_the_next(tuned, monkeypatch):
    import torch

    merge_on_cpu(tuned)
    whole = {name: weight.detach().clone() for name, weight in tuned.named_parameters() if "base_layer" in name}
    unmerge_on_cpu(tuned)
    made, real = [], torch.nn.Parameter

    def cut(*args, **options):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(torch.nn, "Parameter", cut)
    with pytest.raises(KeyboardInterrupt):
        merge_on_cpu(tuned)
    monkeypatch.undo()
    merge_on_cpu(tuned)
    assert all(bool((weight == whole[name]).all()) for name, weight in tuned.named_parameters() if name in whole)
    unmerge_on_cpu(tuned)


def test_answers_that_see_each_other_are_noticed(tuned, monkeypatch):
    import torch

    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS]
    head, kept = tuned.get_base_model().lm_head.weight, {}

    def largest():  # for a single prompt, the effect may be any number: it depends on how the CPU rounds
        return max(batch_effect(tuned, tokenizer, prompts[i:] + prompts[:i]) for i in range(len(prompts)))

    with torch.no_grad():  # the tiny model hardly prefers a token to another
        head *= 60
    try:
        apart = largest()
        monkeypatch.setattr(
            continuous._Row, "kept", property(lambda row: kept["all"], lambda row, new: new and kept.update(all=new)), raising=False
        )
        seen = largest()
    finally:
        with torch.no_grad():
            head /= 60
    assert apart < 1e-3 < 1e-2 < seen


@pytest.mark.parametrize("most", [1, 3, 8])
def test_an_answer_does_not_depend_on_how_many_are_written_at_once(tuned, most):
    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS]
    form = 'root ::= "Analyse : " [a-z]+ "\\n" [0-9] [0-9] "."'
    forms = [form, None, None, form, None, form, None, None]
    alone = [
        generate(tuned, tokenizer, [one], limit, grammars=[own])[0] for one, limit, own in zip(prompts, LIMITS, forms, strict=True)
    ]
    together = generate(tuned, tokenizer, prompts, LIMITS, most, grammars=forms)
    assert [(answer.text, answer.tokens, answer.forced) for answer in together] == [
        (answer.text, answer.tokens, answer.forced) for answer in alone
    ]
    assert together[0].forced > 0 == together[1].forced


def test_a_prompt_is_read_only_from_where_it_differs_from_the_one_before(tuned, monkeypatch):
    tokenizer, read, begin = mistral_tokenizer(), [], continuous._Prompts.begin
    ids = tokens([format_prompt(ROWS[i]) for i in (0, 0, 1)], tokenizer).input_ids
    ids.append(ids[0][5:])  # nothing in common
    asked = [8] * 4, [None] * 4
    alone = [next(continuous.write_continuously(tuned, tokenizer, [one], [8], [None], 1)) for one in ids]

    def seen(last, whole, most):
        cache, new = begin(last, whole, most)
        read.append(len(whole) - len(new))
        return cache, new

    monkeypatch.setattr(continuous._Prompts, "begin", seen)
    right = [(place, *answer) for place, (_, *answer) in enumerate(alone)]
    check_same(right, sorted(continuous.write_continuously(tuned, tokenizer, ids, *asked, 3)))
    common = len(commonprefix(ids[1:3]))
    assert read == [0, len(ids[0]) - 1, common, 0] and 20 < common < len(ids[1])


def guess_always(monkeypatch, answers, other):
    """Guess the rest of `answers` (by prompt), and `other` for any other prompt."""

    def after(self, written):
        yield self.right[len(written) :] if self.right is not None else other

    monkeypatch.setattr(Guesses, "__init__", lambda self, prompt, tokenizer: setattr(self, "right", answers.get(tuple(prompt))))
    monkeypatch.setattr(Guesses, "after", after)


def test_a_free_answer_is_what_generate_writes(tuned, monkeypatch):
    prompts = [format_prompt(row) for row in ROWS]
    right = answers_both_ways(tuned, prompts, LIMITS)[0]
    tokenizer = mistral_tokenizer()
    ids = tokens(prompts, tokenizer).input_ids
    guess_always(monkeypatch, {tuple(ids[3]): right[3][1], tuple(ids[1]): [], tuple(ids[0]): [5, 6]}, [7] * LONGEST)
    found = sorted(continuous.write_continuously(tuned, tokenizer, ids, LIMITS, [None] * len(ids), 3))
    check_same(right, found)


def test_padded_batches_as_on_a_gpu_give_the_same_answers(tuned):
    tokenizer, prompts = mistral_tokenizer(), [format_prompt(row) for row in ROWS]
    right = sorted(_in_padded_batches(tuned, tokenizer, prompts, LIMITS, [None] * 8, 3))
    ids = tokens(prompts, tokenizer).input_ids
    check_same(right, sorted(continuous.write_continuously(tuned, tokenizer, ids, LIMITS, [None] * 8, 8)))
    assert tokenizer.padding_side == mistral_tokenizer().padding_side


def test_a_guess_that_is_right_saves_steps_and_a_wrong_one_changes_nothing(tuned, monkeypatch):
    tokenizer, prompt, steps = mistral_tokenizer(), format_prompt(ROWS[0]), []
    ids = tokens(prompt, tokenizer).input_ids
    right = generate(tuned, tokenizer, [prompt], 40)[0]
    written = next(continuous.write_continuously(tuned, tokenizer, [ids], [40], [None], most=1))[1]
    read_on = continuous._read_on
    monkeypatch.setattr(continuous, "_read_on", lambda *asked: steps.append(1) or read_on(*asked))
    counts = []
    for guessed in ([], [7] * 40, written):
        steps.clear()
        guess_always(monkeypatch, {tuple(ids): guessed}, [])
        assert generate(tuned, tokenizer, [prompt], 40)[0] == right
        counts.append(len(steps))
    assert counts[2] < 10 < 30 < counts[1] == counts[0]


def test_guesses_come_from_what_the_rules_may_say_and_keep_to_the_grammar():
    tokenizer = mistral_tokenizer()
    wording = next(row.wording for row in patterns.rows() if len(row.wording) > 40 and "{" not in row.wording)
    ids = tokenizer(f" {wording} ;", add_special_tokens=False).input_ids
    assert phrases(tokenizer).guess(ids[:3])[:4] == ids[3:7]
    matcher = Matcher(f'root ::= " {wording}" | "x"', tokenizer)  # without the « ;»
    assert matcher.accepted(ids) == ids[:-1] and matcher.accepted(ids[1:]) == []
    assert Matcher(None, tokenizer).accepted(ids) == ids


TWO = "Patient : femme, 63 ans\n{}Sodium\n131 mmol/L\nVR : 135 - 145\nKaliémie\n6,8 mmol/L\nVR : 3,5 - 5,0\n"
SODIUM = "Sodium : 131 mmol/L (131 < 135 ; appel sous 125) : bas\n"
KALIEMIA = "Kaliémie : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,0 ≤ 6,8) : élevé, critique\n"


def test_a_draft_goes_on_from_what_is_written():
    draft, whole = Draft(TWO.format("Bilan du 12/03\n")), SODIUM + KALIEMIA
    for end in range(2, len(whole) - 1):
        likely = draft.after(whole[:end])
        assert likely and whole.startswith((whole[:end] + likely)[: len(whole)]), whole[:end]
    assert draft.after("") == SODIUM and draft.after("mot\n" * 3000 + "Sod").startswith("ium : 131")
    misread = "Sodium : 113 mmol/L (1"  # and gone on from
    assert draft.after(misread).startswith("13 < 135 ; critique 125 ≥ 113) : bas, critique\n")
    assert draft.after("Sodium : 131 mmol/L (98 ≤ 120 < 131)").startswith(" : élevé\n")
    assert draft.after(whole).startswith("Conclusion : hyperkaliémie sévère ;") and draft.after("Con").startswith("clusion :")


@pytest.mark.parametrize(
    ("report", "begun", "rest"),
    [
        ("Kaliémie (ISE) : 6,8 mmol/L (3,5 - 5,0) reçu le matin 5,1", "", KALIEMIA),
        ("Lipoprotéine (a) [calcul] 0,62 g/L vu 0,70 (VR < 0,30)", "", "Lipoprotéine (a) : 0,62 g/L (0,30 < 0,62) : élevé\n"),
        ("Sodium [b]   vu    131    mmol/L   136 / 145", "Sodium : 131 mmol/L (", "131 < 136 ; appel sous 125) : bas\n"),
        ("Zotaate libre 163,3 mg/L (96,5 - 120,0)", "", "Zotaate libre : 163,3 mg/L (96,5 ≤ 120,0 < 163,3) : élevé\n"),
        (
            '{"nom": "Zotaate", "valeur": 7.5, "unite": "g/L", "min": 4, "max": 6}',
            "Zotaate : 7,5 g/L (4",
            ",0 ≤ 6,0 < 7,5) : élevé\n",
        ),
        ("Sodium|131|mmol/L|135|145|", "Sodium : 131 mmol/L (131 < 13", "5 ; appel sous 125) : bas\n"),
        ("Le patient va bien.", "Zotaate : 5 (intervalle et", " unité manquants) : indéterminé\n"),
    ],
)
def test_a_draft_says_what_a_line_probably_means_where_the_reader_refuses_it(report, begun, rest):
    assert read_report(report).measurements == ()
    assert Draft(report).after(begun).startswith(rest)


def test_the_end_of_a_draft_follows_from_the_lines_that_are_written():
    draft = Draft(TWO.format(""))
    assert "hyponatrémie" in draft.end(SODIUM) and "hyperkaliémie" not in draft.end(SODIUM)
    assert draft.end("") == "Conclusion : ."


def test_guesses_are_the_tokens_that_a_model_would_write(tokenizer):
    prompt = tokens(format_prompt({"instruction": "Interprète.", "input": TWO.format("")}), tokenizer).input_ids
    whole = tokens(f"\n{SODIUM}{KALIEMIA}", tokenizer, add_special_tokens=False).input_ids
    ids = whole[whole.index(tokens("\n", tokenizer, add_special_tokens=False).input_ids[-1]) + 1 :]
    guesses = Guesses(prompt, tokenizer)
    for end in range(2, len(ids) - 2):
        found = next(guesses.after(ids[:end]))
        assert found[:2] == ids[end : end + 2], tokenizer.decode(ids[:end])
    ending = tokens(f"{SODIUM}{KALIEMIA}Conclusion : hyperkaliémie", tokenizer, add_special_tokens=False).input_ids
    assert any("sévère" in tokenizer.decode(guess) for guess in guesses.after(ending))


def test_a_streamed_answer_is_the_answer(tuned):
    tokenizer, prompt = mistral_tokenizer(), format_prompt(ROWS[0])
    pieces = list(stream(tuned, tokenizer, prompt, 30))
    assert len(pieces) > 5 and "".join(pieces).strip() == generate(tuned, tokenizer, [prompt], 30)[0].text
    stops = iter([False, False, True])
    assert len(list(stream(tuned, tokenizer, prompt, 30, stopped=lambda: next(stops)))) == 3
    assert tuned.config._attn_implementation != "continuous"


def answers_both_ways(model, prompts, limits, guided=(), **small):
    """What `model.generate` writes, and what the steps that a GPU replays write, as `generate` gets them."""
    tokenizer = mistral_tokenizer()
    tokenizer.padding_side = "left"
    inputs = tokens(prompts, tokenizer, return_tensors="pt", padding=True)
    asked = model, inputs, limits, tokenizer.eos_token_id, tokenizer.pad_token_id
    guides = [Guide(tokenizer, guided) if guided else None for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(cuda_graphs, name, value)
        return sorted(_write(*asked, guides[0])), sorted(cuda_graphs.write(*asked, guides[1]))


def check_same(right, found):
    pad = mistral_tokenizer().pad_token_id
    for (row, ids, logs, forced), (other, written, own, counted) in zip(right, found, strict=True):
        assert (row, forced) == (other, counted) and ids[: len(written)] == written and set(ids[len(written) :]) <= {pad}
        assert own == pytest.approx(logs[: len(own)], abs=1e-3) and len(own) == len(written)


@pytest.mark.parametrize("small", [{}, {"WINDOW": 16, "READ": 1, "LOOK": 1}])
def test_replayed_steps_write_what_generate_writes(tuned, small):
    prompts = [format_prompt(row) for row in ROWS[:6]]
    right, found = answers_both_ways(tuned, prompts, LIMITS[:6], **small)
    check_same(right, found)
    with tuned.disable_adapter():
        base = answers_both_ways(tuned, prompts[:2], LIMITS[:2], **small)
    check_same(*base)
    assert base[1][1][1] != found[1][1]


def test_replayed_steps_end_where_generate_ends(tuned):
    prompts = [format_prompt(row) for row in ROWS[:4]]
    plain = answers_both_ways(tuned, prompts, [30] * 4)[0]
    tuned.generation_config.eos_token_id = [plain[0][1][6], plain[1][1][9]]
    try:
        right, found = answers_both_ways(tuned, prompts, [30] * 4)
    finally:
        tuned.generation_config.eos_token_id = mistral_tokenizer().eos_token_id
    check_same(right, found)
    assert min(len(ids) for _, ids, *_ in found) <= 7 < len(plain[0][1])


def test_replayed_steps_end_a_loop_where_generate_ends_it(tuned):
    import torch

    head = tuned.get_base_model().lm_head
    kept = head.weight.detach().clone()
    with torch.no_grad():  # few tokens are left to choose from, so answers repeat themselves
        head.weight[12:] = 0
        head.weight[:12] *= 100
    try:
        right, found = answers_both_ways(tuned, [format_prompt(row) for row in ROWS[:3]], [250] * 3)
    finally:
        with torch.no_grad():
            head.weight.copy_(kept)
    check_same(right, found)
    assert any(len(ids) < 250 and in_a_loop(ids) for _, ids, *_ in found)


def test_replayed_steps_follow_a_grammar(tuned):
    form = 'root ::= "Analyse : " [a-z]+ "\\n" [0-9] [0-9] "."'
    right, found = answers_both_ways(tuned, [format_prompt(row) for row in ROWS[:3]], [40] * 3, [form, None, form])
    check_same(right, found)
    assert found[0][3] > 0 == found[1][3]


def test_weights_in_4_bits_are_decoded_as_they_are_for_generate():
    import torch
    from bitsandbytes.nn import Linear4bit

    torch.manual_seed(0)
    layer = Linear4bit(64, 128, bias=False, compute_dtype=torch.float32, quant_type="nf4").to("cpu")
    x = torch.randn(3, 64)
    torch.testing.assert_close(cuda_graphs._Linear(layer, torch.float32)(x), layer(x), atol=1e-5, rtol=1e-5)


def test_what_replayed_steps_cannot_do_is_named(tuned, capsys):
    import torch

    config, settings = tuned.get_base_model().config, tuned.generation_config
    assert cuda_graphs.obstacle(tuned, 100) == ""
    for target, name, value, reason in (
        (config, "sliding_window", 64, "the model sees 64 tokens of 100"),
        (config, "model_type", "qwen2", "models of type qwen2 have other layers"),
        (config, "rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}, "positions of type yarn"),
        (settings, "repetition_penalty", 1.2, "generation_config changes its scores"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, name, value)
            assert reason in cuda_graphs.obstacle(tuned, 100)

    class OnGpu:
        device = type("Device", (), {"type": "cuda"})()

    def too_large(*_):
        raise RuntimeError("CUDA out of memory\nand more")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graphs, "obstacle", lambda *_: "")
        patch.setattr(cuda_graphs, "difference", lambda *_: 0.0)
        patch.setattr(cuda_graphs, "write", too_large)
        for _ in range(2):
            assert cuda_graphs.write_if_possible(OnGpu(), {"input_ids": torch.zeros(1, 5)}, [3], 2, 0, lambda: None) is None
    assert capsys.readouterr().out == "Answers are written by model.generate, several times slower: CUDA out of memory.\n"


def test_replayed_steps_are_compared_with_the_model_before_they_are_used(tuned, monkeypatch, capsys):
    tokenizer = mistral_tokenizer()
    tokenizer.padding_side = "left"
    inputs = tokens([format_prompt(row) for row in ROWS[:3]], tokenizer, return_tensors="pt", padding=True)
    ends = tokenizer.eos_token_id, tokenizer.pad_token_id
    usual = cuda_graphs.difference(tuned, inputs, *ends)  # the tiny model gives every token about the same probability
    norm = cuda_graphs._norm
    monkeypatch.setattr(cuda_graphs, "_norm", lambda module, x: 3 * norm(module, x))
    assert usual < 1e-6 < 1e-4 < cuda_graphs.difference(tuned, inputs, *ends)

    class OnGpu:
        device = SimpleNamespace(type="cuda")

    monkeypatch.setattr(cuda_graphs, "obstacle", lambda *_: "")
    monkeypatch.setattr(cuda_graphs, "difference", lambda *_: 0.4)
    assert cuda_graphs.write_if_possible(OnGpu(), inputs, [5] * 3, *ends, lambda: None) is None
    assert "slower: probabilities differ by 0.40 from those of the model" in capsys.readouterr().out
