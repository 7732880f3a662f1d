"""A product of tokens x features, as a layer asks for it: y = x Wᵀ + bias, then GELU where it is asked for.

Strips of whole vectors of outputs are done as x and y lie, six tokens at a time, with outputs in the lanes. All others,
and bands of rows, take the layout of the encoder, a tile of 64 tokens at a time:

    x    (tokens, inputs)   ->   the tile as inputs x tokens, in L2
    y'   a band of outputs x the tile's tokens, in L1, with tokens in the lanes
    y    (tokens, outputs)  <-   the band, transposed back

With many tokens a thread takes tiles of its own. With fewer, all threads share each tile: first tiles are transposed,
then bands of outputs are done; whoever takes a band and finds its tile not ready transposes it for itself, since the
other thread may not run for a while. Any way, a sum is the same to the bit for any number of threads.

Left out: the tables (`plan`); how the work is cut (`layer_cut`); what a caller may pass (`functional`).
"""

from __future__ import annotations

from typing import Any

from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH
from . import parallel
from .intrinsics import UNKNOWN, address_of, fetch_add, fetch_line, int64_at
from .layer_cut import OUTPUTS_IN_LANES, cut_for
from .layer_tile import outputs_tile, placed_tile
from .memory import new_matrix
from .plan import Side
from .product import ACTIVATIONS, activate, begin_rows, multiply_strips, rows_of, width_of
from .records import BLOCK, PLACED, PRODUCT, STRIP, offset_of, pointer_to, positions
from .tile_loop import BYTES
from .transpose import turn_in, turn_out
from .waiting import seen
from .walk import LISTED

#: Bytes of a set of placed rows, and where in it their numbers and the places of their weights are.
SET_BYTES, NUMBERS, PLACES = PLACED.itemsize, offset_of(PLACED, "numbers"), offset_of(PLACED, "places")

_products, _strips = pointer_to(PRODUCT), pointer_to(STRIP)
_blocks, _sets = pointer_to(BLOCK), pointer_to(PLACED)
_at = positions(PRODUCT)


def product_worker(pointer: Any) -> None:
    """Take items of a product until none is left: tokens by bands, whole tiles, or tiles first and then bands."""
    job = carray(pointer, (UNKNOWN,))
    call = carray(_products(address_of(pointer)), (1,))[0]
    own = call.scratch + call.scratch_bytes * fetch_add(job, parallel.SLOT, 1)
    flags, tile_bytes = int64_at(call.flags), call.inputs * call.pitch
    item = fetch_add(job, parallel.NEXT, 1)
    while item < call.items:
        if call.in_lanes == OUTPUTS_IN_LANES:
            _as_they_lie(call, item // call.chunks, item % call.chunks)
        elif call.flags == 0:
            _take(call, item, own)
            _give(call, item, 0, own, own + tile_bytes)
        elif item < call.chunks:
            _take(call, item, call.turned + item * tile_bytes)
            fetch_add(flags, item, 1)
        else:
            tile, part = (item - call.chunks) // call.runs, (item - call.chunks) % call.runs
            turned = call.turned + tile * tile_bytes
            if seen(flags, tile) == 0:
                turned = own
                _take(call, tile, own)
            _give(call, tile, part, turned, own + tile_bytes)
        item = fetch_add(job, parallel.NEXT, 1)


@inner
def _as_they_lie(call: Any, part: int, chunk: int) -> None:
    """A run of bands for a chunk of tokens: six tokens after six, whose rows of x stay in L1, past all weights."""
    parts, bands, strips = int64_at(call.parts), int64_at(call.bands), carray(_strips(call.strips), (UNKNOWN,))
    t, row = chunk * call.chunk, 4 * call.outputs
    end = call.tokens if chunk + 1 == call.chunks else t + call.chunk
    while t < end:
        tokens = rows_of(end - t)
        for number in range(bands[parts[part]], bands[parts[part + 1]]):
            strip = strips[number]
            index, i = call.index + 4 * strip.begin, 0
            while i < strip.outputs:
                width, output = width_of((strip.outputs - i) // WIDTH), strip.output + i
                bias = call.bias + 4 * output if call.bias != 0 else 0
                y = call.y + t * row + 4 * output
                outputs_tile(tokens, width, call.x + t * call.ldx, call.ldx, index, strip.steps,
                             call.values + 4 * (strip.weight + i), 4 * strip.apart, y, row, bias)  # fmt: skip
                if call.activation != 0:
                    activate(call.activation, y, row, tokens, width)
                i += width * WIDTH
        t += tokens


@inner
def _take(call: Any, tile: int, turned: int) -> None:
    """Transpose a tile of x to address `turned`."""
    first = tile * call.chunk
    count = min(call.tokens - first, call.chunk)
    turn_in(call.x + first * call.ldx, call.ldx, count, call.inputs, turned, call.pitch)


@inner
def _give(call: Any, tile: int, part: int, turned: int, memory: int) -> None:
    """A run of bands of one tile's results, each transposed back when it is done."""
    tops, bands, parts = int64_at(call.tops), int64_at(call.bands), int64_at(call.parts)
    first, pitch = tile * call.chunk, call.pitch
    count = min(call.tokens - first, call.chunk)
    vectors = (count + WIDTH - 1) // WIDTH
    for band in range(parts[part], parts[part + 1]):
        top, begin, end = tops[band], bands[band], bands[band + 1]
        rows, y = tops[band + 1] - top, memory - top * pitch
        v = 0
        while v < vectors:
            width, shift = width_of(vectors - v), v * BYTES
            if call.kind == LISTED:
                coming = begin if v == 0 else end  # weights come from memory in the first pass over a band
                until = min(end + 1, bands[parts[call.runs]]) if v + width >= vectors else end
                multiply_strips(call, begin, end, coming, until, turned + shift, y + shift, pitch, width, 0,
                                call.activation)  # fmt: skip
            else:
                _rows(call, begin, end, top, rows, turned + shift, y + shift, pitch, width)
            v += width
        turn_out(memory, pitch, rows, call.y + 4 * (first * call.outputs + top), 4 * call.outputs, count)


@inner
def _rows(call: Any, begin: int, end: int, top: int, rows: int, x: int, y: int, pitch: int, width: int) -> None:
    """A band of rows whose weights are where packing left them: the blocks from `begin` to `end`."""
    blocks, sets = carray(_blocks(call.blocks), (UNKNOWN,)), carray(_sets(call.sets), (UNKNOWN,))
    begin_rows(y, pitch, top, rows, width, call.bias, 0, pitch)
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
    cut = side.cut(cut_for, tokens, workers)
    if side.order is not None:
        values = values.index_select(0, side.order)
    own = parallel.workspace()
    memory = own.floats(cut.floats)
    record, address = own.record(cut.template, cut.flags)
    record[_at.values], record[_at.x], record[_at.ldx] = values.data_ptr(), x.data_ptr(), 4 * x.stride(0)
    record[_at.y], record[_at.activation] = y.data_ptr(), ACTIVATIONS["gelu"] if gelu else 0
    record[_at.bias] = 0 if bias is None else bias.data_ptr()
    record[_at.turned], record[_at.scratch] = memory, memory + 4 * cut.shared
    record[_at.flags] = address + 8 * cut.template.size if cut.flags else 0
    parallel.run(product_worker, address, cut.threads)
    return y
