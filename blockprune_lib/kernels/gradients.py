"""The gradient of the stored weights: only the elements of grad' x that are stored, and no dense matrix on the way.

    d values[place of (i, k)] = sum over tokens t of grad[t, i] * x[t, k]

The listed side of a plan says which: its strips are outputs of y and its steps list inputs, or, for groups of one row,
the other way round. Both matrices are transposed once, a chunk of tokens at a time; then every stored weight is a dot
product of two rows (`dot_tile`), written where packing keeps the weight.

Left out: what a caller may pass (`functional`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH
from . import parallel
from .dot_tile import TILES, dots
from .intrinsics import UNKNOWN, address_of, fetch_add, int32_at, int64_at
from .lanes import put, vector_at
from .layer_tile import placed_tile
from .plan import MOST_OUTPUTS, Plan, Side
from .product import rows_of, width_of
from .records import GRADIENT, STRIP, filled, pointer_to, positions
from .tile_loop import BYTES
from .transpose import turn_in
from .waiting import wait_for
from .walk import LISTED

#: Tokens of a chunk, and of an item of transposing: many, since the lanes of a sum are added up once per chunk.
CHUNK, TURNED = 512, 64
#: Tokens of a strip that are copied side by side: 96 of 32 outputs fill a quarter of L1.
COPIED = 96
#: Bytes of a thread: twice six whole numbers and such a copy.
SCRATCH = 128 + 4 * COPIED * MOST_OUTPUTS
FOUR, TWO, ONE = TILES[4], TILES[2], TILES[1]

_gradients, _strips = pointer_to(GRADIENT), pointer_to(STRIP)
_at = positions(GRADIENT)


def gradient_worker(pointer: Any) -> None:
    """Take items until none is left: first tokens to transpose, of both matrices, then runs of bands."""
    job = carray(pointer, (UNKNOWN,))
    call = carray(_gradients(address_of(pointer)), (1,))[0]
    own = call.scratch + SCRATCH * fetch_add(job, parallel.SLOT, 1)
    tiles = (call.tokens + TURNED - 1) // TURNED
    turned = tiles if call.wide != 0 else 2 * tiles  # how many items transpose
    item = fetch_add(job, parallel.NEXT, 1)
    while item < call.items:
        if item < tiles:
            _turn(call, call.others, call.other_bytes, call.other_count, item * TURNED, call.turned_others)
            fetch_add(job, _DONE, 1)
        elif item < turned:
            _turn(call, call.rows, call.row_bytes, call.row_count, (item - tiles) * TURNED, call.turned_rows)
            fetch_add(job, _DONE, 1)
        else:
            wait_for(job, _DONE, turned)
            _part(call, item - turned, own)
        item = fetch_add(job, parallel.NEXT, 1)


_DONE = int(_at.done)


@inner
def _turn(call: Any, x: int, ldx: int, features: int, first: int, turned: int) -> None:
    for t in range(first, min(first + TURNED, call.tokens), WIDTH):
        turn_in(x + t * ldx, ldx, min(WIDTH, call.tokens - t), features, turned + 4 * t, call.pitch)


@inner
def _part(call: Any, part: int, own: int) -> None:
    """One run of bands: for each strip, tiles of its outputs by as many of its steps as a tile takes."""
    parts, bands, strips = int64_at(call.parts), int64_at(call.bands), carray(_strips(call.strips), (UNKNOWN,))
    vectors = (call.tokens + WIDTH - 1) // WIDTH
    for number in range(bands[parts[part]], bands[parts[part + 1]]):
        strip = strips[number]
        if call.wide != 0:
            _wide(call, strip, own)
            continue
        rows = call.turned_rows + strip.output * call.pitch
        result = call.result + 4 * (strip.weight - strip.begin * strip.apart)
        fours, twos = strip.outputs // 4 * 4, strip.outputs % 4 // 2 * 2
        for k in range(0, strip.steps if fours else 0, FOUR):
            for i in range(0, fours, 4):
                _dots(call, 4, rows, i, strip.begin + k, strip.steps - k, vectors, result)
        for k in range(0, strip.steps if twos else 0, TWO):
            _dots(call, 2, rows, fours, strip.begin + k, strip.steps - k, vectors, result)
        for k in range(0, strip.steps if strip.outputs % 2 else 0, ONE):
            _dots(call, 1, rows, fours + twos, strip.begin + k, strip.steps - k, vectors, result)


@inner
def _wide(call: Any, strip: Any, own: int) -> None:
    """One strip of whole vectors of outputs: these are the lanes, and tokens the steps, of a tile of a product."""
    index, places = int32_at(call.index + 4 * strip.begin), int32_at(call.places + 4 * strip.begin)
    numbers, begins, copied = int64_at(own), int64_at(own + 64), own + 128
    first_weight, row = strip.weight - strip.begin * strip.apart, 4 * strip.outputs
    for first in range(0, call.tokens, COPIED):
        count = min(COPIED, call.tokens - first)
        for t in range(count):  # side by side, since rows far apart would share a few cache sets
            source = call.rows + (first + t) * call.row_bytes + 4 * strip.output
            for shift in range(0, row, BYTES):
                put(copied + t * row + shift, vector_at(source + shift))
        k = 0
        while k < strip.steps:
            steps = rows_of(strip.steps - k)
            for i in range(steps):
                numbers[i] = first_weight + places[k + i]
                begins[i] = index[k + i] * (call.pitch // 4) + first
            v = 0
            while v < strip.outputs // WIDTH:
                width, shift = width_of(strip.outputs // WIDTH - v), v * BYTES
                placed_tile(steps, width, copied + shift, row, count, call.turned_others, own + 64, own,
                            call.result + shift, 4)  # fmt: skip
                v += width
            k += steps


@inner
def _dots(call: Any, count: int, rows: int, i: int, step: int, left: int, vectors: int, result: int) -> None:
    dots(count, rows + i * call.pitch, call.pitch, call.turned_others, call.pitch, call.index + 4 * step,
         call.places + 4 * step, left, vectors, result + 4 * i, call.add)  # fmt: skip


def values_gradient(plan: Plan, x: Tensor, grad: Tensor, workers: int) -> Tensor:
    """The gradient of the values: x (T, inputs) and grad (T, outputs), rows of neighbouring float32."""
    result = torch.zeros(plan.values_shape, dtype=torch.float32, device="cpu")  # what pads a group at an edge stays 0
    side, rows, others = plan.forward, grad, x
    if side.kind != LISTED:
        side, rows, others = plan.backward, x, grad
    own, tokens = parallel.workspace(), x.shape[0]
    side.check_rows("grad", grad, plan.forward.outputs)
    side.check_rows("x", x, plan.forward.inputs)
    if len(grad) != tokens:
        raise ValueError(f"x must have as many tokens as the gradient, {len(grad)}; got {tokens}")
    for first in range(0, tokens if result.numel() else 0, CHUNK):
        threads, floats, others_at, rows_at, template = side.cut(_cut, min(CHUNK, tokens - first), workers)
        memory = own.floats(floats)
        record, address = own.record(template)
        record[_at.rows], record[_at.row_bytes] = rows.data_ptr() + 4 * first * rows.stride(0), 4 * rows.stride(0)
        record[_at.others] = others.data_ptr() + 4 * first * others.stride(0)
        record[_at.other_bytes], record[_at.result] = 4 * others.stride(0), result.data_ptr()
        record[_at.add], record[_at.scratch] = first > 0, memory
        record[_at.turned_others], record[_at.turned_rows] = memory + others_at, memory + rows_at
        parallel.run(gradient_worker, address, threads)
    return result


def _cut(side: Side, tokens: int, workers: int) -> tuple[int, int, int, int, np.ndarray]:
    """(threads, floats of memory, where the two matrices begin in it, the record but for what a call adds)."""
    # Strips of a single vector have too few sums for a tile of them, which matters where tokens are many.
    wide = side.wide >= 2 or (side.wide > 0 and tokens <= 64)
    runs = 1 if workers == 1 else min(len(side.work), 8 * workers)
    pitch = (-(-tokens // WIDTH) | 1) * WIDTH  # an odd number of vectors: rows do not share a few cache sets
    items = (1 if wide else 2) * -(-tokens // TURNED) + runs
    threads = min(workers, items)
    others_at = threads * SCRATCH
    rows_at = others_at + 4 * pitch * side.inputs
    floats = rows_at // 4 + (0 if wide else pitch * side.outputs)
    template = filled(
        GRADIENT, next=0, items=items, slot=0, rows=0, row_bytes=0, row_count=side.outputs, others=0, other_bytes=0,
        other_count=side.inputs, tokens=tokens, pitch=4 * pitch, turned_rows=0, turned_others=0, result=0, add=0,
        wide=wide, parts=side.parts(runs).ctypes.data, scratch=0, done=0, **side.tables(),
    )  # fmt: skip
    return threads, floats, others_at, rows_at, template.view(np.int64)
