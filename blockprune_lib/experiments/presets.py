"""Settings of the four stages that are known to make sense together, and where they come from.

`PAPER` is what the authors' released scripts and defaults ran for BERT-base, by task (Li et al. 2020; the repository's
shell scripts and trainer defaults): AdamW, no weight decay, no warm-up, linear decay, clip at 1.0, batches of 32 cut at
128 tokens (174 for QNLI), λ 1e-4, ε 1e-3, α from the fine-tuned weights and a refresh at every fourth epoch. Their
trainings are 3 to 4 epochs long, so that refresh never comes. The scripts name no fine-tuning for most tasks; where
they are silent the ones of MRPC stand in.

`BEST` is what we would use on a small encoder: the same method with higher learning rates, the penalty as a proximal
step with a refresh every 50 steps, retraining that learns from the dense model too, and the embeddings left as they
are, which saves time. A proximal stage lowers the square of every group's norm by about 2 · λ · (sum of the learning
rates), so its λ is in other units than the paper's; 4 empties about a third of MiniLM's groups in 400 steps. Measured
on SST-2 (6,400 sentences, block_row:64, rate 5, one seed): λ of 1 and 4, and learning rates of 2e-4 and 5e-4 in
retraining, all came within about one point of each other, which is less than the sampling error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .stage_settings import TRAINED

Stages = dict[str, dict[str, Any]]

_PAPER: Mapping[str, Mapping[str, Any]] = {
    "fine_tune": {"learning_rate": 2e-5, "epochs": 3.0},
    "reweight": {"learning_rate": 2e-5, "epochs": 3.0, "lam": 1e-4, "eps": 1e-3, "refresh_every": "4 epochs"},
    "prune": {"scope": "matrix", "schedule": "once"},
    "retrain": {"learning_rate": 2e-5, "epochs": 3.0},
}
_PAPER_TASKS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "rte": {"fine_tune": {"learning_rate": 5e-5, "epochs": 7.0}, "reweight": {"learning_rate": 3e-5, "epochs": 4.0}},
    "qnli": {stage: {"max_length": 174} for stage in ("fine_tune", "reweight", "retrain")},
}
_BEST: Mapping[str, Mapping[str, Any]] = {
    "fine_tune": {"learning_rate": 1e-4, "epochs": 3.0},
    "reweight": {
        "learning_rate": 1e-4, "epochs": 2.0, "method": "proximal", "lam": 4.0, "eps": 1e-3, "refresh_every": 50,
    },
    "prune": {"scope": "matrix", "schedule": "once"},
    "retrain": {"learning_rate": 2e-4, "epochs": 3.0, "distil": 0.5},
}  # fmt: skip
_BEST_ALL: Mapping[str, Any] = {
    "optimizer": "adamw_torch_fused",
    "freeze_embeddings": True,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
}


def preset(name: str, task: str) -> Stages:
    """The settings of each stage, {stage: {setting: value}}, for a task by name; others get the general ones."""
    if name == "paper":
        special = _PAPER_TASKS.get(task, {})
        return {stage: {**settings, **special.get(stage, {})} for stage, settings in _PAPER.items()}
    shared = dict.fromkeys(TRAINED, _BEST_ALL)
    return {stage: {**shared.get(stage, {}), **settings} for stage, settings in _BEST.items()}
