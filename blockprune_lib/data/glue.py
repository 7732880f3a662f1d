"""GLUE's nine tasks as plain columns of text and labels: their fields, where the rows are read, how they are checked.

Every row is checked before any is used, and what is wrong is told with its file and line. Left out: choosing rows,
tokenising and scoring (see `tasks`).
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import hub
from .sentences import generator

Columns = dict[str, list[Any]]

FOLDER_VARIABLE = "BLOCKPRUNE_GLUE_DIR"
HUB_REPOSITORY = "nyu-mll/glue"
BUILT_IN_ROWS = {"train": 3000, "validation": 600}


@dataclass(frozen=True)
class Shape:
    """Text fields of a task and the names of its labels 0, 1, ...; no names: labels are numbers, `low` to `high`."""

    text: tuple[str, ...]
    labels: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf


_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")

# Field names and label order of nyu-mll/glue.
GLUE = {
    "cola": Shape(("sentence",), ("unacceptable", "acceptable")),
    "sst2": Shape(("sentence",), ("negative", "positive")),
    "mrpc": Shape(_PAIR, ("not_equivalent", "equivalent")),
    "stsb": Shape(_PAIR, low=0.0, high=5.0),
    "qqp": Shape(("question1", "question2"), ("not_duplicate", "duplicate")),
    "mnli": Shape(("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "qnli": Shape(("question", "sentence"), _ENTAILED),
    "rte": Shape(_PAIR, _ENTAILED),
    "wnli": Shape(_PAIR, ("not_entailment", "entailment")),
}

__all__ = ["FOLDER_VARIABLE", "GLUE", "Columns", "Shape", "built_in", "check", "from_folder", "from_hub", "glue_folder"]


def glue_folder() -> Path | None:
    """The folder that `BLOCKPRUNE_GLUE_DIR` names (relative to the working directory), or None where it is not set.

    Raises `ValueError` where it is set and there is no such folder: never a silent fall-back.
    """
    value = os.environ.get(FOLDER_VARIABLE, "").strip()
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        shown = value if folder.is_absolute() else f"{value} (from {Path.cwd()})"
        raise ValueError(f"{FOLDER_VARIABLE}: there is no folder {shown}; correct the variable or unset it")
    return folder


def from_folder(folder: Path, task: str) -> dict[str, Columns]:
    """{split: columns} from `folder`/`task`/{train,validation}.jsonl.gz, and validation_mismatched where it is there.

    Raises `ValueError` naming the file and the line for anything missing or broken.
    """
    extra = folder / task / "validation_mismatched.jsonl.gz"
    splits = ["train", "validation", *(["validation_mismatched"] if extra.is_file() else [])]
    return {split: _read_jsonl(folder / task / f"{split}.jsonl.gz", GLUE[task]) for split in splits}


def from_hub(task: str) -> dict[str, Columns]:
    """The same from the Hub's parquet files. Raises `hub.HubError` where they cannot be had."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    validation = "validation_matched" if task == "mnli" else "validation"
    names = {"train": "train", "validation": validation}
    names |= {"validation_mismatched": "validation_mismatched"} if task == "mnli" else {}
    patterns = [f"{task}/{name}-*.parquet" for name in names.values()]
    folder = hub.snapshot(HUB_REPOSITORY, patterns, required=patterns, repo_type="dataset")
    splits = {}
    for split, name in names.items():
        columns: Columns = {}
        for path in sorted(folder.glob(f"{task}/{name}-*.parquet")):
            try:
                part = parquet.read_table(path).to_pydict()
            except (OSError, ValueError) as error:
                raise ValueError(f"{path} is not a readable parquet file: {error}; delete it, load again") from error
            check(part, GLUE[task], str(path))
            for key in (*GLUE[task].text, "label"):
                columns.setdefault(key, []).extend(part[key])
        splits[split] = columns
    return splits


def built_in(task: str, train: int | None, validation: int | None, seed: int) -> dict[str, Columns]:
    """The same from `sentences`, as many rows as asked for."""
    counts = {"train": train or BUILT_IN_ROWS["train"], "validation": validation or BUILT_IN_ROWS["validation"]}
    keys = (*GLUE[task].text, "label")
    made = {split: generator.generate(task, count, split, seed) for split, count in counts.items()}
    return {split: {key: columns[key] for key in keys} for split, columns in made.items()}


def check(columns: Columns, shape: Shape, where: str, unit: str = "row", first: int = 0) -> None:
    """Raise `ValueError` unless the fields are there, of one length above 0, text is str and labels are in range."""
    for key in (*shape.text, "label"):
        if key not in columns:
            raise ValueError(f"{where}: no field {key!r}; it has {', '.join(map(repr, columns)) or 'none'}")
    lengths = {key: len(columns[key]) for key in (*shape.text, "label")}
    if len(set(lengths.values())) > 1 or not lengths["label"]:
        raise ValueError(f"{where}: expected at least one row and all fields of one length, got {lengths}")
    for key in (*shape.text, "label"):
        for number, value in enumerate(columns[key], start=first):
            if problem := _problem(key, value, shape):
                raise ValueError(f"{where}, {unit} {number}: {problem}")


def _problem(key: str, value: Any, shape: Shape) -> str:
    """What is wrong with one value, empty where nothing is."""
    if key != "label":
        return "" if isinstance(value, str) else f"field {key!r}: expected text, got {value!r}"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if shape.labels:
        if number and isinstance(value, int) and 0 <= value < len(shape.labels):
            return ""
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(shape.labels))
        return f"field 'label': expected one of {known}, got {value!r}"
    if number and math.isfinite(value) and shape.low <= value <= shape.high:
        return ""
    bounds = "" if math.isinf(shape.low) else f" from {shape.low:g} to {shape.high:g}"
    return f"field 'label': expected a finite number{bounds}, got {value!r}"


def _read_jsonl(path: Path, shape: Shape) -> Columns:
    if not path.is_file():
        raise ValueError(f"{path} is missing; {FOLDER_VARIABLE} needs TASK/train.jsonl.gz and TASK/validation.jsonl.gz")
    keys = (*shape.text, "label")
    columns: Columns = {key: [] for key in keys}
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:  # broken JSON, or bytes that are not UTF-8
            raise ValueError(f"{path}, line {number}: expected one JSON object, got {line[:60]!r} ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected one JSON object, got {line[:60]!r}")
        for key in keys:
            if key not in row:
                raise ValueError(
                    f"{path}, line {number}: no field {key!r}; it has {', '.join(map(repr, row)) or 'none'}"
                )
            columns[key].append(row[key])
    if not columns["label"]:
        raise ValueError(f"{path} has no rows; expected one JSON object a line")
    check(columns, shape, str(path), unit="line", first=1)
    return columns


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines of a gzip file; raises `ValueError` where the stream is broken or ends early."""
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}, after line {number}: not a whole gzip file ({error}); copy it again") from error
