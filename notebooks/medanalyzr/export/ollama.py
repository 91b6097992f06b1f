"""Ollama's Modelfile: the model under the prompt of the training."""

from collections.abc import Sequence

from medanalyzr.dataset.prompts import PREAMBLE
from medanalyzr.export.chat import INSTRUCTION


def context_for(prompt_lengths: Sequence[int], max_new_tokens: int) -> int:
    """A context, in tokens, that the longest prompt and its answer fill to four fifths at most: a multiple of 1,024, 4,096 at least.

    Ollama cuts a longer prompt from its front to half the context, instruction and first results included, and answers as if
    nothing were wrong.
    """
    needed = (max(prompt_lengths, default=0) + max_new_tokens) * 5 // 4
    return max(4096, -(-needed // 1024) * 1024)


def modelfile(gguf_name: str, template: str, end: str, context: int) -> str:
    """Ollama's Modelfile: the prompt of the training with the report as the user's message, greedy, ended by `end`, in a context of
    `context` tokens. It contains no BOS: the runtime adds the one that the GGUF file specifies.
    """
    text = template.format(preamble=PREAMBLE, instruction="{{ .System }}", input="{{ .Prompt }}")
    return (
        f'FROM ./{gguf_name}\nTEMPLATE """{text}"""\nSYSTEM """{INSTRUCTION}"""\n'
        f'PARAMETER temperature 0\nPARAMETER num_ctx {context}\nPARAMETER stop "{end}"\n'
    )


def prompt_of(text: str, report: str) -> str:
    """The prompt that Ollama makes of a `report` with the Modelfile `text`, whose template has no other fields than these two."""
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    system = text.partition('SYSTEM """')[2].partition('"""')[0]
    return template.replace("{{ .System }}", system).replace("{{ .Prompt }}", report)
