"""Settings that only the code which takes them can judge, tried out before anything is trained: now, not hours later.

Left out: the keys of a recipe, and what each may hold (see `recipe` and `stage_settings`).
"""

from __future__ import annotations

from torch import nn

from .._common.checks import one_of
from ..pruning.lasso import ReweightedGroupLasso
from ..pruning.structure import BlockStructure
from ..training.gradual import GradualPruning
from ..training.hooks import LassoHook
from .run_spec import Run
from .stage_settings import TRAINED


def check_stages(run: Run) -> None:
    """Raise ValueError or TypeError, naming stage and setting, for what the stages of `run` would refuse."""
    trials = [*((key, _try_names) for key in TRAINED), ("reweight", _try_penalty), ("prune", _try_prune)]
    for key, attempt in trials:
        try:
            attempt(run, key)
        except (TypeError, ValueError) as error:
            raise type(error)(f"recipe: {key}: {error}") from None
    for stage in run.method_stages:
        if stage.key in TRAINED:
            run.budget(stage)
    if run.options["embeddings"] and any(run.stages[key].get("freeze_embeddings") for key in TRAINED):
        raise ValueError("recipe: embeddings: true prunes what freeze_embeddings leaves as it is; choose one")


def _try_names(run: Run, key: str) -> None:
    """The names that the Trainer knows."""
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    settings = run.settings(key)
    one_of(settings.optimizer, "optimizer", [name.value for name in OptimizerNames])
    one_of(settings.schedule, "schedule", [name.value for name in SchedulerType])


# The rest is tried on a matrix of one weight.


def _try_penalty(run: Run, key: str) -> None:
    extra = run.extra(key)
    values = {name: extra[name] for name in ("lam", "eps") if name in extra}
    penalty = ReweightedGroupLasso(nn.Linear(1, 1), BlockStructure.irregular(), **values)
    LassoHook(penalty, **{name: extra[name] for name in ("method", "refresh_every", "lam_schedule") if name in extra})


def _try_prune(run: Run, key: str) -> None:
    told = {name: value for name, value in run.extra(key).items() if name != "schedule"}
    GradualPruning(nn.Linear(1, 1), BlockStructure.irregular(), run.rate, **told)
