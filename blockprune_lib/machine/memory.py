"""Memory as the data outgrows the caches, on one thread: GB/s of reading in order, and the wait for one answer.

Past the caches the wait holds the translation of addresses too. Importing this file imports Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .bursts import Spread, seconds_a_unit
from .cpu import processor
from .native import inner, native
from .peak import aligned
from .simd import LANES, broadcast, fma, load, store, zero

LINE = 64  # bytes that memory moves at once; 128 on some Arm processors
READERS = 8  # vectors that are read at once, into sums that do not wait for each other


@dataclass(frozen=True)
class MemoryCurve:
    """For each size in bytes: GB/s of reading in order, and ns until one read that depends on the last one answers."""

    sizes_bytes: tuple[int, ...]
    read_gbs: tuple[Spread, ...]
    wait_ns: tuple[Spread, ...]

    def __repr__(self) -> str:
        rows = zip(self.sizes_bytes, self.read_gbs, self.wait_ns, strict=True)
        lines = [f"{size / 1024:9.0f}  {read.high:11.1f}  {wait.low:9.1f}" for size, read, wait in rows]
        return "\n".join([f"{'KiB':>9}  {'GB/s (best)':>11}  {'ns (best)':>9}", *lines])


@inner(forceinline=True)
def eight_sums() -> Any:
    """Eight vectors of zeros."""
    return zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()


@inner(forceinline=True)
def add_eight(sums: Any, array: np.ndarray, at: int) -> Any:
    """The sums and the eight vectors of `array` from flat position `at` on."""
    a, b, c, d, e, f, g, h = sums
    w, one = LANES, broadcast(1)
    a, b = fma(load(array, at), one, a), fma(load(array, at + w), one, b)
    c, d = fma(load(array, at + 2 * w), one, c), fma(load(array, at + 3 * w), one, d)
    e, f = fma(load(array, at + 4 * w), one, e), fma(load(array, at + 5 * w), one, f)
    g, h = fma(load(array, at + 6 * w), one, g), fma(load(array, at + 7 * w), one, h)
    return a, b, c, d, e, f, g, h


@inner(forceinline=True)
def store_total(sums: Any, out: np.ndarray) -> None:
    """out = the sum of the eight, lane by lane, so that no read can be left out."""
    a, b, c, d, e, f, g, h = sums
    one = broadcast(1)
    a, c, e, g = fma(a, one, b), fma(c, one, d), fma(e, one, f), fma(g, one, h)
    store(out, 0, fma(fma(a, one, c), one, fma(e, one, g)))


@native
def _read(array: np.ndarray, out: np.ndarray, times: int) -> None:
    """Load every element `times` times into 8 sums; the length must be a multiple of 8 * LANES."""
    sums = eight_sums()
    for _ in range(times):
        for i in range(0, len(array), READERS * LANES):
            sums = add_eight(sums, array, i)
    store_total(sums, out)


@native
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
    sizes = sizes_up_to(2, caches=4, most=2**28, part_of_memory=8) if sizes is None else check_sizes(sizes)
    reads, waits = [], []
    for size in sizes:
        array, out = aligned(whole_vectors(size), 1), np.zeros(LANES, dtype=np.float32)
        seconds = seconds_a_unit(partial(_read, array, out), bursts, burst_seconds)
        reads.append(Spread.of([array.nbytes / s / 1e9 for s in seconds]))
        ring, at = _ring(size // LINE), np.zeros(1, dtype=np.int64)
        _chase(ring, at, min(2 * len(ring) // (LINE // 8), 1_000_000))  # twice round, so that caches hold what they can
        seconds = seconds_a_unit(partial(_chase, ring, at), bursts, burst_seconds, units=1000)
        waits.append(Spread.of([1e9 * s for s in seconds]))
    return MemoryCurve(tuple(int(size) for size in sizes), tuple(reads), tuple(waits))


def check_sizes(sizes: Sequence[int]) -> Sequence[int]:
    """Return the sizes of working sets in bytes; raises ValueError where there is none or one is out of range."""
    if not sizes or not all(4096 <= size <= 2**30 for size in sizes):
        raise ValueError(f"sizes must be bytes from 4096 to 2^30; got {list(sizes)}: [4096, 2**20] would do")
    return sizes


def sizes_up_to(factor: int, *, caches: int, most: int, part_of_memory: int) -> list[int]:
    """4 KiB, `factor` times as much and so on, up to `caches` last-level caches, `most` bytes and a part of memory."""
    facts = processor()
    memory = (facts.memory_bytes or 2**31) // part_of_memory
    largest = min(caches * (facts.last_level_bytes or 2**24), most, memory)
    return [size for power in range(30) if (size := 4096 * factor**power) <= max(4096, largest)]


def whole_vectors(size: int) -> int:
    """How many float32 of `size` bytes can be read eight vectors at a time."""
    return size // 4 // (READERS * LANES) * READERS * LANES


def _ring(lines: int) -> np.ndarray:
    """int64 positions, one a cache line, that visit all lines once in random order and return."""
    per_line = LINE // 8
    order = np.random.default_rng(0).permutation(lines)
    following = np.zeros(lines * per_line, dtype=np.int64)
    following[order * per_line] = np.roll(order, -1) * per_line
    return following
