"""Two rungs for row groups (block_row): the vectors are neighbouring tokens, the broadcasts are weights.

    y[t, m] = sum over the groups of row m, and over i < width, of x[t, columns[group] * width + i] * values[group, i]

    x (tokens, inputs), values (groups, width), columns (groups,) uint32, offsets (outputs + 1,), y (tokens, outputs)

A row group gives one output, so no neighbouring outputs fill a vector. Tokens do, once they lie side by side: x is
transposed tile by tile, and so is what comes out. Both copies are part of the time. `rungs` checks the arguments.
"""

from __future__ import annotations

import numpy as np

from ...machine.native import native
from ...machine.simd import WIDTH, broadcast, fma, load, store, zero

#: Tokens in a tile: eight vectors, whose sums do not wait for each other.
ROW_TOKENS: int = 8 * WIDTH


@native(fastmath={"contract"})
def row_by_row(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """One output of one token at a time: one sum, to which one product at a time is added."""
    width = values.shape[1]
    for t in range(len(x)):
        for m in range(len(offsets) - 1):
            total = np.float32(0)
            for group in range(offsets[m], offsets[m + 1]):
                first = np.int64(columns[group]) * width
                for i in range(min(width, x.shape[1] - first)):  # the last group may overhang the matrix
                    total += x[t, first + i] * values[group, i]
            y[t, m] = total


@native
def tokens_in_vectors(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray
) -> None:
    """One row x eight vectors of tokens: each weight is broadcast once and meets eight loads of tokens."""
    width, inputs = values.shape[1], x.shape[1]
    x_tile = np.zeros((inputs + width, ROW_TOKENS), np.float32)
    y_tile = np.empty((len(offsets) - 1, ROW_TOKENS), np.float32)
    for tile in range(0, len(x), ROW_TOKENS):
        t = min(tile, len(x) - ROW_TOKENS)
        for n in range(inputs):
            for i in range(ROW_TOKENS):
                x_tile[n, i] = x[t + i, n]
        for m in range(len(offsets) - 1):
            a = b = c = d = e = f = g = h = zero(WIDTH)
            for group in range(offsets[m], offsets[m + 1]):
                at = np.int64(columns[group]) * width * ROW_TOKENS
                for i in range(width):
                    w = broadcast(values[group, i], WIDTH)
                    a, b = fma(w, load(x_tile, at, WIDTH), a), fma(w, load(x_tile, at + WIDTH, WIDTH), b)
                    c = fma(w, load(x_tile, at + 2 * WIDTH, WIDTH), c)
                    d = fma(w, load(x_tile, at + 3 * WIDTH, WIDTH), d)
                    e = fma(w, load(x_tile, at + 4 * WIDTH, WIDTH), e)
                    f = fma(w, load(x_tile, at + 5 * WIDTH, WIDTH), f)
                    g = fma(w, load(x_tile, at + 6 * WIDTH, WIDTH), g)
                    h = fma(w, load(x_tile, at + 7 * WIDTH, WIDTH), h)
                    at += ROW_TOKENS
            to = m * ROW_TOKENS
            store(y_tile, to, a), store(y_tile, to + WIDTH, b), store(y_tile, to + 2 * WIDTH, c)
            store(y_tile, to + 3 * WIDTH, d), store(y_tile, to + 4 * WIDTH, e), store(y_tile, to + 5 * WIDTH, f)
            store(y_tile, to + 6 * WIDTH, g), store(y_tile, to + 7 * WIDTH, h)
        for i in range(ROW_TOKENS):
            for m in range(len(offsets) - 1):
                y[t + i, m] = y_tile[m, i]
