"""Row groups: short rows of weights anywhere in the matrix, vectors over tokens. block_row, row, irregular.

    y[row, t] += sum over k < count of w[k] * x[first + k, t]        one entry: `count` neighbouring inputs of one row

Both x and y stand on their side here, a token to a lane. x is turned block by block just before use, 32 tokens at a
time, into scratch memory that stays in the first cache; y collects in a scratch band of rows, and is turned back when
the band is done. Six rows that keep the same block of inputs go together. Turning costs a share
of the product that falls with density x M and density x N: about a tenth for 768 x 768 at rate 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from blockprune_lib.vectors import broadcast, store

from . import threads
from .native import WIDTH, fetch_add, floats_at, int64_at, prefetch, transpose
from .plan import BLOCK_FIELDS, BLOCK_INPUTS, SET_FIELDS, RowPlan
from .simd import row_4x2, row_6x1, row_6x2

(X, LDX, T, Y, M, VALUES, STEP, BIAS, HAS_BIAS, HEIGHT, BANDS, OFFSETS, BLOCKS, SETS, SCRATCH, SPACE) = range(3, 19)

#: Rows of a band at most: its 96 KB of results stay in the second cache.
BAND_ROWS = 768
#: Tokens that are turned together: two tiles of two vectors.
TOKENS = 4 * WIDTH


def row_worker(pointer: Any) -> None:
    """Take (tokens, band of rows) after (tokens, band) from a job until none is left."""
    job = carray(pointer, (19,))
    x, y, values, bias = floats_at(job[X]), floats_at(job[Y]), floats_at(job[VALUES]), floats_at(job[BIAS])
    offsets, blocks, sets = int64_at(job[OFFSETS]), int64_at(job[BLOCKS]), int64_at(job[SETS])
    height, outputs, step = job[HEIGHT], job[M], job[STEP]
    slot = fetch_add(job, threads.SLOT, 1)
    xt = floats_at(job[SCRATCH] + 4 * slot * job[SPACE])
    yt = floats_at(job[SCRATCH] + 4 * (slot * job[SPACE] + BLOCK_INPUTS * TOKENS))
    while True:
        item = fetch_add(job, threads.NEXT, 1)
        if item >= job[threads.ITEMS]:
            break
        band = item % job[BANDS]
        first = (item // job[BANDS]) * TOKENS
        n = min(TOKENS, job[T] - first)
        top = band * height
        rows = min(height, outputs - top)
        vectors = (n + WIDTH - 1) // WIDTH
        for v in range(TOKENS // WIDTH):
            store(yt, height * TOKENS + v * WIDTH, broadcast(0, WIDTH))
        for i in range(rows):
            seed = broadcast(bias[top + i] if job[HAS_BIAS] else np.float32(0), WIDTH)
            for v in range(vectors):
                store(yt, i * TOKENS + v * WIDTH, seed)
        for block in range(offsets[band], offsets[band + 1]):
            at = block * BLOCK_FIELDS
            count = blocks[at + 1]
            _turn(x, first * job[LDX] + blocks[at], job[LDX], n, count, xt, 0, TOKENS)
            for s in range(blocks[at + 2], blocks[at + 3]):
                _fetch_next(sets, (s + 1) * SET_FIELDS, values, count * step)
                _multiply_set(sets, s * SET_FIELDS, vectors, xt, count, values, step, yt)
        _turn(yt, 0, TOKENS, rows, n, y, first * outputs + top, outputs)


@njit(forceinline=True)
def _fetch_next(sets: Any, s: int, values: Any, length: int) -> None:
    """Ask for the weights of the next set while this one is multiplied: six short runs that no hardware foresees."""
    for i in range(6):
        for k in range(0, length, 16):
            prefetch(values, sets[s + 7 + i] + k)


@njit(forceinline=True)
def _multiply_set(sets: Any, s: int, vectors: int, xt: Any, count: int, w: Any, step: int, yt: Any) -> None:
    r0, r1, r2 = sets[s + 1] * TOKENS, sets[s + 2] * TOKENS, sets[s + 3] * TOKENS
    r3, r4, r5 = sets[s + 4] * TOKENS, sets[s + 5] * TOKENS, sets[s + 6] * TOKENS
    o0, o1, o2, o3, o4, o5 = sets[s + 7], sets[s + 8], sets[s + 9], sets[s + 10], sets[s + 11], sets[s + 12]
    for v in range(0, (vectors - 1) * WIDTH, 2 * WIDTH):
        if sets[s] == 6:
            row_6x2(xt, v, TOKENS, count, w, o0, o1, o2, o3, o4, o5, step,
                    yt, r0 + v, r1 + v, r2 + v, r3 + v, r4 + v, r5 + v)  # fmt: skip
        else:
            row_4x2(xt, v, TOKENS, count, w, o0, o1, o2, o3, step, yt, r0 + v, r1 + v, r2 + v, r3 + v)
    if vectors % 2:
        v = (vectors - 1) * WIDTH
        row_6x1(xt, v, TOKENS, count, w, o0, o1, o2, o3, o4, o5, step,
                yt, r0 + v, r1 + v, r2 + v, r3 + v, r4 + v, r5 + v)  # fmt: skip


@njit
def _turn(source: Any, at: int, stride: int, rows: int, columns: int, target: Any, to: int, target_stride: int) -> None:
    """target[to + j target_stride + i] = source[at + i stride + j] for i < rows, j < columns."""
    whole_rows, whole_columns = rows - rows % WIDTH, columns - columns % WIDTH
    for i in range(0, whole_rows, WIDTH):
        for j in range(0, whole_columns, WIDTH):
            transpose(source, at + i * stride + j, stride, target, to + j * target_stride + i, target_stride)
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            target[to + j * target_stride + i] = source[at + i * stride + j]


def multiply(plan: RowPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int) -> Tensor:
    """x (T, inputs), rows of neighbouring float32 → (T, outputs); `values` as the plan's, checked by the caller."""
    tokens = x.shape[0]
    y = torch.empty(tokens, plan.outputs)
    if tokens == 0:
        return y
    chunks = -(-tokens // TOKENS)
    enough = 1 if workers == 1 else 4 * workers  # items a thread can choose from, so that none waits long for another
    most = max(1, plan.outputs // (4 * WIDTH))
    bands = plan.bands(max(min(most, -(-enough // chunks)), -(-plan.outputs // BAND_ROWS)))
    count = len(bands.offsets) - 1
    workers = min(workers, chunks * count)
    space = (bands.height + 1 + BLOCK_INPUTS) * TOKENS
    scratch = torch.zeros(workers * space)
    job = threads.make_job(
        0, chunks * count, 0, x.data_ptr(), x.stride(0), tokens, y.data_ptr(), plan.outputs, values.data_ptr(),
        plan.step, y.data_ptr() if bias is None else bias.data_ptr(), bias is not None, bands.height, count,
        *bands.addresses, scratch.data_ptr(), space,
    )  # fmt: skip
    threads.run(row_worker, job, workers)
    return y
