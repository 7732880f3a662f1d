"""The oracle: a product with a packed matrix in NumPy and float64, as slow and plain as the definition.

Every kernel is compared with it. It reads the packed arrays themselves, so that it depends on no other code of the
library; it leaves out speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def linear_reference(
    x: ArrayLike, values: ArrayLike, columns: ArrayLike, offsets: ArrayLike, shape: tuple[int, int], bias: Any = None
) -> NDArray[np.float64]:
    """y[t, m] = b[m] + sum over the stored groups of W[m, n] x[t, n], in float64.

    x        (..., N)
    values   (groups, c, r), columns (groups,), offsets (R + 1,): the arrays of a `PackedMatrix` of `shape` (M, N)
    bias     (M,) or None

    Returns (..., M).

    >>> linear_reference([[1.0, 2.0, 3.0]], values=[[[10.0], [1.0]]], columns=[1], offsets=[0, 1], shape=(1, 3))
    array([[30.]])

    (The group is two columns wide and begins at column 1 * 2: weight 10 at column 2, and padding beyond the edge.)
    """
    x, values = np.asarray(x, np.float64), np.asarray(values, np.float64)
    columns, offsets = np.asarray(columns), np.asarray(offsets)
    (M, N), (c, r) = shape, values.shape[1:]
    y = np.zeros((*x.shape[:-1], M))
    for grid_row in range(len(offsets) - 1):
        rows = slice(grid_row * r, min((grid_row + 1) * r, M))
        for group in range(offsets[grid_row], offsets[grid_row + 1]):
            first = columns[group] * c
            width, height = min(c, N - first), rows.stop - rows.start
            y[..., rows] += x[..., first : first + width] @ values[group, :width, :height]
    return y if bias is None else y + np.asarray(bias, np.float64)
