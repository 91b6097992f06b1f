"""The baselines of a tuned model: rules, one flag for everything, the base model with examples in its prompt, the reference adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from medanalyzr.core.run_folder import reference_source
from medanalyzr.dataset.prompts import PROMPT, format_prompt
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.report import FLAGS, parse_answer, parse_report, write_measurement
from medanalyzr.lab.rules import answer_name, interpret


def rules_answer(row: Mapping[str, str]) -> str:
    """The answer of the rules to the report of `row`."""
    return interpret(parse_report(row["input"]))


def strict_answer(row: Mapping[str, str]) -> str:
    """The answer of the rules to those results of the report of `row` that the strict reader accepts."""
    return interpret(read_report(row["input"]))


def reference_answers(prompts: Sequence[str]) -> list[str]:
    """The answers of the reference adapter to `prompts`, up to the first one that is not stored: artifacts/reference holds its answers,
    by the hash of weights and prompt. Another adapter there, or other prompts, have none.
    """
    from medanalyzr.inference.answer_cache import AnswerBook, source_of  # imports transformers, which Unsloth wants to come before

    folder = reference_source()
    if not (folder / "answers.jsonl").is_file():
        return []
    return [answer.text for answer in AnswerBook(folder / "answers.jsonl").known(source_of(folder / "adapter"), prompts)]


def constant_answer(row: Mapping[str, str], flag: str) -> str:
    """Every measurement of the report of `row` with the same flag, and no conclusion."""
    named = (replace(m, name=answer_name(m)) for m in parse_report(row["input"]).measurements)
    return "\n".join(f"{write_measurement(m)} : {flag}" for m in named)


def most_frequent_flag(references: Sequence[str]) -> str:
    """The most frequent flag of the reference answers («normal» if they have none)."""
    flags = [m.flag for reference in references for m in parse_answer(reference).values()]
    return max(FLAGS, key=flags.count) if flags else "normal"


def few_shot_examples(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Examples for `few_shot_prompt`: for each of the three flags the shortest row that has it, each row once."""
    chosen: list[Mapping[str, str]] = []
    for flag in FLAGS:
        having = [row for row in rows if any(m.flag == flag for m in parse_answer(row["output"]).values())]
        if having and (row := min(having, key=lambda row: len(row["input"]) + len(row["output"]))) not in chosen:
            chosen.append(row)
    return chosen


def few_shot_prompt(row: Mapping[str, str], examples: Sequence[Mapping[str, str]], template: str = PROMPT) -> str:
    """The prompt of `row` after the answered `examples`, all under one preamble."""
    parts = [*(format_prompt(example, template) + example["output"] for example in examples), format_prompt(row, template)]
    return parts[0] + "".join("\n\n" + part[part.index("### ") :] for part in parts[1:])
