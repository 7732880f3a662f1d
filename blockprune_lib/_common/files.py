"""Files and folders that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exchange import exchanged

if TYPE_CHECKING:
    from torch import Tensor


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that appears whole or not at all; raises ValueError where its folder is not there."""
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"{str(target)!r}: the folder {str(target.parent)!r} does not exist; make it first")
    if target.is_dir():
        raise ValueError(f"{str(target)!r} is a folder; name a file")
    target = Path(os.path.realpath(target))  # a symbolic link stays one
    scratch = _beside(target, "tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except OSError as error:  # that of a full disk names no file
        raise type(error)(error.errno, error.strerror, str(target)) from error
    finally:
        scratch.unlink(missing_ok=True)


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all, that is read by whom the umask lets: safetensors' own is 0600."""
    from safetensors.torch import save_file

    target = Path(path)
    scratch, mode = _beside(target, "tmp"), _beside(target, "mode.tmp")
    try:
        mode.touch()
        save_file(tensors, scratch, metadata={"format": "pt"})
        scratch.chmod(mode.stat().st_mode & 0o777)
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
        mode.unlink(missing_ok=True)


def usual_modes(folder: str | os.PathLike[str]) -> None:
    """Let the files of a folder that other programs made for their owner alone be read by whom the umask lets."""
    probe = _beside(Path(folder) / "mode", "tmp")
    try:
        probe.touch()
        mode = probe.stat().st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)
    for path in Path(folder).iterdir():
        if path.is_file() and not path.is_symlink() and (had := path.stat().st_mode & 0o777) | mode != had:
            path.chmod(had | mode)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `path`, and of what stood there, if the block ends well.

    Where `path` is a symbolic link, the folder that it names is replaced, and the link stays. Of several that are
    written at once, each whole, the last one stays.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = _beside(target, "tmp")
    try:
        scratch.mkdir()
        yield scratch
        while not _took_place(scratch, target):
            pass  # another was faster; its folder is replaced in turn
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _took_place(scratch: Path, target: Path) -> bool:
    """Put `scratch` where `target` stood; False where somebody else put a folder there in the same moment.

    In one step where the system can; else in two, and a kill between them leaves what stood there under a hidden name.
    """
    if exchanged(scratch, target):
        return True  # what stood there is in `scratch` now, which `whole_folder` removes
    old = _beside(target, "old")
    with suppress(FileNotFoundError):  # nothing stands there
        os.replace(target, old)
    try:
        os.replace(scratch, target)
        took = True
    except BaseException as error:
        took = False
        if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
            if old.exists():
                os.replace(old, target)
            raise
    shutil.rmtree(old, ignore_errors=True)
    return took


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, one line a key, no NaN; whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file; raises ValueError, naming the file, where it is cut short or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from None


def _beside(target: Path, ending: str) -> Path:
    """A name for a scratch file or folder on the same disk, which nobody else uses, and no disk finds too long."""
    return target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.{ending}")
