"""A packed matrix in pairs of bfloat16 times activations in pairs: as `product`, results in the form asked for.

    PAIRS    two features of a token side by side in bfloat16: what the next product reads
    HALVES   each feature's tokens as neighbours in bfloat16: the values of attention, whose pairs are of tokens
    FLOATS   float32: what residual and LayerNorm read

Sums are float32. Where results are rounded, a tile's sums go to `scratch` first, and are rounded while they are in L1.
"""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.native import inner
from ..machine.pairs import paired, put_rounded
from .intrinsics import UNKNOWN, int64_at
from .lanes import every, put, vector_at
from .pair_tile import listed_pairs_tile, picked_pairs_tile, rows_pairs_tile
from .product import AHEAD, NUMBERS, SET_BYTES, activate, begin_rows, rows_of, spread_of, width_of
from .records import BLOCK, SET, STRIP, pointer_to
from .tile_loop import BYTES, ROW
from .walk import BAND_OUTPUTS, LISTED, ROWS, STRIP_OUTPUTS

PAIRS, HALVES, FLOATS = 0, 1, 2
#: Outputs that are rounded together; rows that scratch has room for.
TOGETHER = 32
SCRATCH_ROWS = max(TOGETHER + STRIP_OUTPUTS, BAND_OUTPUTS)

_strips, _blocks, _sets = pointer_to(STRIP), pointer_to(BLOCK), pointer_to(SET)


@inner(inline="always")
def multiply_in_pairs(matrix: Any, part: int, x: int, y: int, pitch: int, vectors: int, form: int, residual: int,
                      activation: int, scratch: int) -> None:  # fmt: skip
    """One part of a product for all tokens; `residual` (0: none) is added where `form` is FLOATS.

    Rows of pairs and of floats are `pitch` bytes apart, rows of halves `pitch / 2`.
    """
    parts = int64_at(matrix.parts)
    begin, end = parts[part], parts[part + 1]
    v = 0
    while v < vectors:
        width, shift = width_of(vectors - v), v * BYTES
        place = y + (shift // 2 if form == HALVES else shift)
        rest = residual + shift if residual != 0 else 0
        if matrix.kind == ROWS:
            ahead = AHEAD if v == 0 else 0
            _multiply_rows(matrix, begin, end, ahead, x + shift, place, pitch, width, form, rest, activation, scratch)
        else:
            coming = begin if v == 0 else end  # weights asked for a strip ahead, as in `product`
            until = min(end + 1, parts[matrix.runs]) if v + width >= vectors else end
            _multiply_listed(matrix, begin, end, coming, until, x + shift, place, pitch, width, form, rest, activation,
                             scratch)  # fmt: skip
        v += width


@inner(inline="always")
def _multiply_listed(matrix: Any, begin: int, end: int, coming: int, until: int, x: int, y: int, pitch: int, width: int,
                     form: int, residual: int, activation: int, scratch: int) -> None:  # fmt: skip
    strips = carray(_strips(matrix.strips), (UNKNOWN,))
    waiting = 0  # rows in scratch
    for number in range(begin, end):
        strip = strips[number]
        weights, i = matrix.values + 4 * strip.weight, 0
        target, down = (y + strip.output * pitch, pitch) if form == FLOATS else (scratch + waiting * ROW, ROW)
        ahead, apart = weights, 0
        if coming <= number + 1 < until:
            ahead = matrix.values + 4 * strips[number + 1].weight
            apart = spread_of(strips[number + 1], strip.steps, strip.outputs)
        while i < strip.outputs:
            rows, output = rows_of(strip.outputs - i), strip.output + i
            bias = matrix.bias + 4 * output if matrix.bias != 0 else 0
            rest = residual + output * pitch if residual != 0 else 0
            place = target + i * down
            if matrix.kind == LISTED:
                listed_pairs_tile(rows, width, x, pitch, matrix.index + 4 * strip.begin, strip.steps, weights + 4 * i,
                                  4 * strip.apart, ahead, apart, place, down, bias, rest, pitch)  # fmt: skip
            else:
                picked_pairs_tile(rows, width, x, pitch, matrix.index + 8 * strip.begin, strip.steps, weights + 4 * i,
                                  4 * strip.apart, ahead, apart, place, down, bias, rest, pitch)  # fmt: skip
            i, ahead = i + rows, ahead + strip.steps * apart
        if form != FLOATS:
            waiting += strip.outputs
            first, last = strip.output + strip.outputs - waiting, number == end - 1
            if waiting >= TOGETHER or last:
                done = waiting if last else waiting // 2 * 2
                _round(form, scratch, done, y, first, pitch, width, activation)
                waiting -= done
                for shift in range(0, waiting * width * BYTES, BYTES):  # one row of a pair, still alone
                    put(scratch + shift, vector_at(scratch + done * ROW + shift))


@inner(inline="always")
def _multiply_rows(matrix: Any, begin: int, end: int, ahead: int, x: int, y: int, pitch: int, width: int, form: int,
                   residual: int, activation: int, scratch: int) -> None:  # fmt: skip
    bands = int64_at(matrix.bands)
    blocks, sets = carray(_blocks(matrix.blocks), (UNKNOWN,)), carray(_sets(matrix.sets), (UNKNOWN,))
    for band in range(begin, end):
        top = band * matrix.height
        rows = min(matrix.height, matrix.outputs - top)
        base, apart = (y, pitch) if form == FLOATS else (scratch - top * ROW, ROW)
        begin_rows(base, apart, top, rows, width, matrix.bias, residual, pitch)
        for number in range(bands[band], bands[band + 1]):
            block = blocks[number]
            for s in range(block.begin, block.end):
                rows_pairs_tile(sets[s].rows, width, x + block.input * pitch, pitch, block.inputs,
                                matrix.values + 4 * sets[s].weight, ahead, matrix.sets + SET_BYTES * s + NUMBERS,
                                base, apart)  # fmt: skip
        if form != FLOATS:
            _round(form, scratch, rows, y, top, pitch, width, activation)


@inner
def _round(form: int, scratch: int, rows: int, y: int, first: int, pitch: int, width: int, activation: int) -> None:
    """Apply the activation to the rows of scratch, and write them from output `first` on, rounded."""
    if activation != 0:
        activate(activation, scratch, ROW, rows, width)
    if form == HALVES:
        for i in range(rows):
            for shift in range(0, width * BYTES, BYTES):
                put_rounded(y + (first + i) * (pitch // 2) + shift // 2, vector_at(scratch + i * ROW + shift))
    else:
        pair_rows(scratch, ROW, rows, y + first // 2 * pitch, pitch, width)


@inner
def pair_rows(rows: int, apart: int, count: int, y: int, pitch: int, width: int) -> None:
    """Write `count` rows of floats as pairs, two rows in each; an odd one out is paired with zeros."""
    for i in range(0, count, 2):
        for shift in range(0, width * BYTES, BYTES):
            low = vector_at(rows + i * apart + shift)
            high = vector_at(rows + (i + 1) * apart + shift) if i + 1 < count else every(0.0)
            put(y + i // 2 * pitch + shift, paired(low, high))
