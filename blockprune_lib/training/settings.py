"""How one training stage is trained: `TrainingSettings`, checked when they are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from .._common.settings import Number, Positive, Settings, Whole

#: How the penalty acts: its gradient joins the loss's, or each step is followed by a soft-threshold.
PenaltyMethod = Literal["penalty", "proximal"]
#: λ is the same all along, or grows evenly to its value at the last step.
LamSchedule = Literal["constant", "rise"]
#: What gradual pruning ranks groups by.
PruningScore = Literal["magnitude", "movement", "sensitivity"]
#: What retraining computes with: dense layers under masks, or block-sparse layers.
Support = Literal["masks", "packed"]
#: Multiply in bfloat16: always, never, or "auto": where the processor has instructions for it.
Bfloat16 = bool | Literal["auto"]
#: Settings that came later: where they are at their defaults they are left out of what a stage is known by on disk.
_LATER = {"dropout": None}
#: Settings that say where a stage is kept, when it is scored and what is shown; the weights come out the same.
_NO_EFFECT = {"output_dir", "checkpoint_every", "progress", "evaluate_every", "evaluate_first"}
#: Text, or what stands for a path; kept as text.
FolderPath = Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)]


class LearningSettings(Settings):
    """Those of `TrainingSettings`, which describes them, that a recipe may give for each of its stages."""

    learning_rate: Number = Field(default=5e-5, gt=0, examples=[5e-5])
    batch_size: Whole = Field(default=32, ge=1, examples=[32])
    epochs: Number = Field(default=3.0, gt=0, examples=[3.0])
    max_steps: Whole = Field(default=-1, ge=-1, examples=[80, -1])
    weight_decay: Number = Field(default=0.0, ge=0, examples=[0.01])
    warmup_ratio: Number = Field(default=0.0, ge=0, le=1, examples=[0.1])
    schedule: str = Field(default="linear", examples=["linear"])
    max_grad_norm: Number = Field(default=1.0, ge=0, examples=[1.0])
    evaluate_every: Positive | None = Field(default=None, examples=[100])
    freeze_embeddings: bool = False
    bf16: Bfloat16 = Field(default=False, examples=["auto", True])
    dropout: Number | None = Field(default=None, ge=0, lt=1, examples=[0.1])
    gradient_accumulation_steps: Whole = Field(default=1, ge=1, examples=[1])
    optimizer: str = Field(default="adamw_torch", examples=["adamw_torch"])
    group_by_length: bool = True
    max_length: Whole = Field(default=128, ge=1, examples=[128])
    checkpoint_every: Positive | None = Field(default=None, examples=[100])

    @field_validator("max_steps")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("0 steps would train nothing: -1 would do, which trains for `epochs`")
        return value


class TrainingSettings(LearningSettings):
    """How one stage is trained; the defaults are those of the Hugging Face Trainer and of the authors' scripts.

    learning_rate, schedule, warmup_ratio   peak; its course, as the Trainer names it; share of steps it rises, 0 to 1
    batch_size, gradient_accumulation_steps   examples of a micro-batch, for all processes; how many make a step
    epochs, max_steps   passes over the data; a number of steps instead, unless it is -1
    optimizer, weight_decay, max_grad_norm   as the Trainer names them; a norm of 0 does not clip
    bf16            autocast to bfloat16; "auto" does so where the hardware multiplies bfloat16
    dropout         of every layer in training, 0 to below 1; None keeps the model's own
    max_length, group_by_length   tokens at which an example is cut; batches of like length, almost no padding
    freeze_embeddings   leave the embeddings as they are; no gradient is computed for them
    seed            of everything random in the stage
    evaluate_first, evaluate_every   score before the stage; steps between scores within it, None for none
    output_dir      where the stage is kept, in a folder of its name, and resumed from; None keeps nothing
    checkpoint_every   steps between checkpoints there; None keeps the finished stage alone
    progress        show a bar

    Raises TypeError for a wrong type and ValueError for a value out of bounds, naming the setting.

    >>> TrainingSettings(max_steps=80, learning_rate=3e-4).batch_size
    32
    """

    seed: Whole = Field(default=42, ge=0, le=2**32 - 1, examples=[42])
    evaluate_first: bool = True
    output_dir: FolderPath | None = Field(default=None, examples=["runs/first"])
    progress: bool = False

    def identity(self) -> dict[str, Any]:
        """The settings that change the weights which come out, JSON-able."""
        known = self.model_dump(exclude=_NO_EFFECT)
        return {name: value for name, value in known.items() if name not in _LATER or value != _LATER[name]}


def check_settings(settings: Any) -> TrainingSettings:
    """`settings` as they are, the defaults for None; raises TypeError for anything else."""
    if settings is None:
        return TrainingSettings()
    if not isinstance(settings, TrainingSettings):
        hint = "TrainingSettings(**settings)" if isinstance(settings, Mapping) else "TrainingSettings(max_steps=80)"
        raise TypeError(f"settings must be TrainingSettings; got {type(settings).__name__}: {hint} would do")
    return settings
