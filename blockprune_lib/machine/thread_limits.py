"""How many threads torch, Numba and NumPy's BLAS use, set for the length of a `with` block."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

from .._common.callers import users_line
from .._common.checks import positive_int
from .cpu import processor

#: More than a reader can mean: with a million, the next product of torch does not end.
_MOST = 256


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch, Numba and the BLAS of NumPy and SciPy use `number` threads inside the block, and restore all after it.

    Numba is touched only where it has started its threads: to start them here would fix its threading layer for the
    whole process (`compare` looks again after the warm-up calls). More threads than the machine has to give are
    allowed, with a RuntimeWarning; Numba stays at the number that it was started with. Libraries that are first loaded
    inside the block are not limited. Raises TypeError unless `number` is a whole number, ValueError below 1 and above
    256, or the usable cores where there are more: with far too many the next product does not end.

    >>> import torch
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    number = positive_int(number, "threads")
    usable = processor().usable_cores
    if number > (most := max(_MOST, usable)):
        raise ValueError(f"threads must be at most {most} on {usable} usable core(s); got {number}: {usable} would do")
    if number > usable:  # allowed, because seeing them fight is worth a chapter
        message = f"threads: {number} threads on {usable} usable core(s) will wait for each other"
        warnings.warn(message, RuntimeWarning, stacklevel=users_line())
    before = threads_in_force()
    try:
        with threadpool_limits(number, user_api="blas"):
            set_threads(number, number)
            yield
    finally:
        set_threads(before["torch"] or 1, before["numba"])


def threads_in_force() -> dict[str, int | None]:
    """Threads that torch and Numba would use now; None for Numba where it has started none."""
    return {"torch": torch.get_num_threads(), "numba": _numba_started() and sys.modules["numba"].get_num_threads()}


def set_threads(for_torch: int, for_numba: int | None) -> None:
    """Set both; None gives Numba the threads that it starts with."""
    # Numba first: it may reset torch's number (numba/numba#9387).
    if _numba_started():
        numba = sys.modules["numba"]
        most = numba.config.NUMBA_NUM_THREADS
        numba.set_num_threads(min(for_numba or most, most))
    torch.set_num_threads(for_torch)


def _numba_started() -> bool | None:
    """True where Numba runs threads, else None. A Numba that hides the answer counts as started once it is loaded."""
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    return True if parallel is not None and getattr(parallel, "_is_initialized", True) else None
