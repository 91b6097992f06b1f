"""Answers saved in a file, one per line, so that an interrupted evaluation resumes where it stopped."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path

from medanalyzr.core.run_folder import json_lines
from medanalyzr.inference.generation import Answer

Generate = Callable[[Sequence[str], Sequence[int], Callable[[int, Answer], None]], list[Answer]]


def weights_hash(adapter: Path) -> str:
    """A short hash of the weights in an adapter folder; another training has another hash."""
    return hashlib.sha256((Path(adapter) / "adapter_model.safetensors").read_bytes()).hexdigest()[:16]


def source_of(adapter: Path, guided: str = "off") -> str:
    """The name of an adapter in an `AnswerBook`: the hash of its weights, and whether its answers were `guided` ("on" or "off")."""
    return f"adapter {weights_hash(adapter)}" + (", guided" if guided == "on" else "")


def _hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


class AnswerBook:
    """The answers in a JSON-lines file: `source`, `asked` (the prompt's hash), `limit`, and the fields of `Answer`.

    An incomplete last line is dropped.
    """

    def __init__(self, path: Path):
        self._path, self._kept = path, {}
        for line in json_lines(path.read_bytes()) if path.is_file() else ():
            try:
                entry = json.loads(line.decode())
                key = tuple(entry.pop(name) for name in ("source", "asked", "limit"))
                self._kept[key] = Answer(**entry | {"confidence": tuple(entry["confidence"])})
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def known(self, source: str, prompts: Sequence[str]) -> list[Answer]:
        """The kept answers of `source` to `prompts`, whatever their limit, up to the first prompt that it has not answered."""
        kept = {asked: answer for (name, asked, _), answer in self._kept.items() if name == source}
        answers = (kept.get(_hash(prompt)) for prompt in prompts)
        return list(takewhile(lambda answer: answer is not None, answers))

    def ask(self, source: str, prompts: Sequence[str], limits: Sequence[int], generate: Generate) -> list[Answer]:
        """The answers of `source` to `prompts`, each of at most `limits` tokens, in order.

        `source` names the model and its weights. Answers that the file lacks come from `generate(prompts, limits, keep)` and are
        saved one by one.
        """
        keys = [(source, _hash(prompt), limit) for prompt, limit in zip(prompts, limits, strict=True)]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._kept}
        if new:
            places = list(new)
            with self._path.open("a+b") as file:
                file.seek(max(0, self._path.stat().st_size - 1))
                file.write(b"" if file.read() in (b"", b"\n") else b"\n")

                def keep(place: int, answer: Answer) -> None:
                    self._kept[places[place]] = answer
                    entry = dict(zip(("source", "asked", "limit"), places[place], strict=True)) | asdict(answer)
                    file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
                    file.flush()

                generate(list(new.values()), [limit for _, _, limit in places], keep)
        return [self._kept[key] for key in keys]
