"""A Hugging Face Trainer that keeps hooks: what pruning adds to a training step, and what a checkpoint must hold.

The hooks are in `hooks` and `gradual`, the teacher's part of the loss in `distillation`, the order of examples in
`batching`, what a checkpoint must hold in `resuming`. Works with transformers 4.57 and 5.x, in one process or, started
by torchrun or accelerate launch, in several.

Left out: what to train on and what to report (see `training`).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from ..data.models import quiet
from .distillation import Teacher
from .hooks import Hook, Progress
from .sampler import EpochSampler
from .settings import TrainingSettings
from .stage_folder import make_whole, save_hooks, writing

LOGS = 20


class PruningTrainer(Trainer):
    """A Trainer with hooks and perhaps a teacher; every other argument is the Trainer's.

    `checkpointed() -> dict`: called at each checkpoint, what it returns is kept in it. The Trainer's printed logs are
    always off, and a loss that is not finite ends the training with FloatingPointError.
    """

    def __init__(
        self,
        *args: Any,
        hooks: Sequence[Hook] = (),
        teacher: Teacher | None = None,
        checkpointed: Callable[[], dict[str, Any]] = dict,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # BERT-like heads take **kwargs yet ignore num_items_in_batch: told otherwise, the Trainer would not divide
        # their mean loss by the accumulation count.
        self.model_accepts_loss_kwargs = False
        self.hooks, self.teacher, self.checkpointed = tuple(hooks), teacher, checkpointed
        self.remove_callback(PrinterCallback)
        if self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
        self.add_callback(_HookCalls(self))

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The Trainer's step on one micro-batch; after the last one, the hooks on the gradients."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            progress = self.progress()
            for hook in self.hooks:
                hook.before_step(progress)
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """The task's loss, mixed with the teacher's where there is one."""
        if self.teacher is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        loss, outputs = super().compute_loss(model, inputs, True, **kwargs)
        loss = self.teacher.loss(loss, outputs["logits"], inputs)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's log, with what the hooks see; a loss that is not finite ends the training."""
        if "loss" in logs:
            logs.update(self.log_values())
        super().log(logs, *args, **kwargs)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(
                f"training diverged: the loss is {logs['loss']} at step {self.state.global_step}; load the model again "
                f"and use a learning_rate below {self.args.learning_rate:g}"
            )

    def log_values(self) -> dict[str, float]:
        """What the hooks see now."""
        return {key: value for hook in self.hooks for key, value in hook.log_values().items()}

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with writing(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"), quiet():
            super()._save_checkpoint(*args, **kwargs)

    def progress(self) -> Progress:
        """Where the training stands."""
        rate = float(self.optimizer.param_groups[0]["lr"]) if self.optimizer is not None else 0.0
        return Progress(self.state.global_step, self.state.max_steps, rate)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = self.train_dataset if train_dataset is None else train_dataset
        lengths = None
        if _groups_by_length(self.args):
            columns = getattr(data, "column_names", ())
            lengths = data["length"] if "length" in columns else [len(example["input_ids"]) for example in data]
        processes = max(1, self.args.world_size)
        batch = self.args.per_device_train_batch_size * processes * self.args.gradient_accumulation_steps
        return EpochSampler(len(data), self.args.seed, batch, lengths)


class _HookCalls(TrainerCallback):
    """Calls every hook when its turn comes."""

    def __init__(self, trainer: PruningTrainer) -> None:
        self.trainer = trainer

    def _call(self, method: str) -> None:
        progress = self.trainer.progress()
        for hook in self.trainer.hooks:
            getattr(hook, method)(progress)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._call("started")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._call("after_step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._call("step_ended")

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A checkpoint at an epoch's last step is written before its end is announced, so only the beginning of the next
        # epoch comes exactly once; a training that resumes within an epoch begins that epoch again, and is not meant.
        if state.global_step > 0 and float(state.epoch).is_integer():
            self._call("new_epoch")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()  # each process adds its random state
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            with writing(folder):
                save_hooks(folder, self.trainer.hooks, self.trainer.checkpointed())
                make_whole(folder)


def training_arguments(settings: TrainingSettings, folder: str, examples: int) -> TrainingArguments:
    """The Trainer's arguments for `settings`: nothing printed or reported; about twenty logs in a stage.

    `examples`: how many the training set has. `settings.batch_size` is shared out over the processes. Checkpoints come
    with a log, so that what is logged does not depend on where a run was resumed. Raises ValueError for an optimiser or
    a schedule the Trainer lacks, and a batch that the processes cannot share.
    """
    _known("optimizer", settings.optimizer, [entry.value for entry in OptimizerNames])
    _known("schedule", settings.schedule, [entry.value for entry in SchedulerType])
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % processes:
        raise ValueError(f"batch_size must be a multiple of the {processes} processes; got {settings.batch_size}")
    steps = step_count(settings, examples)
    logging = max(1, steps // LOGS)
    saving: dict[str, Any] = {"save_strategy": "no"}
    if settings.checkpoint_every is not None:
        every = math.ceil(settings.checkpoint_every / logging) * logging
        saving = {"save_strategy": "steps", "save_steps": every, "save_total_limit": 2}
    arguments = TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size // processes,
        per_device_eval_batch_size=64,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        weight_decay=settings.weight_decay,
        warmup_steps=math.ceil(settings.warmup_ratio * steps),  # 5.x has no warmup_ratio
        lr_scheduler_type=settings.schedule,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        bf16=settings.bf16,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        optim=settings.optimizer,
        eval_strategy="no" if settings.evaluate_every is None else "steps",
        eval_steps=settings.evaluate_every,
        logging_steps=logging,
        logging_nan_inf_filter=False,  # a loss that is NaN must be seen, not averaged away
        report_to="none",
        disable_tqdm=not settings.progress,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),  # warns where there is no GPU to pin for
        ddp_find_unused_parameters=True if processes > 1 else None,  # RoBERTa's pooler takes no part
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        **saving,
        **_grouping(settings.group_by_length),
    )
    if arguments.n_gpu > 1:
        # Several GPUs in one process would multiply the batch; `torchrun` is the way to use them.
        arguments._n_gpu = 1
    return arguments


def step_count(settings: TrainingSettings, examples: int) -> int:
    """How many optimiser steps a stage takes on `examples` training examples."""
    if settings.max_steps > 0:
        return settings.max_steps
    batches = math.ceil(examples / settings.batch_size)
    return math.ceil(settings.epochs * max(1, math.ceil(batches / settings.gradient_accumulation_steps)))


def _grouping(asked: bool) -> dict[str, Any]:
    names = {entry.name for entry in dataclasses.fields(TrainingArguments)}
    if not asked:
        return {}
    if "group_by_length" in names:  # transformers 4.57
        return {"group_by_length": True}
    return {"train_sampling_strategy": "group_by_length"}


def _groups_by_length(arguments: Any) -> bool:
    if hasattr(arguments, "group_by_length"):
        return bool(arguments.group_by_length)
    return str(getattr(arguments, "train_sampling_strategy", "")) == "group_by_length"


def _known(name: str, value: str, names: list[str]) -> None:
    if value not in names:
        raise ValueError(f"{name} must be a name the Trainer knows ({', '.join(names[:6])}, ...); got {value!r}")
