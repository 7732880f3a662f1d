"""A Hugging Face Trainer with hooks, in one process or, started by torchrun or accelerate launch, in several.

Two methods that it overrides are the Trainer's private ones, `_save_checkpoint` and `_get_train_sampler`; a test says
for which versions of transformers they are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from .._common.folders import explain_write_errors
from ..data.models import quiet
from .arguments import groups_by_length
from .distillation import Teacher
from .evaluation import column
from .hooks import Hook, Progress
from .remembered import Answers
from .sampler import EpochSampler
from .stage_folder import mark_whole, save_hooks


class PruningTrainer(Trainer):
    """A Trainer with hooks and perhaps a teacher; every other argument is the Trainer's.

    `remembered`: the teacher's answers to the training examples, where they are known beforehand. `checkpointed() ->
    dict`: called at each checkpoint, what it returns is kept in it. The Trainer's printed logs are always off, and a
    loss that is not finite ends the training with FloatingPointError.
    """

    def __init__(
        self, *args: Any, hooks: Sequence[Hook] = (), teacher: Teacher | None = None,
        checkpointed: Callable[[], dict[str, Any]] = dict, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        # BERT-like heads take **kwargs yet ignore num_items_in_batch: told otherwise, the Trainer would not divide
        # their mean loss by the accumulation count.
        self.model_accepts_loss_kwargs = False
        self.hooks, self.teacher, self.checkpointed = tuple(hooks), teacher, checkpointed
        self._tokens: torch.Tensor | int = 0  # where the batches are: to read it at each step would stop a GPU
        self.remembered: Answers | None = None
        self.remove_callback(PrinterCallback)
        if self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
        self.add_callback(_HookCalls(self))

    @property
    def tokens(self) -> int:
        """How many tokens this process has trained on, padding left out."""
        return int(self._tokens)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The Trainer's work on one micro-batch; after a step's last one, the hooks on the gradients."""
        inputs: dict[str, Any] = args[1] if len(args) > 1 else kwargs["inputs"]
        self._tokens = self._tokens + inputs["attention_mask"].sum()
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            self.call_hooks("before_optimizer_step")
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """The task's loss, mixed with the teacher's where there is one."""
        if self.teacher is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        loss, outputs = super().compute_loss(model, inputs | self.teacher.asks(), True, **kwargs)
        # Accelerate's autocast is around the student's forward pass alone.
        with torch.autocast(loss.device.type, torch.bfloat16, enabled=self.args.bf16):
            loss = self.teacher.loss(loss, outputs, inputs, self.remembered)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's log, with the hooks' values; a loss that is not finite ends the training."""
        if "loss" in logs:
            logs.update(self.log_values())
        super().log(logs, *args, **kwargs)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(
                f"training diverged: the loss is {logs['loss']} at step {self.state.global_step}; load the model again "
                f"and use a learning_rate below {self.args.learning_rate:g}"
            )

    def log_values(self) -> dict[str, float]:
        """What all hooks have to log now."""
        return {key: value for hook in self.hooks for key, value in hook.log_values().items()}

    def call_hooks(self, method: str) -> None:
        """Call one method of every hook with how far the training is."""
        rate = float(self.optimizer.param_groups[0]["lr"]) if self.optimizer is not None else 0.0
        progress = Progress(self.state.global_step, self.state.max_steps, rate)
        for hook in self.hooks:
            getattr(hook, method)(progress)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with explain_write_errors(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"), quiet():
            super()._save_checkpoint(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in column(data, "input_ids")] if groups_by_length(self.args) else None
        processes = max(1, self.args.world_size)
        batch = self.args.per_device_train_batch_size * processes * self.args.gradient_accumulation_steps
        return EpochSampler(len(data), self.args.seed, batch, lengths)


class _HookCalls(TrainerCallback):
    """Calls every hook when its turn comes."""

    def __init__(self, trainer: PruningTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.call_hooks("started")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.call_hooks("after_optimizer_step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.call_hooks("step_counted")

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A checkpoint at an epoch's last step is written before its end is announced, so only the beginning of the next
        # epoch comes exactly once; a training that resumes within an epoch begins that epoch again, which is skipped.
        if state.global_step > 0 and float(state.epoch).is_integer():
            self.trainer.call_hooks("new_epoch")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()  # each process adds its random state
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            with explain_write_errors(folder):
                save_hooks(folder, self.trainer.hooks, self.trainer.checkpointed())
                mark_whole(folder)
