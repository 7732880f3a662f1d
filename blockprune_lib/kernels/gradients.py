"""The gradient of the stored weights: only the elements of grad' x that are stored, and no dense matrix on the way.

    d values[position + (0 .. 2W)] += sum over tokens t of series[t] * vector[t, 0 .. 2W]        for each set of six

Panels: the vectors are neighbouring outputs of the gradient, the series are kept columns of x. Row groups: the vectors
are neighbouring inputs, the series are rows of the gradient. Either way it is the tile of `row_tiles`, with tokens in
place of a product's inputs. The series lie transposed in scratch memory, a chunk of tokens at a time.

Left out: groups too flat and too narrow for a vector (`functional` takes the dense product for them).
"""

from __future__ import annotations

from typing import Any

import torch
from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH, broadcast, load, store
from . import parallel
from .intrinsics import UNKNOWN, element, fetch_add, floats_at, int32_at, int64_at
from .plan import (
    BLOCK_FIELDS,
    FIRST_ROW,
    FIRST_WEIGHT,
    LANE_TOKENS,
    PACKED_TOKENS,
    SET_FIELDS,
    STRIP_FIELDS,
    PanelPlan,
    RowPlan,
)  # fmt: skip
from .row_tiles import row_6x2
from .transpose import transpose

#: Fields of a job, after those of `parallel`; TABLE and WHERE are strips and columns, or input blocks and sets.
(VECTORS, LDV, SERIES, LDS, SERIES_COUNT, T, GRADIENT, ELEMENTS, LDW, TABLE, WHERE, PARTS, DISCARD,
 SCRATCH) = range(3, 17)  # fmt: skip

#: Tokens of a chunk: the vectors of a strip fill a quarter of L1.
CHUNK = 128
#: Floats from one series to the next: a multiple of PACKED_TOKENS; a power of two would map them to one cache set.
STRIDE = 132
#: Two vectors, which is how wide a strip is.
WIDE = 2 * WIDTH


def panel_gradient_worker(pointer: Any) -> None:
    """Take one part of the strips after the other; for each chunk of tokens, all steps of a strip six at a time."""
    job = carray(pointer, (UNKNOWN,))
    strips, columns, parts = int64_at(job[TABLE]), int32_at(job[WHERE]), int64_at(job[PARTS])
    vectors, gradient = floats_at(job[VECTORS]), floats_at(job[GRADIENT])
    own = job[SCRATCH] + 4 * (job[SERIES_COUNT] * STRIDE + CHUNK * WIDE) * fetch_add(job, parallel.SLOT, 1)
    strip_vectors, transposed = floats_at(own), floats_at(own + 4 * CHUNK * WIDE)
    ldw = job[LDW]
    while True:
        item = fetch_add(job, parallel.NEXT, 1)
        if item >= job[parallel.ITEMS]:
            break
        discard = job[ELEMENTS] + 6 * WIDE * item  # the item's own room for rows and columns beyond the edge
        for first in range(0, job[T], CHUNK):
            n = min(CHUNK, job[T] - first)
            transpose(floats_at(job[SERIES]), first * job[LDS], job[LDS], n, job[SERIES_COUNT], transposed, 0, STRIDE)
            for s in range(parts[item] * STRIP_FIELDS, parts[item + 1] * STRIP_FIELDS, STRIP_FIELDS):
                row, valid, k, stop = strips[s], strips[s + 1], strips[s + 3], strips[s + 4]
                at = strips[s + 2] + k * ldw
                _take(vectors, first * job[LDV] + row, job[LDV], n, valid, strip_vectors)
                while k < stop:
                    _six_steps(strip_vectors, n, transposed, columns, k, stop, gradient, at, ldw, valid, discard)
                    k, at = k + 6, at + 6 * ldw


@inner
def _six_steps(v: Any, n: int, transposed: Any, columns: Any, k: int, stop: int, gradient: Any, at: int, ldw: int,
               valid: int, discard: int) -> None:  # fmt: skip
    last, unit = stop - 1, STRIDE // PACKED_TOKENS
    o0, o1 = unit * element(columns, k), unit * element(columns, min(k + 1, last))
    o2, o3 = unit * element(columns, min(k + 2, last)), unit * element(columns, min(k + 3, last))
    o4, o5 = unit * element(columns, min(k + 4, last)), unit * element(columns, min(k + 5, last))
    if k + 6 <= stop and valid == WIDE:
        row_6x2(v, 0, WIDE, n, transposed, o0, o1, o2, o3, o4, o5, gradient,
                at, at + ldw, at + 2 * ldw, at + 3 * ldw, at + 4 * ldw, at + 5 * ldw)  # fmt: skip
        return
    _clear(gradient, discard)
    row_6x2(v, 0, WIDE, n, transposed, o0, o1, o2, o3, o4, o5, gradient, discard,
            discard + WIDE, discard + 2 * WIDE, discard + 3 * WIDE, discard + 4 * WIDE, discard + 5 * WIDE)  # fmt: skip
    for i in range(min(6, stop - k)):
        for j in range(valid):
            gradient[at + i * ldw + j] += gradient[discard + i * WIDE + j]


def row_gradient_worker(pointer: Any) -> None:
    """Take one part of the input blocks after the other; for each chunk of tokens, all their sets."""
    job = carray(pointer, (UNKNOWN,))
    blocks, sets, parts = int64_at(job[TABLE]), int64_at(job[WHERE]), int64_at(job[PARTS])
    vectors, gradient = floats_at(job[VECTORS]), floats_at(job[GRADIENT])
    own = job[SCRATCH] + 4 * (job[SERIES_COUNT] * STRIDE + CHUNK * WIDE) * fetch_add(job, parallel.SLOT, 1)
    strip_vectors, transposed = floats_at(own), floats_at(own + 4 * CHUNK * WIDE)
    while True:
        item = fetch_add(job, parallel.NEXT, 1)
        if item >= job[parallel.ITEMS]:
            break
        discard = job[ELEMENTS] + 6 * WIDE * item
        for first in range(0, job[T], CHUNK):
            n = min(CHUNK, job[T] - first)
            transpose(floats_at(job[SERIES]), first * job[LDS], job[LDS], n, job[SERIES_COUNT], transposed, 0, STRIDE)
            for b in range(parts[item] * BLOCK_FIELDS, parts[item + 1] * BLOCK_FIELDS, BLOCK_FIELDS):
                for j in range(0, blocks[b + 1], WIDE):
                    valid = min(WIDE, blocks[b + 1] - j)
                    _take(vectors, first * job[LDV] + blocks[b] + j, job[LDV], n, valid, strip_vectors)
                    for s in range(blocks[b + 2] * SET_FIELDS, blocks[b + 3] * SET_FIELDS, SET_FIELDS):
                        _six_rows(strip_vectors, n, transposed, sets, s, gradient, j, valid, discard, job[DISCARD])


@inner
def _six_rows(v: Any, n: int, transposed: Any, sets: Any, s: int, gradient: Any, j: int, valid: int, discard: int,
              discard_row: int) -> None:  # fmt: skip
    row, weight = s + FIRST_ROW, s + FIRST_WEIGHT
    o0 = _series(sets, row, discard_row, 0)
    o1, o2 = _series(sets, row + 1, discard_row, o0), _series(sets, row + 2, discard_row, o0)
    o3, o4 = _series(sets, row + 3, discard_row, o0), _series(sets, row + 4, discard_row, o0)
    o5 = _series(sets, row + 5, discard_row, o0)
    if element(sets, row + 5) != discard_row and valid == WIDE:  # no place is left over, and no input
        row_6x2(v, 0, WIDE, n, transposed, o0, o1, o2, o3, o4, o5, gradient, j + element(sets, weight),
                j + element(sets, weight + 1), j + element(sets, weight + 2), j + element(sets, weight + 3),
                j + element(sets, weight + 4), j + element(sets, weight + 5))  # fmt: skip
        return
    _clear(gradient, discard)
    row_6x2(v, 0, WIDE, n, transposed, o0, o1, o2, o3, o4, o5, gradient, discard,
            discard + WIDE, discard + 2 * WIDE, discard + 3 * WIDE, discard + 4 * WIDE, discard + 5 * WIDE)  # fmt: skip
    for i in range(6):
        if element(sets, row + i) != discard_row:
            for c in range(valid):
                gradient[element(sets, weight + i) + j + c] += gradient[discard + i * WIDE + c]


@inner(forceinline=True)
def _series(sets: Any, at: int, discard_row: int, instead: int) -> int:
    """Where the series of a place in a set begins, or `instead` where the place is left over."""
    row = element(sets, at)
    return row // LANE_TOKENS * STRIDE if row != discard_row else instead


@inner
def _take(source: Any, at: int, stride: int, rows: int, valid: int, target: Any) -> None:
    """Two vectors of each of `rows` rows side by side; zero beyond the valid ones."""
    for t in range(rows):
        if valid == WIDE:
            store(target, t * WIDE, load(source, at + t * stride, WIDTH))
            store(target, t * WIDE + WIDTH, load(source, at + t * stride + WIDTH, WIDTH))
        else:
            for j in range(WIDE):
                target[t * WIDE + j] = source[at + t * stride + j] if j < valid else 0.0


@inner
def _clear(target: Any, at: int) -> None:
    for i in range(0, 6 * WIDE, WIDTH):
        store(target, at + i, broadcast(0, WIDTH))


def values_gradient(plan: PanelPlan | RowPlan, x: Tensor, grad: Tensor, shape: torch.Size, workers: int) -> Tensor:
    """The gradient of the values: x (T, inputs) and grad (T, outputs), rows of neighbouring float32 → `shape`."""
    panels = isinstance(plan, PanelPlan)
    vectors, series = (grad, x) if panels else (x, grad)
    elements, tokens = shape.numel(), x.shape[0]
    if isinstance(plan, PanelPlan):
        count, table, where, discard = len(plan.strips), *reversed(plan.addresses), 0
    else:
        bands = plan.bands(1)
        count, (_, table, where), discard = len(bands.input_blocks), bands.addresses, LANE_TOKENS * bands.height
    items = min(count, 1 if workers == 1 else 2 * workers)
    gradient = torch.zeros(elements + 6 * WIDE * items, dtype=torch.float32, device="cpu")
    if tokens and items:
        workers, parts = min(workers, items), plan.parts(items)
        own = parallel.workspace()
        scratch = own.floats(workers * (series.shape[1] * STRIDE + CHUNK * WIDE))
        job = own.job(
            SCRATCH + 1,
            (0, items, 0, vectors.data_ptr(), vectors.stride(0), series.data_ptr(), series.stride(0), series.shape[1],
             tokens, gradient.data_ptr(), elements, plan.stride, table, where, parts.ctypes.data, discard, scratch)
        )  # fmt: skip
        parallel.run(panel_gradient_worker if panels else row_gradient_worker, job, workers)
    return gradient[:elements].view(shape)
