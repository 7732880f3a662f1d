"""Your own text in a recipe: a few lines that say where it is and which columns mean what.

task:
  name: reviews
  train: data/train.csv             # .csv, .tsv, .jsonl, .json or .parquet; with `hub: owner/name`, names of splits
  validation: data/test.csv
  text: [question, answer]          # the column, or the two, that the model reads
  label: score                      # whole numbers from 0, names, true and false, or floats for a regression (labels)
  metric: accuracy_f1               # optional: accuracy, accuracy_f1, matthews, correlation

Files are read as they are (`text_files`): nothing is written to a cache. A relative path starts from the current
folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from .._common.settings import Settings
from . import hub, labels, tasks, text_files
from .metrics import MetricSet

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

Name = Annotated[str, Field(min_length=1)]
_NAME = {"type": "string", "minLength": 1}
#: One column's name, or a list of one or two.
Names = Annotated[
    list[Name],
    Field(min_length=1, max_length=2),
    BeforeValidator(lambda text: [text] if isinstance(text, str) else text),
    WithJsonSchema({"anyOf": [_NAME, {"type": "array", "minItems": 1, "maxItems": 2}], "items": _NAME}),
]


class OwnData(Settings):
    """Where a task's text is, and what its columns mean: what a recipe says under `task`.

    name               of the task, in records and tables; no GLUE task's
    train, validation  files (.csv, .tsv, .json, .jsonl, .parquet), or splits where `hub` is given
    hub, config        a repository on the Hub, "owner/name", and its configuration; None: files
    text               the column that the model reads, or a list of two
    label              the column to predict: names, true and false, whole numbers from 0, or floats for a regression
    metric             how to score; None: the first that fits

    >>> OwnData(name="reviews", train="train.csv", validation="test.csv", text="review", label="stars").text
    ['review']
    """

    name: Name = Field(examples=["reviews"])
    hub: Name | None = Field(None, description="a repository on the Hub", examples=["owner/name"])
    config: Name | None = Field(None, description="the repository's configuration")
    train: Name = Field(description="a file, or a split of the repository", examples=["train.csv"])
    validation: Name = Field(description="a file, or a split of the repository", examples=["validation.csv"])
    text: Names = Field(description="the columns a model reads", examples=["review", ["question", "answer"]])
    label: Name = Field(description="the column it predicts", examples=["label"])
    metric: MetricSet | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.name in tasks.NAMES:
            raise ValueError(f"name {self.name!r} is a GLUE task's; choose another")
        if self.hub is None and self.config is not None:
            raise ValueError("config belongs to hub, a repository on the Hub; leave it out")
        for split, file in (("train", self.train), ("validation", self.validation)):
            if self.hub is None and Path(file).suffix not in SUFFIXES:
                raise ValueError(f"{split} must end in {', '.join(SUFFIXES)}; got {file!r}: 'rows.csv' would do")
        return self


def check_description(task: Mapping[str, Any]) -> str:
    """The name of a described task; raises ValueError or TypeError naming the key that will not do."""
    return OwnData.of(task, "recipe: task").name


def load(task: Mapping[str, Any], train: int | None, validation: int | None, seed: int) -> tasks.Task:
    """The `tasks.Task` that `task` describes.

    Raises ValueError for missing files and columns, and as `tasks.from_datasets`; `hub.HubError` without the Hub.
    """
    data = OwnData.of(task, "task")
    columns = {
        split: _fetch(data.hub, data.config, name) if data.hub else _read(name, split)
        for split, name in (("train", data.train), ("validation", data.validation))
    }
    if data.hub is None:
        _read_labels(columns, data)
    return tasks.from_datasets(
        columns, text=data.text, label=data.label, name=data.name, metric=data.metric, train=train,
        validation=validation, seed=seed,
    )  # fmt: skip


def _fetch(repository: str, config: str | None, split: str) -> Any:
    import datasets

    if not hub.reachable():
        raise hub.HubError(f"task: {repository} is on the Hub, and {hub.why()}; files of your own would do")
    try:
        return datasets.load_dataset(repository, config, split=split)
    except Exception as error:  # the class depends on the version of datasets and of its HTTP library
        raise hub.HubError(f"task: {repository}, split {split!r}, is not available: {error}") from error


def _read(path: str, split: str) -> dict[str, list[Any]]:
    source = Path(path).expanduser()
    if not source.is_file():
        raise ValueError(f"task: {split}: there is no file {path!r} (from {Path.cwd()})")
    try:
        return text_files.read_columns(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"task: {split}: {path!r} cannot be read as {source.suffix[1:]}: {error}") from error


def _read_labels(columns: dict[str, dict[str, list[Any]]], data: OwnData) -> None:
    """Turn the labels of .csv and .tsv, which hold text alone, into what is written there, over both files at once."""
    written = {
        split: part[data.label]
        for (split, part), file in zip(columns.items(), (data.train, data.validation), strict=True)
        if Path(file).suffix in (".csv", ".tsv") and data.label in part
    }
    values = iter(labels.from_cells([cell for cells in written.values() for cell in cells]))
    for split, cells in written.items():
        columns[split][data.label] = [next(values) for _ in cells]
