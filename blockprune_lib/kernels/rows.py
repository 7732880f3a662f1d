"""Row groups: short rows of weights anywhere in the matrix, vectors over tokens. block_row, row, irregular.

    y[row, t] += sum over k < count of w[k] * x[first + k, t]        one entry: `count` neighbouring inputs of one row

Both x and y lie transposed here, a token to a lane, for two vectors of tokens at a time. x is transposed once for them
and lies in L2; y collects in a band of rows that stays in L1, and is transposed back when the band is done. A band,
with two input blocks (# kept, . pruned):

              x, transposed: a row per input, a lane per token
              block 0   block 1
    row 0     ####      ....        all sets of block 0 (see `plan`), then all of block 1: the
    row 1     ....      ####        block's inputs stay in L1, and so does the band of y:
    row 2     ####      ####        a row per output, a lane per token
    row 3     ####      ....
    discard   takes what the unused places of a set add; it is never read

The share of time that transposing takes is smaller the larger density x M and density x N are: about a tenth for
768 x 768 at rate 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH, broadcast, store
from . import parallel
from .gelu import gelu_rows
from .intrinsics import UNKNOWN, element, fetch_add, floats_at, int64_at, prefetch, prefetch_to_write
from .memory import new_matrix
from .plan import BLOCK_FIELDS, FIRST_ROW, FIRST_WEIGHT, LANE_TOKENS, SET_FIELDS, SET_ROWS, RowPlan
from .row_tiles import row_4x2, row_6x1, row_6x2
from .transpose import transpose

#: Fields of a job, after those of `parallel`.
(X, LDX, T, N, Y, M, VALUES, LDW, BIAS, GELU, HEIGHT, OFFSETS, BLOCKS, SETS, BANDS, CHUNK, PARTS, PART, SPACE,
 SCRATCH) = range(3, 23)  # fmt: skip

#: At most so many rows per band: its results fill half of L1.
BAND_ROWS = 256


def row_worker(pointer: Any) -> None:
    """Take one (chunk of tokens, part of the bands) after the other from a job until none is left."""
    job = carray(pointer, (UNKNOWN,))
    x, y, values, bias = floats_at(job[X]), floats_at(job[Y]), floats_at(job[VALUES]), floats_at(job[BIAS])
    offsets, blocks, sets = int64_at(job[OFFSETS]), int64_at(job[BLOCKS]), int64_at(job[SETS])
    height, outputs, inputs, tokens, ldx = job[HEIGHT], job[M], job[N], job[T], job[LDX]
    own = job[SCRATCH] + 4 * job[SPACE] * fetch_add(job, parallel.SLOT, 1)
    yt, xt = floats_at(own), floats_at(own + 4 * LANE_TOKENS * (height + 1))
    while True:
        item = fetch_add(job, parallel.NEXT, 1)
        if item >= job[parallel.ITEMS]:
            break
        part, begin = item % job[PARTS], (item // job[PARTS]) * job[CHUNK]
        for first in range(begin, min(begin + job[CHUNK], tokens), LANE_TOKENS):
            n = min(LANE_TOKENS, tokens - first)
            transpose(x, first * ldx, ldx, n, inputs, xt, 0, LANE_TOKENS)
            for band in range(part * job[PART], min((part + 1) * job[PART], job[BANDS])):
                top = band * height
                rows = min(height, outputs - top)
                _seed(yt, rows, height, bias, top, job[BIAS] != 0)
                for t in range(first, first + n):
                    for i in range(0, rows, 16):
                        prefetch_to_write(y, t * outputs + top + i)
                for block in range(offsets[band], offsets[band + 1]):
                    b = block * BLOCK_FIELDS
                    at, count, s, end = blocks[b] * LANE_TOKENS, blocks[b + 1], blocks[b + 2], blocks[b + 3]
                    if n > WIDTH and job[LDW] == 1:
                        _sets(sets, s, end, xt, at, count, values, yt)
                    else:
                        for v in range(0, n, WIDTH):
                            _narrow_sets(sets, s, end, xt, at + v, count, values, job[LDW], yt, v)
                if job[GELU]:
                    gelu_rows(yt, 0, LANE_TOKENS, rows, LANE_TOKENS)
                transpose(yt, 0, LANE_TOKENS, rows, n, y, first * outputs + top, outputs)


@inner
def _seed(yt: Any, rows: int, height: int, bias: Any, top: int, biased: bool) -> None:
    """Fill the band with the bias, and the discard row below it with zero."""
    for i in range(rows):
        value = broadcast(element(bias, top + i) if biased else np.float32(0), WIDTH)
        store(yt, i * LANE_TOKENS, value), store(yt, i * LANE_TOKENS + WIDTH, value)
    zero = broadcast(0, WIDTH)
    store(yt, height * LANE_TOKENS, zero), store(yt, height * LANE_TOKENS + WIDTH, zero)


@inner
def _sets(sets: Any, begin: int, end: int, xt: Any, at: int, count: int, w: Any, yt: Any) -> None:
    """All sets of one input block whose weights are neighbours, for two vectors of tokens: nearly all of the work."""
    for s in range(begin * SET_FIELDS, end * SET_FIELDS, SET_FIELDS):
        row, weight = s + FIRST_ROW, s + FIRST_WEIGHT
        for i in range(SET_FIELDS, SET_FIELDS + 6):  # the next set's weights: six runs that no hardware prefetches
            prefetch(w, element(sets, weight + i)), prefetch(w, element(sets, weight + i) + 32)
        r0, r1, r2, r3 = element(sets, row), element(sets, row + 1), element(sets, row + 2), element(sets, row + 3)
        o0, o1, o2 = element(sets, weight), element(sets, weight + 1), element(sets, weight + 2)
        o3 = element(sets, weight + 3)
        if element(sets, s + SET_ROWS) == 6:
            r4, r5 = element(sets, row + 4), element(sets, row + 5)
            o4, o5 = element(sets, weight + 4), element(sets, weight + 5)
            row_6x2(xt, at, LANE_TOKENS, count, w, o0, o1, o2, o3, o4, o5, yt, r0, r1, r2, r3, r4, r5)
        else:
            row_4x2(xt, at, LANE_TOKENS, count, w, o0, o1, o2, o3, yt, r0, r1, r2, r3)


@inner
def _narrow_sets(sets: Any, begin: int, end: int, xt: Any, at: int, count: int, w: Any, ldw: int, yt: Any,
                 v: int) -> None:  # fmt: skip
    """All sets of one input block, for the vector of tokens that begins at v; a set of four runs as six."""
    for s in range(begin * SET_FIELDS, end * SET_FIELDS, SET_FIELDS):
        row, weight = s + FIRST_ROW, s + FIRST_WEIGHT
        r0, r1, r2 = v + element(sets, row), v + element(sets, row + 1), v + element(sets, row + 2)
        r3, r4, r5 = v + element(sets, row + 3), v + element(sets, row + 4), v + element(sets, row + 5)
        row_6x1(xt, at, LANE_TOKENS, count, w, element(sets, weight), element(sets, weight + 1),
                element(sets, weight + 2), element(sets, weight + 3), element(sets, weight + 4),
                element(sets, weight + 5), ldw, yt, r0, r1, r2, r3, r4, r5)  # fmt: skip


def multiply(plan: RowPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int, gelu: bool = False) -> Tensor:
    """x (T, inputs), contiguous float32 rows → (T, outputs), `gelu`: with GELU applied. The caller checks `values`."""
    tokens = x.shape[0]
    y = new_matrix(tokens, plan.outputs)
    if tokens == 0:
        return y
    split = plan.splits.get((tokens, workers))
    if split is None:
        split = plan.splits[tokens, workers] = _split(plan, tokens, workers)
    items, workers, space, *rest = split
    own = parallel.workspace()
    scratch = own.floats(workers * space)
    job = own.job(
        SCRATCH + 1,
        (0, items, 0, x.data_ptr(), x.stride()[0], tokens, plan.inputs, y.data_ptr(), plan.outputs, values.data_ptr(),
         plan.stride, 0 if bias is None else bias.data_ptr(), gelu, *rest, space, scratch)
    )  # fmt: skip
    parallel.run(row_worker, job, workers)
    return y


def _split(plan: RowPlan, tokens: int, workers: int) -> tuple[int, ...]:
    """How the work is cut: (items, threads, floats per thread) and the fields of a job from HEIGHT to PART."""
    vectors = -(-tokens // LANE_TOKENS)
    wanted = 1 if workers == 1 else 4 * workers  # items a thread can choose from, so that none waits long for another
    chunk = max(1, vectors // wanted)
    chunks = -(-vectors // chunk)
    parts = max(1, min(-(-wanted // chunks), plan.outputs // (4 * WIDTH)))
    bands = plan.bands(max(parts, -(-plan.outputs // BAND_ROWS)))
    count = len(bands.offsets) - 1
    part = -(-count // parts)
    parts = -(-count // part)
    items = chunks * parts
    space = (bands.height + 1 + plan.inputs) * LANE_TOKENS
    return items, min(workers, items), space, bands.height, *bands.addresses, count, chunk * LANE_TOKENS, parts, part
