"""The upper rungs of the ladder: kernels written with the vector type, from one sum to twelve.

    x (tokens, inputs), values (steps, height), columns (steps,) uint32, offsets (panels + 1,), y (tokens, outputs)

`rungs` checks that there are tokens enough for a tile, that a panel is whole tiles high, and that every column exists.
Where the tokens do not divide, the last tile overlaps the one before it: a result is written twice, the same value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...machine.native import inner, native
from ...machine.simd import WIDTH, broadcast, fma, load, store, zero

#: Tokens in a tile.
TOKENS = 6


@native
def one_vector(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """1 token x 1 vector of outputs."""
    height, outputs = values.shape[1], y.shape[1]
    for panel in range(len(offsets) - 1):
        for j in range(0, height, WIDTH):
            for t in range(len(x)):
                total = zero(WIDTH)
                for k in range(offsets[panel], offsets[panel + 1]):
                    number = broadcast(x[t, columns[k]], WIDTH)
                    w = load(values, k * height + j, WIDTH)
                    total = fma(number, w, total)
                store(y, t * outputs + panel * height + j, total)


@native
def six_sums(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """6 tokens x 1 vector: six sums that do not wait for each other; one load of weights serves six tokens."""
    height, outputs = values.shape[1], y.shape[1]
    for panel in range(len(offsets) - 1):
        for j in range(0, height, WIDTH):
            for tile in range(0, len(x), TOKENS):
                t = min(tile, len(x) - TOKENS)
                a0 = a1 = a2 = a3 = a4 = a5 = zero(WIDTH)
                for k in range(offsets[panel], offsets[panel + 1]):
                    c = columns[k]
                    w = load(values, k * height + j, WIDTH)
                    a0, a1 = fma(broadcast(x[t, c], WIDTH), w, a0), fma(broadcast(x[t + 1, c], WIDTH), w, a1)
                    a2, a3 = fma(broadcast(x[t + 2, c], WIDTH), w, a2), fma(broadcast(x[t + 3, c], WIDTH), w, a3)
                    a4, a5 = fma(broadcast(x[t + 4, c], WIDTH), w, a4), fma(broadcast(x[t + 5, c], WIDTH), w, a5)
                to = t * outputs + panel * height + j
                store(y, to, a0), store(y, to + outputs, a1), store(y, to + 2 * outputs, a2)
                to += 3 * outputs
                store(y, to, a3), store(y, to + outputs, a4), store(y, to + 2 * outputs, a5)


@inner
def put_two(array: np.ndarray, at: int, a: Any, b: Any) -> None:
    """Write two vectors side by side, from flat position `at` on."""
    store(array, at, a), store(array, at + WIDTH, b)


@native
def six_by_two(x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, y: np.ndarray) -> None:
    """6 tokens x 2 vectors: 12 multiply-adds for 8 loads."""
    height, outputs = values.shape[1], y.shape[1]
    for panel in range(len(offsets) - 1):
        for j in range(0, height, 2 * WIDTH):
            for tile in range(0, len(x), TOKENS):
                t = min(tile, len(x) - TOKENS)
                a0 = a1 = a2 = a3 = a4 = a5 = zero(WIDTH)
                b0 = b1 = b2 = b3 = b4 = b5 = zero(WIDTH)
                for k in range(offsets[panel], offsets[panel + 1]):
                    c, at = columns[k], k * height + j
                    v = load(values, at, WIDTH)
                    w = load(values, at + WIDTH, WIDTH)
                    s = broadcast(x[t, c], WIDTH)
                    a0, b0 = fma(s, v, a0), fma(s, w, b0)
                    s = broadcast(x[t + 1, c], WIDTH)
                    a1, b1 = fma(s, v, a1), fma(s, w, b1)
                    s = broadcast(x[t + 2, c], WIDTH)
                    a2, b2 = fma(s, v, a2), fma(s, w, b2)
                    s = broadcast(x[t + 3, c], WIDTH)
                    a3, b3 = fma(s, v, a3), fma(s, w, b3)
                    s = broadcast(x[t + 4, c], WIDTH)
                    a4, b4 = fma(s, v, a4), fma(s, w, b4)
                    s = broadcast(x[t + 5, c], WIDTH)
                    a5, b5 = fma(s, v, a5), fma(s, w, b5)
                to = t * outputs + panel * height + j
                put_two(y, to, a0, b0), put_two(y, to + outputs, a1, b1)
                put_two(y, to + 2 * outputs, a2, b2)
                put_two(y, to + 3 * outputs, a3, b3)
                put_two(y, to + 4 * outputs, a4, b4)
                put_two(y, to + 5 * outputs, a5, b5)
