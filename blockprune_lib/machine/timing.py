"""Fair timing: warm up, take turns, keep every sample, compare medians, say how sure the ratio is.

Left out: GPU streams, and the caches' state before a turn: a function meets what the one before it left, unless
`lead_in` lets it warm them for itself.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from .._common.checks import finite_number, one_of, whole_number
from . import thread_limits
from .comparison import Comparison, Timing

MOST_INNER = 1_000_000


def compare(
    functions: Mapping[str, Callable[[], object]], *, baseline: str | None = None, repeats: int = 30, warmup: int = 3,
    lead_in: int = 0, min_time_ms: float = 1.0, threads: int | None = None, seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:  # fmt: skip
    """Time functions against each other and return a table of medians, quartiles and ratios to the `baseline`.

    Each function is called `warmup` times untimed. Then come `repeats` rounds; in each, every function has one turn, so
    that a slow minute hits all: it is called as often in a row as a sample needs to last `min_time_ms`, and the mean ms
    a call is kept. The order is shuffled (`seed`), each followed by its reverse, so that a steady drift cancels. The
    garbage collector rests. `threads` is for all engines (see `threads`); the numbers in force are part of the result.
    `baseline` defaults to the first function; `clock` returns seconds.

    The first call after another function is slow: its numbers have left the caches. In the mean of many calls in a row
    that weighs less than in a sample of one call. So a turn may begin with `lead_in` calls that are not timed.

    Raises TypeError for something that cannot be called, ValueError for an empty mapping, an unknown baseline, fewer
    than 3 repeats or a clock that stands still, and RuntimeError, naming the function, where one of them raises.

    >>> a, b = list(range(1000)), list(range(100))
    >>> result = compare({"long": lambda: sum(a), "short": lambda: sum(b)}, repeats=5)
    >>> list(result.medians), result.baseline, result.rounds
    (['long', 'short'], 'long', 5)
    """
    calls = _checked(functions)
    first = one_of(next(iter(calls)) if baseline is None else baseline, "baseline", calls)
    whole_number(repeats, "repeats", at_least=3, example=30)
    whole_number(warmup, "warmup")
    whole_number(lead_in, "lead_in")
    whole_number(seed, "seed")
    finite_number(min_time_ms, "min_time_ms", 0, "1.0 would do")
    generator = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    with contextlib.nullcontext() if threads is None else thread_limits.threads(threads), _no_collection():
        for name, call in calls.items():
            _seconds(name, call, warmup, clock)
        if threads is not None:
            thread_limits.set_threads(threads, threads)  # Numba may have started its threads only now
        inner = {name: _inner_calls(name, call, min_time_ms / 1e3, clock) for name, call in calls.items()}
        for order in itertools.islice(_orders(list(calls), generator), repeats):
            for name in order:
                if lead_in:
                    _seconds(name, calls[name], lead_in, clock)
                samples[name].append(1e3 * _seconds(name, calls[name], inner[name], clock) / inner[name])
        in_force = thread_limits.threads_in_force()
    for name, values in samples.items():
        if not np.median(values) > 0:
            raise ValueError(f"clock must advance; it stood still while {name!r} ran: time.perf_counter would do")
    timings = {name: Timing(name, tuple(values), inner[name]) for name, values in samples.items()}
    return Comparison(timings, first, in_force, warmup, seed)


def measure(
    function: Callable[[], object], *, name: str = "function", repeats: int = 30, warmup: int = 3,
    min_time_ms: float = 1.0, threads: int | None = None, clock: Callable[[], float] = time.perf_counter,
) -> Timing:  # fmt: skip
    """Time one function as `compare` does; use `compare` as soon as there are two. Raises what `compare` raises.

    >>> len(measure(lambda: sum(range(100)), repeats=5).samples_ms)
    5
    """
    compared = compare(
        {name: function}, repeats=repeats, warmup=warmup, min_time_ms=min_time_ms, threads=threads, clock=clock
    )
    return compared.timings[name]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _orders(names: list[str], generator: np.random.Generator) -> Iterator[list[str]]:
    """Endless orders: a shuffled one, then the same backwards, then another shuffled one."""
    while True:
        order = [names[i] for i in generator.permutation(len(names))]
        yield order
        yield order[::-1]


def _inner_calls(name: str, call: Callable[[], object], wanted: float, clock: Callable[[], float]) -> int:
    """Calls in a row that last `wanted` seconds, found by trying."""
    inner = 1
    while (seconds := _seconds(name, call, inner, clock)) < wanted and inner < MOST_INNER:
        inner = min(MOST_INNER, max(2 * inner, math.ceil(inner * wanted / seconds) if seconds > 0 else 0))
    return inner


def _seconds(name: str, call: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    repeat = itertools.repeat(None, calls)
    try:
        begin = clock()
        for _ in repeat:
            call()
        return clock() - begin
    except Exception as error:
        raise RuntimeError(f"functions: {name!r} raised {type(error).__name__}: {error}") from error


def _checked(functions: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    if not isinstance(functions, Mapping):
        raise TypeError(f"functions must be a dict of name: function; got {type(functions).__name__}")
    if not functions:
        raise ValueError('functions must have at least one entry; got an empty dict: {"dense": f} would do')
    for name, call in functions.items():
        if not isinstance(name, str):
            raise TypeError(f"functions must have names as keys; got {name!r}: {str(name)!r} would do")
        if not callable(call):
            raise TypeError(f"functions[{name!r}] must be callable; got {type(call).__name__}: lambda: ... would do")
    return dict(functions)
