"""What a tuned model must beat: the rules, one flag for everything, and the base model shown a few examples."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from medanalyzr.dataset.prompts import PROMPT, format_prompt
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.report import FLAGS, parse_answer, parse_report, write_measurement
from medanalyzr.lab.rules import answer_name, interpret


def rules_answer(row: Mapping[str, str]) -> str:
    """What the rule engine answers to the report of `row`."""
    return interpret(parse_report(row["input"]))


def strict_answer(row: Mapping[str, str]) -> str:
    """What the rule engine answers to what the strict reader proves of the report of `row`; it leaves out what it refuses."""
    return interpret(read_report(row["input"]))


def constant_answer(row: Mapping[str, str], flag: str) -> str:
    """Every measurement of the report of `row` with the same flag, and no conclusion."""
    named = (replace(m, name=answer_name(m)) for m in parse_report(row["input"]).measurements)
    return "\n".join(f"{write_measurement(m)} : {flag}" for m in named)


def most_frequent_flag(references: Sequence[str]) -> str:
    """The flag that most analytes of the reference answers have («normal» where none has any)."""
    flags = [m.flag for reference in references for m in parse_answer(reference).values()]
    return max(FLAGS, key=flags.count) if flags else "normal"


def few_shot_examples(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The shortest row whose reference has each flag, without repetition: up to three examples for `few_shot_prompt`."""
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
