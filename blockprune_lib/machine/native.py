"""Machine code by Numba, kept on disk for the next process and never stale: two decorators and the cache behind them.

    native    a function that Python calls: compiled at its first call, or loaded from disk
    inner     a function that only compiled code calls: it becomes part of its callers

Numba's own cache notices an edit of the file that a function stands in, but not of what else it is built from, such as
an intrinsic in `simd`. Here an entry is only used while the text of every file in this folder and in the function's own
room is what it was; for a function from outside the library, the text of all of it. Where no folder can be written,
every process compiles for itself. `NUMBA_DISABLE_JIT` is for the code that a user debugs: these functions are compiled
all the same, since most are made of instructions that Python lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from numba import config, njit

HERE = Path(__file__).parent


def native(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a module-level function that takes numbers and arrays; it lets go of the interpreter lock while it runs.

    `options` are those of `numba.njit`: `@native` and `@native(fastmath={"contract"})`.
    """
    if function is None:
        return partial(native, **options)
    compiled = inner(function, nogil=True, **options)
    if config.DISABLE_JIT:
        compiled.compile = compiler_on()(compiled.compile)
    keep_on_disk(compiled, function)
    return compiled


def inner(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function into those that call it; `options` as `native` takes them."""
    if function is None:
        return partial(inner, **options)
    with compiler_on():
        return njit(**options)(function)


@contextmanager
def compiler_on() -> Iterator[None]:
    """Let Numba compile, whatever `NUMBA_DISABLE_JIT` says."""
    asked, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = asked


def keep_on_disk(compiled: Any, function: Callable[..., Any]) -> None:
    """Let `compiled`, which Numba made of `function`, be loaded from disk and kept there, where that can be done."""
    with suppress(RuntimeError):  # no folder can be written
        compiled.enable_caching()
    # Names of Numba's own: where a version has others, and entries cannot be stamped, nothing is kept.
    cache: Any = getattr(compiled, "_cache", None)
    file: Any = getattr(cache, "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, *map(_digest, _built_from(Path(function.__code__.co_filename))))
    elif hasattr(cache, "disable"):
        cache.disable()


def _built_from(file: Path) -> list[Path]:
    """The folders whose code may be part of a function in `file`."""
    if not file.is_relative_to(HERE.parent):
        return [HERE.parent, file.parent]
    return [HERE, HERE.parent / file.relative_to(HERE.parent).parts[0]]


@cache
def _digest(folder: Path) -> str:
    """Of the names and contents of a folder's Python files, and of the folders in it."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()
