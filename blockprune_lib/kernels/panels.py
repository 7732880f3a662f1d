"""Column panels: outputs that share a list of kept columns, vectors over outputs. block_column, tile, column.

    y[t, row : row + p] = bias[row : row + p] + sum over the panel's steps k of x[t, columns[k]] * values[k, : p]

A step is p weights that lie together, as `packing` stores them; nothing is copied. The panel is outside and the tokens
inside, so that a panel's weights stay in the first cache while tile after tile of tokens passes. Panels higher than two
vectors are cut into strips of two. Tokens are taken in chunks, so that many of them do not push x out of the cache.

The ragged ends: a token count that is no multiple of the tile is covered by tiles that overlap (a result is written
twice, with the same value); a strip that overhangs the matrix goes through a scratch buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from . import threads
from .native import WIDTH, fetch_add, floats_at, int32_at, int64_at
from .plan import STRIP_FIELDS, PanelPlan
from .simd import panel_1x1, panel_1x2, panel_4x2, panel_6x2, panel_8x1

#: Fields of a job, after those of `threads`.
(X, LDX, T, Y, M, VALUES, STEP, BIAS, COLUMNS, STRIPS, STRIP_COUNT, CHUNK, SCRATCH) = range(3, 16)

#: Tokens at a time: a multiple of the tile's six, few enough that x of a BERT layer stays in the second cache.
TOKENS = 96


def panel_worker(pointer: Any) -> None:
    """Take (chunk of tokens, strip) after (chunk, strip) from a job until none is left."""
    job = carray(pointer, (16,))
    x, y, values, bias = floats_at(job[X]), floats_at(job[Y]), floats_at(job[VALUES]), floats_at(job[BIAS])
    columns, strips = int32_at(job[COLUMNS]), int64_at(job[STRIPS])
    tokens, outputs, chunk, count, step = job[T], job[M], job[CHUNK], job[STRIP_COUNT], job[STEP]
    width = 2 * WIDTH
    slot = fetch_add(job, threads.SLOT, 1)
    scratch = floats_at(job[SCRATCH] + 4 * slot * chunk * width)
    while True:
        item = fetch_add(job, threads.NEXT, 1)
        if item >= job[threads.ITEMS]:
            break
        strip = (item % count) * STRIP_FIELDS
        row, valid, at = strips[strip], strips[strip + 1], strips[strip + 2]
        begin, end = strips[strip + 3], strips[strip + 4]
        first = (item // count) * chunk
        n = min(chunk, tokens - first)
        wide = valid > WIDTH
        whole = valid % WIDTH == 0
        start = first * job[LDX]
        if whole:
            _strip(wide, n, x, start, job[LDX], columns, begin, end, values, at, step, bias, row,
                   y, first * outputs + row, outputs)  # fmt: skip
        else:
            _strip(wide, n, x, start, job[LDX], columns, begin, end, values, at, step, bias, row,
                   scratch, 0, width)  # fmt: skip
            for i in range(n):
                for j in range(valid):
                    y[(first + i) * outputs + row + j] = scratch[i * width + j]


@njit
def _strip(wide: bool, n: int, x: Any, t: int, ldx: int, columns: Any, begin: int, end: int, w: Any, at: int,
           ldw: int, bias: Any, row: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    """All n tokens of one strip, in tiles; the last tiles step back so that none is left over."""
    if wide:
        sixes, rest = n // 6, n % 6
        if 0 < rest < 3 and sixes > 0:  # 6 + 1 and 6 + 2 are better done as 4 + 4
            sixes, rest = sixes - 1, rest + 6
        elif rest == 5 and sixes > 0:
            panel_6x2(x, t + (n - 6) * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + (n - 6) * ldy, ldy)
            rest = 0
        for i in range(0, 6 * sixes, 6):
            panel_6x2(x, t + i * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + i * ldy, ldy)
        done = 6 * sixes
        if rest > 4 and n >= 4:
            panel_4x2(x, t + done * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + done * ldy, ldy)
            rest -= 4
        if rest > 0 and n >= 4:
            panel_4x2(x, t + (n - 4) * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + (n - 4) * ldy, ldy)
            rest = 0
        for i in range(n - rest, n):
            panel_1x2(x, t + i * ldx, columns, begin, end, w, at, ldw, bias, row, y, to + i * ldy)
    else:
        rest = n % 8
        for i in range(0, n - rest, 8):
            panel_8x1(x, t + i * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + i * ldy, ldy)
        if rest > 2 and n >= 8:
            panel_8x1(x, t + (n - 8) * ldx, ldx, columns, begin, end, w, at, ldw, bias, row, y, to + (n - 8) * ldy, ldy)
            rest = 0
        for i in range(n - rest, n):
            panel_1x1(x, t + i * ldx, columns, begin, end, w, at, ldw, bias, row, y, to + i * ldy)


def multiply(plan: PanelPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int) -> Tensor:
    """x (T, inputs), rows of neighbouring float32 → (T, outputs); `values` as the plan's, checked by the caller."""
    tokens = x.shape[0]
    y = torch.empty(tokens, plan.outputs)
    count = len(plan.strips)
    if tokens == 0 or count == 0:
        return y
    chunk = min(TOKENS, tokens)
    chunks = -(-tokens // chunk)
    workers = min(workers, chunks * count)
    values = plan.readable(values)
    padded = plan.padded_bias(bias)
    scratch = torch.empty(workers * chunk * 2 * WIDTH) if plan.ragged else y
    job = np.array(
        [0, chunks * count, 0, x.data_ptr(), x.stride(0), tokens, y.data_ptr(), plan.outputs, values.data_ptr(),
         plan.step, padded.data_ptr(), plan.columns.ctypes.data, plan.strips.ctypes.data, count, chunk,
         scratch.data_ptr()], dtype=np.int64)  # fmt: skip
    threads.run(panel_worker, job, workers)
    return y
