"""What one run leaves: a JSON file that says what was run, on what, and what came out; whole or not at all.

`SCHEMA` describes it and is what a file is checked against. Left out: running (see `runner`), tables (see `report`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._common.files import read_json, write_json
from .._common.schema import check_schema

FORMAT = "blockprune run, version 1"

#: What a record holds: a key's type, then what it means.
SCHEMA: Mapping[str, Any] = {
    "format": f"text: {FORMAT!r}",
    "name": "text: task, model, structure, method, rate and seed",
    "run": {
        "model": "text",
        "task": "text",
        "structure": "text: as BlockStructure.parse takes it",
        "method": "text",
        "seed": "int: of the head, the order of examples and dropout",
        "rate": "number: all groups ÷ kept groups that was asked for",
        "stages": "object: every setting of each stage",
        "options": "object: preset, rows, which matrices",
    },
    "provenance": "object: date (UTC), commit (or null), changed (uncommitted edits, or null), versions, environment",
    "hardware": "object: what blockprune info --json prints",
    "model": "object: name, source, architecture, parameters, SHA-256 of the weights",
    "data": "object: name, source, rows, SHA-256 of the rows used, the majority's score",
    "metric": "text: the score to compare by",
    "examples": "int: that were scored",
    "majority": "object: scores of always giving the commonest label",
    "dense": "object: scores after fine-tuning",
    "final": "object: scores at the end",
    "stages": [
        {
            "stage": "text",
            "steps": "int",
            "seconds": "number: of training, without scoring",
            "before": "object or null",
            "after": "object or null",
            "near_zero": "list or null: share of groups near zero, first and last",
            "density": "number or null",
            "history": "list: what was logged on the way",
        }
    ],
    "compression": "object: rates by each definition and bytes, with the block-sparse layers packed",
    "densities": "object: kept share of each pruned matrix",
}


def save(record: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a record, checked; the file appears whole or not at all."""
    check_schema(record, SCHEMA)
    write_json(path, record)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record, checked; raises ValueError saying which file and what is missing or of another type."""
    source = Path(path)
    again = "delete it, and blockprune run makes it again from its stages"
    try:
        plain = read_json(source)
    except OSError as error:
        raise ValueError(f"{str(source)!r} cannot be read: {error}") from None
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if found != FORMAT:
        raise ValueError(f"{str(source)!r}: format must be {FORMAT!r}; got {found!r}")
    try:
        check_schema(plain, SCHEMA)
    except ValueError as error:
        raise ValueError(f"{str(source)!r} is no whole record: {error}; {again}") from None
    record: dict[str, Any] = plain
    return record


def read_all(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Every record under a folder, in the order of their names; raises ValueError where there is none."""
    source = Path(folder)
    if not source.exists():
        raise ValueError(f"there is no folder {str(source)!r}")
    paths = [source] if source.is_file() else sorted(p for p in source.rglob("*.json") if _is_record(p))
    if not paths:
        raise ValueError(f"{str(source)!r} holds no record of blockprune run")
    return [read(path) for path in paths]


def _is_record(path: Path) -> bool:
    if path.parent.name == "records":  # one that was damaged must not be passed over
        return True
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(200)
