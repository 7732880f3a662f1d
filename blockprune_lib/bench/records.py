"""A benchmark's record: every sample with its provenance, as one JSON file that is written whole or not at all.

`SCHEMA` is the JSON schema of the file, and what a file is checked against.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .._common.files import read_json, write_json
from . import tables
from .case import Case, Part

Benchmark = Literal["matrix", "model", "training", "kernels"]


class Record(Part):
    """What a benchmark measured and how; prints as tables. `bench_matrices` and `bench_model` return one."""

    format: Literal["blockprune bench, version 1"]
    kind: Benchmark
    settings: dict[str, Any] = Field(
        description="every setting of the run, by the names that the Python functions take; of a folder its name"
    )
    provenance: dict[str, Any] = Field(
        description="date (UTC), commit (or null), changed (uncommitted edits, or null), versions, environment"
    )
    hardware: dict[str, Any] = Field(description="what blockprune info --json prints")
    cases: list[Case] = Field(min_length=1)

    def to_dict(self) -> dict[str, Any]:
        """The record as `SCHEMA` describes it."""
        return self.model_dump(mode="json")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON; the file appears whole or not at all. Raises ValueError where the folder is not."""
        write_json(path, self.to_dict())

    def __repr__(self) -> str:
        return tables.text(self.cases, self.hardware, self.provenance)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return tables.html(self.cases, self.hardware, self.provenance)


#: The JSON schema of a record.
SCHEMA: Mapping[str, Any] = Record.model_json_schema()


def read(path: str | os.PathLike[str]) -> Record:
    """The record in a file that `save` wrote; raises ValueError saying what is missing or of another type."""
    source, remedy = Path(path), "blockprune bench --json FILE writes one"
    try:
        return Record.of(read_json(source), "the record")
    except FileNotFoundError:
        raise ValueError(f"{str(source)!r}: there is no such file; {remedy}") from None
    except OSError as error:
        raise ValueError(f"{str(source)!r} cannot be read: {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(source)!r} is not a whole record: {error}; {remedy}") from None
