"""What one run leaves: a JSON file that says what was run, on what, and what came out; checked, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from .._common.files import read_json, write_json
from .._common.folders import as_path
from .._common.settings import Settings, Whole
from ..training.report import StageReport
from .run_spec import Run

FORMAT = "blockprune run, version 1"
_INSTEAD = "the folder that `blockprune run --folder` wrote would do"
Scores = dict[str, float]
Facts = dict[str, Any]


class RunRecord(Settings):
    """The record of one run; keys that this version does not know are passed over."""

    model_config = ConfigDict(extra="ignore")

    format: Literal["blockprune run, version 1"]
    name: str = Field(description="task, model, structure, method, rate and seed")
    run: Run
    provenance: Facts = Field(
        description="date (UTC), commit (or null), changed (uncommitted edits, or null), versions, environment"
    )
    hardware: Facts = Field(description="what blockprune info --json prints, and the accelerator that trained, if any")
    model: Facts = Field(description="name, source, architecture, parameters, SHA-256 of the weights")
    data: Facts = Field(description="name, source, rows, SHA-256 of the rows used, the majority's score")
    metric: str = Field(description="the score to compare by")
    examples: Whole = Field(description="that were scored")
    majority: Scores = Field(description="of always giving the commonest label")
    dense: Scores = Field(description="after fine-tuning")
    final: Scores = Field(description="at the end")
    stages: list[StageReport]
    compression: Facts = Field(description="rates by each definition and bytes, with the block-sparse layers packed")
    densities: dict[str, float] = Field(description="the kept fraction of each pruned matrix")
    flags: list[str] = Field(default_factory=list, description="what went wrong, such as a score of the majority class")
    precisions: dict[str, Scores] = Field(default_factory=dict, description="at the end, multiplied in fewer bits")
    predictions: str = Field(
        "", description="of each validation row at the end: a digit a class, or numbers and commas"
    )
    latency: Facts | None = Field(None, description="milliseconds a text, and what they were measured on")


#: The JSON schema of a record.
SCHEMA: Mapping[str, Any] = RunRecord.model_json_schema()


def save(record: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a record, checked; the file appears whole or not at all."""
    RunRecord.of(record, "record")
    write_json(path, record)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record, checked; raises ValueError saying which file and what is missing or of another type."""
    source, again = Path(path), "delete it, and blockprune run makes it again from its stages"
    try:
        record: dict[str, Any] = read_json(source)
    except OSError as error:
        raise ValueError(f"{str(source)!r} cannot be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from None
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise ValueError(f"{str(source)!r}: format must be {FORMAT!r}; got {found!r}")
    try:
        RunRecord.of(record, "record")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(source)!r} is not a whole record: {error}; {again}") from None
    return record


def read_all(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Every record under a folder, in the order of their names; raises ValueError where there is none."""
    source = as_path(folder)
    if not source.exists():
        raise ValueError(f"there is no folder {str(source)!r}: {_INSTEAD}")
    if source.is_file() and not _is_record(source):
        raise ValueError(f"{str(source)!r} must be a record; got another file: {_INSTEAD}")
    paths = [source] if source.is_file() else sorted(path for path in files_under(source) if _is_record(path))
    if not paths:
        raise ValueError(f"{str(source)!r} holds no record of blockprune run: {_INSTEAD}")
    return [read(path) for path in paths]


def files_under(folder: Path) -> list[Path]:
    """Every JSON file under a folder that runs may be at work in: what they delete meanwhile is passed over."""
    found = [Path(where, name) for where, _, names in os.walk(folder) for name in names if name.endswith(".json")]
    return [path for path in found if path.is_file()]


def _is_record(path: Path) -> bool:
    if path.parent.name == "records":  # one that was damaged must not be passed over
        return True
    with suppress(FileNotFoundError), path.open("rb") as file:
        return FORMAT.encode() in file.read(200)
    return False  # a checkpoint, say, that was deleted in this moment
