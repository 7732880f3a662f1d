"""What one useful multiply-add costs when its numbers are not neighbours, on one thread.

Left out: more threads, writes, and the gather instructions of some processors. Importing this file imports Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .._common.checks import positive_int
from .._common.tables import Printed
from .bursts import Spread, seconds_a_unit
from .memory import READERS, add_eight, check_sizes, eight_sums, sizes_up_to, store_total, whole_vectors
from .native import native
from .peak import aligned
from .simd import LANES, fma, load

#: How the second factor of each multiply-add is found.
WAYS = ("vectors, in order", "one by one, in order", "by index, in order", "by index, at random")
MOST_TERMS = 2**21


@dataclass(frozen=True, repr=False)
class GatherCosts(Printed):
    """ns a multiply-add by the bytes of the array that is read from; prints as a table.

    ns   {way: a `Spread` for each size}. Ways: "vectors, in order", "one by one, in order", "by index, in order" and
         "by index, at random"
    """

    sizes_bytes: tuple[int, ...]
    ns: dict[str, tuple[Spread, ...]]

    def _table(self) -> list[list[str]]:
        best = zip(*self.ns.values(), strict=True)
        rows = zip(self.sizes_bytes, best, strict=True)
        return [["KiB", *self.ns], *([f"{size / 1024:,.0f}", *(f"{c.low:.3f}" for c in costs)] for size, costs in rows)]

    def _caption(self) -> str:
        return "ns a multiply-add, best burst, one thread, by the size of the array that is read from"


@native
def _vectors_in_order(values: np.ndarray, index: np.ndarray, x: np.ndarray, out: np.ndarray, times: int) -> None:
    a, b, c, d, e, f, g, h = eight_sums()
    v, w = values, LANES
    for _ in range(times):
        for k in range(0, v.size, READERS * LANES):
            a, b = fma(load(v, k), load(x, k), a), fma(load(v, k + w), load(x, k + w), b)
            c, d = fma(load(v, k + 2 * w), load(x, k + 2 * w), c), fma(load(v, k + 3 * w), load(x, k + 3 * w), d)
            e, f = fma(load(v, k + 4 * w), load(x, k + 4 * w), e), fma(load(v, k + 5 * w), load(x, k + 5 * w), f)
            g, h = fma(load(v, k + 6 * w), load(x, k + 6 * w), g), fma(load(v, k + 7 * w), load(x, k + 7 * w), h)
    store_total((a, b, c, d, e, f, g, h), out)


# Two axes, the second of eight terms: so the compiler sees that no index is below zero, and asks nothing at run time.
# "contract" lets a * b + c become one instruction and leaves the order of the sums alone: nothing here is vectorised.
@native(fastmath={"contract"})
def _one_by_one(values: np.ndarray, index: np.ndarray, x: np.ndarray, out: np.ndarray, times: int) -> None:
    a = b = c = d = e = f = g = h = np.float32(0)
    v, u = values, x.reshape(-1, READERS)
    for _ in range(times):
        for k in range(len(v)):
            a, b, c, d = a + v[k, 0] * u[k, 0], b + v[k, 1] * u[k, 1], c + v[k, 2] * u[k, 2], d + v[k, 3] * u[k, 3]
            e, f, g, h = e + v[k, 4] * u[k, 4], f + v[k, 5] * u[k, 5], g + v[k, 6] * u[k, 6], h + v[k, 7] * u[k, 7]
    out[0] = ((a + b) + (c + d)) + ((e + f) + (g + h))


@native(fastmath={"contract"})
def _by_index(values: np.ndarray, index: np.ndarray, x: np.ndarray, out: np.ndarray, times: int) -> None:
    a = b = c = d = e = f = g = h = np.float32(0)
    v, i = values, index
    for _ in range(times):
        for k in range(len(v)):
            a, b = a + v[k, 0] * x[i[k, 0]], b + v[k, 1] * x[i[k, 1]]
            c, d = c + v[k, 2] * x[i[k, 2]], d + v[k, 3] * x[i[k, 3]]
            e, f = e + v[k, 4] * x[i[k, 4]], f + v[k, 5] * x[i[k, 5]]
            g, h = g + v[k, 6] * x[i[k, 6]], h + v[k, 7] * x[i[k, 7]]
    out[0] = ((a + b) + (c + d)) + ((e + f) + (g + h))


_LOOPS = dict(zip(WAYS, (_vectors_in_order, _one_by_one, _by_index, _by_index), strict=True))


def gather_costs(
    sizes: Sequence[int] | None = None, *, bursts: int = 5, burst_seconds: float = 0.002, seed: int = 0
) -> GatherCosts:
    """ns a multiply-add of sum_k values_k x_index(k), with x of each of `sizes` bytes, read in each of the four `WAYS`.

    `values` and the index, 4 bytes each, are as long as x, at most 2^21 terms, and are read in order: only the way to x
    changes. Default sizes: powers of four from 4 KiB to twice the last-level cache, 64 MiB at most; about 2 s. Raises
    ValueError for a size below 4096 or above 2^30.
    """
    sizes = sizes_up_to(4, caches=2, most=2**26, part_of_memory=16) if sizes is None else check_sizes(sizes)
    generator = np.random.default_rng(seed)
    found: dict[str, list[Spread]] = {way: [] for way in WAYS}
    for size in sizes:
        length = whole_vectors(size)
        terms = min(length, MOST_TERMS)
        x, values, out = aligned(length, 1), aligned(terms, 1).reshape(-1, READERS), np.zeros(LANES, np.float32)
        # Unsigned, because Numba gives a signed index a meaning below zero and pays for asking.
        in_order = np.arange(terms, dtype=np.uint32).reshape(-1, READERS)
        at_random = generator.permutation(length)[:terms].astype(np.uint32).reshape(-1, READERS)
        times = max(1, 2**15 // terms)  # so that the call itself hardly counts
        pieces = [x[start : start + terms] for start in range(0, length - terms + 1, terms)]
        for way, loop in _LOOPS.items():
            index, parts = (at_random, [x]) if way == WAYS[-1] else (in_order, pieces)
            passes = [partial(loop, values, index, part, out, times) for part in parts]
            seconds = seconds_a_unit(partial(_rounds, passes), bursts, burst_seconds)
            found[way].append(Spread.of([1e9 * s / terms / times / len(parts) for s in seconds]))
    return GatherCosts(tuple(int(size) for size in sizes), {way: tuple(costs) for way, costs in found.items()})


def _rounds(passes: Sequence[Callable[[], None]], rounds: int) -> None:
    for _ in range(rounds):
        for one in passes:
            one()


@native
def _read_rows(x: np.ndarray, index: np.ndarray, tokens: int, out: np.ndarray, times: int) -> None:
    sums = eight_sums()
    for _ in range(times):
        for t in range(0, tokens, READERS * LANES):
            for k in range(len(index)):
                sums = add_eight(sums, x, index[k] * tokens + t)
    store_total(sums, out)


def row_rate(rows: int, tokens: int, *, bursts: int = 15, burst_seconds: float = 0.002, seed: int = 0) -> Spread:
    """GB/s of reading rows of `tokens` float32 at random places of a `rows` × `tokens` table into registers.

    That is what a sparse product does to a feature-major x: one row for each kept weight. Rows are read 8 vectors at a
    time. Raises ValueError where `rows` is below 1 or `tokens` is no multiple of 8 vectors (128 is one everywhere).
    """
    positive_int(rows, "rows")
    if tokens < 1 or tokens % (READERS * LANES):
        raise ValueError(f"tokens must be a multiple of {READERS * LANES} on this machine; got {tokens}: 128 would do")
    x, out = aligned(rows * tokens, 1), np.zeros(LANES, np.float32)
    index = np.random.default_rng(seed).integers(0, rows, 2**12)
    seconds = seconds_a_unit(partial(_read_rows, x, index, tokens, out), bursts, burst_seconds)
    return Spread.of([4 * tokens * len(index) / s / 1e9 for s in seconds])
