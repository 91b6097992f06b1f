"""The grammar of a report: every reference answer has its form, and no answer under it can invent a number, a name or a value."""

import re
from types import SimpleNamespace

import pytest
from llguidance import LLMatcher, grammar_from
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prompts import format_prompt
from medanalyzr.evaluation.scoring import score
from medanalyzr.export.grammar import GENERAL, save_grammars
from medanalyzr.inference.generation import generate
from medanalyzr.inference.guidance.grammar import grammar_of
from medanalyzr.inference.guidance.guided import _vocabulary, lead_of, write_guided
from medanalyzr.training.base_models import mistral_tokenizer, smollm2_folder

ROWS = [row for row in load_bundled() if row["input"]]
REPORT = "Patient : homme, 50 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)\nTSH : <0,01 mUI/L (0,40 - 4,00)"
RIGHT = (
    "Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,2 ≤ 6,8) : élevé, critique\nTSH : <0,01 mUI/L (0,01 ≤ 0,40) : bas\n"
    "Conclusion : hyperkaliémie."
)


@pytest.fixture(scope="module")
def smollm2(artifacts):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2_folder())


def accepted(grammar, text, tokenizer):
    matcher = LLMatcher(_vocabulary(tokenizer), grammar_from("gbnf", grammar), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return (
        all(matcher.consume_token(token) for token in tokenizer(text, add_special_tokens=False).input_ids)
        and matcher.is_accepting()
    )


def test_every_reference_answer_has_the_form(tokenizer):
    lead = lead_of(tokenizer)
    wrong = [row["output"] for row in ROWS[::40] if not accepted(grammar_of(row["input"], lead), row["output"], tokenizer)]
    assert not wrong


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("élevé, critique", "normal"),  # what is judged stays open
        ("3,5 ≤ 5,0 < 6,8", "3,5 ≤ 6,8 ≤ 5,0"),
        ("critique 6,2 ≤ 6,8", "critique 6,2 > 6,8"),
        (" ; critique 6,2 ≤ 6,8", ""),
        ("hyperkaliémie.", "T4 libre basse ; stade G3a ; (50 ans).\nSuite : contrôler."),
    ],
)
def test_judgements_stay_open(old, new, smollm2):
    assert accepted(grammar_of(REPORT), RIGHT, smollm2)
    assert accepted(grammar_of(REPORT), RIGHT.replace(old, new), smollm2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Potassium", "Sodium"),
        ("6,8 mmol/L", "6,9 mmol/L"),
        ("6,8 mmol/L", "6,8 mg/L"),
        ("<0,01 mUI/L", "0,01 mUI/L"),
        ("5,0 < 6,8", "5,1 < 6,8"),
        ("critique 6,2", "critique 6,5"),
        ("hyperkaliémie.", "kaliémie à 7,1."),
        ("hyperkaliémie.", "kaliémie à 6,8,1."),
        ("hyperkaliémie.", "17 : normal"),
        ("TSH : <0,01 mUI/L (0,01 ≤ 0,40) : bas\n", ""),
        ("Conclusion", "Chlore : 100 mmol/L (95 ≤ 100 ≤ 105) : normal\nConclusion"),
        (": bas", ": abaissé"),
        ("hyperkaliémie.", "hyperkaliémie.\n\n### Instruction:"),
    ],
)
def test_facts_are_fixed(old, new, smollm2):
    assert not accepted(grammar_of(REPORT), RIGHT.replace(old, new, 1), smollm2)


def test_names_with_quotes_and_backslashes_and_reports_without_results(smollm2):
    odd = 'Anti"corps\\n : 12 UI/L (0 - 20)'
    assert accepted(grammar_of(odd), f"{odd.partition(' (')[0]} (0 ≤ 12 ≤ 20) : normal\nConclusion : normal.", smollm2)
    assert grammar_of(" \n") is None
    assert accepted(grammar_of("Examen non réalisé."), "Conclusion : rien à lire.", smollm2)
    assert not accepted(
        grammar_of("Examen non réalisé."), "Sodium : 140 mmol/L (135 ≤ 140 ≤ 145) : normal\nConclusion : x.", smollm2
    )


def test_a_model_that_knows_nothing_keeps_to_the_report(tiny_mistral):
    """An untrained model writes noise: under the grammar it names every analyte with its value and invents nothing."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype="float32").eval()
    tokenizer, rows = mistral_tokenizer(), [row for row in ROWS if row["input"].count("\n") == 2][:600:200]
    grammars = [grammar_of(row["input"], lead_of(tokenizer)) for row in rows]
    prompts = [format_prompt(row) for row in rows]
    together = generate(model, tokenizer, prompts, 200, 8, grammars=grammars)
    scored = [score(row["input"], answer.text, row["output"]) for row, answer in zip(rows, together, strict=True)]
    assert not [number for one in scored for number in one.made_up] and not [name for one in scored for name in one.invented]
    assert all(line.value_right and line.unit_right for one in scored for line in one.lines)
    alone = [
        generate(model, tokenizer, [prompt], 200, grammars=[grammar])[0] for prompt, grammar in zip(prompts, grammars, strict=True)
    ]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert sum(answer.forced for answer in together) > 0.3 * sum(answer.tokens for answer in together)
    free = generate(model, tokenizer, prompts[:2], 20, grammars=[None, None])
    assert [a.text for a in free] == [a.text for a in generate(model, tokenizer, prompts[:2], 20)]


def test_a_limit_cuts_a_guided_answer(tiny_mistral):
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype="float32").eval(), mistral_tokenizer()
    answer = generate(model, tokenizer, [format_prompt(ROWS[0])], 9, grammars=[grammar_of(ROWS[0]["input"], lead_of(tokenizer))])[0]
    assert answer.tokens == 9 and not answer.ended and ROWS[0]["output"].startswith(answer.text.rstrip("�"))


def test_a_faulty_grammar_is_one_sentence(artifacts):
    tokenizer = mistral_tokenizer()
    with pytest.raises(MedAnalyzrError, match="guided off"):
        next(
            write_guided(
                SimpleNamespace(device="cpu"),
                tokenizer,
                {"input_ids": None, "attention_mask": None},
                [4],
                ['root ::= "a" {3,1}'],
                bool,
            )
        )


def test_the_general_form_holds_for_every_reference_and_is_written_beside_the_file(tmp_path, smollm2):
    assert all(accepted(GENERAL, row["output"], smollm2) for row in ROWS[::60])
    save_grammars(tmp_path, {"first": REPORT, "empty": ""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.gbnf", "first.gbnf"]
    assert re.search(r'"Potassium : 6,8 mmol/L \("', (tmp_path / "first.gbnf").read_text(encoding="utf-8"))
