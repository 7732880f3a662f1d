"""The rungs that turn the layout: tokens in the vectors, so that a kept input is one row of x, and no lane is empty.

    y[rows[p, i]] += sum over k of piece p of values[k, i] * x[columns[k]]           i < R

    x (inputs, tokens), values (steps, R), columns (steps,) uint32, offsets (pieces + 1,), rows (pieces, R) int64,
    y (outputs + 1, tokens)

A *piece* is R outputs that share a run of kept inputs. `pieces` cuts a matrix of any structure into such, so one loop
serves all of them; only R differs. Where fewer than R outputs are left, weights of zero fill up, and go to the last row
of y, which nobody reads. The tokens are whole tiles: `rungs` fills up with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...machine.native import inner, native
from ...machine.simd import WIDTH, broadcast, fma, load, store
from ...pruning.packing import PackedMatrix


@inner
def four_vectors(array: np.ndarray, at: int) -> Any:
    """Four neighbouring vectors, from flat position `at` on."""
    return (
        load(array, at, WIDTH), load(array, at + WIDTH, WIDTH),
        load(array, at + 2 * WIDTH, WIDTH), load(array, at + 3 * WIDTH, WIDTH),
    )  # fmt: skip


@inner
def put_four(array: np.ndarray, at: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """Write four vectors side by side, from flat position `at` on."""
    store(array, at, a), store(array, at + WIDTH, b)
    store(array, at + 2 * WIDTH, c), store(array, at + 3 * WIDTH, d)


@native
def four_by_four(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """4 outputs x 4 vectors of tokens: each load of x serves four."""
    tokens = x.shape[1]
    for t in range(0, tokens, 4 * WIDTH):
        for p in range(len(rows)):
            a, b = rows[p, 0] * tokens + t, rows[p, 1] * tokens + t
            c, d = rows[p, 2] * tokens + t, rows[p, 3] * tokens + t
            a0, a1, a2, a3 = four_vectors(y, a)
            b0, b1, b2, b3 = four_vectors(y, b)
            c0, c1, c2, c3 = four_vectors(y, c)
            d0, d1, d2, d3 = four_vectors(y, d)
            for k in range(offsets[p], offsets[p + 1]):
                at = np.int64(columns[k]) * tokens + t
                x0, x1, x2, x3 = four_vectors(x, at)
                w = broadcast(values[k, 0], WIDTH)
                a0, a1 = fma(w, x0, a0), fma(w, x1, a1)
                a2, a3 = fma(w, x2, a2), fma(w, x3, a3)
                w = broadcast(values[k, 1], WIDTH)
                b0, b1 = fma(w, x0, b0), fma(w, x1, b1)
                b2, b3 = fma(w, x2, b2), fma(w, x3, b3)
                w = broadcast(values[k, 2], WIDTH)
                c0, c1 = fma(w, x0, c0), fma(w, x1, c1)
                c2, c3 = fma(w, x2, c2), fma(w, x3, c3)
                w = broadcast(values[k, 3], WIDTH)
                d0, d1 = fma(w, x0, d0), fma(w, x1, d1)
                d2, d3 = fma(w, x2, d2), fma(w, x3, d3)
            put_four(y, a, a0, a1, a2, a3), put_four(y, b, b0, b1, b2, b3)
            put_four(y, c, c0, c1, c2, c3), put_four(y, d, d0, d1, d2, d3)


@native
def four_by_two(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """4 outputs x 2 vectors of tokens, for processors with 16 registers: eight sums."""
    tokens = x.shape[1]
    for t in range(0, tokens, 2 * WIDTH):
        for p in range(len(rows)):
            a, b = rows[p, 0] * tokens + t, rows[p, 1] * tokens + t
            c, d = rows[p, 2] * tokens + t, rows[p, 3] * tokens + t
            a0, a1 = load(y, a, WIDTH), load(y, a + WIDTH, WIDTH)
            b0, b1 = load(y, b, WIDTH), load(y, b + WIDTH, WIDTH)
            c0, c1 = load(y, c, WIDTH), load(y, c + WIDTH, WIDTH)
            d0, d1 = load(y, d, WIDTH), load(y, d + WIDTH, WIDTH)
            for k in range(offsets[p], offsets[p + 1]):
                at = np.int64(columns[k]) * tokens + t
                x0, x1 = load(x, at, WIDTH), load(x, at + WIDTH, WIDTH)
                w = broadcast(values[k, 0], WIDTH)
                a0, a1 = fma(w, x0, a0), fma(w, x1, a1)
                w = broadcast(values[k, 1], WIDTH)
                b0, b1 = fma(w, x0, b0), fma(w, x1, b1)
                w = broadcast(values[k, 2], WIDTH)
                c0, c1 = fma(w, x0, c0), fma(w, x1, c1)
                w = broadcast(values[k, 3], WIDTH)
                d0, d1 = fma(w, x0, d0), fma(w, x1, d1)
            store(y, a, a0), store(y, a + WIDTH, a1), store(y, b, b0), store(y, b + WIDTH, b1)
            store(y, c, c0), store(y, c + WIDTH, c1), store(y, d, d0), store(y, d + WIDTH, d1)


@native
def two_by_four(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """2 outputs x 4 vectors of tokens, where only two outputs share their inputs: eight sums."""
    tokens = x.shape[1]
    for t in range(0, tokens, 4 * WIDTH):
        for p in range(len(rows)):
            a, b = rows[p, 0] * tokens + t, rows[p, 1] * tokens + t
            a0, a1, a2, a3 = four_vectors(y, a)
            b0, b1, b2, b3 = four_vectors(y, b)
            for k in range(offsets[p], offsets[p + 1]):
                x0, x1, x2, x3 = four_vectors(x, np.int64(columns[k]) * tokens + t)
                w = broadcast(values[k, 0], WIDTH)
                a0, a1, a2, a3 = fma(w, x0, a0), fma(w, x1, a1), fma(w, x2, a2), fma(w, x3, a3)
                w = broadcast(values[k, 1], WIDTH)
                b0, b1, b2, b3 = fma(w, x0, b0), fma(w, x1, b1), fma(w, x2, b2), fma(w, x3, b3)
            put_four(y, a, a0, a1, a2, a3), put_four(y, b, b0, b1, b2, b3)


@native
def one_by_eight(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """1 output x 8 vectors of tokens, for single weights: eight sums, and each vector of x serves one weight."""
    tokens = x.shape[1]
    for t in range(0, tokens, 8 * WIDTH):
        for p in range(len(rows)):
            a = rows[p, 0] * tokens + t
            a0, a1, a2, a3 = four_vectors(y, a)
            a4, a5, a6, a7 = four_vectors(y, a + 4 * WIDTH)
            for k in range(offsets[p], offsets[p + 1]):
                at = np.int64(columns[k]) * tokens + t
                w = broadcast(values[k, 0], WIDTH)
                x0, x1, x2, x3 = four_vectors(x, at)
                a0, a1, a2, a3 = fma(w, x0, a0), fma(w, x1, a1), fma(w, x2, a2), fma(w, x3, a3)
                x0, x1, x2, x3 = four_vectors(x, at + 4 * WIDTH)
                a4, a5, a6, a7 = fma(w, x0, a4), fma(w, x1, a5), fma(w, x2, a6), fma(w, x3, a7)
            put_four(y, a, a0, a1, a2, a3), put_four(y, a + 4 * WIDTH, a4, a5, a6, a7)


#: The kernel for pieces of so many outputs, with the registers that there are; all take tokens in eights of vectors.
KERNELS = {1: one_by_eight, 2: two_by_four, 4: four_by_four if WIDTH == 16 else four_by_two}
TURNED_TOKENS: int = 8 * WIDTH


def pieces(packed: PackedMatrix) -> list[tuple[np.ndarray, np.ndarray]]:
    """The kept part of a matrix as pieces: (outputs, inputs) that were kept together, at most four outputs each.

    Groups of one output go by blocks of inputs: the outputs that kept the same block, four at a time. All others go by
    panels: the outputs of a group, four at a time, with all inputs that their panel kept.

    >>> from blockprune_lib import BlockStructure, pack
    >>> import torch
    >>> pieces(pack(torch.tensor([[1.0, 0.0, 0.0, 2.0]] * 2), BlockStructure.block_column(2)))
    [(array([0, 1]), array([0, 3]))]
    """
    (r, c), (M, N), keep = packed.group_shape, packed.shape, packed.keep().numpy()
    found = list[tuple[np.ndarray, np.ndarray]]()
    if r == 1 and c > 1:
        for block in range(keep.shape[1]):
            inputs, outputs = np.arange(block * c, min(N, (block + 1) * c)), np.flatnonzero(keep[:, block])
            found += [(outputs[i : i + 4], inputs) for i in range(0, len(outputs), 4)]
        return found
    for panel, kept in enumerate(keep):
        inputs = np.flatnonzero(np.repeat(kept, c)[:N])
        outputs = np.arange(panel * r, min(M, (panel + 1) * r))
        found += [(outputs[i : i + 4], inputs) for i in range(0, len(outputs), 4) if len(inputs)]
    return found


def tables(packed: PackedMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(values, columns, offsets, rows) of the pieces, as the kernels take them; R is 1, 2 or 4."""
    found, weight = pieces(packed), packed.to_dense().detach().numpy()
    widest = max((len(outputs) for outputs, _ in found), default=1)
    R = next(size for size in KERNELS if size >= widest)
    offsets = np.concatenate([[0], np.cumsum([len(inputs) for _, inputs in found])]).astype(np.int64)
    values = np.zeros((offsets[-1], R), np.float32)
    columns, rows = np.zeros(offsets[-1], np.uint32), np.full((len(found), R), len(weight), np.int64)
    for p, (outputs, inputs) in enumerate(found):
        steps = slice(offsets[p], offsets[p + 1])
        values[steps, : len(outputs)] = weight[np.ix_(outputs, inputs)].T
        columns[steps], rows[p, : len(outputs)] = inputs, outputs
    return values, columns, offsets, rows
