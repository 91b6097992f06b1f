"""Answers from a model: in batches with left padding, or streamed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Thread

from medanalyzr.progress import Progress, live_text
from medanalyzr.prompts import tokens


@dataclass(frozen=True)
class Answer:
    """A generated answer; `ended` is False when it was cut at max_new_tokens."""

    text: str
    tokens: int
    ended: bool


def generate(
    model, tokenizer, prompts: Sequence[str], max_new_tokens: int | Sequence[int], batch_size: int = 8, title: str = "answers"
) -> list[Answer]:
    """Greedy answers to `prompts`, in their order; `max_new_tokens` is one limit, or one per prompt.

    Prompts are sorted by length and padded on the left, so that each answer starts where its prompt ends. A batch runs
    to the highest limit of its prompts.
    """
    import torch

    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])))
    answers: dict[int, Answer] = {}
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    bar = Progress(title, len(prompts))
    try:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = tokens([prompts[i] for i in batch], tokenizer, return_tensors="pt", padding=True).to(model.device)
            with torch.inference_mode():
                out = model.generate(
                    **inputs,
                    max_new_tokens=max(limits[i] for i in batch),
                    do_sample=False,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )
            for i, ids in zip(batch, out[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
                ended = tokenizer.eos_token_id in ids
                ids = ids[: ids.index(tokenizer.eos_token_id)] if ended else ids
                answers[i] = Answer(tokenizer.decode(ids, skip_special_tokens=True).strip(), len(ids), ended)
            bar.update(len(answers))
    finally:
        tokenizer.padding_side = side
    return [answers[i] for i in range(len(prompts))]


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
