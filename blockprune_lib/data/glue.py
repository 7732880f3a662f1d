"""GLUE's nine tasks as plain columns of text and labels: which columns, where the rows come from, and their checks.

Every row is checked before any is used; an error names the file and the line.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from . import hub
from .sentences import generator

Columns = dict[str, list[Any]]

FOLDER_VARIABLE = "BLOCKPRUNE_GLUE_DIR"
HUB_REPOSITORY = "nyu-mll/glue"
BUILT_IN_ROWS = {"train": 3000, "validation": 600}


@dataclass(frozen=True)
class Fields:
    """A task's text columns and the names of its labels, from label 0; no names: a number from `low` to `high`."""

    text: tuple[str, ...]
    labels: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns that are used, the text first and the label last."""
        return (*self.text, "label")

    def fault(self, column: str, value: Any) -> str:
        """What a value of this column must be, such as "text", where it is something else; else ""."""
        if column != "label":
            return _fault_of_text(value)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if self.labels:
            if number and isinstance(value, Integral) and 0 <= int(value) < len(self.labels):
                return ""
            return f"one of {', '.join(f'{place} ({name})' for place, name in enumerate(self.labels))}"
        if number and math.isfinite(value) and self.low <= value <= self.high:
            return ""
        return "a finite number" + ("" if math.isinf(self.low) else f" from {self.low:g} to {self.high:g}")


def _fault_of_text(value: Any) -> str:
    if not isinstance(value, str):
        return "text"
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can spell
        return "text that UTF-8 can write"
    return ""


_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")

# Field names and label order of nyu-mll/glue.
GLUE = {
    "cola": Fields(("sentence",), ("unacceptable", "acceptable")),
    "sst2": Fields(("sentence",), ("negative", "positive")),
    "mrpc": Fields(_PAIR, ("not_equivalent", "equivalent")),
    "stsb": Fields(_PAIR, low=0.0, high=5.0),
    "qqp": Fields(("question1", "question2"), ("not_duplicate", "duplicate")),
    "mnli": Fields(("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "qnli": Fields(("question", "sentence"), _ENTAILED),
    "rte": Fields(_PAIR, _ENTAILED),
    "wnli": Fields(_PAIR, ("not_entailment", "entailment")),
}

#: The tasks' names as GLUE prints them.
TITLES = {
    "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "stsb": "STS-B", "qnli": "QNLI", "sst2": "SST-2", "qqp": "QQP",
    "mnli": "MNLI", "wnli": "WNLI",
}  # fmt: skip


def title_of(task: str) -> str:
    """A task as GLUE writes it; its name where it is none of GLUE's.

    >>> title_of("stsb"), title_of("mine")
    ('STS-B', 'mine')
    """
    return TITLES.get(task, task)


def glue_folder() -> Path | None:
    """The folder that `BLOCKPRUNE_GLUE_DIR` names (relative to the working directory), or None where it is not set.

    Raises `ValueError` where it is set and there is no such folder: falling back silently would mislead.
    """
    if not (value := os.environ.get(FOLDER_VARIABLE, "").strip()):
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        shown = value if folder.is_absolute() else f"{value} (from {Path.cwd()})"
        raise ValueError(f"{FOLDER_VARIABLE}: there is no folder {shown}; correct the variable or unset it")
    return folder


def from_folder(folder: Path, task: str) -> dict[str, Columns]:
    """{split: columns} from `folder`/`task`/{train,validation}.jsonl.gz, and validation_mismatched if it exists."""
    extra = folder / task / "validation_mismatched.jsonl.gz"
    splits = ["train", "validation", *(["validation_mismatched"] if extra.is_file() else [])]
    return {split: _read_jsonl(folder / task / f"{split}.jsonl.gz", GLUE[task]) for split in splits}


def from_hub(task: str) -> dict[str, Columns]:
    """{split: columns} from the Hub's parquet files; raises `hub.HubError` where they are not available."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    names = {"train": "train", "validation": "validation"}
    if task == "mnli":
        names |= {"validation": "validation_matched", "validation_mismatched": "validation_mismatched"}
    patterns = [f"{task}/{name}-*.parquet" for name in names.values()]
    folder = hub.snapshot(HUB_REPOSITORY, patterns, required=patterns, repo_type="dataset")
    splits: dict[str, Columns] = {split: {key: [] for key in GLUE[task].columns} for split in names}
    for split, name in names.items():
        for path in sorted(folder.glob(f"{task}/{name}-*.parquet")):
            try:
                part = parquet.read_table(path).to_pydict()
            except (OSError, ValueError) as error:
                raise ValueError(f"{path} is not a readable parquet file: {error}; delete it, load again") from error
            check_rows(part, GLUE[task], str(path))
            for key, values in splits[split].items():
                values += part[key]
    return splits


def built_in(task: str, train: int | None, validation: int | None, seed: int) -> dict[str, Columns]:
    """{split: columns} made by `sentences`: `train` and `validation` rows, None for 3,000 and 600, drawn by `seed`."""
    counts = {"train": train or BUILT_IN_ROWS["train"], "validation": validation or BUILT_IN_ROWS["validation"]}
    made = {split: generator.generate(task, count, split, seed) for split, count in counts.items()}
    return {split: {key: rows[key] for key in GLUE[task].columns} for split, rows in made.items()}


def check_columns(there: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raise `ValueError`, saying which columns there are, where one of those wanted is missing."""
    there = list(there)
    for name in wanted:
        if name not in there:
            raise ValueError(f"{where} has no column {name!r}; it has {', '.join(map(repr, there)) or 'no columns'}")


def check_rows(columns: Columns, fields: Fields, where: str, unit: str = "row", first: int = 0) -> None:
    """Raise `ValueError` for missing, unequal or empty columns and for a wrong value; rows count from `first`."""
    check_columns(columns, fields.columns, where)
    lengths = {key: len(columns[key]) for key in fields.columns}
    if len(set(lengths.values())) > 1 or not lengths["label"]:
        raise ValueError(f"{where} must have at least one row and columns of one length; got {lengths}")
    for key in fields.columns:
        for number, value in enumerate(columns[key], start=first):
            if wanted := fields.fault(key, value):
                raise ValueError(f"{where}, {unit} {number}: {key!r} must be {wanted}; got {value!r}")


def _read_jsonl(path: Path, fields: Fields) -> Columns:
    if not path.is_file():
        raise ValueError(f"{path} is missing; {FOLDER_VARIABLE} needs TASK/train.jsonl.gz and TASK/validation.jsonl.gz")
    columns: Columns = {key: [] for key in fields.columns}
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:  # broken JSON, or bytes that are not UTF-8
            raise ValueError(f"{where} must be one JSON object; got {line[:60]!r} ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{where} must be one JSON object; got {line[:60]!r}")
        check_columns(row, columns, where)
        for key, values in columns.items():
            values.append(row[key])
    check_rows(columns, fields, str(path), unit="line", first=1)
    return columns


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}, after line {number}: not a whole gzip file ({error}); copy it again") from error
