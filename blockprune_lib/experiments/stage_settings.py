"""What a recipe may say of each stage: one model for each, whose fields are its keys.

What only the code that takes a setting can judge is tried out here, on one weight: now, not after hours of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import nn

from .._common.checks import one_of
from .._common.settings import Number, Positive, Settings
from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.selection import Balance, Scope
from ..pruning.structure import BlockStructure
from ..training.gradual import GradualPruning
from ..training.hooks import LassoHook
from ..training.settings import LamSchedule, LearningSettings, PenaltyMethod, Support


class Trained(LearningSettings):
    """A stage that trains; the first one has no settings besides."""

    @model_validator(mode="after")
    def _trainer_knows_names(self) -> Self:
        from transformers.trainer_utils import SchedulerType
        from transformers.training_args import OptimizerNames

        one_of(self.optimizer, "optimizer", [name.value for name in OptimizerNames])
        one_of(self.schedule, "schedule", [name.value for name in SchedulerType])
        return self


class Reweight(Trained):
    """The stage with the penalty; see `training.train_reweighted`."""

    lam: Number = Field(default=1e-4, ge=0, examples=[1e-4])
    eps: Number = Field(default=1e-3, gt=0, examples=[1e-3])
    refresh_every: Positive | str | None = Field(default="epoch", examples=[50, "4 epochs"])
    method: PenaltyMethod = "penalty"
    lam_schedule: LamSchedule = "constant"
    scale_by_size: bool = False

    @model_validator(mode="after")
    def _can_be_refreshed(self) -> Self:
        LassoHook(ReweightedGroupLasso(nn.Linear(1, 1), BlockStructure.irregular()), refresh_every=self.refresh_every)
        return self


class Prune(Settings):
    """The cut; see `training.prune`, and `training.prune_gradually` for `begin` and `end`."""

    scope: Scope = "matrix"
    balanced: Balance = False
    schedule: Literal["once", "gradual"] = "once"
    begin: Number = Field(default=0.1, ge=0, le=1, examples=[0.1])
    end: Number = Field(default=0.7, ge=0, le=1, examples=[0.7])

    @model_validator(mode="after")
    def _can_be_pruned(self) -> Self:
        GradualPruning(nn.Linear(1, 1), BlockStructure.irregular(), 1.0, **self.model_dump(exclude={"schedule"}))
        return self


class Retrain(Trained):
    """The stage under the masks; see `training.retrain` and `training.Teacher`."""

    support: Support = "masks"
    distil: Number = Field(default=0.0, ge=0, le=1, examples=[0.5])
    temperature: Number = Field(default=2.0, gt=0, examples=[2.0])


#: key of a stage in a recipe -> what may be said of it
STAGE_SETTINGS: Mapping[str, type[Settings]] = {
    "fine_tune": Trained, "reweight": Reweight, "prune": Prune, "retrain": Retrain,
}  # fmt: skip
#: The stages that train.
TRAINED = tuple(key for key, model in STAGE_SETTINGS.items() if issubclass(model, Trained))
