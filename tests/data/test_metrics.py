"""Metrics against their definitions written out in NumPy, and at the edges where libraries warn or give NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import metrics


def matthews(predicted, true):
    tp, tn = np.sum((predicted == 1) & (true == 1)), np.sum((predicted == 0) & (true == 0))
    fp, fn = np.sum((predicted == 1) & (true == 0)), np.sum((predicted == 0) & (true == 1))
    below = math.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    return (tp * tn - fp * fn) / below if below else 0.0


def f1(predicted, true):
    tp = np.sum((predicted == 1) & (true == 1))
    wrong = np.sum(predicted != true)
    return 2 * tp / (2 * tp + wrong) if 2 * tp + wrong else 0.0


def pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))


def ranks(values):
    """Average ranks, ties shared."""
    return np.array([np.mean(np.flatnonzero(np.sort(values) == value)) for value in values])


pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30)


@given(pairs)
def test_classes_agree_with_the_definitions(rows):
    predicted, true = np.array(rows).T
    accuracy = np.mean(predicted == true)
    assert metrics.compute("rte", predicted, true) == {"accuracy": pytest.approx(accuracy)}
    assert metrics.compute("cola", predicted, true)["matthews"] == pytest.approx(matthews(predicted, true), abs=1e-12)
    both = metrics.compute("mrpc", predicted, true)
    assert both["f1"] == pytest.approx(f1(predicted, true))
    assert both["mean"] == pytest.approx((accuracy + f1(predicted, true)) / 2)
    logits = np.eye(2)[predicted] * 3 - 1
    assert metrics.compute("mrpc", logits, true) == both


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 50)), min_size=2, max_size=25))
def test_correlations_agree_with_the_definitions(rows):
    predicted, true = np.array(rows, dtype=float).T
    scores = metrics.compute("stsb", predicted[:, None], true / 10)
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        assert scores == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}
        return
    assert scores["pearson"] == pytest.approx(pearson(predicted, true), abs=1e-9)
    assert scores["spearman"] == pytest.approx(pearson(ranks(predicted), ranks(true)), abs=1e-9)
    assert scores["mean"] == pytest.approx((scores["pearson"] + scores["spearman"]) / 2)


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e150])
def test_correlations_of_tiny_and_huge_numbers(scale):
    predicted = np.array([1.0, 2.0, 4.0, 3.0]) * scale
    assert metrics.compute("stsb", predicted, [1.0, 2.0, 3.0, 4.0])["pearson"] == pytest.approx(0.8)


# Each of these warned or gave NaN somewhere once.
@pytest.mark.parametrize(
    ("task", "predicted", "true"),
    [
        ("cola", [1, 1, 1], [0, 1, 1]),
        ("cola", [0, 1], [1, 1]),
        ("cola", [0], [0]),
        ("mrpc", [0, 0], [0, 0]),
        ("mrpc", [0, 0], [1, 1]),
        ("stsb", [2.5, 2.5, 2.5], [1.0, 2.0, 3.0]),
        ("stsb", [2.5, 2.5 + 1e-15, 2.5], [1.0, 2.0, 3.0]),
        ("stsb", [1.0], [2.0]),
        ("stsb", [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_constant_predictions_are_finite_and_silent(task, predicted, true):
    scores = metrics.compute(task, predicted, true)
    assert all(math.isfinite(value) for value in scores.values())
    assert metrics.primary(task) in scores
    json.dumps(scores, allow_nan=False)


def test_every_task_has_its_metric():
    from blockprune_lib.data import glue

    assert set(metrics.GLUE_METRICS) == set(glue.GLUE)
    assert {task: metrics.primary(task) for task in ("cola", "stsb", "mrpc", "rte")} == {
        "cola": "matthews",
        "stsb": "mean",
        "mrpc": "mean",
        "rte": "accuracy",
    }


def test_what_a_trainer_hands_over():
    from transformers import EvalPrediction

    logits, labels = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1])
    score = metrics.for_trainer("sst2")
    assert score(EvalPrediction(logits, labels)) == {"accuracy": 0.5}
    assert score(EvalPrediction((logits, np.zeros((2, 4, 4))), labels)) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sst3", [1], [1]), "task"),
        (("sst2", [1, 0], [1]), "one row per label, 1; got"),
        (("sst2", [], []), "at least 1"),
        (("sst2", [[1.0, float("nan")]], [1]), "predictions must be finite; got 1 NaN or infinite of 2"),
        (("stsb", [1.0, float("inf")], [1.0, 2.0]), "infinite"),
        (("stsb", [[1.0, 2.0]], [1.0]), "must have one column"),
        (("sst2", [[[1.0]]], [1]), "predictions"),
        (("sst2", [1], [[1]]), "labels"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute(*arguments)


def test_the_majority_is_the_commonest_training_label_or_the_mean():
    assert metrics.majority("rte", [1, 0, 1], [0, 0, 0, 1]) == {"accuracy": 0.25}
    assert metrics.majority("mrpc", np.array([0, 0, 1]), np.array([0, 1]))["f1"] == 0.0
    assert metrics.majority("stsb", [0.5, 2.0], [1.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0, "mean": 0.0}


def test_unknown_task_everywhere():
    for function in (metrics.primary, metrics.for_trainer):
        with pytest.raises(ValueError, match=r"task must be one of .*cola.*; got 'imdb'"):
            function("imdb")
