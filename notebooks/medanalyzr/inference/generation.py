"""Answers from a model: many at once, or streamed."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Event, Thread

from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.progress import Progress, live_text
from medanalyzr.dataset.prompts import IGNORED, tokens
from medanalyzr.inference.decoding.continuous import PERIODS, in_a_loop, write_continuously
from medanalyzr.inference.decoding.cuda_graphs import write_if_possible
from medanalyzr.inference.guidance.grammar import without_cut_number
from medanalyzr.inference.guidance.guided import Guide

CONTEXT = 4096  # tokens of a prompt and its answer together: 40 results take about 1,900 and 1,600


@dataclass(frozen=True)
class Answer:
    """A generated answer; `ended` is False if it was cut at max_new_tokens, or stopped because it repeats itself (`repeats`).

    `confidence` has the model's probability of each line of `text`: the product over its tokens (under a grammar: among what it
    allows). `forced` counts the tokens that a grammar left no choice for.
    """

    text: str
    tokens: int
    ended: bool
    confidence: tuple[float, ...] = ()
    repeats: bool = False
    forced: int = 0


class _Confidence(LogitsProcessor):
    """Keeps the log-probability of the most likely token, which greedy decoding takes."""

    def __init__(self):
        self.steps: list[list[float]] = []

    def __call__(self, input_ids, scores):
        self.steps.append((scores.amax(-1).float() - scores.float().logsumexp(-1)).tolist())
        return scores


class _Guard(StoppingCriteria):
    """Ends an answer that repeats itself, and all answers once `stopped()` is true."""

    def __init__(self, prompt_length: int, stopped: Callable[[], bool] = lambda: False):
        self._start, self._stopped = prompt_length, stopped

    def __call__(self, input_ids, scores, **kwargs):
        import torch

        ended = [in_a_loop(ids) for ids in input_ids[:, self._start :][:, -3 * PERIODS[1] :].tolist()]
        return torch.tensor(ended, device=input_ids.device) | self._stopped()


def _line_confidence(pieces: Sequence[str], logs: Sequence[float]) -> tuple[float, ...]:
    """The probability of each line of the text whose tokens are `pieces`."""
    sums = [0.0]
    for piece, log in zip(pieces, logs, strict=True):
        sums[-1] += log
        sums += [0.0] * piece.count("\n")
    return tuple(round(math.exp(value), 4) for value in sums)


def _write(
    model, inputs: dict, limits: Sequence[int], eos: int, pad: int, guide=None
) -> Iterator[tuple[int, list[int], list[float], int]]:
    """Greedy answers to a padded batch from `model.generate`: row, tokens, the log-probability of each token, and how many were
    forced by a `guide` (see `inference.guidance.guided`).
    """
    import torch

    watched, start = _Confidence(), inputs["input_ids"].shape[1]
    with torch.inference_mode():
        out = model.generate(
            **inputs,
            logits_processor=LogitsProcessorList([guide, watched] if guide else [watched]),
            stopping_criteria=StoppingCriteriaList([_Guard(start)]),
            max_new_tokens=max(limits),
            do_sample=False,
            pad_token_id=pad,
        )
    for row, limit in enumerate(limits):
        yield row, out[row, start:].tolist()[:limit], [step[row] for step in watched.steps], guide.forced[row] if guide else 0


def _in_padded_batches(model, tokenizer, prompts: Sequence[str], limits: Sequence[int], grammars, batch_size: int):
    """Answers on a GPU, as `write_continuously` gives them on a CPU; padded on the left, so that each starts where its prompt ends."""
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    try:
        for start in range(0, len(prompts), batch_size):
            batch = slice(start, start + batch_size)
            inputs = tokens(prompts[batch], tokenizer, return_tensors="pt", padding=True).to(model.device)

            def guide(forms=grammars[batch]):
                return Guide(tokenizer, forms) if any(forms) else None

            asked = model, inputs, limits[batch], eos, pad
            for row, *answer in write_if_possible(*asked, guide) or _write(*asked, guide()):
                yield start + row, *answer
    finally:
        tokenizer.padding_side = side


def generate(
    model,
    tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int | Sequence[int],
    batch_size: int = 8,
    title: str = "answers",
    keep: Callable[[int, Answer], None] = lambda place, answer: None,
    grammars: Sequence[str | None] = (),
) -> list[Answer]:
    """Greedy answers to `prompts`, in their order; `max_new_tokens` is one limit, or one per prompt.

    The longest prompts come first, `batch_size` at a time. `keep` is called with the place of a prompt and its answer as soon as it
    is there. With `grammars` (see `inference.guidance.grammar`, one per prompt, None for a free answer) the answers are guided.
    Without a `title`, no progress is shown.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])), reverse=True)
    answers, whole = {}, {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    show = Progress(title, len(prompts)).update if title else (lambda done: None)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    piece = cache(lambda token: tokenizer.decode([token], **whole))
    asked, most = [prompts[i] for i in order], [limits[i] for i in order]
    forms = [grammars[i] if grammars else None for i in order]
    if model.device.type == "cpu":
        written = write_continuously(model, tokenizer, tokens(asked, tokenizer).input_ids, most, forms, batch_size)
    else:
        written = _in_padded_batches(model, tokenizer, asked, most, forms, batch_size)
    for place, ids, logs, forced in written:
        end = next((k for k, token in enumerate(ids) if token in (eos, pad)), len(ids))
        ended, ids = eos in ids[: end + 1], ids[:end]
        text = tokenizer.decode(ids, **whole)
        confidence = _line_confidence(list(map(piece, ids)), logs[: len(ids)])
        before = len(text) - len(text.lstrip())
        confidence = confidence[text[:before].count("\n") :]
        text = text.strip() if ended or forms[place] is None else without_cut_number(text.strip())
        answer = Answer(text, len(ids), ended, confidence, not ended and in_a_loop(ids), forced)
        answers[order[place]] = answer
        keep(order[place], answer)
        show(len(answers))
    return [answers[i] for i in range(len(prompts))]


def batch_effect(model, tokenizer, prompts: Sequence[str]) -> float:
    """The largest change in the probability of an answer's first 8 tokens (of each line of them) when the first of `prompts` is
    answered with the others instead of alone. Near 0 if answers do not see each other, whatever the model has learnt.
    """
    alone, together = (generate(model, tokenizer, asked, 8, title="")[0] for asked in (prompts[:1], prompts))
    return max(abs(one - other) for one, other in zip(alone.confidence, together.confidence, strict=False))


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


def check_length(prompt: str, tokenizer, max_new_tokens: int, max_seq_length: int = CONTEXT) -> None:
    """Check that a prompt leaves room for its answer.

    Raises:
        MedAnalyzrError: it does not (the message gives its number of tokens and the limit).
    """
    most = max_seq_length - max_new_tokens
    if len(prompt) > 100 * max_seq_length:
        raise MedAnalyzrError(
            f"The report is too long: {len(prompt):,} characters, and at most {most} tokens leave room for the answer."
        )
    count = len(tokens(prompt, tokenizer).input_ids)
    if count > most:
        raise MedAnalyzrError(
            f"The report is too long: it has {count} tokens with its prompt, and at most {most} leave room for the answer."
        )


def stream(
    model,
    tokenizer,
    prompt: str,
    max_new_tokens: int,
    temperature: float = 0.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """The answer to one prompt, piece by piece as it is generated; greedy at temperature 0, else sampled.

    It ends early if `stopped()` is true or it repeats itself. If the caller is interrupted or stops reading, the model stops, too.
    An error of the model is raised here.

    Raises:
        MedAnalyzrError: the prompt is too long.
    """
    import torch
    from transformers import TextIteratorStreamer

    check_length(prompt, tokenizer, max_new_tokens)
    if model.device.type == "cpu" and not temperature:
        asked, shown = ([tokens(prompt, tokenizer).input_ids], [max_new_tokens], [None]), ""
        for _, ids, *_ in write_continuously(model, tokenizer, *asked, most=1, unfinished=True):
            text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            if not text.endswith("�"):  # the first bytes of a character
                yield text[len(shown) :]
                shown = text
            if stopped():
                break
        return
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    inputs = tokens(prompt, tokenizer, return_tensors="pt").to(model.device)
    drawn = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    failure: list[BaseException] = []
    left = Event()

    def work() -> None:
        try:
            with torch.inference_mode():
                model.generate(
                    **inputs,
                    **drawn,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList(
                        [_Guard(inputs["input_ids"].shape[1], lambda: left.is_set() or stopped())]
                    ),
                    max_new_tokens=max_new_tokens,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )
        except BaseException as error:
            failure.append(error)
            streamer.end()

    thread = Thread(target=work)
    thread.start()
    try:
        yield from streamer
    finally:
        left.set()
        thread.join()
    if failure:
        raise failure[0]


def show_stream(pieces: Iterator[str]) -> str:
    """Show an answer while it is generated, in one output of the notebook; returns the whole text."""
    show, text = live_text(), ""
    for piece in pieces:
        text += piece
        show(text)
    return text
