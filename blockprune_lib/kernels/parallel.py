"""Share the items of one job among threads, without a second team of them beside torch's.

A job is an array of int64, as a rule a record with named fields (`records`). Its first field is the next item, its
second how many there are; what the others mean is the kernel's business. Every thread takes the next item by one atomic
addition until none is left, so the result does not depend on how many threads came or how fast they are, and unequal
items even out.

On Linux the threads are torch's own: its OpenMP runtime is asked, by `GOMP_parallel`, to run the kernel. A runtime of
our own would spin beside torch's, and on two cores that makes two threads slower than one. Where torch has no such
runtime, and in a forked child (whose OpenMP threads are gone), plain Python threads do it: kernels hold no lock.

Left out: pinning threads to cores, and more than one job at a time per calling thread.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import types
from numba.core.ccallback import CFunc

from ..machine.native import compiler_on, keep_on_disk

#: Fields of every job: the next item to take, how many items there are, the next free scratch space.
NEXT, ITEMS, SLOT = 0, 1, 2

_forked = False
_pool: ThreadPoolExecutor | None = None
_pool_lock, _compile_lock = threading.Lock(), threading.Lock()


def _in_child() -> None:
    """A forked child has one thread: no team, no pool, and locks that another thread may have held are replaced."""
    global _forked, _pool, _pool_lock, _compile_lock
    _forked, _pool, _pool_lock, _compile_lock = True, None, threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Workspace(threading.local):
    """Memory that a calling thread keeps between jobs, so that it is warm and nothing is asked of the system."""

    _floats: Any = np.empty(0, np.float32)
    _record: Any = np.empty(0, np.int64)
    _record_address = 0
    _address = 0

    def floats(self, count: int) -> int:
        """Address of `count` float32 on a cache line of their own, of any value; good until asked again."""
        if self._floats.size < count + 16:
            self._floats = np.zeros(count + 16, np.float32)
            self._address = -(-self._floats.ctypes.data // 64) * 64
        return self._address

    def record(self, template: np.ndarray, more: int = 0) -> tuple[np.ndarray, int]:
        """(a copy of a record's whole numbers with `more` zeros after them, its address); good until asked again."""
        count = template.size + more
        if self._record.size < count:
            self._record = np.empty(count + 64, np.int64)
            self._record_address = self._record.ctypes.data
        record = self._record[:count]
        record[: template.size] = template
        record[template.size :] = 0
        return record, self._record_address


_workspace = Workspace()


def workspace() -> Workspace:
    """The calling thread's own."""
    return _workspace


def run(worker: Callable[[Any], None], job: Any, threads: int) -> None:
    """Run `worker`, a kernel that takes the address of a job, until every item of `job` is done.

    At most `threads` threads work, this one among them. They let go of the interpreter lock meanwhile.
    """
    function, address, _ = compile_worker(worker)
    if threads <= 1:
        function(job)
    elif not _forked and (team := _torch_team()) is not None:
        team(address, job, threads, 0)
    else:
        _with_pool(function, job, threads)


def runtime() -> str:
    """Whose threads share a job here: "torch's OpenMP threads" or "Python threads"."""
    return "Python threads" if _forked or _torch_team() is None else "torch's OpenMP threads"


def _with_pool(function: Callable[[Any], None], job: Any, threads: int) -> None:
    global _pool
    with _pool_lock:
        if _pool is None or _pool._max_workers < threads - 1:
            _pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="blockprune")
        helpers = [_pool.submit(function, job) for _ in range(threads - 1)]
    function(job)
    # Nothing is left to do now; a helper that never began must not begin once the job's memory is gone.
    wait([helper for helper in helpers if not helper.cancel()])


@lru_cache(maxsize=1)
def _torch_team() -> Any:
    """`GOMP_parallel` of the very runtime that torch is linked to, or None."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # A handle of a library finds the symbols of what it is linked to: no name of a runtime is guessed.
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel


_compiled: dict[Any, tuple[Callable[[Any], None], int, Any]] = {}


def compile_worker(worker: Callable[[Any], None]) -> tuple[Callable[[Any], None], int, Any]:
    """(callable that takes a job's address and holds no lock, address of its code, Numba's object), from disk if there.

    Compiled once in a process, whichever thread asks.
    """
    found = _compiled.get(worker)
    if found is None:
        with _compile_lock:
            found = _compiled[worker] = _compiled.get(worker) or _compile(worker)
    return found


def ready() -> dict[str, bool]:
    """The kernels that can run at once in this process, and whether each was loaded from disk."""
    return {worker.__name__: bool(code.cache_hits) for worker, (_, _, code) in _compiled.items()}


def _compile(worker: Callable[[Any], None]) -> tuple[Callable[[Any], None], int, Any]:
    signature = types.void(types.CPointer(types.int64))
    code: Any = CFunc(worker, (signature.args, signature.return_type), locals={}, options={})
    keep_on_disk(code, worker)
    with compiler_on():
        code.compile()
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address), code.address, code
