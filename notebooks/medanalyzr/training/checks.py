"""Checks around a training: each guards against a run that finishes normally and has taught nothing, or the wrong thing."""

from collections.abc import Mapping, Sequence

import numpy as np

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.processes import own_share
from medanalyzr.dataset.prompts import IGNORED, first_learnt, format_prompt, tokens
from medanalyzr.training.encoding import in_steps
from medanalyzr.training.profiles import TARGET_MODULES

TOO_LONG = 0.2  # a training is refused if a larger share of its rows exceeds max_seq_length
ISOLATION = 0.02  # relative difference of packed and separate losses that rounding may explain


def _checked_first(example: Mapping[str, Sequence[int]], i: int, tokenizer) -> int:
    """Where the learnt tokens of training row `i` begin: all from there on, to the end token.

    Raises:
        MedAnalyzrError: there is none, the last is not the end token, or the labels are not the example's own tokens.
    """
    ids, labels = (np.asarray(example[name]) for name in ("input_ids", "labels"))
    first = first_learnt(labels)
    if first == len(labels):
        raise MedAnalyzrError(f"Training row {i}: every label is masked, so it teaches nothing: correct encode in 03_train.")
    if labels[-1] != tokenizer.eos_token_id:
        raise MedAnalyzrError(
            f"Training row {i} does not end with {tokenizer.eos_token}, so the model would not learn to stop: correct encode in 03_train."
        )
    if not np.array_equal(labels[first:], ids[first:]):
        raise MedAnalyzrError(
            f"Training row {i}: after the first learnt label not every label is its own token: correct encode in 03_train."
        )
    return first


def check_examples(
    examples: Sequence[Mapping[str, Sequence[int]]], rows: Sequence[Mapping[str, str]], tokenizer, train_on: str = "answer"
) -> dict[str, str]:
    """Check encoded examples (lists or arrays) against the rows they come from; returns the finding of each check.

    Prompts are made into tokens and answers into text once more. Of several processes each does this for its share; together they do
    it for all examples, and one that finds a fault ends the training.

    Raises:
        MedAnalyzrError: padding equals the end token; an example does not end with EOS, does not start with the prompt of
            inference, or has no labels or others than its own tokens; or its labels do not spell the answer, the whole answer alone.
    """
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        raise MedAnalyzrError(
            "The tokenizer pads with its end token, so the model would never learn to stop: set another pad_token."
        )
    firsts = [_checked_first(example, i, tokenizer) for i, (example, _) in enumerate(zip(examples, rows, strict=True), 1)]
    share = own_share(len(rows))
    for step in in_steps(share):
        asked = tokens([format_prompt(rows[i]) for i in step], tokenizer, return_attention_mask=False).input_ids
        begins = firsts[step.start : step.stop] if train_on == "answer" else [len(prompt) for prompt in asked]
        texts = tokenizer.batch_decode([examples[i]["input_ids"][begin:-1] for i, begin in zip(step, begins, strict=True)])
        for i, prompt, text in zip(step, asked, texts, strict=True):
            if not np.array_equal(examples[i]["input_ids"][: len(prompt)], prompt):
                raise MedAnalyzrError(
                    f"Training row {i + 1} does not start with the prompt that inference uses: correct encode in 03_train."
                )
            if text.strip() != rows[i]["output"].strip() or firsts[i] != (len(prompt) if train_on == "answer" else 0):
                raise MedAnalyzrError(
                    f"Training row {i + 1}: the learnt tokens do not spell its answer, but {text[:80]!r}: "
                    "correct encode in 03_train or the row."
                )
    return {
        "end of text": f"every example ends with {tokenizer.eos_token}",
        "padding": f"{tokenizer.pad_token}, not the end token",
        "prompt": "the same tokens as at inference",
        "labels": f"{len(examples)} of {len(examples)} spell their answer",
    }


def check_over_length(rows: int, kept: int, max_seq_length: int) -> dict[str, str]:
    """How many rows are too long.

    Raises:
        MedAnalyzrError: more than a fifth of them are, or there are no rows.
    """
    if not rows:
        raise MedAnalyzrError("No training row is left: set subset='all', or prepare another dataset with 02_data.")
    share = 1 - kept / rows
    if share > TOO_LONG:
        raise MedAnalyzrError(
            f"{rows - kept} of {rows} training rows are over max_seq_length={max_seq_length}, too many to leave out: raise it."
        )
    return {"over length": f"{rows - kept} of {rows} rows ({share:.1%}) left out"}


def expected_adapter(model, r: int) -> tuple[set[str], int]:
    """Names of the adapted projections of `model`, and their trainable parameters for rank `r`: r × (inputs + outputs) each (LoRA: Hu
    et al., arXiv:2106.09685).
    """
    names, count = set(), 0
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        if last in TARGET_MODULES:
            names.add(last)
            count += r * (module.in_features + module.out_features)
    return names, count


def check_adapter(model, r: int) -> dict[str, str]:
    """Check that the seven projections of all layers are adapted and that nothing else is trained.

    Raises:
        MedAnalyzrError: other modules are trained, or another number of parameters.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    modules = {part for name in trained for part in name.split(".") if part in TARGET_MODULES}
    count, (names, expected) = sum(p.numel() for p in trained.values()), expected_adapter(model, r)
    foreign = [name for name in trained if "lora_" not in name]
    if foreign or modules != set(TARGET_MODULES) or names != modules or count != expected:
        raise MedAnalyzrError(
            f"The adapter is not the expected one: {count:,} trainable parameters in {', '.join(sorted(modules)) or 'no module'}"
            f"{f' and {foreign[0]}' if foreign else ''}, expected {expected:,} in {', '.join(sorted(TARGET_MODULES))}: correct "
            "the call of get_peft_model in 03_train."
        )
    return {"adapter": f"{count:,} trainable parameters in {', '.join(sorted(modules))}, rank {r}"}


def _first_batch(trainer) -> Mapping:
    """The first training batch; the random state from which the training starts is not changed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return dict(next(iter(trainer.get_train_dataloader())))


def _packed_examples(batch: Mapping) -> list[dict]:
    """The examples of a packed batch (`input_ids` and `labels`, 1 × tokens), each with the shared prefix in front; none if each row
    is one example.
    """
    import torch

    lengths = batch["packed_seq_lengths"].tolist() if "packed_seq_lengths" in batch else []
    if len(lengths) <= batch["input_ids"].shape[0]:
        return []
    parts = [batch[name][:, : sum(lengths)].split(lengths, 1) for name in ("input_ids", "labels")]
    if "prefix_seg_info" in batch:
        parts = [[torch.cat([part[0], rest], 1) for rest in part[1:]] for part in parts]
    return [{"input_ids": ids, "labels": labels} for ids, labels in zip(*parts, strict=True)]


def check_trainer(trainer, packing: bool) -> dict[str, str]:
    """Check the first batch and the actual settings of the trainer; returns the finding of each check.

    Raises:
        MedAnalyzrError: a column makes the trainer build its own prompts, padding has labels, packing was silently dropped, or the
            adapter weights are not float32.
    """
    columns = set(trainer.train_dataset.column_names)
    if extra := columns & {"prompt", "completion", "text", "messages"}:
        raise MedAnalyzrError(
            f"The training set has the column {', '.join(extra)}: the trainer would build its own prompts from it; remove it."
        )
    batch = _first_batch(trainer)
    packed = len(_packed_examples(batch))
    if packing and not packed:
        raise MedAnalyzrError(
            "Packing was requested, but the trainer does not pack: set packing='off', or read the notices of Unsloth above."
        )
    if "attention_mask" in batch and bool((batch["labels"][batch["attention_mask"] == 0] != IGNORED).any()):
        raise MedAnalyzrError(
            "Padding is not masked in the labels, so the model would learn to pad: use the trainer's own collator."
        )
    kinds = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
    if [str(kind) for kind in kinds] != ["torch.float32"]:
        raise MedAnalyzrError(
            f"The adapter trains in {', '.join(map(str, kinds))}: small updates would be rounded away; use float32."
        )
    rows, length = batch["input_ids"].shape
    return {
        "columns": ", ".join(sorted(columns)),
        "first batch": f"{rows} × {length} tokens, {f'{packed} examples packed' if packed else 'padding masked'}",
    }


def check_isolation(trainer) -> dict[str, str]:
    """Check that packed examples do not see each other, and that all of them see their shared prefix: the first packed batch must
    have the same loss as its examples one by one.

    Returns an empty dict if the trainer does not pack.

    Raises:
        MedAnalyzrError: the losses differ by more than rounding explains.
    """
    import torch

    batch = _first_batch(trainer)
    examples = _packed_examples(batch)
    if not examples:
        return {}

    def loss_of(part: dict) -> tuple[float, int]:
        part = {name: value.to(trainer.model.device) if isinstance(value, torch.Tensor) else value for name, value in part.items()}
        with torch.no_grad(), trainer.compute_loss_context_manager():
            return float(trainer.model(**part, use_cache=False).loss), int((part["labels"][:, 1:] != IGNORED).sum())

    was_training = trainer.model.training
    trainer.model.eval()
    together, _ = loss_of(batch)
    parts = [loss_of(example) for example in examples]
    trainer.model.train(was_training)
    alone = sum(loss * n for loss, n in parts if n) / sum(n for _, n in parts)
    spared = getattr(batch.get("prefix_seg_info"), "spared", 0)
    if not abs(together - alone) <= ISOLATION * alone:
        fault, do = ("do not see what they share", "on") if spared else ("see each other", "off")
        raise MedAnalyzrError(
            f"Packed examples {fault}: their loss is {together:.4f} together and {alone:.4f} one by one; set packing='{do}'."
        )
    return {
        "packing": f"{len(parts)} examples in a row, {spared} tokens spared, loss {together:.4f} together, {alone:.4f} one by one"
    }


def check_fall(losses: Sequence[float], trained: bool = False) -> str:
    """The first and the last loss in words, each the mean of five steps.

    Raises:
        MedAnalyzrError: the loss has not fallen after 20 steps or more, with an adapter that was not `trained` before.
    """
    first, last = (sum(part) / len(part) for part in (losses[:5], losses[-5:]))
    if len(losses) >= 20 and not (trained or last < first):
        raise MedAnalyzrError(
            f"The loss did not fall ({first:.2f} at first, {last:.2f} at the end): "
            "lower learning_rate if it rose; raise it if it hardly changed."
        )
    return f"{first:.2f} over the first five steps, {last:.2f} over the last five"
