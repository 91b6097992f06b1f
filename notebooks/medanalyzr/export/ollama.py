"""Ollama's Modelfile: the model under the prompt of the training."""

from medanalyzr.dataset.prompts import PREAMBLE


def modelfile(gguf_name: str, template: str, instruction: str, end: str) -> str:
    """Ollama's Modelfile: the prompt of the training with the report as the user's message, greedy, ended by `end`."""
    text = template.format(preamble=PREAMBLE, instruction="{{ .System }}", input="{{ .Prompt }}")
    return (
        f'FROM ./{gguf_name}\nTEMPLATE """{text}"""\nSYSTEM """{instruction}"""\n'
        f'PARAMETER temperature 0\nPARAMETER num_ctx 2048\nPARAMETER stop "{end}"\n'
    )
