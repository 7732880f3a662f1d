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

import torch
from numba import carray, njit
from torch import Tensor

from . import threads
from .native import WIDTH, fetch_add, floats_at, int32_at, int64_at
from .plan import STRIP_FIELDS, PanelPlan
from .simd import panel_1x1, panel_1x2, panel_4x1, panel_4x2, panel_6x1, panel_6x2

#: Fields of a job, after those of `threads`.
(X, LDX, T, Y, M, VALUES, STEP, BIAS, COLUMNS, STRIPS, CUTS, STRIP_COUNT, CUT_COUNT, CHUNK, GROUP, SCRATCH) = range(
    3, 19
)

#: Room for one tile of a strip that overhangs the matrix, for each thread; whole cache lines.
SCRATCH_FLOATS = 16 * WIDTH
#: Tokens of one item: enough that the weights, which come from memory once per item, do not count.
TOKENS = 192
#: Bytes of weights of one item: they stay in the second cache while the tiles of tokens pass.
GROUP_BYTES = 240_000


def panel_worker(pointer: Any) -> None:
    """Take (chunk of tokens, group of strips) after (chunk, group) from a job until none is left."""
    job = carray(pointer, (19,))
    x, y, values, bias = floats_at(job[X]), floats_at(job[Y]), floats_at(job[VALUES]), floats_at(job[BIAS])
    columns, strips, cuts = int32_at(job[COLUMNS]), int64_at(job[STRIPS]), int64_at(job[CUTS])
    scratch = floats_at(job[SCRATCH] + 4 * SCRATCH_FLOATS * fetch_add(job, threads.SLOT, 1))
    tokens, outputs, ldx, step = job[T], job[M], job[LDX], job[STEP]
    chunk, group, count, cut_count = job[CHUNK], job[GROUP], job[STRIP_COUNT], job[CUT_COUNT]
    groups = (count + group - 1) // group
    while True:
        item = fetch_add(job, threads.NEXT, 1)
        if item >= job[threads.ITEMS]:
            break
        first, last = (item % groups) * group, min((item % groups + 1) * group, count)
        begin, end = (item // groups) * chunk, min((item // groups + 1) * chunk, tokens)
        for cut in range(cut_count):
            t = begin
            while t < end:
                tile = _tile(end - t)
                for strip in range(first, last):
                    s, c = strip * STRIP_FIELDS, strip * (cut_count + 1) + cut
                    row, valid, k, stop = strips[s], strips[s + 1], cuts[c], cuts[c + 1]
                    at, to = strips[s + 2] + k * step, t * outputs + row
                    wide = valid > WIDTH
                    width = 2 * WIDTH if wide else WIDTH
                    seed, start, lds, target, ldy = bias, row, 0, y, outputs
                    if cut > 0:
                        seed, start, lds = y, to, outputs
                    if valid < width:  # it overhangs the matrix: seeded and done in scratch memory
                        _copy(seed, start, lds, scratch, 0, width, tile, valid)
                        seed, start, lds, target, to, ldy = scratch, 0, width, scratch, 0, width
                    _product(wide, tile, x, t * ldx, ldx, columns, k, stop, values, at, step, seed, start, lds,
                             target, to, ldy)  # fmt: skip
                    if valid < width:
                        _copy(scratch, 0, width, y, t * outputs + row, outputs, tile, valid)
                t += tile


@njit(forceinline=True)
def _tile(rest: int) -> int:
    """How many tokens next: sixes, but 6 + 2 and 6 + 3 are better done as 4 + 4 (+ 1)."""
    if rest >= 10 or rest == 6 or rest == 7:
        return 6
    return 4 if rest >= 4 else 1


@njit
def _copy(source: Any, at: int, stride: int, target: Any, to: int, target_stride: int, rows: int, count: int) -> None:
    for i in range(rows):
        for j in range(count):
            target[to + i * target_stride + j] = source[at + i * stride + j]


@njit(forceinline=True)
def _product(wide: bool, tile: int, x: Any, t: int, ldx: int, columns: Any, k: int, stop: int, w: Any, at: int,
             ldw: int, seed: Any, start: int, lds: int, y: Any, to: int, ldy: int) -> None:  # fmt: skip
    if wide:
        if tile == 6:
            panel_6x2(x, t, ldx, columns, k, stop, w, at, ldw, seed, start, lds, y, to, ldy)
        elif tile == 4:
            panel_4x2(x, t, ldx, columns, k, stop, w, at, ldw, seed, start, lds, y, to, ldy)
        else:
            panel_1x2(x, t, columns, k, stop, w, at, ldw, seed, start, y, to)
    elif tile == 6:
        panel_6x1(x, t, ldx, columns, k, stop, w, at, ldw, seed, start, lds, y, to, ldy)
    elif tile == 4:
        panel_4x1(x, t, ldx, columns, k, stop, w, at, ldw, seed, start, lds, y, to, ldy)
    else:
        panel_1x1(x, t, columns, k, stop, w, at, ldw, seed, start, y, to)


def multiply(plan: PanelPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int) -> Tensor:
    """x (T, inputs), rows of neighbouring float32 → (T, outputs); `values` as the plan's, checked by the caller."""
    tokens = x.shape[0]
    y = torch.empty(tokens, plan.outputs)
    count = len(plan.strips)
    if tokens == 0 or count == 0:
        return y
    chunks = -(-tokens // TOKENS)
    chunk = -(-tokens // (12 * chunks)) * 12  # whole tiles, equal chunks
    fits = max(1, count * GROUP_BYTES // max(1, 4 * values.numel()))
    group = min(fits, max(1, count * chunks // (1 if workers == 1 else 4 * workers)))
    items = chunks * -(-count // group)
    workers = min(workers, items)
    values = plan.readable(values)
    padded = plan.padded_bias(bias)
    scratch = torch.zeros(workers * SCRATCH_FLOATS) if plan.ragged else y
    job = threads.make_job(
        0, items, 0, x.data_ptr(), x.stride(0), tokens, y.data_ptr(), plan.outputs, values.data_ptr(), plan.step,
        padded.data_ptr(), *plan.addresses, chunk, group, scratch.data_ptr()
    )  # fmt: skip
    threads.run(panel_worker, job, workers)
    return y
