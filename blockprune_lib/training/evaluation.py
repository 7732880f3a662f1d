"""What a stage trains on and how a model is scored: encoded data, padding, metrics.

`evaluate` scores any model with a classification or regression head, sparsified ones too. Batches are cut from the
examples in order of length and padded to their longest, which changes no score and saves most of the padding.
"""

from __future__ import annotations

import time
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from .._common.checks import positive_int
from .._common.evaluating import evaluating
from ..data import metrics
from ..data.labels import plain
from ..data.limits import most_tokens, shorten
from ..data.metrics import MetricSet
from ..data.tasks import Task

#: What a model reads of an encoded text, where its family has it.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LABEL = ("labels", "label")
_FITTING = "models.load(..., task=task) makes one that fits"


def evaluate(model: Any, tokenizer: Any, data: Any, batch_size: int = 64, max_length: int = 128) -> dict[str, float]:
    """Score `model` on the validation part of `data`, a `tasks.Task` or a pair of encoded datasets.

    Returns the task's metrics, {name: value in -1 to 1}. Text is cut at `max_length` tokens, or at what the model takes
    where that is less; no gradient is kept; the model's mode and device stay. Raises ValueError for data without
    validation examples and for labels that do not fit the model's head, TypeError for a model that gives no row of
    logits a text.

    >>> task = tasks.load("rte")  # doctest: +SKIP
    >>> evaluate(model, tokenizer, task), task.majority  # a model that learned nothing  # doctest: +SKIP
    ({'accuracy': 0.5270758122743683}, {'accuracy': 0.5270758122743683})
    """
    return score(model, _prepared(model, tokenizer, data, batch_size, max_length), batch_size)


def predict(model: Any, tokenizer: Any, data: Any, batch_size: int = 64, max_length: int = 128) -> torch.Tensor:
    """The logits (examples, outputs) of `model` on the validation part of `data`, in its order; as in `evaluate`."""
    return _logits(model, _prepared(model, tokenizer, data, batch_size, max_length), batch_size)


def _prepared(model: Any, tokenizer: Any, data: Any, batch_size: int, max_length: int) -> TrainingData:
    positive_int(batch_size, "batch_size")
    prepared = prepare(model, tokenizer, data, positive_int(max_length, "max_length"))
    if prepared.validation is None:
        raise ValueError("data has no validation part: a pair (train, validation) of encoded datasets would do")
    return prepared


@dataclass(frozen=True)
class TrainingData:
    """Encoded examples of one task, for one tokenizer, with what pads and scores them."""

    train: Any
    validation: Any
    metric_set: MetricSet
    tokenizer: Any
    source: Any
    max_length: int = 128

    def reads_as(self, other: TrainingData) -> bool:
        """Whether a model is given the same tokens for the same rows as it is from `other`."""
        same = self.source is other.source and self.tokenizer is other.tokenizer
        return same and self.max_length == other.max_length

    def rows(self) -> list[dict[str, Any]]:
        """The examples to train on as plain dicts: a Dataset would decode each again whenever it is drawn."""
        return _rows(self.train)

    def collate(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch padded to its longest example: {name: (batch, length)}, and the labels (batch,)."""
        lengths = [len(example["input_ids"]) for example in examples]
        padding = {"input_ids": self.tokenizer.pad_token_id}
        batch = {}
        for key in set(INPUTS) & set(self.tokenizer.model_input_names):
            padded = np.full((len(examples), max(lengths)), padding.get(key, 0), dtype=np.int64)
            for row, example, length in zip(padded, examples, lengths, strict=True):
                row[:length] = example.get(key, 1 if key == "attention_mask" else 0)
            batch[key] = torch.from_numpy(padded)
        dtype = torch.float32 if self.metric_set == "correlation" else torch.int64
        return batch | {"labels": torch.tensor(_plain_labels(examples), dtype=dtype)}

    def report(self) -> dict[str, Any]:
        """The fields of the `StageReport` that say what is scored."""
        if self.validation is None:
            return {"examples": 0, "metric": None, "majority": None}
        labels = _labels(self.validation)
        majority = metrics.majority(self.metric_set, _labels(self.train).tolist(), labels)
        return {"examples": len(labels), "metric": metrics.primary(self.metric_set), "majority": majority}

    def fingerprint(self) -> str:
        """A checksum of what is trained on and scored on."""
        if isinstance(self.source, Task):
            return self.source.fingerprint
        checksum = 0
        for part in (self.train, [] if self.validation is None else self.validation):
            for ids, label in zip(column(part, "input_ids"), column(part, *_LABEL), strict=True):
                checksum = zlib.crc32(f"{list(ids)} {label}".encode(), checksum)
        return f"crc32 {checksum:08x}"


def prepare(model: Any, tokenizer: Any, source: Any, max_length: int = 128) -> TrainingData:
    """`source` checked and encoded for `tokenizer`, and checked against the model's head."""
    if getattr(tokenizer, "pad_token_id", None) is None:
        got = type(tokenizer).__name__
        raise TypeError(f"tokenizer must be a Hugging Face tokenizer with a padding token; got {got}")
    outputs = model.config.num_labels
    if isinstance(source, Task):
        needs = f"{source.name} needs a head of {source.num_labels} outputs"
        if source.num_labels != outputs:
            raise ValueError(f"data: {needs}, the model's has {outputs}; {_FITTING}")
        max_length = shorten(max_length, model, tokenizer)
        (train, validation), metric_set = source.encode(tokenizer, max_length), source.metric_set
    elif isinstance(source, (tuple, list)) and len(source) == 2:
        (train, validation), metric_set = source, "correlation" if outputs == 1 else "accuracy"
    else:
        got = f"{len(source)} of them" if isinstance(source, (tuple, list)) else type(source).__name__
        raise TypeError(f"data must be a Task or a pair (train, validation) of encoded datasets; got {got}")
    for part, examples in (("train", train), ("validation", validation)):
        if examples is not None or part == "train":
            _check_examples(part, examples, outputs)
            if not isinstance(source, Task):
                _check_lengths(part, examples, most_tokens(model))
    return TrainingData(train, validation, metric_set, tokenizer, source, max_length)


def score(model: Any, data: TrainingData, batch_size: int = 64) -> dict[str, float]:
    """The metrics of `model` on `data.validation`."""
    return metrics.compute(data.metric_set, _logits(model, data, batch_size).numpy(), _labels(data.validation))


@torch.no_grad()
def _logits(model: Any, data: TrainingData, batch_size: int) -> torch.Tensor:
    examples = _rows(data.validation)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]["input_ids"]))
    device = next(model.parameters()).device
    with evaluating(model):
        logits = torch.empty(len(examples), model.config.num_labels)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = data.collate([examples[i] for i in chosen])
            inputs = {key: value.to(device) for key, value in batch.items() if key != "labels"}
            logits[chosen] = _of_texts(model, model(**inputs)).float().cpu()
    return logits


def _of_texts(model: Any, outputs: Any) -> torch.Tensor:
    """The logits (texts, outputs) in what `model` returned; raises TypeError where it has none, or some a token."""
    logits: torch.Tensor | None = getattr(outputs, "logits", None)
    if logits is None or logits.ndim != 2:
        what = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise TypeError(
            f"model must give one row of logits a text; got a {type(model).__name__}, which gives {what}: "
            "AutoModelForSequenceClassification.from_pretrained(folder), or models.load(...).model, would do"
        )
    return logits


class Scores:
    """Scores a model on one task, and reads the score again while no weight has changed.

    One stage ends with the weights the next begins with, so each set of weights need be scored only once.
    """

    _known: ClassVar[weakref.WeakKeyDictionary[Any, tuple[int, TrainingData, dict[str, float]]]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, model: Any, data: TrainingData) -> None:
        self.model, self.data, self.seconds = model, data, 0.0

    def now(self) -> dict[str, float] | None:
        """The metrics of the weights as they are now, None where there is nothing to score on."""
        if self.data.validation is None:
            return None
        start = time.perf_counter()
        weights = fingerprint(self.model)
        known = self._known.get(self.model)
        if known is None or known[0] != weights or not self.data.reads_as(known[1]):
            read = replace(self.data, train=None, validation=None)  # not kept alive by the model
            known = self._known[self.model] = (weights, read, score(self.model, self.data))
        self.seconds += time.perf_counter() - start
        return dict(known[2])


def fingerprint(model: Any) -> int:
    """A checksum of every parameter and buffer, names and shapes included."""
    checksum = 0
    for name, values in model.state_dict().items():
        checksum = zlib.crc32(f"{name} {values.dtype} {tuple(values.shape)}".encode(), checksum)
        raw = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(raw.numpy(), checksum)
    return checksum


def _check_examples(part: str, examples: Any, outputs: int) -> None:
    if not hasattr(examples, "__len__") or not hasattr(examples, "__getitem__"):
        raise TypeError(f"data: {part} must be a sequence of encoded examples; got {type(examples).__name__}")
    if len(examples) == 0:
        raise ValueError(f"data: {part} is empty; at least one example is needed")
    first = examples[0]
    if not isinstance(first, dict) or "input_ids" not in first or not {"label", "labels"} & set(first):
        raise ValueError(f"data: {part} must hold dicts with input_ids and label; the first one is {str(first)[:80]}")
    if (size := np.asarray(plain(first.get("labels", first.get("label")))).size) != 1:
        raise ValueError(
            f"data: {part} must have one label an example; the first has {size}: for a label a token, or several a "
            "text, a transformers.Trainer with MaskCallback(model, masks) would do"
        )
    labels = _labels(examples)
    low, high = labels.min(), labels.max()
    if outputs > 1 and not (np.issubdtype(labels.dtype, np.integer) and low >= 0 and high < outputs):
        classes = f"the model's head has the classes 0 to {outputs - 1}, whole numbers without a point"
        raise ValueError(f"data: {part} has labels from {low} to {high}, but {classes}; {_FITTING}")
    if not np.isfinite(labels).all():
        raise ValueError(f"data: {part} has labels that are NaN or infinite")


def _check_lengths(part: str, examples: Any, most: int | None) -> None:
    if most is None:
        return
    for row, ids in enumerate(column(examples, "input_ids")):
        if len(ids) > most:
            cut = f"tokenizer(..., truncation=True, max_length={most}) cuts them"
            raise ValueError(f"data: {part}, row {row} has {len(ids)} tokens, the model takes {most}: {cut}")


def column(examples: Any, *names: str) -> list[Any]:
    """One value of each example: what it has under the first of `names` that it has.

    >>> column([{"label": 1}, {"labels": 0}], "labels", "label")
    [1, 0]
    """

    def among(known: Any) -> str:
        return next((name for name in names if name in known), names[-1])

    if hasattr(examples, "column_names"):  # a datasets.Dataset
        return list(examples[among(examples.column_names)])
    return [example[among(example)] for example in _rows(examples)]


def _labels(examples: Any) -> npt.NDArray[Any]:
    labels = np.asarray(_plain_labels(examples))
    return labels.astype(np.int64) if labels.dtype == bool else labels


def _plain_labels(examples: Any) -> list[Any]:
    return [plain(label) for label in column(examples, *_LABEL)]


def _rows(examples: Any) -> list[dict[str, Any]]:
    # A datasets.Dataset iterates quickly; any other sequence need only know its length and its items.
    return list(examples) if hasattr(examples, "column_names") else [examples[i] for i in range(len(examples))]
