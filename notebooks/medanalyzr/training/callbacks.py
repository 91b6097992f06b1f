"""Callbacks of a training: the progress bar, the counts of each step, and the stop of a training that fails."""

import math
import time

from accelerate.utils import reduce
from transformers import TrainerCallback

from medanalyzr.core.errors import MedAnalyzrError
from medanalyzr.core.progress import Progress

LOSS_FLOOR, FIRST_STEPS = 1e-3, 10  # so low a loss so early means that labels or weights are wrong (unsloth issue 2957)
FP16_SKIPS = 20  # fp16 finds its loss scale by skipping steps with infinite gradients; more than this in a row is an error


class ShowProgress(TrainerCallback):
    """A bar with the remaining time and the last loss; adds seconds and tokens to each logged step; stops a training that fails.

    Tokens are counted without padding, and a shared prefix counts in each example. They are summed on the device and read together
    with the loss, so that no step waits for its count. The seconds of a step include loading its batch, but not validation and
    saving. With an adapter that was `trained` before, a low loss in the first steps
    does not stop the training.
    """

    hook = None

    def __init__(self, trained: bool = False):
        self.trained = trained

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        if self.hook:
            self.hook.remove()  # left by an interrupted training of this process
        self.bar, self.skipped = Progress("training", state.max_steps), 0
        self.bar.resume_at(state.global_step)
        self.tokens_before, self.counted, self.checkpointing = int(state.num_input_tokens_seen), 0, None
        pad = processing_class.pad_token_id

        def count(module, arguments, inputs):
            if module.training:
                mask = inputs.get("attention_mask")
                self.counted += (inputs["input_ids"] != pad if mask is None else mask).sum()
                self.counted += getattr(inputs.get("prefix_seg_info"), "spared", 0)

        self.hook = model.register_forward_pre_hook(count, with_kwargs=True)
        self.began = time.monotonic()

    def on_train_end(self, args, state, control, **kwargs):
        self.hook.remove()

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.checkpointing is None:
            self.checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())

    def on_evaluate(self, args, state, control, **kwargs):
        self.began = time.monotonic()

    def on_save(self, args, state, control, **kwargs):
        self.began = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in (logs or {}):
            return
        state.num_input_tokens_seen = self.tokens_before + int(reduce(self.counted, "sum"))
        now = time.monotonic()
        state.log_history[-1] |= {"seconds": round(now - self.began, 4), "num_input_tokens_seen": state.num_input_tokens_seen}
        self.began = now
        loss, gradient = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
        if not math.isfinite(loss):
            self._stop(state, f"The loss is {loss}", "lower learning_rate")
        if loss < LOSS_FLOOR and state.global_step <= FIRST_STEPS and not self.trained:
            self._stop(state, f"The loss is {loss:.5f}, which no model reaches so early", "look at the labels and the base model")
        self.skipped = 0 if math.isfinite(gradient) else self.skipped + 1
        if self.skipped > (FP16_SKIPS if args.fp16 else 0):
            self._stop(state, f"The gradient norm is {gradient}", "lower learning_rate, or use another precision")
        self.bar.update(state.global_step, f"loss {loss:.3f}")

    @staticmethod
    def _stop(state, what: str, do: str) -> None:
        raise MedAnalyzrError(f"{what} at step {state.global_step}: {do}; the last checkpoint is kept in checkpoints/.")
