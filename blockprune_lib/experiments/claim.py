"""A folder of runs belongs to one recipe, also where several commands begin in it at the same moment.

    FOLDER/recipe.json   what was asked for
    FOLDER/recipe.lock   held while somebody decides whose the folder is
    FOLDER/in-use.lock   shared by all who work here, so that nobody takes the folder from them before a stage has begun

The system releases a lock when the process that holds it ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._common.files import read_json, write_json
from .._common.folders import refuse_another, refuse_foreign_files
from ..data.labels import plain

CARD, TURN, IN_USE = "recipe.json", "recipe.lock", "in-use.lock"


@contextmanager
def claimed(folder: Path, recipe: Mapping[str, Any], extend: bool = False) -> Iterator[None]:
    """Inside the block `folder`, made where it is missing, is `recipe`'s, as it is for others with this recipe.

    Once a stage has begun it stays so. Raises ValueError where it holds something else, or belongs to another recipe
    and `extend` does not say to add to it, and OSError where it cannot be written to.
    """
    card, asked = folder / CARD, json.loads(json.dumps(dict(recipe), default=plain))  # NumPy's numbers too
    if not card.exists():
        refuse_foreign_files(folder, (TURN, IN_USE))
    elif not extend and _begun(folder):  # a folder that nobody may write to is read all the same
        refuse_another(read_json(card), asked, f"{str(folder)!r} holds another run (--extend adds to it)")
        yield
        return
    (folder / "records").mkdir(parents=True, exist_ok=True)
    with _opened(folder / IN_USE) as users:
        with _opened(folder / TURN) as turn:
            _lock(turn, folder / TURN)
            there = read_json(card) if card.exists() else asked
            if not extend and (_begun(folder) or not _alone(users)):
                refuse_another(there, asked, f"{str(folder)!r} holds another run (--extend adds to it)")
            if not (card.exists() and there == asked):
                write_json(card, asked)
            _lock(users, folder / IN_USE, fcntl.LOCK_SH)
        yield


def _begun(folder: Path) -> bool:
    """Whether a folder has a stage or a record: one whose recipe was refused has none, and may be another recipe's."""
    return any(entry for part in ("stages", "records", "models") for entry in (folder / part).glob("*"))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file to lock, made where it is missing; closing it releases the lock."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _lock(file: int, path: Path, how: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(file, how)
    except OSError as error:  # that of a file system without locks names no file
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _alone(users: int) -> bool:
    """Whether nobody else works in the folder; only whoever's turn it is may ask."""
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
