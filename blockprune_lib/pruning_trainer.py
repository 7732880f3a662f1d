"""A Hugging Face Trainer that knows the three things pruning adds to a training step.

    task loss, divided by the accumulation count -> backward          the Trainer's own
    penalty on the current weights -> backward, once a step           method "penalty"
    gradients of pruned weights to zero                               masks
    clip, optimiser step                                              the Trainer's own
    group soft-threshold with step size = learning rate               method "proximal"
    pruned weights to +0.0                                            masks
    alpha = 1 / (||W_g|| + eps), every so many steps or epochs        refresh

The penalty's gradient is added after the last micro-batch, so it counts once a step however the batch is cut up, and
each process of a distributed run adds the same one. Works with transformers 4.57 and 5.x.

Left out: what to train on and what to report (see `training`); checkpoints to resume from.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from .lasso import ReweightedGroupLasso
from .masking import HeldMasks
from .stages import TrainingSettings


class PruningTrainer(Trainer):
    """A Trainer with a penalty, masks, or both; every other argument is the Trainer's.

    `penalty`: a `ReweightedGroupLasso` over the model. `method`: "penalty" (its gradient joins the task's) or
    "proximal" (a decoupled group soft-threshold after the optimiser's step, which gives exact zeros). `refresh_every`:
    steps between two `penalty.reweight()`, "epoch", or None for never; the end of training refreshes nothing.
    `masks`: {parameter name: bool tensor}, held to the last bit. `observe(step) -> dict`: called at each log, what it
    returns is logged too. `progress`: show the Trainer's bars; its printed logs are always off.
    """

    def __init__(
        self,
        *args: Any,
        penalty: ReweightedGroupLasso | None = None,
        method: str = "penalty",
        refresh_every: int | str | None = None,
        masks: Mapping[str, torch.Tensor] | None = None,
        observe: Callable[[], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # BERT-like heads take **kwargs yet ignore num_items_in_batch: told otherwise, the Trainer would not divide
        # their mean loss by the accumulation count.
        self.model_accepts_loss_kwargs = False
        self.penalty, self.method, self.refresh_every = penalty, method, refresh_every
        self.held = HeldMasks(self.model, masks) if masks is not None else None
        self.observe = observe
        self.refreshes = 0
        self.remove_callback(PrinterCallback)
        if self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
        self.add_callback(_AfterTheOptimizer(self))
        if self.held is not None:
            self.held.mask_weights_()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The Trainer's step on one micro-batch; after the last one, the penalty's gradient and the masks."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            if self.penalty is not None and self.method == "penalty":
                value = self.penalty()
                if value.requires_grad:
                    value.backward()
            if self.held is not None:
                self.held.mask_gradients_()
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's log, with what `observe` sees; a loss that is not finite ends the training."""
        if self.observe is not None and "loss" in logs:
            logs.update(self.observe())
        super().log(logs, *args, **kwargs)
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FloatingPointError(
                f"training diverged: the loss is {logs['loss']} at step {self.state.global_step}; load the model again "
                f"and use a learning_rate below {self.args.learning_rate:g}"
            )


class _AfterTheOptimizer(TrainerCallback):
    """Proximal step, masks and refresh, which come after the optimiser's step."""

    def __init__(self, trainer: PruningTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        if trainer.penalty is not None and trainer.method == "proximal":
            trainer.penalty.proximal_(float(trainer.optimizer.param_groups[0]["lr"]))
        if trainer.held is not None:
            trainer.held.mask_weights_()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        every = self.trainer.refresh_every
        if isinstance(every, int) and state.global_step % every == 0:
            self._refresh(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.refresh_every == "epoch":
            self._refresh(state)

    def _refresh(self, state: Any) -> None:
        if self.trainer.penalty is not None and state.global_step < state.max_steps:
            self.trainer.penalty.reweight()
            self.trainer.refreshes += 1


def training_arguments(settings: TrainingSettings, folder: str, examples: int) -> TrainingArguments:
    """The Trainer's arguments for `settings`: nothing printed, reported or saved; about twenty logs in a stage.

    `examples`: how many the training set has. Raises ValueError for an optimiser or a schedule the Trainer lacks.
    """
    _known("optimizer", settings.optimizer, [entry.value for entry in OptimizerNames])
    _known("schedule", settings.schedule, [entry.value for entry in SchedulerType])
    steps = step_count(settings, examples)
    names = {entry.name for entry in dataclasses.fields(TrainingArguments)}
    grouping: dict[str, Any] = {}
    if not settings.group_by_length:
        pass
    elif "group_by_length" in names:  # transformers 4.57
        grouping = {"group_by_length": True}
    else:
        grouping = {"train_sampling_strategy": "group_by_length"}
    arguments = TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
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
        logging_steps=max(1, steps // 20),
        logging_nan_inf_filter=False,  # a loss that is NaN must be seen, not averaged away
        save_strategy="no",
        report_to="none",
        disable_tqdm=not settings.progress,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),  # warns where there is no GPU to pin for
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        **grouping,
    )
    if arguments.n_gpu > 1:
        # Several GPUs in one process would multiply the batch; `torchrun` is the way to use them.
        arguments._n_gpu = 1
    return arguments


def step_count(settings: TrainingSettings, examples: int) -> int:
    """How many optimiser steps a stage takes on `examples` training examples, in one process."""
    if settings.max_steps > 0:
        return settings.max_steps
    batches = math.ceil(examples / settings.batch_size)
    return math.ceil(settings.epochs * max(1, math.ceil(batches / settings.gradient_accumulation_steps)))


def _known(name: str, value: str, names: list[str]) -> None:
    if value not in names:
        raise ValueError(f"{name} must be a name the Trainer knows ({', '.join(names[:6])}, ...); got {value!r}")
