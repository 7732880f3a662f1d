"""The loops that `hardware` times, and how it times them: fused multiply-adds in registers, and a triad in memory.

Left out: which level of cache does what (see `curves`), integer and half-precision peaks, and NUMA placement.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from .simd import HAS_FMA, LANES, broadcast, fma, load, store

#: float32 values are 4 bytes; the triad reads two arrays and writes one.
TRIAD_BYTES_PER_ELEMENT = 12


#: Arm cores have four ports of four cycles and 32 registers: there each chain is two registers, which LLVM splits.
CHAIN_LANES = 8 if HAS_FMA and LANES == 4 else LANES
CHAINS = 12


@njit(cache=True, nogil=True)
def _multiply_add(out: np.ndarray, steps: int) -> None:
    """12 chains that do not wait for each other: two ports of five cycles need ten, and 16 registers hold them."""
    w = CHAIN_LANES
    scale, shift = broadcast(0.5, CHAIN_LANES), broadcast(0.25, CHAIN_LANES)
    a, b, c = broadcast(1, CHAIN_LANES), broadcast(2, CHAIN_LANES), broadcast(3, CHAIN_LANES)
    d, e, f = broadcast(4, CHAIN_LANES), broadcast(5, CHAIN_LANES), broadcast(6, CHAIN_LANES)
    g, h, i = broadcast(7, CHAIN_LANES), broadcast(8, CHAIN_LANES), broadcast(9, CHAIN_LANES)
    j, k, m = broadcast(10, CHAIN_LANES), broadcast(11, CHAIN_LANES), broadcast(12, CHAIN_LANES)
    for _ in range(steps):
        a, b, c = fma(a, scale, shift), fma(b, scale, shift), fma(c, scale, shift)
        d, e, f = fma(d, scale, shift), fma(e, scale, shift), fma(f, scale, shift)
        g, h, i = fma(g, scale, shift), fma(h, scale, shift), fma(i, scale, shift)
        j, k, m = fma(j, scale, shift), fma(k, scale, shift), fma(m, scale, shift)
    store(out, 0, a), store(out, w, b), store(out, 2 * w, c), store(out, 3 * w, d)
    store(out, 4 * w, e), store(out, 5 * w, f), store(out, 6 * w, g), store(out, 7 * w, h)
    store(out, 8 * w, i), store(out, 9 * w, j), store(out, 10 * w, k), store(out, 11 * w, m)


@njit(cache=True, nogil=True)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray, start: int, stop: int) -> None:
    """a = b + 3 c on [start, stop), which must be a multiple of LANES long."""
    scale = broadcast(3)
    for index in range(start, stop, LANES):
        store(a, index, fma(scale, load(c, index), load(b, index)))


@dataclass(frozen=True)
class Spread:
    """Lowest, middle and highest of repeated measurements, in the unit of who made them."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Order the measurements.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(low=1.0, median=2.0, high=3.0)
        """
        return cls(float(min(values)), float(np.median(values)), float(max(values)))


def together(work: Callable[[int], None], threads: int, bursts: int) -> list[float]:
    """Seconds of each of `bursts` runs of work(0) .. work(threads - 1), started at once, from first start to last end.

    Plain Python threads: `work` must let go of the interpreter lock. An error in any of them is raised here.
    """
    barrier = threading.Barrier(threads)
    begun, ended = np.zeros((bursts, threads)), np.zeros((bursts, threads))
    errors: list[Exception] = []

    def run(thread: int) -> None:
        try:
            for burst in range(bursts):
                barrier.wait()
                begun[burst, thread] = time.perf_counter()
                work(thread)
                ended[burst, thread] = time.perf_counter()
        except Exception as error:
            errors.append(error)
            barrier.abort()

    workers = [threading.Thread(target=run, args=(thread,), daemon=True) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return [float(seconds) for seconds in ended.max(axis=1) - begun.min(axis=1)]


class MultiplyAdds:
    """Bursts of fused multiply-adds on registers, each about `burst_seconds` long, on `threads` threads at once."""

    def __init__(self, threads: int, burst_seconds: float = 0.003) -> None:
        self._outs = [np.zeros(CHAINS * CHAIN_LANES, dtype=np.float32) for _ in range(threads)]
        self._repeats = 10
        self._work(0)  # compiles, or loads from the cache
        self._repeats, seconds = 10_000, 0.0
        while seconds < burst_seconds / 2:
            self._repeats *= 2
            [seconds] = self._seconds_alone(1)
        self._repeats = max(1, int(self._repeats * burst_seconds / seconds))

    def rates(self, bursts: int) -> list[float]:
        """GFLOP/s of each of so many bursts, two operations for each lane."""
        threads = len(self._outs)
        seconds = self._seconds_alone(bursts) if threads == 1 else together(self._work, threads, bursts)
        return [2.0 * CHAINS * CHAIN_LANES * self._repeats * threads / each / 1e9 for each in seconds]

    def _work(self, thread: int) -> None:
        _multiply_add(self._outs[thread], self._repeats)

    def _seconds_alone(self, bursts: int) -> list[float]:
        """As `together`, without the start of a thread."""
        seconds = []
        for _ in range(bursts):
            begin = time.perf_counter()
            self._work(0)
            seconds.append(time.perf_counter() - begin)
        return seconds


def peak_gflops(threads: int, *, bursts: int = 40, burst_seconds: float = 0.003) -> Spread:
    """GFLOP/s of `MultiplyAdds` on `threads` threads.

    Many short bursts: on a busy machine some of them fit between two visits of somebody else.
    """
    return Spread.of(MultiplyAdds(threads, burst_seconds).rates(bursts))


def triad_gbs(threads: int, arrays: tuple[np.ndarray, np.ndarray, np.ndarray], *, bursts: int = 12) -> Spread:
    """GB/s of a = b + 3 c, counted as STREAM does: 12 bytes an element, not the hidden read of a before the write."""
    a, b, c = arrays
    chunk = len(a) // threads // LANES * LANES
    if chunk == 0:
        raise ValueError(f"arrays: {len(a)} elements are too few for {threads} threads of {LANES} lanes")
    seconds_of = together(lambda i: _triad(a, b, c, i * chunk, (i + 1) * chunk), threads, bursts + 1)[1:]
    return Spread.of([TRIAD_BYTES_PER_ELEMENT * chunk * threads / seconds / 1e9 for seconds in seconds_of])


def triad_arrays(last_level_cache: int | None, memory: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three arrays, together four times the last-level cache: 96 to 256 MB, and an eighth of memory at most."""
    wanted = min(max(96 * 2**20, 4 * (last_level_cache or 0)), 256 * 2**20)
    elements = min(wanted, (memory or 2**31) // 8) // TRIAD_BYTES_PER_ELEMENT
    elements = max(elements, LANES * (os.cpu_count() or 1))
    return aligned(elements, 1), aligned(elements, 2), aligned(elements, 3)


def aligned(elements: int, value: float) -> np.ndarray:
    """`elements` float32 of `value`, from the start of a cache line on: loads across two lines take twice as long."""
    room = np.empty(elements + 16, dtype=np.float32)
    start = -(room.ctypes.data // 4) % 16
    room[start : start + elements] = value
    return room[start : start + elements]
