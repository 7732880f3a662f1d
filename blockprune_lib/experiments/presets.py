"""Settings of the four stages that are known to make sense together; book/experiments.md says where they come from.

`paper` is what the authors' scripts and defaults ran for BERT-base (Li et al. 2020); where they name no fine-tuning,
that of MRPC stands in. `best` is what we would use on a small encoder. A proximal stage lowers the square of every
group's norm by about 2 · λ · (sum of the learning rates), so its λ is in other units than the paper's; 4 empties about
a third of MiniLM's groups in 400 steps. On SST-2 (6,400 sentences, block_row:64, rate 5, one seed) λ of 1 and 4, and
learning rates of 2e-4 and 5e-4 in retraining, came within about one point: less than the sampling error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BEST_TRAINED = {
    "optimizer": "adamw_torch_fused", "freeze_embeddings": True, "warmup_ratio": 0.1, "weight_decay": 0.01,
    "bf16": "auto",
}  # fmt: skip
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
            **_BEST_TRAINED, **_TAUGHT, "learning_rate": 1e-4, "epochs": 2.0,
            "lam": "auto", "eps": 1e-3, "refresh_every": 10, "method": "proximal",
        },
        "prune": {"scope": "matrix", "schedule": "once", "begin": 0.0, "end": 0.6},
        "retrain": {**_BEST_TRAINED, **_TAUGHT, "learning_rate": 2e-4, "epochs": 3.0, "schedule": "cosine"},
    },
}  # fmt: skip
#: What a preset changes in a stage for a task.
_FOR_TASK: Mapping[tuple[str, str, str], Mapping[str, Any]] = {
    ("paper", "rte", "fine_tune"): {"learning_rate": 5e-5, "epochs": 7.0},
    ("paper", "rte", "reweight"): {"learning_rate": 3e-5, "epochs": 4.0},
    **{("paper", "qnli", stage): {"max_length": 174} for stage in ("fine_tune", "reweight", "retrain")},
}


def preset(name: str, task: str) -> dict[str, dict[str, Any]]:
    """The settings of each stage, {stage: {setting: value}}, for a task by name; others get the general ones."""
    return {stage: {**told, **_FOR_TASK.get((name, task, stage), {})} for stage, told in _PRESETS[name].items()}
