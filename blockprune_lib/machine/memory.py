"""Two curves of this machine on one thread: memory as the data outgrows the caches, and rate as the work grows.

`memory_curve`: GB/s of reading in order, and the wait for one answer, by size of the data. `roofline_curve`: GFLOP/s by
operations for each byte, from one multiply-add a number to hundreds. Left out: writes alone, more than one thread, and
large pages: past the caches the wait holds the translation of addresses too. Importing this file imports Numba.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from .cpu import processor
from .peak import CHAIN_LANES, TRIAD_BYTES_PER_ELEMENT, Spread, aligned, triad_arrays
from .simd import LANES, broadcast, fma, load, store, zero

__all__ = ["MemoryCurve", "RooflineCurve", "memory_curve", "roofline_curve"]

LINE = 64  # bytes that memory moves at once; 128 on some Arm processors
READERS = 8


@dataclass(frozen=True)
class MemoryCurve:
    """For each size in bytes: GB/s of reading in order, and ns until one read that depends on the last one answers."""

    sizes_bytes: tuple[int, ...]
    read_gbs: tuple[Spread, ...]
    wait_ns: tuple[Spread, ...]

    def __repr__(self) -> str:
        lines = [f"{'KiB':>9}  {'GB/s (best)':>11}  {'ns (best)':>9}"]
        rows = zip(self.sizes_bytes, self.read_gbs, self.wait_ns, strict=True)
        return "\n".join([*lines, *(f"{size / 1024:9.0f}  {r.high:11.1f}  {w.low:9.1f}" for size, r, w in rows)])


@njit(cache=True, nogil=True)
def _read(array: np.ndarray, out: np.ndarray, times: int) -> None:
    """Load every element `times` times into 8 sums; the length must be a multiple of 8 * LANES."""
    one = broadcast(1)
    a, b, c, d, e, f, g, h = zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()
    for _ in range(times):
        for i in range(0, len(array), READERS * LANES):
            a, b = fma(load(array, i), one, a), fma(load(array, i + LANES), one, b)
            c, d = fma(load(array, i + 2 * LANES), one, c), fma(load(array, i + 3 * LANES), one, d)
            e, f = fma(load(array, i + 4 * LANES), one, e), fma(load(array, i + 5 * LANES), one, f)
            g, h = fma(load(array, i + 6 * LANES), one, g), fma(load(array, i + 7 * LANES), one, h)
    a, c, e, g = fma(a, one, b), fma(c, one, d), fma(e, one, f), fma(g, one, h)
    store(out, 0, fma(fma(a, one, c), one, fma(e, one, g)))


@njit(cache=True, nogil=True)
def _chase(following: np.ndarray, position: np.ndarray, steps: int) -> None:
    """Walk `steps` steps on from `position`: each read says where the next one is, so that none can start early."""
    here = position[0]
    for _ in range(steps):
        here = following[here]
    position[0] = here


def memory_curve(sizes: Sequence[int] | None = None, *, bursts: int = 7, burst_seconds: float = 0.002) -> MemoryCurve:
    """Rate and delay of reading on one thread for working sets of `sizes` bytes, from the first cache to memory.

    Default: each power of two from 4 KiB to four times the last-level cache, 256 MiB at most; about 2 s.
    Raises ValueError for a size below 4096 or above 2^30.
    """
    if sizes is None:
        sizes = _default_sizes()
    if not sizes or not all(4096 <= size <= 2**30 for size in sizes):
        raise ValueError(f"sizes: expected bytes from 4096 to 2^30, got {list(sizes)}")
    reads, waits = [], []
    for size in sizes:
        array = aligned(size // 4 // (READERS * LANES) * READERS * LANES, 1)
        out = np.zeros(LANES, dtype=np.float32)
        seconds = _bursts(lambda n, a=array, o=out: _read(a, o, n), bursts, burst_seconds)  # type: ignore[misc]
        reads.append(Spread.of([array.nbytes / s / 1e9 for s in seconds]))
        ring, at = _ring(size // LINE), np.zeros(1, dtype=np.int64)
        _chase(ring, at, min(2 * len(ring) // (LINE // 8), 1_000_000))  # twice round, so that caches hold what they can
        seconds = _bursts(lambda n, r=ring, p=at: _chase(r, p, n * 1000), bursts, burst_seconds)  # type: ignore[misc]
        waits.append(Spread.of([s / 1000 * 1e9 for s in seconds]))
    return MemoryCurve(tuple(int(size) for size in sizes), tuple(reads), tuple(waits))


@dataclass(frozen=True)
class RooflineCurve:
    """GFLOP/s for each intensity (FLOP per byte of memory traffic), on one thread."""

    intensity: tuple[float, ...]
    gflops: tuple[Spread, ...]

    def __repr__(self) -> str:
        lines = [f"{'FLOP/byte':>9}  {'GFLOP/s (best)':>14}"]
        pairs = zip(self.intensity, self.gflops, strict=True)
        return "\n".join([*lines, *(f"{intensity:9.2f}  {rate.high:14.1f}" for intensity, rate in pairs)])


@njit(cache=True, nogil=True)
def _triad_with_more(out: np.ndarray, x: np.ndarray, y: np.ndarray, more: int, stop: int) -> None:
    """out = x + 2 y, then `more` further multiply-adds on each number, before it is written; stop is a multiple."""
    w = CHAIN_LANES
    two, scale, shift = broadcast(2, CHAIN_LANES), broadcast(0.5, CHAIN_LANES), broadcast(0.25, CHAIN_LANES)
    for i in range(0, stop, READERS * CHAIN_LANES):
        a, b = _first(x, y, i, two), _first(x, y, i + w, two)
        c, d = _first(x, y, i + 2 * w, two), _first(x, y, i + 3 * w, two)
        e, f = _first(x, y, i + 4 * w, two), _first(x, y, i + 5 * w, two)
        g, h = _first(x, y, i + 6 * w, two), _first(x, y, i + 7 * w, two)
        for _ in range(more):
            a, b, c, d = fma(a, scale, shift), fma(b, scale, shift), fma(c, scale, shift), fma(d, scale, shift)
            e, f, g, h = fma(e, scale, shift), fma(f, scale, shift), fma(g, scale, shift), fma(h, scale, shift)
        store(out, i, a), store(out, i + w, b), store(out, i + 2 * w, c), store(out, i + 3 * w, d)
        store(out, i + 4 * w, e), store(out, i + 5 * w, f), store(out, i + 6 * w, g), store(out, i + 7 * w, h)


@njit(inline="always")
def _first(x: np.ndarray, y: np.ndarray, i: int, two: object) -> object:
    return fma(two, load(y, i, CHAIN_LANES), load(x, i, CHAIN_LANES))


def roofline_curve(
    multiply_adds: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), *, bursts: int = 15
) -> RooflineCurve:
    """GFLOP/s of a triad with 1, 2, 4 ... multiply-adds a number, over arrays that no cache holds; about 1 s.

    n multiply-adds are 2 n operations on 12 bytes (two numbers read, one written): I = n / 6 FLOP per byte. What
    changes along the curve is the work alone: the bytes stay. Raises ValueError for counts below 1.
    """
    if not multiply_adds or not all(count >= 1 for count in multiply_adds):
        raise ValueError(f"multiply_adds: expected counts of 1 or more, got {list(multiply_adds)}")
    facts = processor()
    out, x, y = triad_arrays(facts.l3_bytes or facts.l2_bytes, facts.memory_bytes)
    block = READERS * CHAIN_LANES
    # Beyond the ridge memory hardly matters, and a part of the arrays will do.
    stops = [max(block, min(len(out), len(out) * 16 // count) // block * block) for count in multiply_adds]
    samples: list[list[float]] = [[] for _ in multiply_adds]
    for _ in range(bursts + 1):  # in turns, so that a slow moment of the machine does not fall on one point alone
        for count, stop, found in zip(multiply_adds, stops, samples, strict=True):
            begin = time.perf_counter()
            _triad_with_more(out, x, y, count - 1, stop)
            found.append(2 * count * stop / (time.perf_counter() - begin) / 1e9)
    rates = [Spread.of(found[1:]) for found in samples]  # the first round compiled and warmed up
    return RooflineCurve(tuple(2 * count / TRIAD_BYTES_PER_ELEMENT for count in multiply_adds), tuple(rates))


def _default_sizes() -> list[int]:
    facts = processor()
    largest = min(4 * (facts.l3_bytes or facts.l2_bytes or 2**24), 2**28, (facts.memory_bytes or 2**31) // 8)
    return [2**power for power in range(12, max(12, int(math.log2(largest))) + 1)]


def _ring(lines: int) -> np.ndarray:
    """int64 positions, one a cache line, that visit all lines once in random order and return."""
    per_line = LINE // 8
    order = np.random.default_rng(0).permutation(lines)
    following = np.zeros(lines * per_line, dtype=np.int64)
    following[order * per_line] = np.roll(order, -1) * per_line
    return following


def _bursts(work: Callable[[int], object], bursts: int, wanted: float) -> list[float]:
    """Seconds for one unit of work, from bursts of as many units as last `wanted` seconds."""
    work(1)
    units, seconds = 1, _seconds(work, 1)
    while seconds < wanted / 2:
        units *= 2
        seconds = _seconds(work, units)
    return [_seconds(work, units) / units for _ in range(bursts)]


def _seconds(work: Callable[[int], object], units: int) -> float:
    begin = time.perf_counter()
    work(units)
    return time.perf_counter() - begin
