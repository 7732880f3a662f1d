"""Files that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that appears whole or not at all; raises ValueError where its folder is not there."""
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"{str(target)!r}: the folder {str(target.parent)!r} does not exist; make it first")
    if target.is_dir():
        raise ValueError(f"{str(target)!r} is a folder; name a file")
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, one line a key, no NaN; whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file; raises ValueError, naming the file, where it is cut short or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from None
