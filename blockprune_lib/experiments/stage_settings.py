"""What a recipe may say of each stage: one model for each, whose fields are its keys.

What only the code that takes a setting can judge is tried out here, on one weight: now, not after hours of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator
from torch import nn

from .._common.checks import one_of
from .._common.settings import Number, Positive, Settings
from ..pruning.depth import Keep
from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.selection import Balance, Scope
from ..pruning.structure import BlockStructure
from ..training.gradual import GradualPruning
from ..training.hooks import LassoHook
from ..training.settings import LamSchedule, LearningSettings, PenaltyMethod, Support
from ..training.shrinking import ShrinkToRate

#: λ follows the share of groups that should be at zero by now.
AUTO: Literal["auto"] = "auto"


#: λ: a number, or "auto".
LamSetting = Annotated[
    Annotated[Number, Field(ge=0)] | Literal["auto"],
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
]


class Trained(LearningSettings):
    """A stage that trains; the first one has no settings besides."""

    @model_validator(mode="after")
    def _trainer_knows_names(self) -> Self:
        from transformers.trainer_utils import SchedulerType
        from transformers.training_args import OptimizerNames

        one_of(self.optimizer, "optimizer", [name.value for name in OptimizerNames])
        one_of(self.schedule, "schedule", [name.value for name in SchedulerType])
        return self


class Taught(Trained):
    """A stage that may learn from the fine-tuned dense model; see `training.Teacher`."""

    distil: Number = Field(default=0.0, ge=0, le=1, examples=[0.5])
    temperature: Number = Field(default=2.0, gt=0, examples=[2.0])
    hidden: Number = Field(default=0.0, ge=0, examples=[2.0])


class Reweight(Taught):
    """The penalty; see `training.train_reweighted`, and `training.shrink_gradually` where `lam` is "auto"."""

    lam: LamSetting = Field(default=1e-4, examples=["auto", 1e-4])
    eps: Number = Field(default=1e-3, gt=0, examples=[1e-3])
    refresh_every: Positive | str | None = Field(default="epoch", examples=[50, "4 epochs"])
    method: PenaltyMethod = "penalty"
    lam_schedule: LamSchedule = "constant"
    scale_by_size: bool = False
    reach: Number | None = Field(default=None, gt=1, examples=[2.0])
    hold: bool = False

    @model_validator(mode="after")
    def _can_be_refreshed(self) -> Self:
        LassoHook(ReweightedGroupLasso(nn.Linear(1, 1), BlockStructure.irregular()), refresh_every=self.refresh_every)
        return self


class Prune(Settings):
    """The cut; see `training.prune`, and `training.shrink_gradually` for `begin`, `end` and `fix`."""

    scope: Scope = "matrix"
    balanced: Balance = False
    schedule: Literal["once", "gradual"] = "once"
    begin: Number = Field(default=0.1, ge=0, le=1, examples=[0.1])
    end: Number = Field(default=0.7, ge=0, le=1, examples=[0.7])
    fix: Number | None = Field(default=None, ge=0, le=1, examples=[0.8])
    keep: Keep = "first"

    @model_validator(mode="after")
    def _can_be_pruned(self) -> Self:
        once = (nn.Linear(1, 1), BlockStructure.irregular(), 1.0)
        GradualPruning(*once, **self.model_dump(exclude={"schedule", "fix", "keep"}))
        ShrinkToRate(*once, **self.model_dump(include={"begin", "end", "fix"}))
        return self


class Retrain(Taught):
    """The stage under the masks; see `training.retrain`."""

    support: Support = "masks"


#: key of a stage in a recipe -> what may be said of it
STAGE_SETTINGS: Mapping[str, type[Settings]] = {
    "fine_tune": Trained, "reweight": Reweight, "prune": Prune, "retrain": Retrain,
}  # fmt: skip
#: The stages that train.
TRAINED = tuple(key for key, model in STAGE_SETTINGS.items() if issubclass(model, Trained))
