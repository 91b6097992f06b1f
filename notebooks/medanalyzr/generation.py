"""Answers from a model: in batches with left padding, or streamed."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Thread

from transformers import LogitsProcessor, LogitsProcessorList

from medanalyzr.progress import Progress, live_text
from medanalyzr.prompts import IGNORED, tokens


@dataclass(frozen=True)
class Answer:
    """A generated answer; `ended` is False when it was cut at max_new_tokens.

    `confidence` has the model's probability of each line of `text`: the product over its tokens.
    """

    text: str
    tokens: int
    ended: bool
    confidence: tuple[float, ...] = ()


class _Confidence(LogitsProcessor):
    """Keeps the log-probability of the most probable token, which is the one a greedy answer takes."""

    def __init__(self):
        self.steps: list[list[float]] = []

    def __call__(self, input_ids, scores):
        self.steps.append((scores.amax(-1).float() - scores.float().logsumexp(-1)).tolist())
        return scores


def _line_confidence(pieces: Sequence[str], logs: Sequence[float]) -> tuple[float, ...]:
    """The probability of each line that `pieces` (the text of each token) spell."""
    sums = [0.0]
    for piece, log in zip(pieces, logs, strict=True):
        sums[-1] += log
        sums += [0.0] * piece.count("\n")
    return tuple(round(math.exp(value), 4) for value in sums)


def generate(
    model,
    tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int | Sequence[int],
    batch_size: int = 8,
    title: str = "answers",
    keep: Callable[[int, Answer], None] = lambda place, answer: None,
) -> list[Answer]:
    """Greedy answers to `prompts`, in their order; `max_new_tokens` is one limit, or one per prompt.

    Prompts are sorted by length and padded on the left, so that each answer starts where its prompt ends. A batch runs
    to the highest limit of its prompts. `keep` is called with the place of a prompt and its answer as soon as it is there.
    """
    import torch

    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])))
    answers: dict[int, Answer] = {}
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    whole = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    bar = Progress(title, len(prompts))
    try:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = tokens([prompts[i] for i in batch], tokenizer, return_tensors="pt", padding=True).to(model.device)
            watched = _Confidence()
            with torch.inference_mode():
                out = model.generate(
                    **inputs,
                    logits_processor=LogitsProcessorList([watched]),
                    max_new_tokens=max(limits[i] for i in batch),
                    do_sample=False,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )
            for place, (i, ids) in enumerate(zip(batch, out[:, inputs["input_ids"].shape[1] :].tolist(), strict=True)):
                ended = tokenizer.eos_token_id in ids
                ids = ids[: ids.index(tokenizer.eos_token_id)] if ended else ids
                text = tokenizer.decode(ids, **whole)
                confidence = _line_confidence(
                    [tokenizer.decode([t], **whole) for t in ids], [step[place] for step in watched.steps[: len(ids)]]
                )
                before = len(text) - len(text.lstrip())
                answers[i] = Answer(text.strip(), len(ids), ended, confidence[text[:before].count("\n") :])
                keep(i, answers[i])
            bar.update(len(answers))
    finally:
        tokenizer.padding_side = side
    return [answers[i] for i in range(len(prompts))]


def answer_loss(model, examples: Sequence[dict]) -> float:
    """The mean loss per answer token of encoded examples (see `prompts.encode`), one example at a time.

    Raises:
        ValueError: there is no example.
    """
    import torch

    total, count = 0.0, 0
    model.eval()
    for example in examples:
        batch = {name: torch.tensor([example[name]], device=model.device) for name in ("input_ids", "labels")}
        with torch.no_grad(), torch.autocast(model.device.type, dtype=model.dtype, enabled=model.device.type == "cuda"):
            learnt = int((batch["labels"][:, 1:] != IGNORED).sum())
            total += learnt * float(model(**batch, use_cache=False).loss)
            count += learnt
    if not count:
        raise ValueError("no example")
    return total / count


def unpack_on_cpu(model) -> None:
    """On a CPU, decode the 4-bit weights once instead of at every use; on a GPU, do nothing.

    The weights keep the values that 4 bits give them, in four bytes each; the adapter is untouched.
    """
    import bitsandbytes
    import torch

    if model.device.type != "cpu":
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, bitsandbytes.nn.Linear4bit):
                weight = bitsandbytes.functional.dequantize_4bit(child.weight.data, child.weight.quant_state)
                linear = torch.nn.Linear(child.in_features, child.out_features, bias=False, device="meta")
                linear.weight = torch.nn.Parameter(weight, requires_grad=False)
                setattr(parent, name, linear)


def stream(model, tokenizer, prompt: str, max_new_tokens: int) -> Iterator[str]:
    """The greedy answer to one prompt, piece by piece as it is generated. An error of the model is raised here."""
    import torch
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    inputs = tokens(prompt, tokenizer, return_tensors="pt").to(model.device)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            with torch.inference_mode():
                model.generate(
                    **inputs,
                    streamer=streamer,
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )
        except BaseException as error:
            failure.append(error)
            streamer.end()

    thread = Thread(target=work)
    thread.start()
    yield from streamer
    thread.join()
    if failure:
        raise failure[0]


def show_stream(pieces: Iterator[str]) -> str:
    """Show an answer while it is generated, in one place of the notebook; returns the whole text."""
    show, text = live_text(), ""
    for piece in pieces:
        text += piece
        show(text)
    return text
