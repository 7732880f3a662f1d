"""Settings of the four stages that are known to make sense together; book/settings.md says where they come from.

`paper` is what the authors' scripts and defaults ran for BERT-base (Li et al. 2020); where they name no fine-tuning,
that of MRPC stands in. `best` is what we would use on a small encoder: the penalty's strength follows the rate, and the
dense model teaches. A cut model has far to go: in 420 steps on 2,700 rows of CoLA (block_column:4, rate 5, gradual) the
loss on the last batches was 1.12, 0.99, 0.88 and 0.79 at learning rates of 2e-4, 5e-4, 1e-3 and 2e-3. So the rate is
high, and small tasks get more epochs, of smaller batches where their texts are long. At 1e-3 the penalty with `lam:
auto` came to 0.86 where every group pays, and to 0.79 with a `reach` of 1.5. One seed, 300 rows to score on: a place to
start. A model that keeps more than half has less far to go: on a tenth held out of the training rows of CoLA and STS-B,
3e-4 is better than 1e-3 at rate 1.79, and worse at rate 3 (`book/results/study-held-out`); nothing between was tried.
The dense control trains on at the rate of its fine-tuning, as in the book's study; it was not tuned by itself there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BEST_TRAINED = {
    "optimizer": "adamw_torch_fused", "freeze_embeddings": True, "warmup_ratio": 0.1, "weight_decay": 0.01,
    "bf16": "auto",
}  # fmt: skip
#: Learning rate of the last two stages for a model that keeps more than half of its groups.
_KEEPS_HALF = 3e-4
_TAUGHT = {"distil": 0.7, "temperature": 2.0, "hidden": 2.0}
_PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "paper": {
        "fine_tune": {"learning_rate": 2e-5, "epochs": 3.0},
        "reweight": {"learning_rate": 2e-5, "epochs": 3.0, "lam": 1e-4, "eps": 1e-3, "refresh_every": "4 epochs"},
        "prune": {"scope": "matrix", "schedule": "once"},
        "retrain": {"learning_rate": 2e-5, "epochs": 3.0},
    },
    "best": {
        "fine_tune": {**_BEST_TRAINED, "learning_rate": 1e-4, "epochs": 3.0},
        "reweight": {
            **_BEST_TRAINED, **_TAUGHT, "learning_rate": 1e-3, "epochs": 3.0,
            "lam": "auto", "eps": 1e-3, "refresh_every": 10, "reach": 1.5, "method": "proximal",
        },
        "prune": {"scope": "matrix", "schedule": "once", "begin": 0.0, "end": 0.6},
        "retrain": {**_BEST_TRAINED, **_TAUGHT, "learning_rate": 1e-3, "epochs": 5.0, "schedule": "cosine"},
    },
}  # fmt: skip


def _longer(reweight: float, retrain: float, batch_size: int = 32) -> dict[str, dict[str, Any]]:
    """Epochs for about 2,300 steps after fine-tuning."""
    last = {"reweight": {"epochs": reweight}, "retrain": {"epochs": retrain}}
    return {stage: told | {"batch_size": batch_size} for stage, told in last.items()}


_BEST_FOR_TASK = {
    "rte": _longer(6.0, 9.0, 16), "mrpc": _longer(4.0, 6.0, 16), "stsb": _longer(3.0, 4.0, 16),
    "wnli": _longer(10.0, 15.0, 16),
    "cola": _longer(3.0, 5.0), "qnli": _longer(3.0, 4.0), **dict.fromkeys(("sst2", "qqp", "mnli"), _longer(1.0, 2.0)),
}  # fmt: skip
#: What a preset changes in a stage for a task.
_FOR_TASK: Mapping[tuple[str, str, str], Mapping[str, Any]] = {
    ("paper", "rte", "fine_tune"): {"learning_rate": 5e-5, "epochs": 7.0},
    ("paper", "rte", "reweight"): {"learning_rate": 3e-5, "epochs": 4.0},
    **{("best", task, stage): told for task, stages in _BEST_FOR_TASK.items() for stage, told in stages.items()},
    **{("paper", "qnli", stage): {"max_length": 174} for stage in ("fine_tune", "reweight", "retrain")},
}


def preset(
    name: str, task: str, rate: float = 5.0, whole: bool = True, method: str = "reweighted"
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The settings of each stage, {stage: {setting: value}}, for a task by name; others get the general ones.

    `rate`: that of the run; `whole`: whether it begins with all layers. `best` trains more gently where more than half
    of the groups stay, and more gently still under "dense", which cuts none; "sensitivity", whose scores compare groups
    of different matrices too, ranks all of them together.
    """
    stages = {stage: {**told, **_FOR_TASK.get((name, task, stage), {})} for stage, told in _PRESETS[name].items()}
    if name == "best" and method == "sensitivity":
        stages["prune"]["scope"] = "model"
    if name == "best" and whole and method == "dense":
        stages["retrain"]["learning_rate"] = stages["fine_tune"]["learning_rate"]
    elif name == "best" and whole and 1 < rate < 2:
        for stage in ("reweight", "retrain"):
            stages[stage]["learning_rate"] = _KEEPS_HALF
    return stages
