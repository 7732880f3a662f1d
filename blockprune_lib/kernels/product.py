"""A packed matrix times activations stored as features x tokens: y = W x + bias (+ residual), then an activation.

Left out: the tables walked (`walk`), the tile itself (`tile`), threads (`encoder`).
"""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.native import inner
from ..machine.simd import absolute, divide
from .gelu import gelu
from .intrinsics import UNKNOWN, int64_at
from .lanes import every, exp2, maximum, plus, put, spread, times, vector_at, where_negative
from .records import BLOCK, SET, STRIP, pointer_to
from .tile import listed_tile, rows_tile
from .tile_loop import BYTES, VECTORS
from .walk import LISTED

#: The activations that may follow a product: name -> its number in a record; 0 means none.
ACTIVATIONS = {"gelu": 1, "relu": 2, "silu": 3}
LOG2E = 1.4426950408889634
#: How far ahead of its use a row's weight is asked for, in bytes: memory answers after some hundred cycles.
AHEAD = 2048
SET_BYTES, NUMBERS = SET.itemsize, 16  # the size of a set in bytes, and the offset of its `numbers`

_strips, _blocks, _sets = pointer_to(STRIP), pointer_to(BLOCK), pointer_to(SET)


@inner
def rows_of(left: int) -> int:
    """How many of the rows that are left the next tile takes: at most six, but 8 are taken as two fours."""
    if left >= 6 and left != 8:
        return 6
    return 4 if left >= 4 else 2 if left >= 2 else 1


@inner
def width_of(left: int) -> int:
    """How many of the vectors of tokens that are left the next tile takes."""
    return VECTORS if left >= VECTORS else 2 if left >= 2 else 1


@inner(inline="always")
def multiply(matrix: Any, part: int, x: int, y: int, pitch: int, vectors: int, residual: int, activation: int) -> None:
    """One part of a product for all tokens; x, y and residual (0: none) are addresses of rows `pitch` bytes apart."""
    parts = int64_at(matrix.parts)
    begin, end = parts[part], parts[part + 1]
    v = 0
    while v < vectors:
        width, shift = width_of(vectors - v), v * BYTES
        rest = residual + shift if residual != 0 else 0
        if matrix.kind == LISTED:
            # Weights come from memory in the first pass over a part: so ask for the next strip's in the pass before.
            coming = begin if v == 0 else end
            until = min(end + 1, parts[matrix.runs]) if v + width >= vectors else end
            multiply_strips(matrix, begin, end, coming, until, x + shift, y + shift, pitch, width, rest, activation)
        else:
            ahead = AHEAD if v == 0 else 0
            _multiply_rows(matrix, begin, end, ahead, x + shift, y + shift, pitch, width, rest, activation)
        v += width


@inner
def spread_of(coming: Any, steps: int, outputs: int) -> int:
    """Bytes from one step to the next at which a strip's tiles ask for the weights that come next."""
    return 4 * coming.steps * coming.apart // max(1, steps * ((outputs + 5) // 6)) + 1


@inner(inline="always")
def multiply_strips(matrix: Any, begin: int, end: int, coming: int, until: int, x: int, y: int, pitch: int,
                    width: int, residual: int, activation: int) -> None:  # fmt: skip
    """The strips from `begin` to `end` for `width` vectors of tokens, asking for those from `coming` to `until`."""
    strips = carray(_strips(matrix.strips), (UNKNOWN,))
    for number in range(begin, end):
        strip = strips[number]
        index, weights = matrix.index + 4 * strip.begin, matrix.values + 4 * strip.weight
        i, ahead, apart = 0, weights, 0
        if coming <= number + 1 < until:
            ahead = matrix.values + 4 * strips[number + 1].weight
            apart = spread_of(strips[number + 1], strip.steps, strip.outputs)
        while i < strip.outputs:
            rows, output = rows_of(strip.outputs - i), strip.output + i
            bias = matrix.bias + 4 * output if matrix.bias != 0 else 0
            rest = residual + output * pitch if residual != 0 else 0
            listed_tile(rows, width, x, pitch, index, strip.steps, weights + 4 * i, 4 * strip.apart, ahead, apart,
                        y + output * pitch, pitch, bias, rest, pitch)  # fmt: skip
            i, ahead = i + rows, ahead + strip.steps * apart
        if activation != 0:
            activate(activation, y + strip.output * pitch, pitch, strip.outputs, width)


@inner(inline="always")
def _multiply_rows(matrix: Any, begin: int, end: int, ahead: int, x: int, y: int, pitch: int, width: int,
                   residual: int, activation: int) -> None:  # fmt: skip
    bands = int64_at(matrix.bands)
    blocks, sets = carray(_blocks(matrix.blocks), (UNKNOWN,)), carray(_sets(matrix.sets), (UNKNOWN,))
    for band in range(begin, end):
        top = band * matrix.height
        rows = min(matrix.height, matrix.outputs - top)
        begin_rows(y, pitch, top, rows, width, matrix.bias, residual, pitch)
        for number in range(bands[band], bands[band + 1]):
            block = blocks[number]
            for s in range(block.begin, block.end):
                weights, numbers = matrix.values + 4 * sets[s].weight, matrix.sets + SET_BYTES * s + NUMBERS
                rows_tile(sets[s].rows, width, x + block.input * pitch, pitch, block.inputs, weights, ahead, numbers,
                          y, pitch)  # fmt: skip
        if activation != 0:
            activate(activation, y + top * pitch, pitch, rows, width)


@inner
def begin_rows(y: int, apart: int, first: int, rows: int, width: int, bias: int, residual: int, pitch: int) -> None:
    """Put bias + residual (0: none of it) into rows of y, `apart` bytes from each other, from row `first` on."""
    for i in range(first, first + rows):
        for shift in range(0, width * BYTES, BYTES):
            value = spread(bias + 4 * i) if bias != 0 else every(0.0)
            if residual != 0:
                value = plus(value, vector_at(residual + i * pitch + shift))
            put(y + i * apart + shift, value)


@inner
def activate(activation: int, y: int, pitch: int, rows: int, width: int) -> None:
    """Apply the activation in place, while the rows are in L1."""
    for i in range(rows):
        for place in range(y + i * pitch, y + i * pitch + width * BYTES, BYTES):
            put(place, activated(activation, vector_at(place)))


@inner
def activated(activation: int, value: Any) -> Any:
    """The activation of one vector."""
    if activation == 1:
        return gelu(value)
    if activation == 2:
        return maximum(value, every(0.0))
    small = exp2(times(absolute(value), every(-LOG2E)))  # e^-|y|, which cannot overflow
    sigmoid = divide(where_negative(value, small, every(1.0)), plus(every(1.0), small))
    return times(value, sigmoid)
