"""Your own text in a recipe: a few lines say where it lies and which columns mean what.

task:
  name: reviews
  train: data/train.csv             # .csv, .tsv, .jsonl, .json or .parquet; with `hub: owner/name`, names of splits
  validation: data/test.csv
  text: [question, answer]          # the column, or the two, a model reads
  label: score                      # whole numbers from 0, names, true and false, or floats for a regression
  metric: accuracy_f1               # optional: accuracy, accuracy_f1, matthews, correlation

Files are read as they are: nothing is written to a cache. A path counts from the folder the command is given in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import hub, metrics, tasks

KEYS = ("name", "hub", "config", "train", "validation", "text", "label", "metric")
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

Columns = dict[str, list[Any]]


def check_description(task: Mapping[str, Any]) -> str:
    """The task's name; raises ValueError or TypeError for a description that cannot be meant."""
    for key in task:
        if key not in KEYS:
            raise ValueError(f"recipe: task has the unknown key {key!r} (known: {', '.join(KEYS)})")
    for key in ("name", "train", "validation", "text", "label"):
        if key not in task:
            raise ValueError(f"recipe: task lacks {key!r}; a description has name, train, validation, text and label")
    for key, value in task.items():
        for entry in value if key == "text" and isinstance(value, list) else [value]:
            if not isinstance(entry, str) or not entry:
                raise TypeError(f"recipe: task: {key} must be text; got {entry!r}")
    if isinstance(task["text"], list) and len(task["text"]) not in (1, 2):
        raise ValueError(f"recipe: task: text must name one column or two; got {task['text']!r}")
    if task.get("metric", "accuracy") not in metrics.PRIMARY:
        raise ValueError(f"recipe: task: metric must be one of {', '.join(metrics.PRIMARY)}; got {task['metric']!r}")
    if "hub" not in task and "config" in task:
        raise ValueError("recipe: task: config belongs to hub, a repository on the Hub; leave it out")
    if task["name"] in tasks.NAMES:
        raise ValueError(f"recipe: task: name {task['name']!r} is a GLUE task's; choose another")
    if "hub" not in task:
        for split in ("train", "validation"):
            if Path(task[split]).suffix not in SUFFIXES:
                raise ValueError(f"recipe: task: {split} must end in {', '.join(SUFFIXES)}; got {task[split]!r}")
    return str(task["name"])


def load(task: Mapping[str, Any], train: int | None, validation: int | None, seed: int) -> tasks.Task:
    """The `tasks.Task` a description means; labels that are names become 0, 1, ... in alphabetical order.

    Raises ValueError for files that are missing and columns that are not there, and as `tasks.from_datasets`;
    `hub.HubError` where the Hub is asked for and cannot be reached.
    """
    if "hub" in task:
        data = {split: _fetch(task["hub"], task.get("config"), task[split]) for split in ("train", "validation")}
    else:
        data = {split: _read(task[split], split) for split in ("train", "validation")}
    text = task["text"] if isinstance(task["text"], list) else [task["text"]]
    columns = {split: _columns(part, [*text, task["label"]], split) for split, part in data.items()}
    _number_labels(columns, task["label"])
    return tasks.from_datasets(
        columns, text=text, label=task["label"], name=task["name"], metric=task.get("metric"), train=train,
        validation=validation, seed=seed,
    )  # fmt: skip


def _fetch(repository: str, config: str | None, split: str) -> Columns:
    import datasets

    if not hub.reachable():
        raise hub.HubError(f"task: {repository} is on the Hub, and {hub.why()}; files of your own would do")
    try:
        columns: Columns = datasets.load_dataset(repository, config, split=split).to_dict()
        return columns
    except Exception as error:  # the class depends on the version of datasets and of its HTTP library
        raise hub.HubError(f"task: {repository}, split {split!r}, cannot be had: {error}") from error


def _read(path: str, split: str) -> Columns:
    source = Path(path).expanduser()
    if not source.is_file():
        raise ValueError(f"task: {split}: there is no file {path!r} (from {Path.cwd()})")
    try:
        return _read_json(source) if source.suffix in (".json", ".jsonl") else _read_table(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"task: {split}: {path!r} cannot be read as {source.suffix[1:]}: {error}") from error


def _read_table(source: Path) -> Columns:
    from pyarrow import csv, parquet  # type: ignore[import-untyped]

    if source.suffix == ".parquet":
        columns: Columns = parquet.read_table(source).to_pydict()
    else:
        options = csv.ParseOptions(delimiter="\t" if source.suffix == ".tsv" else ",", newlines_in_values=True)
        columns = csv.read_csv(source, parse_options=options).to_pydict()
    return columns


def _read_json(source: Path) -> Columns:
    """One JSON object a line, or one list of them; a field that a row lacks is None."""
    text = source.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        rows = json.loads(text)
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), start=1):  # str.splitlines also cuts at U+2028
            try:
                rows += [json.loads(line)] if line.strip() else []
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} must be an object such as {{'text': ..., 'label': ...}}; got {row!r:.60}")
    names = {name: None for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in names}


def _columns(part: Columns, names: list[str], split: str) -> Columns:
    for name in names:
        if name not in part:
            have = ", ".join(map(repr, part)) or "no rows"
            raise ValueError(f"task: {split} has no column {name!r}; it has {have}")
    return {name: part[name] for name in names}


def _number_labels(columns: dict[str, Columns], label: str) -> None:
    values = [value for part in columns.values() for value in part[label]]
    if values and (all(isinstance(value, str) for value in values) or all(isinstance(v, bool) for v in values)):
        order = {name: number for number, name in enumerate(sorted(set(values)))}
        for part in columns.values():
            part[label] = [order[value] for value in part[label]]
