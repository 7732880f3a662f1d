"""One measurement of the machine for all processes of a job: pages of one book that are built one after the other then
give one peak and one bandwidth, and each does not spend seconds to find them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._common.files import write_json

#: Names the file that a job's processes share; the first of them writes it. Without it each process measures.
VARIABLE = "BLOCKPRUNE_HARDWARE"


def read(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record in the shared file, where it was measured on a machine, and with versions, that `facts` describe.

    None where there is no such file, and for any that is not whole: then the caller measures.
    """
    path = os.environ.get(VARIABLE, "")
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and facts.items() <= record.items() else None


def write(record: Mapping[str, Any]) -> None:
    """Write the record to the shared file, where one is named; one that cannot be written stops nobody."""
    if path := os.environ.get(VARIABLE, ""):
        with suppress(OSError, ValueError):
            write_json(path, dict(record))
