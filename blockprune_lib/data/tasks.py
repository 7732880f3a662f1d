"""The text a model is trained and scored on: GLUE's nine tasks, or your own.

`load("rte")` takes the text from the folder that the variable `BLOCKPRUNE_GLUE_DIR` names; else from the Hub
(`nyu-mll/glue`); else from a built-in generator of English sentences that needs no download (see `sentences`). The
source is printed, and kept in the task with a SHA-256 of the text. Nothing is written to any cache.
"""

from __future__ import annotations

import hashlib
import json
import random
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._common.callers import users_line
from .._common.checks import one_of, positive_int
from .._common.moved import renamed
from . import glue, hub, labels, metrics
from .glue import Columns, Fields
from .metrics import MetricSet

SOURCES = ("auto", "folder", "hub", "built-in")
NAMES = tuple(glue.GLUE)


@dataclass(frozen=True, repr=False)
class Task:
    """Text and labels to train on and to score on (`datasets.Dataset`s), and how to score.

    train, validation   the rows, as `datasets.Dataset`
    text          the one or two columns that a model reads
    label_names   of label 0, 1 and so on; empty for a regression
    metric_set    what the task is scored by (see `metrics`)
    source, fingerprint   where the text comes from; SHA-256 of all rows used
    mismatched    MNLI's second validation set, where there is one
    notes         what a reader should know of the text
    """

    name: str
    train: Any
    validation: Any
    text: tuple[str, ...]
    label_names: tuple[str, ...]
    metric_set: MetricSet
    source: str
    fingerprint: str
    mismatched: Any = None
    notes: tuple[str, ...] = ()
    _encoded: dict[str, Any] = field(default_factory=dict, compare=False)

    kind = renamed("kind", "metric_set")

    @property
    def regression(self) -> bool:
        """Whether the labels are numbers to predict closely, not classes."""
        return not self.label_names

    @property
    def num_labels(self) -> int:
        """How many outputs a model needs, one per class, 1 for a regression."""
        return len(self.label_names) or 1

    @property
    def primary(self) -> str:
        """Name of the metric to compare models by."""
        return metrics.primary(self.metric_set)

    @property
    def majority(self) -> dict[str, float]:
        """Scores on the validation rows of always predicting the training rows' commonest label (or their mean)."""
        return metrics.majority(self.metric_set, self.train["label"], self.validation["label"])

    def encode(self, tokenizer: Any, max_length: int = 128) -> tuple[Any, Any]:
        """Train and validation as token ids: Datasets with input_ids, attention_mask, ..., labels.

        Texts are cut to `max_length` tokens, or to the tokenizer's limit where that is less, and not padded; the
        tokenizer that `models.load` gives knows the model's. The result is kept in memory: a second call with the same
        arguments is free.
        """
        if not callable(tokenizer) or getattr(tokenizer, "model_max_length", None) is None:
            raise TypeError(f"tokenizer must be a Hugging Face tokenizer; got {type(tokenizer).__name__}")
        max_length = min(positive_int(max_length, "max_length"), tokenizer.model_max_length)
        last = self._encoded
        if last.get("tokenizer") is not tokenizer or last.get("max_length") != max_length:
            pair = tuple(_encode(part, self, tokenizer, max_length) for part in (self.train, self.validation))
            last.update(tokenizer=tokenizer, max_length=max_length, pair=pair)
        return last["pair"]

    def describe(self) -> str:
        """One line: which text, why this one, how many rows."""
        why = f" ({'; '.join(self.notes)})" if self.notes else ""
        text = "built-in sentences" if self.source == "built-in" else self.source
        kind = ", a regression" if self.regression else ""
        return f"Text: {self.name}, {text}{kind}{why}, {self._rows()}"

    def _rows(self) -> str:
        return f"{len(self.train):,} to train on, {len(self.validation):,} to score on"

    def to_dict(self) -> dict[str, Any]:
        """What a result record keeps, ready for JSON: name, source, rows, fingerprint, labels, majority score."""
        return {
            "name": self.name, "source": self.source, "train_rows": len(self.train),
            "validation_rows": len(self.validation), "fingerprint": self.fingerprint,
            "labels": list(self.label_names), "metric": self.primary, "majority": self.majority,
            "notes": list(self.notes),
        }  # fmt: skip

    def __repr__(self) -> str:
        label = self.train[0]["label"]
        example = " | ".join(f'"{self.train[0][column]}"' for column in self.text)
        example += f" -> {self.label_names[label] if self.label_names else label}"
        rows = {
            "task": f"{self.name} ({self.source})",
            "rows": self._rows(),
            "text": ", ".join(self.text),
            "labels": ", ".join(self.label_names) or "numbers: a regression",
            "metric": f"{self.primary}; the majority class alone scores {self.majority[self.primary]:.3f}",
            "example": textwrap.fill(example, 64, break_long_words=False).replace("\n", "\n" + " " * 9),
            "sha256": self.fingerprint,
            "notes": "; ".join(self.notes),
        }
        return "\n".join(f"{key:<9}{value}" for key, value in rows.items() if value)


def load(
    name: str, *, train: int | None = None, validation: int | None = None, seed: int = 0, source: str = "auto",
    verbose: bool = True,
) -> Task:  # fmt: skip
    """Load one of GLUE's tasks: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli.

    `train`, `validation`: how many rows, drawn at random by `seed` (a smaller draw is part of a larger one), or all
    where there are fewer; None takes all, of the built-in text 3,000 and 600. `source`: "folder", "hub", "built-in",
    or "auto" for the first of them that is available. `verbose` prints one line on what was used.

    Raises `ValueError` for an unknown name or source, and for a folder with a missing or broken file (naming file
    and line); `hub.HubError` where `source="hub"` is not available.

    >>> load("sst2", train=2, validation=2, source="built-in").name
    Text: sst2, built-in sentences, 2 to train on, 2 to score on
    'sst2'
    """
    one_of(name, "name", NAMES, remedy="for your own text, tasks.from_datasets would do")
    one_of(source, "source", SOURCES)
    counts = {"train": train, "validation": validation}
    for argument, count in counts.items():
        if count is not None:
            positive_int(count, argument)
    splits, used, why = _find(name, source, train, validation, seed)
    task = _task(name, splits, glue.GLUE[name], metrics.GLUE_METRICS[name], used, counts, seed, why)
    if verbose:
        print(task.describe())
    return task


def from_datasets(
    data: Mapping[str, Any], *, text: str | Sequence[str] = "sentence", label: str = "label", name: str = "my text",
    metric: str | None = None, train: int | None = None, validation: int | None = None, seed: int = 0,
) -> Task:  # fmt: skip
    """A task from your own text: a `DatasetDict`, or a dict, with "train" and "validation".

    Each of the two is a Dataset, a data frame or a dict of columns. `text` names the column (or two) a model reads,
    `label` the one it predicts: names, true and false, or whole numbers from 0 for classes, floats for a regression
    (`data.labels`). `metric`: accuracy, accuracy_f1 or matthews for classes, correlation for a regression (None: the
    first that fits). `train`, `validation`, `seed` as in `load`. Warns where whole numbers with a point may have been
    meant as classes. Raises TypeError or ValueError naming the column and row (from 0) that will not do.

    >>> rows = {"review": ["good", "bad"], "stars": [1, 0]}
    >>> from_datasets({"train": rows, "validation": rows}, text="review", label="stars").num_labels
    2
    """
    names = (text,) if isinstance(text, str) else tuple(text)
    if len(names) not in (1, 2):
        raise ValueError(f"text must name one or two columns; got {names!r}")
    if not {"train", "validation"} <= {*data}:
        raise ValueError(f"data must have 'train' and 'validation'; got {', '.join(map(repr, data))}")
    splits = {split: _columns(data[split], names, label, split) for split in ("train", "validation")}
    known = getattr((getattr(data["train"], "features", None) or {}).get(label), "names", None)
    found = labels.number(
        {split: columns["label"] for split, columns in splits.items()}, label, known,
        classes=None if metric is None else metric != "correlation",
    )  # fmt: skip
    fields = Fields(names, found.names)
    for split, columns in splits.items():
        columns["label"] = found.values[split]
        glue.check_rows(columns, fields, split)
    if not found.names and found.notes:
        warnings.warn(f"{name}: {found.notes[0]}", stacklevel=users_line())
    fitting = [known for known in metrics.METRIC_SETS if (known == "correlation") != bool(found.names)]
    metric_set = one_of(metric or fitting[0], f"metric for {'classes' if found.names else 'a regression'}", fitting)
    counts = {"train": train, "validation": validation}
    return _task(name, splits, fields, metric_set, "own text", counts, seed, found.notes)


def _find(
    name: str, source: str, train: int | None, validation: int | None, seed: int
) -> tuple[dict[str, Columns], str, tuple[str, ...]]:
    """{split: columns}, where they came from, and why not from elsewhere."""
    if source in ("auto", "folder"):
        if folder := glue.glue_folder():
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
    name: str, splits: dict[str, Columns], fields: Fields, metric_set: MetricSet, source: str,
    counts: dict[str, int | None], seed: int, notes: tuple[str, ...] = (),
) -> Task:  # fmt: skip
    from datasets import Dataset

    digest, parts = hashlib.sha256(), {}
    for split, columns in splits.items():
        count, total = counts["train" if split == "train" else "validation"], len(columns["label"])
        if count is not None and count > total:
            notes += (f"{count:,} {split} rows asked for, {total:,} are there",)
        rows = _draw(total, count, seed)
        chosen = {key: [values[row] for row in rows] for key, values in columns.items()}
        if not fields.labels:
            chosen["label"] = [float(value) for value in chosen["label"]]
        digest.update(json.dumps([split, chosen], sort_keys=True).encode())
        parts[split] = Dataset.from_dict(chosen)
    train, validation, mismatched = (parts.get(split) for split in ("train", "validation", "validation_mismatched"))
    used = digest.hexdigest()
    return Task(name, train, validation, fields.text, fields.labels, metric_set, source, used, mismatched, notes)


def _draw(total: int, count: int | None, seed: int) -> Sequence[int]:
    """Sorted indices of `count` of the rows; a smaller draw with the same seed is part of a larger one."""
    if count is None or count >= total:
        return range(total)
    key = random.Random(seed).random
    order = sorted(range(total), key=[key() for _ in range(total)].__getitem__)
    return sorted(order[:count])


def _columns(part: Any, text: tuple[str, ...], label: str, split: str) -> Columns:
    there = getattr(part, "column_names", None)  # of a Dataset, or of pyarrow's table
    if there is None:
        there = part if isinstance(part, Mapping) else getattr(part, "columns", None)  # the latter: a data frame
    if there is None:
        raise TypeError(f"data: {split} must be a Dataset or a dict of columns; got {type(part).__name__}")
    glue.check_columns(there, (*text, label), f"data: {split}")
    columns = {**{column: list(part[column]) for column in text}, "label": list(part[label])}
    for column in text:
        columns[column] = [value.as_py() if hasattr(value, "as_py") else value for value in columns[column]]
    return columns


def _encode(part: Any, task: Task, tokenizer: Any, max_length: int) -> Any:
    from datasets import Dataset

    columns = [list(part[column]) for column in task.text]
    encoded: dict[str, list[Any]] = {}
    for start in range(0, len(part), 8192):
        rows = [column[start : start + 8192] for column in columns]
        for key, values in tokenizer(*rows, truncation=True, max_length=max_length).items():
            encoded.setdefault(key, []).extend(values)
    return Dataset.from_dict({**encoded, "labels": list(part["label"])})
