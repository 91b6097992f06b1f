"""Answers from a model: in batches with left padding, or streamed."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Event, Thread

from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.progress import Progress, live_text
from medanalyzr.dataset.prompts import IGNORED, tokens
from medanalyzr.inference.decoding import write_if_possible
from medanalyzr.inference.guidance.grammar import without_cut_number
from medanalyzr.inference.guidance.guided import Guide, write_guided
from medanalyzr.inference.roomy_cache import roomy_cache

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


def in_a_loop(ids: Sequence[int]) -> bool:
    """Whether a text ends with the same 4 to 64 tokens three times in a row."""
    return any(list(ids[-p:]) == list(ids[-2 * p : -p]) == list(ids[-3 * p : -2 * p]) for p in range(4, min(65, len(ids) // 3 + 1)))


class _Guard(StoppingCriteria):
    """Ends an answer that repeats itself, and all answers once `stopped()` is true or `enough` accepts the tokens written so far."""

    def __init__(self, prompt_length: int, stopped: Callable[[], bool] = lambda: False, enough: Callable = lambda written: False):
        self._start, self._stopped, self._enough = prompt_length, stopped, enough

    def __call__(self, input_ids, scores, **kwargs):
        import torch

        written = input_ids[:, self._start :]
        ended = torch.tensor([in_a_loop(ids) for ids in written[:, -192:].tolist()], device=input_ids.device)
        return ended | (self._stopped() or self._enough(written))


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
    """Greedy answers to a padded batch, as they end: row, tokens, the log-probability of each token, and how many were forced by a
    `guide` (see `inference.guidance.guided`).

    A row ends with `eos`, in a loop, or at its limit. On a CPU, ended rows still cost time at every step; so once a quarter has
    ended, the others continue without them. On a GPU a step takes the same time for any number of rows.
    """
    import torch

    ids, mask, past = inputs["input_ids"], inputs["attention_mask"], roomy_cache()
    start, rows, logs = ids.shape[1], list(range(len(limits))), [[] for _ in limits]
    share = 0.25 if model.device.type == "cpu" else 1
    while rows:
        lengths = torch.tensor([limits[row] for row in rows], device=ids.device)

        def enough(written, lengths=lengths):
            ended = (written == eos).any(1) | (lengths <= written.shape[1])
            return bool(ended.sum() >= max(1, share * len(lengths)))

        watched = _Confidence()
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=past,
                logits_processor=LogitsProcessorList([guide, watched] if guide else [watched]),
                stopping_criteria=StoppingCriteriaList([_Guard(start, enough=enough)]),
                max_new_tokens=int(lengths.max()) - (ids.shape[1] - start),
                do_sample=False,
                use_cache=True,
                return_dict_in_generate=True,
                pad_token_id=pad,
            )
        left = []
        for place, row in enumerate(rows):
            logs[row] += [step[place] for step in watched.steps]
            written = out.sequences[place, start:].tolist()
            if eos in written or pad in written or len(written) >= limits[row] or in_a_loop(written):
                yield row, written[: limits[row]], logs[row], guide.forced[row] if guide else 0
            else:
                left.append(place)
        if guide:
            guide.keep(left)
        if left:
            past.batch_select_indices(torch.tensor(left, device=ids.device))
        new = out.sequences.shape[1] - ids.shape[1]
        ids, mask = out.sequences[left], torch.nn.functional.pad(mask[left], (0, new), value=1)
        rows = [rows[place] for place in left]


def padding_effect(model, tokenizer, prompts: Sequence[str]) -> float:
    """The largest change in the probabilities of the first answer token when the first of `prompts` is in a padded batch with the
    others instead of alone. Near 0 if padding is masked, whatever the model has learnt.
    """
    import torch

    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    found = []
    for asked in (prompts[:1], prompts):
        inputs = tokens(asked, tokenizer, return_tensors="pt", padding=True).to(model.device)
        with torch.inference_mode():
            out = model.generate(
                **inputs, max_new_tokens=1, do_sample=False, pad_token_id=tokenizer.pad_token_id,
                output_scores=True, return_dict_in_generate=True,
            )  # fmt: skip
        found.append(out.scores[0][0].float().softmax(-1))
    tokenizer.padding_side = side
    return float((found[0] - found[1]).abs().max())


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

    Prompts are sorted by length and padded on the left, so that each answer starts where its prompt ends. `keep` is called with
    the place of a prompt and its answer as soon as it is there. With `grammars` (see `inference.guidance.grammar`, one per prompt, None for a
    free answer) the answers are guided.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    order = sorted(range(len(prompts)), key=lambda i: (limits[i], len(prompts[i])))
    answers: dict[int, Answer] = {}
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    whole = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    piece, bar = cache(lambda token: tokenizer.decode([token], **whole)), Progress(title, len(prompts))
    try:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = tokens([prompts[i] for i in batch], tokenizer, return_tensors="pt", padding=True).to(model.device)
            most, forms = [limits[i] for i in batch], [grammars[i] for i in batch] if grammars else []
            if grammars and model.device.type == "cpu":
                written = write_guided(model, tokenizer, inputs, most, forms, in_a_loop)
            else:

                def guide(forms=forms):
                    return Guide(tokenizer, forms) if grammars else None

                written = write_if_possible(model, inputs, most, eos, pad, guide) or _write(model, inputs, most, eos, pad, guide())
            for row, ids, logs, forced in written:
                end = next((k for k, token in enumerate(ids) if token in (eos, pad)), len(ids))
                ended, ids = eos in ids[: end + 1], ids[:end]
                text = tokenizer.decode(ids, **whole)
                confidence = _line_confidence(list(map(piece, ids)), logs[: len(ids)])
                before = len(text) - len(text.lstrip())
                confidence = confidence[text[:before].count("\n") :]
                text = text.strip() if ended or not grammars else without_cut_number(text.strip())
                answers[batch[row]] = Answer(text, len(ids), ended, confidence, not ended and in_a_loop(ids), forced)
                keep(batch[row], answers[batch[row]])
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
