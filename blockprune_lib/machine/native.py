"""Machine code by Numba, kept on disk for the next process and never stale: two decorators and the cache behind them.

    native    a function that Python calls: compiled at its first call, or loaded from disk
    inner     a function that only compiled code calls: it becomes part of its callers

Numba's own cache notices an edit of the file that a function stands in, but not of what else it is built from, such as
an intrinsic in `simd`. Here an entry is only used while the text of every file in this folder and in the function's own
room is what it was, whatever the files' dates; for a function from outside the library, the text of all of it.

Entries lie in the folder that `NUMBA_CACHE_DIR` names, else in `__pycache__` beside the source, else in the user's
cache folder: in the first that can be written, or that holds entries already, as a read-only image of a container may.
Where nothing can be kept, every process compiles for itself, which takes seconds, and says so once; a damaged file is
passed over. `NUMBA_DISABLE_JIT` is for the code that a user debugs: these functions are compiled all the same, since
most are made of instructions that Python lacks.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from numba import config, njit
from numba.core import caching

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
    try:
        compiled._cache = _kernel_cache()(function)
    except RuntimeError:
        compiled._cache = _nowhere()
    except AttributeError:  # these are names of Numba's own: where a version has others, nothing is kept
        _say_once("this version of Numba keeps it in another way")


def cache_folder(function: Callable[..., Any]) -> Path | None:
    """The folder in which `function`'s machine code is kept, None where it cannot be."""
    try:
        return Path(_kernel_cache()(function).cache_path)
    except (RuntimeError, AttributeError):
        return None


@cache
def _kernel_cache() -> Any:
    """Numba's cache of a function, which reads folders that it cannot write to, stamps by text, and never fails."""

    def readable(locator: Any) -> Any:
        class Readable(locator):  # type: ignore[misc]
            def ensure_cache_path(self) -> None:
                try:
                    super().ensure_cache_path()
                except OSError:
                    if not any(Path(self.get_cache_path()).glob("*.nbi")):
                        raise

        return Readable

    class Implementation(caching.CompileResultCacheImpl):
        _locator_classes: ClassVar = [*map(readable, caching.CompileResultCacheImpl._locator_classes)]

    class KernelCache(caching.FunctionCache):
        _impl_class = Implementation

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            folders = _built_from(Path(function.__code__.co_filename))
            _ = self._cache_file._source_stamp  # AttributeError where entries cannot be stamped: they would go stale
            self._cache_file._source_stamp = tuple(map(_digest, folders))

        def load_overload(self, *arguments: Any) -> Any:
            try:
                return super().load_overload(*arguments)
            except Exception:  # a damaged file fails anywhere in pickle or LLVM
                with suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, *arguments: Any) -> None:
            try:
                super().save_overload(*arguments)
            except Exception as error:  # a full disk, a folder of another user, an index that is damaged
                _say_once(f"{self.cache_path}: {error}")

    return KernelCache


def _nowhere() -> Any:
    """A cache that keeps nothing, and says so once something was compiled."""

    class Nowhere(caching.NullCache):
        def save_overload(self, *_: Any) -> None:
            _say_once("no folder for it can be written")

    return Nowhere()


_said: list[str] = []


def _say_once(why: str) -> None:
    if not _said:
        _said.append(why)
        message = (
            f"machine code cannot be kept on disk ({why}): every process compiles anew, which takes seconds. "
            "NUMBA_CACHE_DIR may name a folder that can be written; bp.warm_up(model) compiles before the first call"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)


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
