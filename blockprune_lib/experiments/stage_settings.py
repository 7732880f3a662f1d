"""What a recipe may say of each stage: one model for each, whose fields are its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from .._common.settings import Number, Positive, Settings
from ..training.settings import LearningSettings


class FineTune(LearningSettings):
    """The first stage."""


class Reweight(LearningSettings):
    """The stage with the penalty; see `training.train_reweighted`."""

    lam: Number = Field(1e-4, ge=0, examples=[1e-4])
    eps: Number = Field(1e-3, gt=0, examples=[1e-3])
    refresh_every: Positive | str | None = Field("epoch", examples=[50, "4 epochs"])
    method: Literal["penalty", "proximal"] = "penalty"
    lam_schedule: Literal["constant", "rise"] = "constant"
    scale_by_size: bool = False


class Prune(Settings):
    """The cut; see `training.prune`, and `training.prune_gradually` for `begin` and `end`."""

    scope: Literal["matrix", "model"] = "matrix"
    balanced: bool | Literal["rows", "columns"] = False
    schedule: Literal["once", "gradual"] = "once"
    begin: Number = Field(0.1, ge=0, le=1, examples=[0.1])
    end: Number = Field(0.7, ge=0, le=1, examples=[0.7])


class Retrain(LearningSettings):
    """The stage under the masks; see `training.retrain` and `training.Teacher`."""

    support: Literal["masks", "packed"] = "masks"
    distil: Number = Field(0.0, ge=0, le=1, examples=[0.5])
    temperature: Number = Field(2.0, gt=0, examples=[2.0])


#: key of a stage in a recipe -> what may be said of it
STAGE_SETTINGS: Mapping[str, type[Settings]] = {
    "fine_tune": FineTune,
    "reweight": Reweight,
    "prune": Prune,
    "retrain": Retrain,
}
#: The stages that train.
TRAINED = tuple(key for key, model in STAGE_SETTINGS.items() if issubclass(model, LearningSettings))
