"""GLUE's own metrics: what each task is scored by, from logits or from predicted labels.

| task | metrics | the one to compare by |
|---|---|---|
| cola | Matthews correlation | matthews |
| stsb | Pearson and Spearman correlation, and their mean | mean |
| mrpc, qqp | accuracy and F1 of class 1, and their mean | mean |
| sst2, mnli, qnli, rte, wnli | accuracy | accuracy |

All are between -1 and 1, not in percent. A correlation with constant predictions or constant labels is 0/0; here
it is 0.0, the score of a model that has learned nothing (scikit-learn says the same for Matthews): a NaN would
poison every mean and cannot be written to JSON. Left out: the test sets, which only GLUE's server scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

GLUE_METRICS = {
    "cola": "matthews",
    "sst2": "accuracy",
    "mrpc": "accuracy_f1",
    "stsb": "correlation",
    "qqp": "accuracy_f1",
    "mnli": "accuracy",
    "qnli": "accuracy",
    "rte": "accuracy",
    "wnli": "accuracy",
}
PRIMARY = {"accuracy": "accuracy", "accuracy_f1": "mean", "matthews": "matthews", "correlation": "mean"}

__all__ = ["compute", "for_trainer", "primary"]


def compute(task: str, predictions: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Score predictions by the metrics of a GLUE task (or of a kind: accuracy, accuracy_f1, matthews, correlation).

    `predictions`: (n, classes) logits, of which the largest counts, or (n,) labels; for a regression (n,) or (n, 1)
    values. `labels`: (n,). Raises `ValueError` where the lengths differ, n = 0, or a value is NaN or infinite.

    >>> compute("rte", [[2.0, 1.0], [0.0, 3.0]], [0, 0])
    {'accuracy': 0.5}
    """
    kind = _kind(task)
    predicted, true = _arrays(predictions, labels, regression=kind == "correlation")
    if kind == "matthews":
        return {"matthews": _matthews(predicted, true)}
    if kind == "correlation":
        return _correlations(predicted, true)
    accuracy = float(np.mean(predicted == true))
    if kind == "accuracy":
        return {"accuracy": accuracy}
    from sklearn.metrics import f1_score

    f1 = float(f1_score(true, predicted, pos_label=1, zero_division=0.0))
    return {"accuracy": accuracy, "f1": f1, "mean": (accuracy + f1) / 2}


def primary(task: str) -> str:
    """Name of the metric to compare a GLUE task's models by.

    >>> primary("cola"), primary("stsb")
    ('matthews', 'mean')
    """
    return PRIMARY[_kind(task)]


def for_trainer(task: str) -> Callable[[Any], dict[str, float]]:
    """The `compute_metrics=` of a Hugging Face Trainer: takes an EvalPrediction, gives `compute(task, ...)`."""
    _kind(task)

    def compute_metrics(evaluated: Any) -> dict[str, float]:
        predictions = evaluated.predictions
        if isinstance(predictions, (tuple, list)) and np.ndim(predictions[0]) >= 1:
            predictions = predictions[0]  # logits come first, hidden states after them
        return compute(task, predictions, evaluated.label_ids)

    return compute_metrics


def _kind(task: str) -> str:
    if task in PRIMARY:
        return task
    if task not in GLUE_METRICS:
        raise ValueError(f"task: expected one of {', '.join([*GLUE_METRICS, *PRIMARY])}, got {task!r}")
    return GLUE_METRICS[task]


def _arrays(
    predictions: npt.ArrayLike, labels: npt.ArrayLike, regression: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if true.ndim != 1 or true.size == 0:
        raise ValueError(f"labels: expected shape (n,) with n of at least 1, got {true.shape}")
    if predicted.ndim not in (1, 2) or len(predicted) != len(true):
        raise ValueError(f"predictions: expected {len(true)} rows, one for each label, got shape {predicted.shape}")
    for name, values in (("predictions", predicted), ("labels", true)):
        if bad := int(np.count_nonzero(~np.isfinite(values.astype(np.float64)))):
            raise ValueError(f"{name}: {bad} of {values.size} values are NaN or infinite (did training diverge?)")
    if regression:
        if predicted.ndim == 2 and predicted.shape[1] != 1:
            raise ValueError(f"predictions: a regression has one output, got shape {predicted.shape}")
        return predicted.reshape(-1).astype(np.float64), true.astype(np.float64)
    if predicted.ndim == 2:
        predicted = predicted.argmax(axis=1)
    return predicted.astype(np.int64), true.astype(np.int64)


def _matthews(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> float:
    from sklearn.metrics import matthews_corrcoef

    if _constant(predicted) or _constant(true):
        return 0.0
    return float(matthews_corrcoef(true, predicted))


def _correlations(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> dict[str, float]:
    from scipy.stats import pearsonr, spearmanr

    if _constant(predicted) or _constant(true):
        return {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}
    pearson, spearman = float(pearsonr(predicted, true)[0]), float(spearmanr(predicted, true)[0])
    return {"pearson": pearson, "spearman": spearman, "mean": (pearson + spearman) / 2}


def _constant(values: npt.NDArray[Any]) -> bool:
    """Equal up to rounding: a spread below 1e-12 of the size would only correlate rounding errors."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
