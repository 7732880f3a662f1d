"""The two limits of this machine and what lies between: multiply-adds in registers, a triad in memory, and both mixed.

Left out: integers, and NUMA placement. Importing this file imports Numba.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from .amx_tiles import HAS_TILES, OF_TILES, configure_tiles, load_tile, multiply_tiles, release_tiles, store_tile
from .bursts import Spread, seconds_of, seconds_together, units_lasting
from .cpu import processor
from .native import inner, native
from .pairs import HAS_PAIRS, fma_pairs
from .simd import LANES, WIDTH, broadcast, fma, load, store

#: float32 values are 4 bytes; the triad reads two arrays and writes one.
TRIAD_BYTES_PER_ELEMENT = 12
#: Sums of `_twelve_chains`, and vectors that `_triad_with_more` works on at once.
CHAINS, AT_ONCE = 12, 8


@native
def _multiply_add(out: np.ndarray, steps: int) -> None:
    """Of float32: sum = sum / 2 + 1 / 4."""
    _twelve_chains(out, steps, _halved)


@native
def _multiply_add_pairs(out: np.ndarray, steps: int) -> None:
    """Of pairs of bfloat16, two a lane."""
    _twelve_chains(out, steps, _paired)


@inner(inline="always")
def _halved(total: Any, scale: Any, shift: Any) -> Any:
    return fma(total, scale, shift)


@inner(inline="always")
def _paired(total: Any, x: Any, y: Any) -> Any:
    return fma_pairs(x, y, total)


@inner(inline="always")
def _twelve_chains(out: np.ndarray, steps: int, step: Any) -> None:
    """12 chains that do not wait for each other: two ports of five cycles need ten, and 16 registers hold them."""
    w = WIDTH  # two registers on Arm, whose cores have four ports of four cycles, and 32 registers
    x, y = broadcast(0.5, WIDTH), broadcast(0.25, WIDTH)
    a, b, c = broadcast(1, WIDTH), broadcast(2, WIDTH), broadcast(3, WIDTH)
    d, e, f = broadcast(4, WIDTH), broadcast(5, WIDTH), broadcast(6, WIDTH)
    g, h, i = broadcast(7, WIDTH), broadcast(8, WIDTH), broadcast(9, WIDTH)
    j, k, m = broadcast(10, WIDTH), broadcast(11, WIDTH), broadcast(12, WIDTH)
    for _ in range(steps):
        a, b, c = step(a, x, y), step(b, x, y), step(c, x, y)
        d, e, f = step(d, x, y), step(e, x, y), step(f, x, y)
        g, h, i = step(g, x, y), step(h, x, y), step(i, x, y)
        j, k, m = step(j, x, y), step(k, x, y), step(m, x, y)
    store(out, 0, a), store(out, w, b), store(out, 2 * w, c), store(out, 3 * w, d)
    store(out, 4 * w, e), store(out, 5 * w, f), store(out, 6 * w, g), store(out, 7 * w, h)
    store(out, 8 * w, i), store(out, 9 * w, j), store(out, 10 * w, k), store(out, 11 * w, m)


@native
def _multiply_tiles(out: np.ndarray, steps: int) -> None:
    """Of the matrix unit: four products of tiles a step, each into sums of its own."""
    configure_tiles()
    load_tile(4, out.ctypes.data, 0), load_tile(5, out.ctypes.data, 0)
    load_tile(6, out.ctypes.data, 0), load_tile(7, out.ctypes.data, 0)
    for _ in range(steps):
        multiply_tiles(0, 4, 6), multiply_tiles(1, 4, 7), multiply_tiles(2, 5, 6), multiply_tiles(3, 5, 7)
    store_tile(0, out.ctypes.data, 0), store_tile(1, out.ctypes.data, 0)
    store_tile(2, out.ctypes.data, 0), store_tile(3, out.ctypes.data, 0)
    release_tiles()


@native
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray, start: int, stop: int) -> None:
    """a = b + 3 c on [start, stop), which must be a multiple of LANES long."""
    scale = broadcast(3)
    for index in range(start, stop, LANES):
        store(a, index, fma(scale, load(c, index), load(b, index)))


class MultiplyAdds:
    """Bursts of multiply-adds on registers, on `threads` threads at once, each about `burst_seconds` long.

    `pairs`: of bfloat16, two a lane, which needs `HAS_PAIRS`; `tiles`: of bfloat16 in the matrix unit, which needs
    `HAS_TILES`; else of float32. What they reach is the peak that a kernel is compared with.

    >>> MultiplyAdds(1, burst_seconds=0.001).rates()[0] > 0
    True
    """

    def __init__(self, threads: int, burst_seconds: float = 0.003, *, pairs: bool = False, tiles: bool = False) -> None:
        self._outs = [np.zeros(CHAINS * WIDTH, dtype=np.float32) for _ in range(threads)]
        self._burst = _multiply_tiles if tiles else _multiply_add_pairs if pairs else _multiply_add
        #: A multiply-add is two operations.
        self._operations = 2 * 4 * OF_TILES if tiles else 2 * (2 if pairs else 1) * CHAINS * WIDTH
        steps, seconds = units_lasting(burst_seconds / 2, lambda steps: self._burst(self._outs[0], steps), 10_000)
        self._steps = max(1, int(steps * burst_seconds / seconds))

    @property
    def flops(self) -> float:
        """Of one burst, all threads together."""
        return float(self._operations * self._steps * len(self._outs))

    def rates(self, bursts: int = 1) -> list[float]:
        """GFLOP/s of each of so many bursts, all threads together."""
        found = seconds_together(lambda thread: self._burst(self._outs[thread], self._steps), len(self._outs), bursts)
        return [self.flops / seconds / 1e9 for seconds in found]


def in_bfloat16(threads: int) -> MultiplyAdds:
    """Bursts of the unit that compiled encoders multiply bfloat16 with here, which needs `HAS_PAIRS`."""
    return MultiplyAdds(threads, tiles=True) if HAS_TILES else MultiplyAdds(threads, pairs=True)


#: How much faster multiply-adds in bfloat16 must be before `fastest_precision` asks for them.
WORTH_ROUNDING = 1.3


@cache
def fastest_precision() -> str:
    """ "bfloat16" where its multiply-adds, measured now for some 0.05 s, are clearly faster; else "float32"."""
    if not HAS_PAIRS:
        return "float32"
    rounded, single = in_bfloat16(1), MultiplyAdds(1)
    rates = [(rounded.rates()[0], single.rates()[0]) for _ in range(8)]
    return "bfloat16" if max(r for r, _ in rates) >= WORTH_ROUNDING * max(s for _, s in rates) else "float32"


def triad_gbs(threads: int, arrays: tuple[np.ndarray, np.ndarray, np.ndarray], *, bursts: int = 12) -> Spread:
    """GB/s of a = b + 3 c, counted as STREAM does: 12 bytes an element, not the hidden read of a before the write."""
    a, b, c = arrays
    chunk = len(a) // threads // LANES * LANES
    if chunk == 0:
        raise ValueError(f"arrays must hold {threads * LANES} elements or more for {threads} threads; got {len(a)}")
    bytes_moved = TRIAD_BYTES_PER_ELEMENT * chunk * threads
    rounds = seconds_together(lambda i: _triad(a, b, c, i * chunk, (i + 1) * chunk), threads, bursts + 1)
    return Spread.of([bytes_moved / seconds / 1e9 for seconds in rounds[1:]])  # the first compiles and warms up


def triad_arrays(last_level_cache: int | None, memory: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three arrays, together four times the last-level cache: 96 to 256 MB, and an eighth of memory at most."""
    wanted = min(max(96 * 2**20, 4 * (last_level_cache or 0)), 256 * 2**20)
    elements = max(min(wanted, (memory or 2**31) // 8) // TRIAD_BYTES_PER_ELEMENT, LANES * (os.cpu_count() or 1))
    return aligned(elements, 1), aligned(elements, 2), aligned(elements, 3)


def aligned(elements: int, value: float) -> np.ndarray:
    """`elements` float32 of `value`, from the start of a cache line on: loads across two lines take twice as long."""
    room = np.empty(elements + 16, dtype=np.float32)
    start = -(room.ctypes.data // 4) % 16
    room[start : start + elements] = value
    return room[start : start + elements]


@dataclass(frozen=True)
class RooflineCurve:
    """GFLOP/s for each intensity (FLOP per byte of memory traffic), on one thread."""

    intensity: tuple[float, ...]
    gflops: tuple[Spread, ...]

    def __repr__(self) -> str:
        pairs = zip(self.intensity, self.gflops, strict=True)
        lines = [f"{intensity:9.2f}  {rate.high:14.1f}" for intensity, rate in pairs]
        return "\n".join([f"{'FLOP/byte':>9}  {'GFLOP/s (best)':>14}", *lines])


@native
def _triad_with_more(out: np.ndarray, x: np.ndarray, y: np.ndarray, more: int, stop: int) -> None:
    """out = x + 2 y, then `more` further multiply-adds on each number, before it is written; stop is a multiple."""
    w = WIDTH
    two, scale, shift = broadcast(2, WIDTH), broadcast(0.5, WIDTH), broadcast(0.25, WIDTH)
    for i in range(0, stop, AT_ONCE * WIDTH):
        a, b = _first(x, y, i, two), _first(x, y, i + w, two)
        c, d = _first(x, y, i + 2 * w, two), _first(x, y, i + 3 * w, two)
        e, f = _first(x, y, i + 4 * w, two), _first(x, y, i + 5 * w, two)
        g, h = _first(x, y, i + 6 * w, two), _first(x, y, i + 7 * w, two)
        for _ in range(more):
            a, b, c, d = fma(a, scale, shift), fma(b, scale, shift), fma(c, scale, shift), fma(d, scale, shift)
            e, f, g, h = fma(e, scale, shift), fma(f, scale, shift), fma(g, scale, shift), fma(h, scale, shift)
        store(out, i, a), store(out, i + w, b), store(out, i + 2 * w, c), store(out, i + 3 * w, d)
        store(out, i + 4 * w, e), store(out, i + 5 * w, f), store(out, i + 6 * w, g), store(out, i + 7 * w, h)


@inner(inline="always")
def _first(x: np.ndarray, y: np.ndarray, i: int, two: object) -> object:
    return fma(two, load(y, i, WIDTH), load(x, i, WIDTH))


def roofline_curve(
    multiply_adds: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), *, bursts: int = 15
) -> RooflineCurve:
    """GFLOP/s of a triad over arrays that no cache holds, by how many multiply-adds each number takes; about 1 s.

    n multiply-adds are 2 n operations on 12 bytes (two numbers read, one written): I = n / 6 FLOP per byte. What
    changes along the curve is the work alone: the bytes stay. Raises ValueError for counts below 1.
    """
    if not multiply_adds or not all(count >= 1 for count in multiply_adds):
        raise ValueError(f"multiply_adds must be counts of 1 or more; got {list(multiply_adds)}: [1, 8, 64] would do")
    facts = processor()
    out, x, y = triad_arrays(facts.last_level_bytes, facts.memory_bytes)
    block = AT_ONCE * WIDTH
    # Beyond the ridge memory hardly matters, and a part of the arrays will do.
    stops = [max(block, min(len(out), len(out) * 16 // count) // block * block) for count in multiply_adds]
    samples: list[list[float]] = [[] for _ in multiply_adds]
    for _ in range(bursts + 1):  # in turns, so that a slow moment of the machine does not fall on one point alone
        for count, stop, found in zip(multiply_adds, stops, samples, strict=True):
            seconds = seconds_of(partial(_triad_with_more, out, x, y, count - 1), stop)
            found.append(2 * count * stop / seconds / 1e9)
    rates = [Spread.of(found[1:]) for found in samples]  # the first round compiled and warmed up
    return RooflineCurve(tuple(2 * count / TRIAD_BYTES_PER_ELEMENT for count in multiply_adds), tuple(rates))
