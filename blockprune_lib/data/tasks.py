"""The text a model is trained and scored on: GLUE's nine tasks, or your own.

`load("rte")` takes the text from the folder that the variable `BLOCKPRUNE_GLUE_DIR` names; else from the Hub
(`nyu-mll/glue`); else from a built-in generator of English sentences that needs no download (see `sentences`). What
was used is printed, and kept in the task with a SHA-256 of the text. Nothing is written to any cache.

Left out: reading and checking the rows (see `glue_rows`), the scores (see `metrics`), padding, which the collator
does for each batch.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._common.checks import positive_int
from . import glue, hub, metrics
from .glue import Columns, Shape

SOURCES = ("auto", "folder", "hub", "built-in")
NAMES = tuple(glue.GLUE)

__all__ = ["NAMES", "Task", "from_datasets", "load"]


@dataclass(frozen=True, repr=False)
class Task:
    """Text and labels to train on and to score on (`datasets.Dataset`s), and how to score.

    `text`: the columns a model reads, one or two. `kind`: the metrics (see `metrics`). `label_names`: names of the
    labels 0, 1, ...; empty for a regression. `mismatched`: MNLI's second validation set, where there is one.
    `fingerprint`: SHA-256 of all rows used.
    """

    name: str
    train: Any
    validation: Any
    text: tuple[str, ...]
    label_names: tuple[str, ...]
    kind: str
    source: str
    fingerprint: str
    mismatched: Any = None
    notes: tuple[str, ...] = ()
    _encoded: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def regression(self) -> bool:
        """Whether labels are numbers to come close to, not classes."""
        return not self.label_names

    @property
    def num_labels(self) -> int:
        """Outputs a model needs: one for each class, 1 for a regression."""
        return len(self.label_names) or 1

    @property
    def primary(self) -> str:
        """Name of the metric to compare models by."""
        return metrics.primary(self.kind)

    @property
    def majority(self) -> dict[str, float]:
        """Scores on the validation rows of always giving the training rows' commonest label (or their mean)."""
        train, labels = self.train["label"], self.validation["label"]
        guess = sum(train) / len(train) if self.regression else Counter(train).most_common(1)[0][0]
        return metrics.compute(self.kind, [guess] * len(labels), labels)

    def score(self, predictions: Any, labels: Any) -> dict[str, float]:
        """`metrics.compute` for this task: logits (n, classes) or labels (n,), and the true labels (n,)."""
        return metrics.compute(self.kind, predictions, labels)

    def compute_metrics(self, evaluated: Any) -> dict[str, float]:
        """The same for a Hugging Face Trainer, which hands over an EvalPrediction."""
        return metrics.for_trainer(self.kind)(evaluated)

    def encode(self, tokenizer: Any, max_length: int = 128) -> tuple[Any, Any]:
        """Train and validation as token ids: Datasets with input_ids, attention_mask, ..., labels.

        Cut to `max_length` tokens, or to what the model takes where that is less, and not padded. Kept in memory; a
        second call with the same arguments is free.
        """
        longest = getattr(tokenizer, "model_max_length", None)
        if longest is None or not callable(tokenizer):
            raise TypeError(f"tokenizer must be a Hugging Face tokenizer; got {type(tokenizer).__name__}")
        max_length = min(positive_int(max_length, "max_length"), longest)
        last = self._encoded
        if last.get("tokenizer") is not tokenizer or last.get("max_length") != max_length:
            pair = tuple(_encode(part, self, tokenizer, max_length) for part in (self.train, self.validation))
            last.update(tokenizer=tokenizer, max_length=max_length, pair=pair)
        return last["pair"]

    def describe(self) -> str:
        """One line: which text, why this one, how many rows."""
        why = f" ({'; '.join(self.notes)})" if self.notes else ""
        text = "built-in sentences" if self.source == "built-in" else self.source
        rows = f"{len(self.train):,} to train on, {len(self.validation):,} to score on"
        return f"Text: {self.name}, {text}{why}, {rows}"

    def to_dict(self) -> dict[str, Any]:
        """What a result record keeps, JSON-able: name, source, rows, fingerprint, majority score."""
        return {
            "name": self.name,
            "source": self.source,
            "train_rows": len(self.train),
            "validation_rows": len(self.validation),
            "fingerprint": self.fingerprint,
            "metric": self.primary,
            "majority": self.majority,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        example = " | ".join(f'"{self.train[0][column]}"' for column in self.text)
        rows = {
            "task": f"{self.name} ({self.source})",
            "rows": f"{len(self.train):,} to train on, {len(self.validation):,} to score on",
            "text": ", ".join(self.text),
            "labels": ", ".join(self.label_names) or "numbers",
            "metric": f"{self.primary}; the commonest label alone scores {self.majority[self.primary]:.3f}",
            "example": f"{example} -> {self.train[0]['label']}",
            "sha256": self.fingerprint,
            "notes": "; ".join(self.notes),
        }
        return "\n".join(f"{key:<9}{value}" for key, value in rows.items() if value)


def load(
    name: str,
    *,
    train: int | None = None,
    validation: int | None = None,
    seed: int = 0,
    source: str = "auto",
    verbose: bool = True,
) -> Task:
    """Load one of GLUE's tasks: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli.

    `train`, `validation`: so many rows, drawn at random by `seed` (a smaller draw is part of a larger one), and all
    there are where there are fewer; None takes all, of the built-in text 3,000 and 600. `source`: "folder", "hub",
    "built-in", or "auto" for the first of them that can be had. `verbose` prints one line on what was used.

    Raises `ValueError` for an unknown name or source, and for a folder with a missing or broken file (naming file
    and line); `hub.HubError` where `source="hub"` cannot be had.

    >>> load("sst2", train=2, validation=2, source="built-in").name
    Text: sst2, built-in sentences, 2 to train on, 2 to score on
    'sst2'
    """
    if name not in glue.GLUE:
        raise ValueError(f"name must be one of {', '.join(NAMES)}; got {name!r} (your own text: tasks.from_datasets)")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {source!r}")
    counts = {"train": train, "validation": validation}
    for argument, count in counts.items():
        if count is not None:
            positive_int(count, argument)
    splits, used, notes = _find(name, source, train, validation, seed)
    task = _task(name, splits, glue.GLUE[name], metrics.GLUE_METRICS[name], used, counts, seed)
    task = replace(task, notes=(*notes, *task.notes))
    if verbose:
        print(task.describe())
    return task


def from_datasets(
    data: Mapping[str, Any],
    *,
    text: str | Sequence[str] = "sentence",
    label: str = "label",
    name: str = "my text",
    metric: str | None = None,
    train: int | None = None,
    validation: int | None = None,
    seed: int = 0,
) -> Task:
    """A task from your own text: a `DatasetDict`, or a dict, with "train" and "validation".

    Each of the two is a Dataset or a dict of columns. `text` names the column (or two) a model reads, `label` the one
    it predicts: whole numbers from 0 for classes, floats for a regression. `metric`: accuracy, accuracy_f1 or matthews
    for classes, correlation for a regression (None: the first). `train`, `validation`, `seed` as in `load`.

    >>> rows = {"review": ["good", "bad"], "stars": [1, 0]}
    >>> from_datasets({"train": rows, "validation": rows}, text="review", label="stars").num_labels
    2
    """
    names = (text,) if isinstance(text, str) else tuple(text)
    if len(names) not in (1, 2):
        raise ValueError(f"text must name one or two columns; got {names!r}")
    for split in ("train", "validation"):
        if split not in data:
            raise ValueError(f"data must have 'train' and 'validation'; got {', '.join(map(repr, data))}")
    splits = {split: _columns(data[split], names, label, split) for split in ("train", "validation")}
    values = splits["train"]["label"] + splits["validation"]["label"]
    classes = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    known = getattr(getattr(data["train"], "features", {}).get(label), "names", None)
    labels = tuple(known or map(str, range(max(2, max(values) + 1)))) if classes else ()
    shape = Shape(names, labels)
    for split, columns in splits.items():
        glue.check(columns, shape, split)
    kind = metric or ("accuracy" if classes else "correlation")
    if kind not in metrics.PRIMARY or (kind == "correlation") == classes:
        fitting = "accuracy, accuracy_f1 or matthews for classes" if classes else "correlation for a regression"
        raise ValueError(f"metric must be {fitting}; got {metric!r}")
    return _task(name, splits, shape, kind, "own text", {"train": train, "validation": validation}, seed)


def _find(
    name: str, source: str, train: int | None, validation: int | None, seed: int
) -> tuple[dict[str, Columns], str, tuple[str, ...]]:
    """{split: columns}, where they came from, and why not from elsewhere."""
    if source in ("auto", "folder"):
        folder = glue.glue_folder()
        if folder is not None:
            return glue.from_folder(folder, name), f"folder: {folder.resolve().name}", ()
        if source == "folder":
            raise ValueError(f"source='folder' needs the variable {glue.FOLDER_VARIABLE}, which is not set")
    reasons: tuple[str, ...] = ()
    if source in ("auto", "hub"):
        try:
            return glue.from_hub(name), f"hub: {glue.HUB_REPOSITORY}", ()
        except hub.HubError as error:
            if source == "hub":
                raise
            reasons = ("no GLUE folder", str(error) if hub.reachable() else "the Hub is not reachable")
    return glue.built_in(name, train, validation, seed), "built-in", reasons


def _task(
    name: str, splits: dict[str, Columns], shape: Shape, kind: str, source: str, counts: dict[str, Any], seed: int
) -> Task:
    from datasets import Dataset

    digest, parts, notes = hashlib.sha256(), {}, []
    for split, columns in splits.items():
        count = counts["train" if split == "train" else "validation"]
        total = len(columns["label"])
        if count is not None and count > total:
            notes.append(f"{count:,} {split} rows asked for, {total:,} are there")
        rows = _draw(total, count, seed)
        chosen = {key: [values[row] for row in rows] for key, values in columns.items()}
        if not shape.labels:
            chosen["label"] = [float(value) for value in chosen["label"]]
        digest.update(json.dumps([split, chosen], sort_keys=True).encode())
        parts[split] = Dataset.from_dict(chosen)
    train, validation, other = (parts.get(split) for split in ("train", "validation", "validation_mismatched"))
    used = digest.hexdigest()
    return Task(name, train, validation, shape.text, shape.labels, kind, source, used, other, tuple(notes))


def _draw(total: int, count: int | None, seed: int) -> Sequence[int]:
    """Sorted numbers of `count` of the rows; a smaller draw with the same seed is part of a larger one."""
    if count is None or count >= total:
        return range(total)
    key = random.Random(seed).random
    order = sorted(range(total), key=[key() for _ in range(total)].__getitem__)
    return sorted(order[:count])


def _columns(part: Any, text: tuple[str, ...], label: str, split: str) -> Columns:
    there = getattr(part, "column_names", None) or (list(part) if isinstance(part, Mapping) else None)
    if there is None:
        raise TypeError(f"data: {split} must be a Dataset or a dict of columns; got {type(part).__name__}")
    for column in (*text, label):
        if column not in there:
            raise ValueError(f"data: {split} has no column {column!r}; it has {', '.join(map(repr, there))}")
    return {**{column: list(part[column]) for column in text}, "label": list(part[label])}


def _encode(part: Any, task: Task, tokenizer: Any, max_length: int) -> Any:
    from datasets import Dataset

    columns = [list(part[column]) for column in task.text]
    encoded: dict[str, list[Any]] = {}
    for start in range(0, len(part), 8192):
        rows = [column[start : start + 8192] for column in columns]
        for key, values in tokenizer(*rows, truncation=True, max_length=max_length).items():
            encoded.setdefault(key, []).extend(values)
    return Dataset.from_dict({**encoded, "labels": list(part["label"])})
