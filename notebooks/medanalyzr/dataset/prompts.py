"""The French Alpaca prompt, its tokens and its labels: the same bytes in training and at inference."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

PREAMBLE = "Vous êtes un médecin professionnel spécialisé dans l'analyse des résultats de laboratoire médical."
PROMPT = "{preamble}\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
IGNORED = -100
MARKER = re.compile(r"###(?=\s*(?:Instruction|Input|Response)\s*:)", re.IGNORECASE)


def format_prompt(row: Mapping[str, str], template: str = PROMPT) -> str:
    """Everything before the answer. The row's own `prompt` column is the preamble when it has one.

    A `prompt` column that is already a whole prompt (it holds "### ") is replaced by the default preamble. A marker of
    the template inside instruction or report ("### Response:") loses two of its signs, so that it cannot end the prompt.
    """
    own = (row.get("prompt") or "").strip()
    preamble = own if own and "### " not in own else PREAMBLE
    instruction, report = (MARKER.sub("#", row.get(name) or "") for name in ("instruction", "input"))
    return template.format(preamble=preamble, instruction=instruction, input=report)


def tokens(text: str | Sequence[str], tokenizer, **options):
    """`tokenizer(text, **options)` in which the text's own "</s>" or "<|im_end|>" stay plain characters.

    Only the tokenizer sets special tokens, so a report cannot end a prompt or an answer.
    """
    return tokenizer(text, split_special_tokens=True, **options)


def encode(row: Mapping[str, str], tokenizer, train_on: str = "answer") -> dict[str, list[int]]:
    """Tokens and labels of one example: prompt, answer, EOS.

    Returns `input_ids` and `labels`, lists of one length; with `train_on="answer"` the labels of the prompt are -100,
    with "all" the whole text is learnt.
    """
    prompt = tokens(format_prompt(row), tokenizer).input_ids
    answer = [*tokens(row["output"], tokenizer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    hidden = [IGNORED] * len(prompt) if train_on == "answer" else prompt
    return {"input_ids": prompt + answer, "labels": hidden + answer}


def first_learnt(labels: Sequence[int]) -> int:
    """The place of the first label that is learnt; the number of labels where none is."""
    learnt = np.asarray(labels) != IGNORED
    return int(learnt.argmax()) if learnt.any() else len(learnt)


def token_lengths(rows: Sequence[Mapping[str, str]], tokenizer) -> list[int]:
    """Tokens of each whole example (prompt, answer, EOS)."""
    texts = [format_prompt(row) + row["output"] for row in rows]
    return [len(ids) + 1 for ids in tokens(texts, tokenizer).input_ids]
