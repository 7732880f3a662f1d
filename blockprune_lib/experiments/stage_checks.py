"""What the stages of a run are told, tried out before anything is trained: refused now, and not hours later.

Left out: the keys a recipe may have (see `recipe`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from torch import nn

from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.structure import BlockStructure
from ..training.distillation import Teacher
from ..training.gradual import GradualPruning
from ..training.hooks import LassoHook
from ..training.settings import TrainingSettings
from .presets import TRAINED

if TYPE_CHECKING:
    from .recipe import Run

#: Methods that prune over the steps of both later stages.
WITHOUT_SECOND_STAGE = ("gradual", "movement")
#: What a method takes for `reweighted` and `refresh_every` of the second stage; the others have no penalty.
SECOND_STAGE: dict[str, dict[str, Any]] = {
    "reweighted": {},
    "no-refresh": {"refresh_every": None},
    "group-lasso": {"reweighted": False},
}


def check_stages(run: Run) -> None:
    """Refuse settings of the wrong type now, and not hours later."""
    for stage in TRAINED:
        try:
            run.settings(stage, None, False)
        except (TypeError, ValueError) as error:
            raise type(error)(f"recipe: {stage}: {error}") from None
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    for stage in TRAINED:
        for key, names in (("optimizer", OptimizerNames), ("schedule", SchedulerType)):
            if (value := run.stages[stage].get(key)) is not None:
                _one_of(value, tuple(name.value for name in names), f"recipe: {stage}: {key}")
    _one_of(run.stages["prune"].get("schedule", "once"), ("once", "gradual"), "recipe: prune: schedule")
    _one_of(run.stages["retrain"].get("support", "masks"), ("masks", "packed"), "recipe: retrain: support")
    if not isinstance(value := run.stages["reweight"].get("scale_by_size", False), bool):
        raise TypeError(f"recipe: reweight: scale_by_size must be true or false; got {value!r}")
    for stage, check in (("reweight", _try_penalty), ("prune", _try_prune), ("retrain", _try_teacher)):
        try:
            check(run, run.extra(stage))
        except (TypeError, ValueError) as error:
            raise type(error)(f"recipe: {stage}: {error}") from None
    if run.method in WITHOUT_SECOND_STAGE:
        with_budget_of_both(run.settings("retrain", None, False), run.settings("reweight", None, False))
    if run.options["embeddings"] and any(run.stages[stage].get("freeze_embeddings") for stage in TRAINED):
        raise ValueError("recipe: embeddings: true prunes what freeze_embeddings leaves as it is; choose one")


# What a stage is told is tried on a matrix of one weight: the rules themselves say what cannot be meant.


def _try_penalty(run: Run, extra: dict[str, Any]) -> None:
    values = {key: extra.get(key, usual) for key, usual in (("lam", 1e-4), ("eps", 1e-3))}
    penalty = ReweightedGroupLasso(nn.Linear(1, 1), BlockStructure.irregular(), **values)
    told = {key: extra[key] for key in ("method", "refresh_every", "lam_schedule") if key in extra}
    LassoHook(penalty, **told)


def _try_prune(run: Run, extra: dict[str, Any]) -> None:
    told = {key: value for key, value in extra.items() if key != "schedule"}
    GradualPruning(nn.Linear(1, 1), BlockStructure.irregular(), run.rate, **told)


def _try_teacher(run: Run, extra: dict[str, Any]) -> None:
    Teacher(nn.Identity(), extra.get("distil", 0.5), extra.get("temperature", 2.0))


def with_budget_of_both(settings: TrainingSettings, second: TrainingSettings) -> TrainingSettings:
    """A last stage as long as the second and the last together, so that a method without the second is not starved."""
    if settings.max_steps > 0 and second.max_steps > 0:
        return dataclasses.replace(settings, max_steps=settings.max_steps + second.max_steps)
    if settings.max_steps > 0 or second.max_steps > 0:
        raise ValueError("recipe: give max_steps to both reweight and retrain, or epochs to both")
    return dataclasses.replace(settings, epochs=settings.epochs + second.epochs)


def _one_of(value: Any, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}; got {value!r}")
