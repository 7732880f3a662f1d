"""A matrix cut into tiles of AMX times activations in pairs: as `pair_product`, with the same three forms of results.

For 32 tokens and a strip of 32 outputs four tiles of sums stay in registers over all chunks of inputs (`amx_sums`).
Each chunk loads two tiles of weights and two of x, 16 pairs of inputs by 16 tokens, and multiplies four times. A strip
of 16 outputs has the upper half of the sums, fewer than 17 tokens the left. Sums go to scratch; from there bias and
residual are added and results written, rounded where that is asked.
"""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.amx_tiles import TILE_BYTES, TILE_ROW_BYTES, load_tile, multiply_tiles
from ..machine.native import inner
from ..machine.pairs import joined_halves, paired, put_rounded
from .amx_sums import add_products, clear_sums, store_sums
from .amx_walk import BAND, BROUGHT, CHUNK, SCATTERED, TILE
from .intrinsics import UNKNOWN, int32_at, int64_at
from .lanes import every, plus, put, spread, vector_at
from .pair_product import HALVES, PAIRS
from .product import activated
from .records import STRIP, pointer_to
from .tile_loop import BYTES, ROW

#: Vectors of tokens, of 16, in a pass over the strips.
TOGETHER = 2
#: Bytes from one brought row of x to the next.
LINE = TOGETHER * BYTES
#: Rows of scratch for a strip's sums; behind them is what was brought, or a band's results.
SUM_ROWS = 32

_strips = pointer_to(STRIP)


def amx_product_rows(inputs: int) -> int:
    """Rows of scratch that a product of so many inputs needs at most."""
    chunks = -(-inputs // (2 * CHUNK))
    return SUM_ROWS + max(BAND, -(-chunks * CHUNK * LINE // ROW))


@inner(inline="always")
def multiply_in_tiles(matrix: Any, part: int, x: int, y: int, pitch: int, vectors: int, form: int, residual: int,
                      activation: int, scratch: int) -> None:  # fmt: skip
    """One part of a product for all tokens, as `multiply_in_pairs`; `scratch`: `amx_product_rows` rows."""
    parts, strips = int64_at(matrix.parts), carray(_strips(matrix.strips), (UNKNOWN,))
    for v in range(0, vectors, TOGETHER):
        width, shift = min(TOGETHER, vectors - v), v * BYTES
        place = y + (shift // 2 if form == HALVES else shift)
        rest = residual + shift if residual != 0 else 0
        if matrix.kind == SCATTERED:
            for band in range(parts[part], parts[part + 1]):
                _band(matrix, band, x + shift, pitch, width, scratch)
                rows = min(BAND, matrix.outputs - band * BAND)
                _finish(form, scratch + SUM_ROWS * ROW, rows, band * BAND, place, pitch, width, matrix.bias, rest,
                        activation)  # fmt: skip
        else:
            before = -1  # where the list began whose rows are brought already
            for number in range(parts[part], parts[part + 1]):
                strip = strips[number]
                if matrix.kind == BROUGHT and strip.steps > 0 and strip.begin != before:
                    before = strip.begin
                    _bring(matrix.index + 4 * before, strip.steps * CHUNK, x + shift, pitch, width, scratch)
                _strip(matrix, strip, x + shift, pitch, width, scratch)
                _finish(form, scratch, strip.outputs, strip.output, place, pitch, width, matrix.bias, rest, activation)


@inner
def _strip(matrix: Any, strip: Any, x: int, pitch: int, width: int, scratch: int) -> None:
    """The sums of neighbouring outputs, in the first rows of scratch."""
    weights = matrix.values + 4 * strip.weight
    if matrix.kind == BROUGHT:
        _sums(strip.apart, width, strip.steps, weights, scratch + SUM_ROWS * ROW, 0, LINE, scratch)
    else:
        _sums(strip.apart, width, strip.steps, weights, x, matrix.index + 4 * strip.begin, pitch, scratch)


@inner
def _band(matrix: Any, band: int, x: int, pitch: int, width: int, scratch: int) -> None:
    """The sums of a band's outputs, in the rows of scratch from SUM_ROWS on."""
    bands, strips, numbers = int64_at(matrix.bands), carray(_strips(matrix.strips), (UNKNOWN,)), int32_at(matrix.index)
    result = scratch + SUM_ROWS * ROW
    for i in range(BAND):
        for shift in range(0, width * BYTES, BYTES):
            put(result + i * ROW + shift, every(0.0))
    for number in range(bands[band], bands[band + 1]):
        strip = strips[number]
        place = x + strip.begin * pitch
        _sums(strip.apart, width, strip.steps, matrix.values + 4 * strip.weight, place, 0, pitch, scratch)
        for i in range(strip.outputs):
            row = result + numbers[strip.output + i] * ROW
            for shift in range(0, width * BYTES, BYTES):
                put(row + shift, plus(vector_at(row + shift), vector_at(scratch + i * ROW + shift)))


@inner
def _bring(index: int, pairs: int, x: int, pitch: int, width: int, scratch: int) -> None:
    """Put pairs of inputs below each other from row SUM_ROWS on: the even half of one row with the odd of another."""
    rows, brought = int32_at(index), scratch + SUM_ROWS * ROW
    for k in range(pairs):
        low, high = x + rows[2 * k] * pitch, x + rows[2 * k + 1] * pitch
        for shift in range(0, width * BYTES, BYTES):
            put(brought + k * LINE + shift, joined_halves(vector_at(low + shift), vector_at(high + shift)))


@inner
def _sums(tiles: int, width: int, chunks: int, weights: int, x: int, index: int, apart: int, sums: int) -> None:
    """The products of a strip in rows of `sums`; chunk k of x is at row index[k], or, index 0, k chunks further."""
    clear_sums()
    rows = int32_at(index)
    if tiles == 2 and width == TOGETHER:
        for k in range(chunks):
            place = x + k * CHUNK * apart if index == 0 else x + rows[k] * apart
            load_tile(4, weights, TILE_ROW_BYTES)
            load_tile(5, weights + TILE_BYTES, TILE_ROW_BYTES)
            load_tile(6, place, apart), load_tile(7, place + BYTES, apart)
            add_products()
            weights += 2 * TILE_BYTES
    else:
        for k in range(chunks):
            place = x + k * CHUNK * apart if index == 0 else x + rows[k] * apart
            load_tile(4, weights, TILE_ROW_BYTES), load_tile(6, place, apart)
            multiply_tiles(0, 4, 6)
            if width == TOGETHER:
                load_tile(7, place + BYTES, apart)
                multiply_tiles(1, 4, 7)
            if tiles == 2:
                load_tile(5, weights + TILE_BYTES, TILE_ROW_BYTES)
                multiply_tiles(2, 5, 6)
            weights += tiles * TILE_BYTES
    store_sums(sums, tiles * TILE)


@inner
def _finish(form: int, sums: int, outputs: int, first: int, y: int, pitch: int, width: int, bias: int, residual: int,
            activation: int) -> None:  # fmt: skip
    """Add bias (0: none) and residual (0: none), apply the activation, and write the results in the form asked for."""
    if form == PAIRS:
        for i in range(0, outputs, 2):
            row, alone = sums + i * ROW, i + 1 == outputs
            low = spread(bias + 4 * (first + i)) if bias != 0 else every(0.0)
            high = spread(bias + 4 * (first + i + 1)) if bias != 0 and not alone else every(0.0)
            for shift in range(0, width * BYTES, BYTES):
                even, odd = plus(vector_at(row + shift), low), plus(vector_at(row + ROW + shift), high)
                if activation != 0:
                    even, odd = activated(activation, even), activated(activation, odd)
                put(y + (first + i) // 2 * pitch + shift, paired(even, odd if not alone else every(0.0)))
        return
    for i in range(outputs):
        value = spread(bias + 4 * (first + i)) if bias != 0 else every(0.0)
        for shift in range(0, width * BYTES, BYTES):
            total = plus(vector_at(sums + i * ROW + shift), value)
            if form == HALVES:
                put_rounded(y + (first + i) * (pitch // 2) + shift // 2, total)
            else:
                if residual != 0:
                    total = plus(total, vector_at(residual + (first + i) * pitch + shift))
                put(y + (first + i) * pitch + shift, total)
