"""The prompt of the training as a chat template: a chat call and the raw prompt give the model the same tokens."""

import re

from medanalyzr.dataset.prompts import PREAMBLE

INSTRUCTION = "Interprétez ce compte rendu de laboratoire."


def _quoted(text: str) -> str:
    """`text` as a string of Jinja (which drops a line break at the end of a template, but not in a string)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def special_beginnings(tokenizer) -> list[str]:
    """The beginnings of the tokens that a runtime recognizes anywhere in a prompt: whole tokens; of numbered ones
    (`[control_8]`) what stands before the number.
    """
    names = {*tokenizer.all_special_tokens, *(token.content for token in tokenizer.added_tokens_decoder.values())}
    return sorted({re.sub(r"\d+\W*$", "", name) for name in names if len(name) > 2})


def broken(text: str, tokenizer) -> str:
    """`text` in which no special token and no marker of the prompt is whole: a space, or two "#" less, breaks each.

    To be done with a report before it is sent as a raw prompt to a runtime outside this project; the chat template does it itself.
    """
    for old, new in _breaks(tokenizer):
        text = text.replace(old, new)
    return text


def _breaks(tokenizer) -> list[tuple[str, str]]:
    tokens = [(name, f"{name[0]} {name[1:]}") for name in special_beginnings(tokenizer)]
    return tokens + [(f"### {word}:", f"# {word}:") for word in ("Instruction", "Input", "Response")]


def _begin(tokenizer) -> str:
    """What a template puts before the prompt so that it has the tokens of the raw one: nothing, or the BOS, for Mistral with the space
    that its tokenizer sets before a first word but not after a BOS that is written out.
    """
    raw = tokenizer("a").input_ids
    if raw[:1] != [tokenizer.bos_token_id]:
        return ""
    written = tokenizer(f"{tokenizer.bos_token}a", add_special_tokens=False).input_ids
    return "{{- bos_token -}}" + ("" if written == raw else "{{- ' ' -}}")


def chat_template(template: str, tokenizer, for_gguf: bool = False) -> str:
    """The Jinja template that renders `template` (the prompt of the training): the system message is the instruction, the last user
    message the report. Special tokens and markers inside the report are broken (see `broken`).

    No special token is spelled out in it: programs guess the family of a template from such words. Where the training put a BOS, the
    template begins with it, since transformers and vLLM add none beside a template; llama.cpp adds its own, so that of a GGUF file
    has none.
    """
    pieces = template.replace("{preamble}", PREAMBLE).split("{instruction}")
    middle, end = pieces[1].split("{input}")
    pairs = ", ".join(f"[{_quoted(old[0])} + {_quoted(old[1:])}, {_quoted(new)}]" for old, new in _breaks(tokenizer))
    return (
        f"{{%- set ns = namespace(system={_quoted(INSTRUCTION)}, user='') -%}}"
        "{%- for m in messages -%}{%- if m.role == 'system' -%}{%- set ns.system = m.content -%}"
        "{%- elif m.role == 'user' -%}{%- set ns.user = m.content -%}{%- endif -%}{%- endfor -%}"
        f"{{%- for pair in [{pairs}] -%}}{{%- set ns.user = ns.user.replace(pair[0], pair[1]) -%}}{{%- endfor -%}}"
        f"{'' if for_gguf else _begin(tokenizer)}"
        f"{{{{- {_quoted(pieces[0])} + ns.system + {_quoted(middle)} + ns.user + {_quoted(end)} -}}}}"
    )
