"""What a recipe may say of each stage: one model for each, whose fields are its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from .._common.settings import Number, Positive, Settings
from ..pruning.selection import Balance, Scope
from ..training.settings import LamSchedule, LearningSettings, PenaltyMethod, Support


class FineTune(LearningSettings):
    """The first stage."""


class Reweight(LearningSettings):
    """The stage with the penalty; see `training.train_reweighted`."""

    lam: Number = Field(default=1e-4, ge=0, examples=[1e-4])
    eps: Number = Field(default=1e-3, gt=0, examples=[1e-3])
    refresh_every: Positive | str | None = Field(default="epoch", examples=[50, "4 epochs"])
    method: PenaltyMethod = "penalty"
    lam_schedule: LamSchedule = "constant"
    scale_by_size: bool = False


class Prune(Settings):
    """The cut; see `training.prune`, and `training.prune_gradually` for `begin` and `end`."""

    scope: Scope = "matrix"
    balanced: Balance = False
    schedule: Literal["once", "gradual"] = "once"
    begin: Number = Field(default=0.1, ge=0, le=1, examples=[0.1])
    end: Number = Field(default=0.7, ge=0, le=1, examples=[0.7])


class Retrain(LearningSettings):
    """The stage under the masks; see `training.retrain` and `training.Teacher`."""

    support: Support = "masks"
    distil: Number = Field(default=0.0, ge=0, le=1, examples=[0.5])
    temperature: Number = Field(default=2.0, gt=0, examples=[2.0])


#: key of a stage in a recipe -> what may be said of it
STAGE_SETTINGS: Mapping[str, type[Settings]] = {
    "fine_tune": FineTune,
    "reweight": Reweight,
    "prune": Prune,
    "retrain": Retrain,
}
#: The stages that train.
TRAINED = tuple(key for key, model in STAGE_SETTINGS.items() if issubclass(model, LearningSettings))
