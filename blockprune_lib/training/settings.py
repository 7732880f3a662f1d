"""What goes into a training stage and what comes out of it: `TrainingSettings` and `StageReport`.

Both are plain records that print themselves and turn into JSON. They leave out the training (see `training`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .._common.checks import finite_number, positive_int


@dataclass(frozen=True)
class TrainingSettings:
    """How one stage is trained; the defaults are those of the Hugging Face Trainer and of the authors' scripts.

    `max_steps` overrides `epochs` unless it is -1; `batch_size` is that of one micro-batch, and a step sees
    `gradient_accumulation_steps` of them. `warmup_ratio` is a share of the steps, 0 to 1. `max_grad_norm` 0 does not
    clip. `evaluate_every`: steps between evaluations on the way. `evaluate_first`: score the model before the stage
    too. `freeze_embeddings` leaves the embeddings as they are and computes no gradient for them. `bf16`: autocast,
    which pays only where the hardware multiplies bfloat16. `group_by_length`: batches of like length, less padding.
    `optimizer` and `schedule` are names the Trainer knows. `max_length`: tokens at which an example is cut.
    `output_dir`: where the stage is kept, in a folder of its name, and where it resumes from; None keeps nothing.
    `checkpoint_every`: steps between checkpoints there; None: only the finished stage. In a run of several processes
    they share `batch_size`. Raises TypeError or ValueError for what cannot be meant.

    >>> TrainingSettings(max_steps=80, learning_rate=3e-4).batch_size
    32
    """

    learning_rate: float = 5e-5
    batch_size: int = 32
    epochs: float = 3.0
    max_steps: int = -1
    weight_decay: float = 0.0
    warmup_ratio: float = 0.0
    schedule: str = "linear"
    max_grad_norm: float = 1.0
    seed: int = 42
    evaluate_every: int | None = None
    evaluate_first: bool = True
    freeze_embeddings: bool = False
    bf16: bool = False
    gradient_accumulation_steps: int = 1
    optimizer: str = "adamw_torch"
    output_dir: str | os.PathLike[str] | None = None
    progress: bool = False
    group_by_length: bool = True
    max_length: int = 128
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        finite_number(self.learning_rate, "learning_rate", 0, "1e-5 to 5e-4 is usual", above=True)
        finite_number(self.epochs, "epochs", 0, "3 is usual", above=True)
        finite_number(self.weight_decay, "weight_decay", 0, "0 or 0.01 is usual")
        finite_number(self.max_grad_norm, "max_grad_norm", 0, "1.0 is usual, 0 does not clip")
        if finite_number(self.warmup_ratio, "warmup_ratio", 0, "0.1 is usual") > 1:
            raise ValueError(f"warmup_ratio must be a share of the steps, 0 to 1; got {self.warmup_ratio!r}")
        positive_int(self.batch_size, "batch_size")
        positive_int(self.gradient_accumulation_steps, "gradient_accumulation_steps")
        if self.max_steps != -1 or isinstance(self.max_steps, bool):
            positive_int(self.max_steps, "max_steps (-1 trains for epochs)")
        positive_int(self.max_length, "max_length")
        for name in ("evaluate_every", "checkpoint_every"):
            if getattr(self, name) is not None:
                positive_int(getattr(self, name), name)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be an int from 0 to 2**32 - 1; got {self.seed!r}")
        for name in ("evaluate_first", "freeze_embeddings", "bf16", "progress", "group_by_length"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; got {getattr(self, name)!r}")
        for name in ("schedule", "optimizer"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(
                    f"{name} must be a name, such as 'linear' or 'adamw_torch'; got {getattr(self, name)!r}"
                )
        if self.output_dir is not None and not isinstance(self.output_dir, (str, os.PathLike)):
            raise TypeError(f"output_dir must be a path or None; got {self.output_dir!r}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        return asdict(self) | {"output_dir": None if self.output_dir is None else os.fspath(self.output_dir)}

    def what(self) -> dict[str, Any]:
        """Those of them that change the result."""
        aside = ("output_dir", "checkpoint_every", "progress", "evaluate_every", "evaluate_first")
        return {key: value for key, value in asdict(self).items() if key not in aside}


@dataclass(frozen=True, repr=False)
class StageReport:
    """What one stage did. Scores are the task's metrics on the validation set, a loss is a mean over some steps.

    `seconds` is the training alone, `evaluation_seconds` the scoring around and within it. `metric` names the score to
    compare by; `before` and `after` hold all scores, `majority` what predicting the commonest label (the mean) would
    get. `penalty` and `near_zero` (the share of groups whose root mean square is below a tenth of their matrix's) are
    pairs (first, last); `density` is the share of masked matrices that is kept, `densities` that of each; `history`
    holds what was logged. `processes` trained side by side; `resumed` counts the times the stage was taken up again.
    """

    stage: str
    steps: int
    seconds: float
    evaluation_seconds: float
    device: str
    examples: int
    metric: str | None
    majority: dict[str, float] | None
    before: dict[str, float] | None
    after: dict[str, float] | None
    loss: tuple[float, float] | None
    penalty: tuple[float, float] | None
    near_zero: tuple[float, float] | None
    refreshes: int | None
    density: float | None
    settings: TrainingSettings
    densities: dict[str, float] = field(default_factory=dict)
    processes: int = 1
    resumed: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        return asdict(self) | {"settings": self.settings.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> StageReport:
        """The report that `to_dict` made."""
        pairs = {key: tuple(plain[key]) for key in ("loss", "penalty", "near_zero") if plain[key] is not None}
        return cls(**{**plain, **pairs, "settings": TrainingSettings(**plain["settings"])})

    def rows(self) -> dict[str, str]:
        """What a reader sees: {label: text}."""
        a_step = f", {1000 * self.seconds / self.steps:.0f} ms a step" if self.steps else ""
        batch = self.settings.batch_size * self.settings.gradient_accumulation_steps
        rows = {"steps": f"{self.steps:,} of {batch} in {self.seconds:.1f} s on {self.device}{a_step}"}
        if self.loss:
            rows["loss"] = _arrow(*self.loss)
        if self.metric and self.after:
            first = self.before[self.metric] if self.before else None
            rows[self.metric] = _arrow(first, self.after[self.metric]) + f" on {self.examples:,} examples"
            if self.majority:
                rows[self.metric] += f" (majority {self.majority[self.metric]:.3f})"
        if self.penalty:
            rows["penalty"] = _arrow(*self.penalty)
        if self.near_zero:
            rows["near zero"] = f"{self.near_zero[0]:.1%} -> {self.near_zero[1]:.1%} of groups below a tenth of the RMS"
        if self.refreshes is not None:
            rows["reweighted"] = f"{self.refreshes} times after the start"
        if self.density is not None:
            rows["density"] = f"{self.density:.1%} of the pruned matrices, held by masks"
        return rows

    def __repr__(self) -> str:
        lines = [f"{label:<12}{text}" for label, text in self.rows().items()]
        return "\n".join([self.stage, *lines])

    def _repr_html_(self) -> str:
        body = "".join(f"<tr><th>{label}</th><td>{text}</td></tr>" for label, text in self.rows().items())
        return f"<table><caption>{self.stage}</caption><tbody>{body}</tbody></table>".replace("->", "→")


def first_and_last(history: list[dict[str, Any]], key: str) -> tuple[float, float] | None:
    """The first and the last logged value of `key`, or None where it was never logged."""
    values = [entry[key] for entry in history if key in entry]
    return (float(values[0]), float(values[-1])) if values else None


def check_settings(settings: Any) -> TrainingSettings:
    """`settings` as they are, the defaults for None; raises TypeError for anything else."""
    if settings is None:
        return TrainingSettings()
    if not isinstance(settings, TrainingSettings):
        hint = "TrainingSettings(**settings)" if isinstance(settings, Mapping) else "TrainingSettings(max_steps=80)"
        raise TypeError(f"settings must be TrainingSettings, such as {hint}; got {type(settings).__name__}")
    return settings


def _arrow(first: float | None, last: float) -> str:
    return f"{last:.4g}" if first is None else f"{first:.4g} -> {last:.4g}"
