"""The floor: logistic regression on TF-IDF of words and pairs of words; a transformer must be better to be worth it."""

from __future__ import annotations

import numpy as np

from ..data import metrics
from ..data.tasks import Task


def bag_of_words_scores(task: Task) -> tuple[dict[str, float], np.ndarray]:
    """The task's metrics, and the outputs (rows, classes), on its validation rows; ridge regression for numbers.

    Of two texts each has features of its own, besides those of the words that both have. Strength 1, as scikit-learn
    has it: nothing is tuned.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    parts = []
    for column in task.text:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        parts.append((words.fit_transform(task.train[column]), words.transform(task.validation[column])))
    if len(task.text) == 2:
        words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        first, second = (list(task.train[column]) for column in task.text)
        words.fit([*first, *second])
        shared = [[words.transform(list(rows[c])) for c in task.text] for rows in (task.train, task.validation)]
        parts.append(tuple(a.multiply(b) for a, b in shared))
    train, validation = (hstack([pair[i] for pair in parts]).tocsr() for i in (0, 1))
    labels, truth = (np.asarray(rows["label"]) for rows in (task.train, task.validation))
    if task.regression:
        outputs = Ridge().fit(train, labels).predict(validation)[:, None]
    else:
        fitted = LogisticRegression(max_iter=1000).fit(train, labels)
        outputs = np.full((len(truth), task.num_labels), -np.inf)
        outputs[:, fitted.classes_] = fitted.predict_log_proba(validation)
    outputs = np.nan_to_num(outputs, neginf=-1e9)
    return metrics.compute(task.metric_set, outputs, truth), outputs
