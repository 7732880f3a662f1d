"""A product of tokens x features in the layout features x tokens: transposed at both ends, tile by tile of tokens.

    x    (tokens, inputs)   ->   a tile of tokens as inputs x tokens, in L2
    y'   a band of outputs x the tile's tokens, in L1, by the kernels of `product` or, for bands of rows, here
    y    (tokens, outputs)  <-   the band, transposed back

With many tokens a thread takes tiles of its own. With fewer, all threads share each tile: first tiles are transposed,
then bands of outputs are done; whoever takes a band and finds its tile not ready transposes it for itself, since the
other thread may not run for a while. Up to 16 tokens are not transposed at all where outputs fill the lanes. Any way,
a sum is the same to the bit for any number of threads.

Left out: the tables (`plan`); what a caller may pass (`functional`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH
from . import parallel
from .intrinsics import UNKNOWN, address_of, fetch_add, fetch_line, int64_at
from .lanes import every, put, spread
from .memory import new_matrix
from .plan import Side
from .product import ACTIVATIONS, activate, multiply_strips, rows_of, width_of
from .records import BLOCK, PLACED, PRODUCT, STRIP, filled, offset_of, pointer_to, positions
from .tile import few_tile, placed_tile
from .tile_loop import BYTES
from .transpose import turn_in, turn_out
from .waiting import seen
from .walk import LISTED

#: Vectors of tokens in a tile: 64 tokens.
TILE = 64 // WIDTH
#: With fewer tiles than this for each thread, threads share each tile.
OWN_TILES = 4
#: At most so many tokens count as few: with a vector of them or more, no lane need be empty.
FEW = 16
#: Bytes of a set of placed rows, and where in it their numbers and the places of their weights are.
SET_BYTES, NUMBERS, PLACES = PLACED.itemsize, offset_of(PLACED, "numbers"), offset_of(PLACED, "places")

_products, _strips = pointer_to(PRODUCT), pointer_to(STRIP)
_blocks, _sets = pointer_to(BLOCK), pointer_to(PLACED)
_at = positions(PRODUCT)


def product_worker(pointer: Any) -> None:
    """Take items of a product until none is left: whole tiles, or first tiles to transpose and then runs of bands."""
    job = carray(pointer, (UNKNOWN,))
    call = carray(_products(address_of(pointer)), (1,))[0]
    own = call.scratch + call.scratch_bytes * fetch_add(job, parallel.SLOT, 1)
    flags, parts, bands = int64_at(call.flags), int64_at(call.parts), int64_at(call.bands)
    tile_bytes = call.inputs * call.pitch
    item = fetch_add(job, parallel.NEXT, 1)
    while item < call.items:
        if call.few != 0:
            _few(call, bands[parts[item]], bands[parts[item + 1]])
        elif call.flags == 0:
            _take(call, item, own)
            _give(call, item, parts[0], parts[1], own, own + tile_bytes)
        elif item < call.tiles:
            _take(call, item, call.turned + item * tile_bytes)
            fetch_add(flags, item, 1)
        else:
            tile, part = (item - call.tiles) // call.runs, (item - call.tiles) % call.runs
            turned = call.turned + tile * tile_bytes
            if seen(flags, tile) == 0:
                turned = own
                _take(call, tile, own)
            _give(call, tile, parts[part], parts[part + 1], turned, own + tile_bytes)
        item = fetch_add(job, parallel.NEXT, 1)


@inner
def _few(call: Any, begin: int, end: int) -> None:
    """The strips from `begin` to `end` for few tokens, which are not transposed: the lanes are outputs."""
    strips = carray(_strips(call.strips), (UNKNOWN,))
    for number in range(begin, end):
        strip = strips[number]
        i = 0
        while i < strip.outputs:
            width, t = width_of((strip.outputs - i) // WIDTH), 0
            y = call.y + 4 * (strip.output + i)
            while t < call.tokens:
                rows = rows_of(call.tokens - t)
                few_tile(rows, width, call.x + t * call.ldx, call.ldx, call.index + 4 * strip.begin, strip.steps,
                         call.values + 4 * (strip.weight + i), 4 * strip.apart, y + 4 * t * call.outputs,
                         4 * call.outputs, call.bias + 4 * (strip.output + i) if call.bias != 0 else 0)  # fmt: skip
                t += rows
            if call.activation != 0:
                activate(call.activation, y, 4 * call.outputs, call.tokens, width)
            i += width * WIDTH


@inner
def _take(call: Any, tile: int, turned: int) -> None:
    """Transpose a tile of x to address `turned`."""
    first = tile * call.vectors * WIDTH
    left = min(call.tokens - first, call.vectors * WIDTH)
    for t in range(0, left, WIDTH):
        x = call.x + (first + t) * call.ldx
        turn_in(x, call.ldx, min(WIDTH, left - t), call.inputs, turned + 4 * t, call.pitch)


@inner
def _give(call: Any, tile: int, begin: int, end: int, turned: int, band_memory: int) -> None:
    """The bands from `begin` to `end` of one tile's results, each transposed back when it is done."""
    tops, bands, parts = int64_at(call.tops), int64_at(call.bands), int64_at(call.parts)
    first, pitch = tile * call.vectors * WIDTH, call.pitch
    left = min(call.tokens - first, call.vectors * WIDTH)
    vectors = (left + WIDTH - 1) // WIDTH
    for band in range(begin, end):
        top = tops[band]
        rows, y = tops[band + 1] - top, band_memory - top * pitch
        v = 0
        while v < vectors:
            width, shift = width_of(vectors - v), v * BYTES
            first_of, end_of = bands[band], bands[band + 1]
            if call.kind == LISTED:
                coming = first_of if v == 0 else end_of
                until = min(end_of + 1, bands[parts[call.runs]]) if v + width >= vectors else end_of
                multiply_strips(call, first_of, end_of, coming, until, turned + shift, y + shift, pitch, width, 0,
                                call.activation)  # fmt: skip
            else:
                _rows(call, first_of, end_of, top, rows, turned + shift, y + shift, pitch, width)
            v += width
        for t in range(0, left, WIDTH):
            place = call.y + 4 * ((first + t) * call.outputs + top)
            turn_out(band_memory + 4 * t, pitch, rows, place, 4 * call.outputs, min(WIDTH, left - t))


@inner
def _rows(call: Any, begin: int, end: int, top: int, rows: int, x: int, y: int, pitch: int, width: int) -> None:
    """A band of rows whose weights are where packing left them: the blocks from `begin` to `end`."""
    blocks, sets = carray(_blocks(call.blocks), (UNKNOWN,)), carray(_sets(call.sets), (UNKNOWN,))
    for i in range(top, top + rows):
        value = spread(call.bias + 4 * i) if call.bias != 0 else every(0.0)
        for shift in range(0, width * BYTES, BYTES):
            put(y + i * pitch + shift, value)
    for number in range(begin, end):
        block = blocks[number]
        for s in range(block.begin, block.end):
            one = call.sets + SET_BYTES * s
            following = int64_at(one + SET_BYTES + PLACES)
            for i in range(6):  # the next set's weights: six runs that no hardware foresees
                fetch_line(call.values + 4 * following[i]), fetch_line(call.values + 4 * following[i] + 64)
            placed_tile(sets[s].rows, width, x + block.input * pitch, pitch, block.inputs, call.values, one + PLACES,
                        one + NUMBERS, y, pitch)  # fmt: skip
    if call.activation != 0:
        activate(call.activation, y + top * pitch, pitch, rows, width)


def multiply(side: Side, x: Tensor, values: Tensor, bias: Tensor | None, workers: int, gelu: bool = False) -> Tensor:
    """x (T, inputs), rows of neighbouring float32 → (T, outputs), `gelu`: with GELU applied.

    Raises ValueError for what the kernel would read out of bounds.
    """
    tokens = x.shape[0]
    side.check_rows("x", x, side.inputs)
    side.check_flat("values", values, side.weights)
    if bias is not None:
        side.check_flat("bias", bias, side.outputs)
    y = new_matrix(tokens, side.outputs)
    if tokens == 0:
        return y
    workers, floats, shared, flags, template = side.cut(_cut, tokens, workers)
    if side.order is not None:
        values = values.index_select(0, side.order)
    own = parallel.workspace()
    scratch = own.floats(floats)
    record, address = own.record(template, flags)
    record[_at.values], record[_at.x], record[_at.ldx] = values.data_ptr(), x.data_ptr(), 4 * x.stride(0)
    record[_at.y], record[_at.activation] = y.data_ptr(), ACTIVATIONS["gelu"] if gelu else 0
    record[_at.bias] = 0 if bias is None else bias.data_ptr()
    record[_at.turned], record[_at.scratch] = scratch, scratch + 4 * shared
    record[_at.flags] = address + 8 * template.size if flags else 0
    parallel.run(product_worker, address, workers)
    return y


def _cut(side: Side, tokens: int, workers: int) -> tuple[int, int, int, int, np.ndarray]:
    """(threads, floats of memory, those of them for shared tiles, flags, the record but for what a call adds)."""
    few = side.wide and tokens <= FEW
    vectors = min(TILE, -(-tokens // WIDTH))
    lanes, tiles = vectors * WIDTH, -(-tokens // (vectors * WIDTH))
    share = workers > 1 and (few or tiles < OWN_TILES * workers)
    runs = min(len(side.work), -(-4 * workers // tiles)) if share else 1  # so many that no thread waits long
    items = runs if few else tiles * (1 + runs) if share else tiles
    workers, tile, band = min(workers, items), side.inputs * lanes, side.highest * lanes
    shared, own = tiles * tile if share else 0, tile + band
    template = filled(
        PRODUCT, next=0, items=items, slot=0, kind=side.kind, values=0, bias=0, x=0, ldx=0, tokens=tokens,
        inputs=side.inputs, y=0, outputs=side.outputs, activation=0, pitch=4 * lanes, vectors=vectors, tiles=tiles,
        few=few, parts=side.parts(runs).ctypes.data, runs=runs, flags=0, turned=0, scratch=0, scratch_bytes=4 * own,
        **side.tables(),
    )  # fmt: skip
    return workers, shared + workers * own, shared, tiles if share else 0, template.view(np.int64)
