"""`TrainingSettings` as the Hugging Face Trainer's arguments: transformers 4.57 and 5.x, one process or several."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from .._common.checks import one_of
from ..machine.cpu import host_features
from .settings import TrainingSettings

LOGS = 20
#: The settings that have the same name and meaning there.
SAME = {"learning_rate", "max_steps", "weight_decay", "max_grad_norm", "seed", "gradient_accumulation_steps"}
#: LLVM's names of what multiplies bfloat16: AMX, AVX-512, Arm.
_MULTIPLY_BFLOAT16 = ("amx-bf16", "avx512bf16", "bf16")
#: How the Trainer is asked for batches of similar length.
BY_LENGTH: dict[str, Any] = (
    {"group_by_length": True}
    if "group_by_length" in {field.name for field in dataclasses.fields(TrainingArguments)}  # transformers 4.57
    else {"train_sampling_strategy": "group_by_length"}
)


def check_names(settings: TrainingSettings) -> None:
    """Raise ValueError for an optimiser or a schedule that the Trainer does not know."""
    one_of(settings.optimizer, "optimizer", [entry.value for entry in OptimizerNames])
    one_of(settings.schedule, "schedule", [entry.value for entry in SchedulerType])


def training_arguments(settings: TrainingSettings, folder: str, examples: int) -> TrainingArguments:
    """The Trainer's arguments for `settings`: nothing printed or reported; about twenty logs in a stage.

    `examples`: how many the training set has. `settings.batch_size` is divided among the processes. Checkpoints come
    with a log, so that what is logged does not depend on where a run was resumed. Raises ValueError for an optimiser or
    a schedule that the Trainer does not know, and a batch that does not divide among the processes.
    """
    check_names(settings)
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
        output_dir=folder, num_train_epochs=settings.epochs, lr_scheduler_type=settings.schedule,
        optim=settings.optimizer, logging_steps=logging, report_to="none", disable_tqdm=not settings.progress,
        per_device_train_batch_size=settings.batch_size // processes, per_device_eval_batch_size=64,
        eval_strategy="no" if settings.evaluate_every is None else "steps", eval_steps=settings.evaluate_every,
        warmup_steps=math.ceil(settings.warmup_ratio * steps),  # 5.x has no warmup_ratio
        logging_nan_inf_filter=False,  # a loss that is NaN must be seen, not averaged away
        dataloader_pin_memory=torch.cuda.is_available(),  # warns where there is no GPU to pin for
        ddp_find_unused_parameters=True if processes > 1 else None,  # RoBERTa's pooler takes no part
        bf16=in_bfloat16(settings), remove_unused_columns=False,  # the collator takes what it needs
        use_cpu=trains_on_cpu(),
        **settings.model_dump(include=SAME), **saving, **(BY_LENGTH if settings.group_by_length else {}),
    )  # fmt: skip
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several in one process would multiply the batch; `torchrun` is the way to use them
    return arguments


def trains_on_cpu() -> bool:
    """Whether no accelerator is there that stages train on."""
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def in_bfloat16(settings: TrainingSettings) -> bool:
    """Whether a stage multiplies in bfloat16 here: as told, or with "auto" where GPU or processor does so itself."""
    if settings.bf16 != "auto":
        return settings.bf16
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(host_features().get(feature, False) for feature in _MULTIPLY_BFLOAT16)


def step_count(settings: TrainingSettings, examples: int) -> int:
    """How many optimiser steps a stage takes on `examples` training examples."""
    if settings.max_steps > 0:
        return settings.max_steps
    batches = math.ceil(examples / settings.batch_size)
    return math.ceil(settings.epochs * max(1, math.ceil(batches / settings.gradient_accumulation_steps)))


def groups_by_length(arguments: TrainingArguments) -> bool:
    """Whether the Trainer's arguments ask for batches of similar length."""
    return all(str(getattr(arguments, name)) == str(value) for name, value in BY_LENGTH.items())
