"""The grammar of a report: every reference answer has its form, and no answer under it can invent a number, a name or a value."""

import re
import sys
from types import SimpleNamespace

import pytest
from llguidance import LLMatcher, LLTokenizer, grammar_from
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.bundled import KINDS, load_bundled
from medanalyzr.dataset.layouts import FAMILIES, sample
from medanalyzr.dataset.prompts import format_prompt, tokens
from medanalyzr.evaluation.scoring import score
from medanalyzr.export.grammar import GENERAL, save_grammars
from medanalyzr.inference.decoding.continuous import write_continuously
from medanalyzr.inference.generation import _write, generate
from medanalyzr.inference.guidance.grammar import grammar_of
from medanalyzr.inference.guidance.guided import Guide, Matcher, _vocabulary, grammars_for
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.rules import interpret
from medanalyzr.training.base_models import mistral_tokenizer, smollm2_folder

ROWS = [row for row in load_bundled() if row["input"]]
REPORT = "Patient : homme, 50 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)\nTSH : <0,01 mUI/L (0,40 - 4,00)"
RIGHT = (
    "Potassium : 6,8 mmol/L (3,5 ≤ 5,0 < 6,8 ; critique 6,0 ≤ 6,8) : élevé, critique\nTSH : <0,01 mUI/L (0,01 ≤ 0,40) : bas\n"
    "Conclusion : hyperkaliémie."
)
BYTES = LLTokenizer("byte")


def accepted(grammar, text, vocabulary=BYTES):
    matcher = LLMatcher(vocabulary, grammar_from("gbnf", grammar), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    wanted = vocabulary.tokenize_str(text)
    return matcher.try_consume_tokens(wanted) == len(wanted) and matcher.is_accepting()


def test_lines_stand_in_the_order_of_the_report_whatever_the_specimen():
    report = read_report(
        "Urines :\nPotassium : 95 mmol/L (20 - 80)\nSang :\nPotassium : 6,8 mmol/L (3,5 - 5,0)\nSodium : 140 mmol/L (135 - 145)"
    )
    answer = interpret(report)
    assert [line.partition(" : ")[0] for line in answer.splitlines()[:3]] == ["Potassium (urines)", "Potassium", "Sodium"]
    assert accepted(grammar_of(report), answer)


def test_every_reference_answer_has_the_form_of_its_report():
    rows = [row for kind in KINDS for row in [row for row in ROWS if row["kind"] == kind][:: 9 if kind else 7]]
    assert len(rows) >= 300 and {row["kind"] for row in rows} == set(KINDS) - {"question"}
    assert not [row["output"] for row in rows if not accepted(grammar_of(row["input"]), row["output"])]


def test_the_rules_answer_to_what_the_reader_reads_of_a_free_report_has_the_form():
    rows = sample(ROWS[::97], 60, 3, ("columns", "colon", "tabs", "pipes", "inline", "prose"))
    read = [report for row in rows if (report := read_report(row["input"])).measurements]
    assert len(read) > 30 and not [report.text for report in read if not accepted(grammar_of(report), interpret(report))]


def test_answers_to_reports_that_the_reader_refuses_in_part_have_the_form():
    """Out of JSON the reader proves nothing: names, numbers and units may still be only those that stand there."""
    rows = sample(ROWS[::97], 12, 3, ("json",), 8)
    assert sum(accepted(grammar_of(row["input"]), row["output"]) for row in rows) >= 11
    report = "Potassium : 4,1 mmol/L (3,5 - 5,0)\nHémoglobine : 104 g/L, 120 à 160 (ou 96 ?)"
    known = "Potassium : 4,1 mmol/L (3,5 ≤ 4,1 ≤ 5,0) : normal\n"
    more, end = "Hémoglobine : 104 g/L (104 < 120 ; appel sous 70) : bas\n", "Conclusion : anémie."
    assert read_report(report).unread and accepted(grammar_of(report), known + more + end)
    assert accepted(grammar_of(report), known + end)
    for wrong in (more + end, known + more.replace("104", "105", 1) + end, known + more.replace("Hémoglobine", "Sodium") + end,
                  known + more.replace("g/L", "mg/L", 1) + end, known + more.replace("70", "80") + end):  # fmt: skip
        assert not accepted(grammar_of(report), wrong)


REFUSED = "{} : {}, {} à {} (ou 96 ?)"  # a line that the reader does not read
END = "Conclusion : à lire."


@pytest.mark.parametrize("value", ["78", "780", "7800", "78,00", "4,70", "46,0"])
def test_a_value_has_the_digits_that_are_printed(value):
    """Only a bound or a value in a comparison gets more decimals: 78,0 % is no 7800 /mm3, and a karyotype of 46 no 46,0."""
    report = "Mlle TEST, 26 ans\nPolynucléaires neutrophiles\n78,0 %\n10 450 +\n/mm3\n1 800 à 7 500\ncaryotype 46,XY ; 4,7"
    grammar, read = grammar_of(report), "Polynucléaires neutrophiles : 10450 /mm3 (1800 ≤ 7500 < 10450) : élevé\n"
    line = read + "caryotype : {} /mm3 (1800,0 < 7500,0) : élevé\nConclusion : à revoir."
    assert all(accepted(grammar, line.format(printed)) for printed in ("78,0", "10450", "46", "4,7"))
    assert not accepted(grammar, line.format(value))


def test_each_line_that_the_reader_refuses_stands_at_most_once_and_in_its_order():
    lines = [REFUSED.format(*told) for told in (("Hémoglobine", "104 g/L", 120, 160), ("Ferritine", "88 µg/L", 30, 300))]
    grammar = grammar_of("\n".join((lines[0], "Potassium : 4,1 mmol/L (3,5 - 5,0)", lines[1])))
    first, read, last = (
        "Hémoglobine : 104 g/L (104 < 120) : bas\n",
        "Potassium : 4,1 mmol/L (3,5 ≤ 4,1 ≤ 5,0) : normal\n",
        "Ferritine : 88 µg/L (30 ≤ 88 ≤ 300) : normal\n",
    )
    for right in (first + read + last, first + read, read + last, read):
        assert accepted(grammar, right + END)
    for wrong in (first * 2 + read, read + last * 2, read + first, last + read, first + read + last + first, read * 2):
        assert not accepted(grammar, wrong + END)


def test_an_analyte_that_is_printed_twice_stands_twice():
    twice = [REFUSED.format("Glycémie", f"{value} mmol/L", "3,9", "6,0") for value in ("5,2", "7,8")]
    line = "Glycémie : {} mmol/L ({}) : {}\n"
    first, second = line.format("5,2", "3,9 ≤ 5,2 ≤ 6,0", "normal"), line.format("7,8", "3,9 ≤ 6,0 < 7,8", "élevé")
    assert accepted(grammar_of("\n".join(twice)), first + second + END)
    assert not accepted(grammar_of("\n".join(twice)), first + second + first + END)
    assert not accepted(grammar_of(twice[0]), first + first + END)


def test_a_line_names_only_a_specimen_that_the_report_names():
    report, line = REFUSED.format("Potassium", "95 mmol/L", 20, 80), "Potassium{} : 95 mmol/L (20 ≤ 80 < 95) : élevé\n"
    for heading, named in (("Urines :", (" (urines)", "")), ("Sang :", ("",)), ("Liquide céphalo-rachidien :", (" (LCR)", ""))):
        grammar = grammar_of(f"{heading}\n{report}")
        for specimen in ("", " (urines)", " (LCR)", " (autre)"):
            assert accepted(grammar, line.format(specimen) + END) == (specimen in named), (heading, specimen)


@pytest.fixture(scope="module")
def free():
    """Reports in every free layout, with their due answers and grammars."""
    rows = [row for family in FAMILIES for row in sample(ROWS[::41], 12, 5, (family,), 12)]
    return [(row, grammar_of(row["input"])) for row in rows]


def test_due_answers_to_free_layouts_have_the_form(free):
    held = {}
    for row, grammar in free:
        held.setdefault(row["layout"], []).append(accepted(grammar, row["output"]))
    noise = ("ocr", "scan")  # of the signs that a scan confuses, the grammar reads O, l and I as digits, no others
    clear = [found for family, all_found in held.items() if family not in noise for found in all_found]
    assert sum(clear) >= 0.9 * len(clear) and sum(held["ocr"]) >= 8, {family: sum(found) for family, found in held.items()}


def test_a_due_answer_with_a_number_a_name_or_a_bound_that_does_not_follow_from_the_report_is_refused(free):
    """The changed number has digits that no report prints, the changed name letters that none has."""
    changes = (
        (r"^(.+? : )[<>]?[\d,]+", r"\g<1>88317,9"),  # the value
        (r"\(([\d,]+) ([≤<])", r"(88317,9 \2"),  # the first number of the comparison
        (r"([≤<] )[\d,]+(?= ?[^≤<]*\) : )", r"\g<1>88317,9"),  # its last one
        (r"^.+? : ", "Zyxwite : "),
        (r"^(.+? : [<>]?[\d,]+)[^(]*\(", r"\g<1> zz/L ("),  # the unit
        (r"appel (sous|dès) [\d,]+", r"appel \1 88317"),
        (r"corrigé [\d,]+", "corrigé 88317,9"),
        (r"Conclusion : ", "Conclusion : valeur 88317,9 ; "),
    )
    refused = 0
    for row, grammar in free:
        for old, new in changes:
            changed = re.sub(old, new, row["output"], count=1, flags=re.MULTILINE)
            if changed != row["output"]:
                refused += 1
                assert not accepted(grammar, changed), changed
    assert refused > 5 * len(free)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        ("Soodium : 156 mmol/L (135 - 145)", "Soodium : 156 mmol/L (135 ≤ 145 < 156 ; critique 155 ≤ 156) : élevé, critique"),
        ("WBC : 61.0 10^3/mm3 (4 à 10)", "WBC : 61,0 10^3/mm3 (4,0 ≤ 10,0 < 61,0 ; critique 50,0 ≤ 61,0 G/L) : élevé, critique"),
        ("HÉMATOCRITE ... (40,0 / 54,0)    23,7L %", "HÉMATOCRITE : 23,7 % (23,7 < 40,0) : bas"),
        ("G6PD;7.9;(VN 7.9 < N < 16.3);U/g Hb", "G6PD : 7,9 U/g Hb (7,9 ≤ 7,9 ≤ 16,3) : normal"),
        ("Anticorps anti-cardiolipine IgM;62,1 * U MPL/mL;(<22)", "Anticorps anti-cardiolipine IgM : 62,1 U MPL/mL (22,0 < 62,1) : élevé"),
        ("Facteur Willebrand activite,102,50,150,%", "Facteur Willebrand activite : 102 % (50 ≤ 102 ≤ 150) : normal"),
        ("C.C.M.H. ......... 34,6   g/dl   N : 32,0 à 36,0", "C.C.M.H. : 34,6 g/dL (32,0 ≤ 34,6 ≤ 36,0) : normal"),
        ("Orémie sérique\n119", "Orémie sérique : 119 (intervalle manquant) : indéterminé"),
        ('"name": "Albumine", "value": 1.9, "unit": "g/dL"',
         "Albumine : 1,9 g/dL (intervalle manquant ; critique 20 ≥ 19 g/L) : indéterminé, critique"),
        ("Fer plasmatlque      (558 - I 675)   7S9 759 µg/L", "Fer plasmatlque : 759 µg/L (558 ≤ 759 ≤ 1675) : normal"),
    ],
)  # fmt: skip
def test_each_kind_of_printing_has_its_line(report, line):
    grammar = grammar_of(f"Patient : homme, 50 ans\nPotassium : 4,1 mmol/L (3,5 - 5,0)\n{report}")
    head = "Potassium : 4,1 mmol/L (3,5 ≤ 4,1 ≤ 5,0) : normal\n"
    assert accepted(grammar, f"{head}{line}\nConclusion : à lire.")
    assert not accepted(grammar, f"{head}{re.sub(r' : [0-9]', ' : 9', line, count=1)}\nConclusion : à lire.")


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ("anémie ; calcium bas", True),
        ("anémie ; anémie", False),
        ("anémie ; calcium bas ; anémie", True),  # others may follow
        ("anémie ; calcium bas ; anémie ; calcium bas ; anémie", False),
        ("anémie ; anémie sévère", True),
        ("anémie.\nSuite : anémie", True),
        ("anémie.\nSuite : bilan ; bilan", False),
    ],
)
def test_a_list_of_conclusions_that_goes_round_ends(told, more):
    tokenizer = mistral_tokenizer()
    (grammar,), semicolon = grammars_for(tokenizer, ["Examen non réalisé."]), tokenizer.convert_tokens_to_ids("▁;")
    matcher, written = Matcher(grammar, tokenizer), f"Conclusion : {told}"
    ids = tokenizer(written, add_special_tokens=False).input_ids
    done = len(matcher.forced)
    assert ids[:done] == matcher.forced
    while done < len(ids):
        matcher.take(ids[done])
        done += 1 + len(matcher.forced)
    allowed = matcher.allowed(len(tokenizer))
    assert allowed[semicolon] == more and allowed[tokenizer.convert_tokens_to_ids(".")]


@pytest.mark.parametrize("which", ["SmolLM2", "Mistral"])
def test_the_tokens_of_both_models_spell_the_grammar(which, artifacts):
    from transformers import AutoTokenizer

    tokenizer = mistral_tokenizer() if which == "Mistral" else AutoTokenizer.from_pretrained(smollm2_folder())
    for row in ROWS[::500]:
        matcher = LLMatcher(_vocabulary(tokenizer), grammar_from("gbnf", grammars_for(tokenizer, [row["input"]])[0]), log_level=0)
        assert all(matcher.consume_token(token) for token in tokenizer(row["output"], add_special_tokens=False).input_ids)
        assert matcher.is_accepting()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("élevé, critique", "normal"),  # what is judged stays open
        ("3,5 ≤ 5,0 < 6,8", "3,5 ≤ 6,8 ≤ 5,0"),
        ("critique 6,0 ≤ 6,8", "appel dès 6,0"),
        (" ; critique 6,0 ≤ 6,8", ""),
        ("hyperkaliémie.", "T4 libre basse ; stade G3a ; (50 ans).\nSuite : contrôler."),
    ],
)
def test_judgements_stay_open(old, new):
    assert accepted(grammar_of(REPORT), RIGHT)
    assert accepted(grammar_of(REPORT), RIGHT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Potassium", "Sodium"),
        ("6,8 mmol/L", "6,9 mmol/L"),
        ("6,8 mmol/L", "6,8 mg/L"),
        ("<0,01 mUI/L", "0,01 mUI/L"),
        ("5,0 < 6,8", "5,1 < 6,8"),
        ("critique 6,0", "critique 6,5"),
        ("hyperkaliémie.", "kaliémie à 7,1."),
        ("hyperkaliémie.", "kaliémie à 6,8,1."),
        ("hyperkaliémie.", "17 : normal"),
        ("TSH : <0,01 mUI/L (0,01 ≤ 0,40) : bas\n", ""),
        ("Conclusion", "Chlore : 100 mmol/L (95 ≤ 100 ≤ 105) : normal\nConclusion"),
        (": bas", ": abaissé"),
        ("hyperkaliémie.", "hyperkaliémie.\n\n### Instruction:"),
    ],
)
def test_facts_are_fixed(old, new):
    assert not accepted(grammar_of(REPORT), RIGHT.replace(old, new, 1))


def test_names_with_quotes_and_backslashes_and_reports_without_results():
    odd = 'Anti"corps\\n : 12 UI/L (0 - 20)'
    assert accepted(grammar_of(odd), f"{odd.partition(' (')[0]} (0 ≤ 12 ≤ 20) : normal\nConclusion : normal.")
    assert grammar_of(" \n") is None
    assert accepted(grammar_of("Examen non réalisé."), "Conclusion : rien à lire.")
    assert not accepted(grammar_of("Examen non réalisé."), "Sodium : 140 mmol/L (135 ≤ 140 ≤ 145) : normal\nConclusion : x.")


@pytest.fixture(scope="module")
def noise(tiny_mistral):
    """An untrained model: it writes noise where nothing holds it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_mistral, dtype="float32").eval()


FEW = [row for row in ROWS if row["input"].count("\n") == 2][:600:200]
PROMPTS = [format_prompt(row) for row in FEW]


@pytest.fixture(scope="module")
def guided(noise):
    tokenizer = mistral_tokenizer()
    return generate(noise, tokenizer, PROMPTS, 120, 8, grammars=grammars_for(tokenizer, [row["input"] for row in FEW]))


def test_a_model_that_knows_nothing_keeps_to_the_report(guided):
    scored = [score(row["input"], answer.text, row["output"]) for row, answer in zip(FEW, guided, strict=True)]
    assert not [number for one in scored for number in one.made_up] and not [name for one in scored for name in one.invented]
    assert all(line.value_right and line.unit_right for one in scored for line in one.lines)
    assert sum(answer.forced for answer in guided) > 0.3 * sum(answer.tokens for answer in guided)


def test_a_batch_says_what_its_reports_alone_do(noise, guided):
    tokenizer = mistral_tokenizer()
    for row, prompt, answer in zip(FEW, PROMPTS, guided, strict=True):
        alone = generate(noise, tokenizer, [prompt], 120, grammars=grammars_for(tokenizer, [row["input"]]))[0]
        assert (alone.text, alone.forced) == (answer.text, answer.forced)
    free = generate(noise, tokenizer, PROMPTS[:2], 20, grammars=[None, None])
    assert [a.text for a in free] == [a.text for a in generate(noise, tokenizer, PROMPTS[:2], 20)]


def test_token_by_token_as_on_a_gpu_the_answers_are_the_same(noise, guided):
    """There `model.generate` asks the model for forced tokens, too, in rows that end at different times."""
    tokenizer = mistral_tokenizer()
    guide = Guide(tokenizer, grammars_for(tokenizer, [row["input"] for row in FEW]))
    tokenizer.padding_side = "left"
    inputs = tokens(PROMPTS, tokenizer, return_tensors="pt", padding=True)
    for row, ids, _, forced in _write(noise, inputs, [120] * len(FEW), tokenizer.eos_token_id, tokenizer.pad_token_id, guide):
        text = tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert len(text) > 90 and guided[row].text.startswith(text)
        assert 20 < forced <= guided[row].forced


def test_a_limit_cuts_a_guided_answer(noise):
    tokenizer = mistral_tokenizer()
    answer = generate(noise, tokenizer, [format_prompt(FEW[0])], 9, grammars=grammars_for(tokenizer, [FEW[0]["input"]]))[0]
    assert answer.tokens == 9 and not answer.ended and FEW[0]["output"].startswith(answer.text.rstrip("�"))


def test_a_faulty_grammar_or_a_missing_package_is_one_sentence(artifacts, monkeypatch):
    tokenizer = mistral_tokenizer()
    model = SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=None),
        config=SimpleNamespace(_attn_implementation="sdpa"),
        set_attn_implementation=str,
    )
    with pytest.raises(MedAnalyzrError, match="guided off"):
        next(write_continuously(model, tokenizer, [[1]], [4], ['root ::= "a" {3,1}'], 1))
    _vocabulary.cache_clear()
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MedAnalyzrError, match="pip install llguidance, or set guided off"):
        grammars_for(tokenizer, [REPORT])
    _vocabulary.cache_clear()


def test_the_general_form_holds_for_every_reference_and_is_written_beside_the_file(tmp_path):
    assert all(accepted(GENERAL, row["output"]) for row in ROWS[::60])
    save_grammars(tmp_path, {"first": REPORT, "empty": ""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.gbnf", "first.gbnf"]
    assert re.search(r'"Potassium : 6,8 mmol/L \("', (tmp_path / "first.gbnf").read_text(encoding="utf-8"))


def test_a_unit_opens_no_line_for_another_analyte():
    """The mg of mg/L is no magnesium: a report that the reader reads whole leaves no room for other lines."""
    report = "Patient : femme, 75 ans\nKappa libre : 8,7 mg/L (3,3 - 19,4)\nRapport kappa/lambda : 2,68 (0,26 - 1,65)"
    assert "open" not in grammar_of(report) and "open0?" in grammar_of(f"{report}\nMg 0,8")
