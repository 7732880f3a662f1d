"""Folders that belong to one thing, such as a stage or a recipe: whose they are, and whether they are whole."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

#: Errors of the system that no free space would mend.
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_ROOM = "What was whole before is kept: make room and run the same again to go on from there"


def as_path(folder: Any, name: str = "folder", example: str = "runs/mine") -> Path:
    """`folder` as a path, with ~ for the home folder; raises TypeError or ValueError for what is no path.

    >>> as_path("")
    Traceback (most recent call last):
    ValueError: folder must be a path that is not empty; got '': 'runs/mine' would do
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"{name} must be a path; got {folder!r} ({type(folder).__name__}): {example!r} would do")
    if not os.fspath(folder):
        raise ValueError(f"{name} must be a path that is not empty; got {folder!r}: {example!r} would do")
    if "\0" in os.fsdecode(folder):
        raise ValueError(f"{name} must be a path without a null character; got {folder!r}: {example!r} would do")
    if any("\ud800" <= sign <= "\udfff" for sign in os.fsdecode(folder)):  # safetensors would write there, never read
        raise ValueError(f"{name} must be a path in UTF-8; got {folder!r}, which has other bytes: {example!r} would do")
    return Path(folder).expanduser()


def check_place(folder: str | os.PathLike[str], name: str = "folder") -> Path:
    """`folder` as a path; raises ValueError unless it is a folder, or one can be made there. Nothing is left behind.

    >>> check_place("/dev/null/runs")
    Traceback (most recent call last):
    ValueError: folder must be a folder, or a place for one; got '/dev/null/runs', but '/dev/null' is a file: ...
    """
    place = as_path(folder, name)
    if place.is_symlink() and not place.exists():  # what it names is made there
        place = Path(os.path.realpath(place))
    there = nearest(place, name)
    if there != place:
        missing = next(path for path in (place, *place.parents) if path.parent == there)
        try:
            missing.mkdir()
        except OSError as error:
            if isinstance(error, FileExistsError) and not missing.is_symlink():  # another process was faster
                return place
            said = f"{name} must be a folder, or a place for one; got {str(place)!r}, but"
            raise ValueError(f"{said} {str(missing)!r} cannot be made ({error.strerror}): runs/mine would do") from None
        with suppress(OSError):  # likewise
            missing.rmdir()
    return place


def nearest(place: Path, name: str = "folder") -> Path:
    """`place`, or the nearest folder above it that is there; raises ValueError where a file stands in the way."""
    there = place
    while (found := is_folder(there)) is None and there != there.parent:  # None too where one may not look
        there = there.parent
    if not found:
        said = f"{name} must be a folder, or a place for one; got {str(place)!r}, but"
        raise ValueError(f"{said} {str(there)!r} is a file: runs/mine would do")
    return there


def is_folder(path: str | os.PathLike[str]) -> bool | None:
    """Whether a path is a folder; None where nothing is there. Asked once, so that nobody can move it in between."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return None


@contextmanager
def explain_write_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write `folder` into an OSError that says what is kept and how to go on."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        place = next(place for place in (folder, *folder.parents) if os.path.exists(place))
        remedy = f"the disk has {shutil.disk_usage(place).free / 1e6:,.0f} MB free. {_ROOM}"
        if isinstance(error, OSError) and error.errno in _FORBIDDEN:
            remedy = "another folder would do, one that you may write to and whose parent you may"
        raise OSError(f"{str(folder)!r} could not be written: {error}; {remedy}") from error


def refuse_foreign_files(folder: Path, ours: Container[str] = ()) -> None:
    """Raise ValueError where a folder that nobody has claimed holds files, `ours` and scratch of a killed run apart."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if foreign := [name for name in found if not name.endswith(".tmp") and name not in ours]:
        shown = ", ".join(foreign[:4])
        raise ValueError(f"{str(folder)!r} holds files of something else ({shown}); name another folder")


def refuse_another(there: Any, asked: Any, problem: str) -> None:
    """Raise ValueError naming up to four values in which what a folder holds differs from what is asked, both JSON.

    >>> refuse_another({"a": {"b": 1}}, {"a": {"b": 2}}, "'runs' holds another run")
    Traceback (most recent call last):
    ValueError: 'runs' holds another run: a.b is 1 there, 2 here; name another folder, or delete that one to start anew
    """
    found, wanted = _flat(there), _flat(asked)
    differ = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if differ:
        shown = "; ".join(f"{key} is {found.get(key)!r:.50} there, {wanted.get(key)!r:.50} here" for key in differ[:4])
        more = f" (and {len(differ) - 4} more)" if len(differ) > 4 else ""
        raise ValueError(f"{problem}: {shown}{more}; name another folder, or delete that one to start anew")


def inventory(paths: Sequence[Path]) -> dict[str, list[int]]:
    """{file name: [bytes, CRC-32]}."""
    return {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(paths)}


def damage(folder: Path, files: Mapping[str, Sequence[int]]) -> str:
    """The first difference between `folder` and its `inventory`, in words; empty where there is none."""
    for name, (size, checksum) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
        if _checksum(path) != checksum:
            return f"{name} has the right size but other content"
    return ""


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix or "content": value}
    parts = [_flat(part, f"{prefix}.{name}".strip(".")) for name, part in value.items()]
    return {key: entry for part in parts for key, entry in part.items()}


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
