"""A product with compressed sparse rows (CSR), as two loops: the plain one, and one that keeps its sums in registers.

Both use vectors over the tokens, on one thread: what unstructured pruning can expect of a careful loop, to measure
beside the products of torch and SciPy. Left out: threads, prefetching by hand, and blocks, which have
kernels of their own. Importing this file imports Numba.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..machine.native import native
from ..machine.simd import LANES, broadcast, fma, load, store, zero

UNROLL = 8


@native
def _update_rows(
    values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, x: np.ndarray, tokens: int, y: np.ndarray
) -> None:
    """y[row] += value * x[column], a row of tokens at a time: x is read, y is read and written, for each weight."""
    whole = tokens // LANES * LANES
    for row in range(len(offsets) - 1):
        to = row * tokens
        for k in range(offsets[row], offsets[row + 1]):
            weight, at = broadcast(values[k]), columns[k] * tokens
            for t in range(0, whole, LANES):
                store(y, to + t, fma(weight, load(x, at + t), load(y, to + t)))
            for t in range(whole, tokens):
                y[row, t] += values[k] * x[columns[k], t]


@native
def _keep_sums(
    values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, x: np.ndarray, tokens: int, y: np.ndarray
) -> None:
    """The same, but the sums of 8 vectors of tokens stay in registers while the weights of a row go by."""
    w = LANES
    whole = tokens // (UNROLL * LANES) * UNROLL * LANES
    for row in range(len(offsets) - 1):
        first, last, to = offsets[row], offsets[row + 1], row * tokens
        for t in range(0, whole, UNROLL * LANES):
            a, b, c, d, e, f, g, h = zero(), zero(), zero(), zero(), zero(), zero(), zero(), zero()
            for k in range(first, last):
                v, at = broadcast(values[k]), columns[k] * tokens + t
                a, b = fma(v, load(x, at), a), fma(v, load(x, at + w), b)
                c, d = fma(v, load(x, at + 2 * w), c), fma(v, load(x, at + 3 * w), d)
                e, f = fma(v, load(x, at + 4 * w), e), fma(v, load(x, at + 5 * w), f)
                g, h = fma(v, load(x, at + 6 * w), g), fma(v, load(x, at + 7 * w), h)
            at = to + t
            store(y, at, a), store(y, at + w, b), store(y, at + 2 * w, c), store(y, at + 3 * w, d)
            store(y, at + 4 * w, e), store(y, at + 5 * w, f), store(y, at + 6 * w, g), store(y, at + 7 * w, h)
        for t in range(whole, tokens):
            total = np.float32(0)
            for k in range(first, last):
                total += values[k] * x[columns[k], t]
            y[row, t] = total


@dataclass(frozen=True, eq=False, repr=False)
class CsrMatrix:
    """An M × N matrix in compressed rows, checked once, so that a product checks nothing but x.

    values   (n,) float32, row after row
    columns  (n,) whole numbers from 0 to `inputs` - 1: the column of each value
    offsets  (M + 1,) whole numbers; row i owns values offsets[i] to offsets[i + 1] - 1
    inputs   N

    Raises ValueError, naming the part, for arrays that do not fit and for indices out of range.
    """

    values: NDArray[np.float32]
    columns: NDArray[np.int64]
    offsets: NDArray[np.int64]
    inputs: int

    def __post_init__(self) -> None:
        for name, kind in (("values", np.float32), ("columns", np.int64), ("offsets", np.int64)):
            part = np.ascontiguousarray(getattr(self, name), kind)
            if part.ndim != 1:
                raise ValueError(f"{name} must have 1 dimension; got {part.ndim}")
            object.__setattr__(self, name, part)
        values, columns, offsets = self.values, self.columns, self.offsets
        if len(values) != len(columns):
            raise ValueError(f"columns must be as many as the {len(values)} values; got {len(columns)}")
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(values)}; got {offsets[:1]} to {offsets[-1:]}")
        if len(columns) and not 0 <= columns.min() <= columns.max() < self.inputs:
            raise ValueError(f"columns must be from 0 to {self.inputs - 1}; got {columns.min()} to {columns.max()}")

    def product(self, x: ArrayLike, *, keep_sums: bool = True) -> NDArray[np.float32]:
        """y[i] = sum of values[k] x[columns[k]] over offsets[i] <= k < offsets[i + 1], on one thread.

        x (N, T) float32 is feature-major: row j is input j of every token; the result is (M, T). With `keep_sums` the
        sums of a row stay in registers; without, y is read and written for each weight. Raises ValueError for another
        shape of x.

        >>> CsrMatrix([2.0, 3.0], [1, 0], [0, 1, 1, 2], inputs=2).product([[1.0], [10.0]]).tolist()
        [[20.0], [0.0], [3.0]]
        """
        wide = np.ascontiguousarray(x, np.float32)
        if wide.ndim != 2 or len(wide) != self.inputs:
            raise ValueError(f"x must have shape ({self.inputs}, tokens); got {wide.shape}")
        shape = (len(self.offsets) - 1, wide.shape[1])
        y = np.empty(shape, np.float32) if keep_sums else np.zeros(shape, np.float32)
        loop = _keep_sums if keep_sums else _update_rows
        loop(self.values, self.columns, self.offsets, wide, wide.shape[1], y)
        return y
