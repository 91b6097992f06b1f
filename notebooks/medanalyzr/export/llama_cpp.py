"""Answers of a GGUF file in llama.cpp itself, which llama-server, Ollama and LM Studio run, through the package xllamacpp.

The package answers through a server inside this process, on a free port of the loopback interface. It is started with a random
key, and without it the port answers nothing but its health: no other program and no page in a browser can read a report there.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import requests

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.progress import Progress
from medanalyzr.dataset.prompts import tokens
from medanalyzr.evaluation.baselines import rules_answer
from medanalyzr.evaluation.metrics import scores
from medanalyzr.evaluation.scoring import score
from medanalyzr.inference.guidance.grammar import without_cut_number

# A prompt of which a part is kept from the last one is computed in other blocks, and rounds otherwise.
_GREEDY = {"temperature": 0, "cache_prompt": False}


@dataclass(frozen=True)
class Reply:
    """An answer of llama.cpp: its text, the tokens of the answer, the seconds it took, and whether it ended by itself."""

    text: str
    tokens: int
    seconds: float
    ended: bool


def binding():
    """The package xllamacpp.

    Raises:
        MedAnalyzrError: it is not installed.
    """
    try:
        import xllamacpp
    except ImportError:
        raise MedAnalyzrError("The package xllamacpp is missing: pip install xllamacpp, to run GGUF files in llama.cpp.") from None
    return xllamacpp


class Runtime:
    """llama.cpp with one GGUF file, to be used as a context: `with Runtime(path, 4096) as runtime`.

    Raises:
        MedAnalyzrError: the package xllamacpp is not installed, or the file cannot be loaded.
    """

    def __init__(self, path: Path, context: int):
        xllamacpp = binding()
        self._key = secrets.token_hex(16)
        settings = xllamacpp.CommonParams()
        settings.model.path, settings.n_ctx, settings.n_parallel, settings.verbosity = str(path), context, 1, 0
        settings.api_keys, settings.cors_origins = [self._key], "http://127.0.0.1"
        try:
            self._server = xllamacpp.Server(settings)
        except RuntimeError as error:
            raise MedAnalyzrError(f"llama.cpp cannot load {path.name} ({error}): run 06_export again.") from None

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._server = None

    def _post(self, what: str, **content) -> dict:
        headers = {"Authorization": f"Bearer {self._key}"}
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment is not for this machine
            answer = session.post(f"{self._server.listening_address}/{what}", json=content, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def tokens(self, prompt: str) -> list[int]:
        """The tokens that llama.cpp makes of a prompt, with the BOS that it adds."""
        return self._post("tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]

    def chat_prompt(self, instruction: str, report: str) -> str:
        """The prompt that a chat call makes of an instruction (system) and a report (user), by the template in the file."""
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": report}]
        return self._post("apply-template", messages=messages)["prompt"]

    def chat(self, instruction: str, report: str, max_new_tokens: int) -> Reply:
        """The greedy answer to a chat call."""
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": report}]
        asked = {"messages": messages, "max_tokens": max_new_tokens, **_GREEDY}
        return self._reply(self._server.handle_chat_completions(asked))

    def answer(self, prompt: str, max_new_tokens: int, grammar: str | None = None) -> Reply:
        """The greedy answer to a raw prompt, under a grammar (GBNF) if one is given.

        Raises:
            MedAnalyzrError: llama.cpp refuses (the prompt is longer than the context, or the grammar has a fault).
        """
        asked = {"prompt": prompt, "max_tokens": max_new_tokens, **_GREEDY}
        reply = self._reply(self._server.handle_completions(asked | ({"grammar": grammar} if grammar else {})))
        return reply if reply.ended or not grammar else replace(reply, text=without_cut_number(reply.text))

    def _reply(self, answer: dict) -> Reply:
        if "error" in answer:
            raise MedAnalyzrError(f"llama.cpp refuses the prompt ({answer['error']['message']}): shorten the report.")
        choice, timings = answer["choices"][0], answer["timings"]
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        seconds = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
        ended = choice["finish_reason"] == "stop"
        return Reply(text.strip(), answer["usage"]["completion_tokens"], seconds, ended)


def same_tokens(runtime: Runtime, tokenizer, prompts: Sequence[str]) -> int:
    """How many of `prompts` llama.cpp and the tokenizer of the training cut into the same tokens, BOS included."""
    return sum(runtime.tokens(prompt) == tokens(prompt, tokenizer).input_ids for prompt in prompts)


def ask_all(
    runtime: Runtime, prompts: Sequence[str], max_new_tokens: int, title: str, grammars: Sequence[str | None] = ()
) -> list[Reply]:
    """The answers of a runtime to `prompts`, one after the other, with a bar."""
    bar, replies = Progress(title, len(prompts)), []
    for prompt, grammar in zip(prompts, grammars or [None] * len(prompts), strict=True):
        replies.append(runtime.answer(prompt, max_new_tokens, grammar))
        bar.update(len(replies))
    return replies


def measured(rows: Sequence[dict], replies: Sequence[Reply]) -> dict:
    """What replies to `rows` are worth against the rules (flags right, numbers that follow from the report, analytes invented), and how
    fast they came, in tokens of the answer a second, the reading of the prompt included.
    """
    found = scores([score(row["input"], reply.text, rules_answer(row)) for row, reply in zip(rows, replies, strict=True)])
    follow = found["coverage"]["numbers_that_follow"]
    return {
        "flags right": f"{found['flags']['count']} of {found['flags']['of']}",
        "numbers that follow": f"{follow['count']} of {follow['of']}",
        "analytes invented": found["coverage"]["invented_analytes"],
        "tokens/s": round(sum(reply.tokens for reply in replies) / max(sum(reply.seconds for reply in replies), 1e-9)),
        "seconds/report": round(sum(reply.seconds for reply in replies) / max(len(replies), 1), 1),
    }


def flags_right(rows: Sequence[dict], answers: Sequence[str]) -> tuple[int, int]:
    """Right flags among those that the rules give to the reports of `rows`, and how many those are."""
    scored = [score(row["input"], answer, rules_answer(row)) for row, answer in zip(rows, answers, strict=True)]
    return sum(one.right for one in scored), sum(len(one.lines) for one in scored)


def recommended(right: dict[str, int], total: int, adapter: int) -> str | None:
    """The smallest kind of file whose flags are not worse than the adapter's by more than 1 of 100 (`right` from small to large: flags
    right by kind, of `total`); None where none is.
    """
    return next((kind for kind, count in right.items() if (adapter - count) * 100 <= total), None)
