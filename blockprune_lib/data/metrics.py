"""GLUE's own metrics: what each task is scored by, from logits or from predicted labels.

| tasks | metric set | its metrics | the one to compare by |
|---|---|---|---|
| cola | matthews | Matthews correlation | matthews |
| stsb | correlation | Pearson and Spearman correlation, and their mean | mean |
| mrpc, qqp | accuracy_f1 | accuracy and F1 of class 1, and their mean | mean |
| sst2, mnli, qnli, rte, wnli | accuracy | accuracy | accuracy |

All scores are between -1 and 1, not in percent. A correlation with constant predictions or constant labels is 0/0;
here it is 0.0, the score of a model that has learned nothing (scikit-learn does the same for Matthews): a NaN would
spoil every mean and cannot be written to JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from .._common.checks import one_of

MetricSet = Literal["accuracy", "accuracy_f1", "matthews", "correlation"]
METRIC_SETS: tuple[MetricSet, ...] = get_args(MetricSet)

_TASKS: dict[MetricSet, tuple[str, ...]] = {
    "accuracy": ("sst2", "mnli", "qnli", "rte", "wnli"),
    "accuracy_f1": ("mrpc", "qqp"),
    "matthews": ("cola",),
    "correlation": ("stsb",),
}
GLUE_METRICS = {task: metric_set for metric_set, tasks in _TASKS.items() for task in tasks}
_PRIMARY = {"accuracy": "accuracy", "accuracy_f1": "mean", "matthews": "matthews", "correlation": "mean"}


def compute(task: str, predictions: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Score predictions by the metrics of `task`: a GLUE task or a metric set, {metric: value from -1 to 1}.

    `predictions`: (n, classes) logits, of which the largest counts, or (n,) labels; for a regression (n,) or (n, 1)
    values. `labels`: (n,). Raises `ValueError` where the lengths differ, n = 0, or a value is NaN or infinite.

    >>> compute("rte", [[2.0, 1.0], [0.0, 3.0]], [0, 0])
    {'accuracy': 0.5}
    """
    metric_set = _metric_set(task)
    predicted, true = _arrays(predictions, labels, regression=metric_set == "correlation")
    learned = not (_constant(predicted) or _constant(true))
    if metric_set == "matthews":
        from sklearn.metrics import matthews_corrcoef

        return {"matthews": float(matthews_corrcoef(true, predicted)) if learned else 0.0}
    if metric_set == "correlation":
        from scipy.stats import pearsonr, spearmanr

        pearson, spearman = (float(of(predicted, true)[0]) if learned else 0.0 for of in (pearsonr, spearmanr))
        return {"pearson": pearson, "spearman": spearman, "mean": (pearson + spearman) / 2}
    accuracy = float(np.mean(predicted == true))
    if metric_set == "accuracy":
        return {"accuracy": accuracy}
    from sklearn.metrics import f1_score

    f1 = float(f1_score(true, predicted, pos_label=1, zero_division=0.0))
    return {"accuracy": accuracy, "f1": f1, "mean": (accuracy + f1) / 2}


def primary(task: str) -> str:
    """Name of the metric to compare models by on `task`, a GLUE task or a metric set.

    >>> primary("cola"), primary("stsb")
    ('matthews', 'mean')
    """
    return _PRIMARY[_metric_set(task)]


def majority(task: str, training_labels: Iterable[Any], labels: npt.ArrayLike) -> dict[str, float]:
    """Scores on `labels` of always predicting the commonest training label (for a regression, their mean).

    >>> majority("rte", [1, 1, 0], [1, 0, 0, 0])
    {'accuracy': 0.25}
    """
    known = list(training_labels)
    regression = _metric_set(task) == "correlation"
    guess = sum(known) / len(known) if regression else Counter(known).most_common(1)[0][0]
    return compute(task, np.full(np.shape(labels), guess), labels)


def for_trainer(task: str) -> Callable[[Any], dict[str, float]]:
    """What a Hugging Face Trainer takes as `compute_metrics=`: a function from an EvalPrediction to its scores."""
    _metric_set(task)

    def compute_metrics(evaluated: Any) -> dict[str, float]:
        predictions = evaluated.predictions
        if isinstance(predictions, (tuple, list)) and np.ndim(predictions[0]) >= 1:
            predictions = predictions[0]  # logits come first, hidden states after them
        return compute(task, predictions, evaluated.label_ids)

    return compute_metrics


def _metric_set(task: str) -> MetricSet:
    one_of(task, "task", (*GLUE_METRICS, *METRIC_SETS))
    return GLUE_METRICS.get(task) or cast(MetricSet, task)


def _arrays(predictions: Any, labels: Any, regression: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    predicted, true = np.asarray(predictions), np.asarray(labels)
    if true.ndim != 1 or true.size == 0:
        raise ValueError(f"labels must have the shape (n,), n of at least 1; got {true.shape}")
    if predicted.ndim not in (1, 2) or len(predicted) != len(true):
        raise ValueError(f"predictions must have one row per label, {len(true)}; got the shape {predicted.shape}")
    for name, array in (("predictions", predicted), ("labels", true)):
        if bad := int(np.count_nonzero(~np.isfinite(array.astype(np.float64)))):
            raise ValueError(f"{name} must be finite; got {bad} NaN or infinite of {array.size}: did training diverge?")
    if regression and predicted.size != len(true):
        raise ValueError(f"predictions of a regression must have one column; got the shape {predicted.shape}")
    if predicted.ndim == 2 and not regression:
        predicted = predicted.argmax(axis=1)
    exact = np.float64 if regression else np.int64
    return predicted.reshape(-1).astype(exact), true.astype(exact)


def _constant(values: npt.NDArray[Any]) -> bool:
    """Whether all are equal up to rounding: below 1e-12 of their size, differences are only rounding errors."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
