"""Column panels: outputs that split a list of kept columns, vectors over outputs. block_column, tile, column.

    y[t, row : row + p] = bias[row : row + p] + sum over the panel's steps k of x[t, columns[k]] * values[k, : p]

One panel, p = 4 outputs high, that keeps columns 1, 4 and 5:

    column      0 1 2 3 4 5 6          weights, as they lie in memory
    output 0    . a . . e i .          a b c d   e f g h   i j k l
    output 1    . b . . f j .          step 0    step 1    step 2
    output 2    . c . . g k .
    output 3    . d . . h l .          step 1 adds x[t, 4] * (e f g h) to y[t, 0 : 4], for six tokens t at a time

A step is p weights that lie together, as `packing` stores them; no weight is copied. Panels higher than two vectors are
cut into strips of two. A tile of six tokens is packed, so that a step finds its six numbers side by side, and stays in
the nearest caches while the weights of strip after strip stream past.

The ragged ends: the last one or two tiles of tokens are of four; what is less than a tile, in tokens or in outputs,
goes through a scratch tile.
"""

from __future__ import annotations

from typing import Any

from numba import carray
from torch import Tensor

from ..machine.native import inner
from ..machine.simd import WIDTH
from . import parallel
from .gelu import gelu_rows
from .intrinsics import UNKNOWN, element, fetch_add, floats_at, int32_at, int64_at, prefetch_to_write
from .memory import new_matrix
from .panel_tiles import panel_1x1, panel_1x2, panel_4x2, panel_6x1, panel_6x2, panel_12x1
from .plan import PACKED_TOKENS, STRIP_FIELDS, PanelPlan
from .transpose import pack_six

#: Fields of a job, after those of `parallel`.
(X, LDX, T, Y, M, VALUES, LDW, BIAS, GELU, COLUMNS, STRIPS, PARTS, PART_COUNT, LDP, SIXES, TILES, CHUNK, NARROW,
 LEADING_FULL, PACKED, SCRATCH) = range(3, 24)  # fmt: skip

#: Room for one tile, for each thread; whole cache lines.
SCRATCH_FLOATS = 16 * WIDTH
#: Bytes of weights of one item: they stay in the last-level cache while the tiles of tokens pass.
PART_BYTES = 2_000_000
#: Least tiles of one item: so many that loading the weights once per item hardly counts.
LEAST_TILES = 3


def panel_worker(pointer: Any) -> None:
    """Take (chunk of tiles, part of the strips) after (chunk, part) from a job until none is left."""
    job = carray(pointer, (UNKNOWN,))
    x, y, values, bias = floats_at(job[X]), floats_at(job[Y]), floats_at(job[VALUES]), floats_at(job[BIAS])
    columns, strips, parts = int32_at(job[COLUMNS]), int64_at(job[STRIPS]), int64_at(job[PARTS])
    tokens, outputs, ldx, ldw, ldp = job[T], job[M], job[LDX], job[LDW], job[LDP]
    sixes, tiles, gelu = job[SIXES], job[TILES], job[GELU] != 0
    slot = fetch_add(job, parallel.SLOT, 1)
    packed = floats_at(job[PACKED] + 8 * ldp * slot)
    scratch = floats_at(job[SCRATCH] + 4 * SCRATCH_FLOATS * slot)
    while True:
        item = fetch_add(job, parallel.NEXT, 1)
        if item >= job[parallel.ITEMS]:
            break
        part = item % job[PART_COUNT]
        i = (item // job[PART_COUNT]) * job[CHUNK]
        last = min(i + job[CHUNK], tiles)
        while i < last:
            # Strips of one vector take two tiles at a time: enough sums that do not wait for each other.
            taken = max(1, min(1 + job[NARROW], last - i, sixes - i))
            t = 6 * i if i < sixes else 6 * sixes + 4 * (i - sixes)
            n = 6 if i < sixes else min(tokens - t, 4 if i + 1 < tiles else 6)
            for j in range(taken):
                pack_six(x, t + 6 * j, tokens - 1, ldx, packed, j * ldp, ldp // 6)
            begin, end = parts[part], parts[part + 1]
            full = max(begin, min(end, job[LEADING_FULL]))
            if taken == 2:
                _twelves(packed, ldp, columns, strips, begin, full, values, ldw, bias, y, t * outputs, outputs, gelu)
            elif i < sixes and not job[NARROW]:
                _sixes(packed, columns, strips, begin, full, values, ldw, bias, y, t * outputs, outputs, gelu)
            else:
                full = begin
            for strip in range(full, end):
                s = strip * STRIP_FIELDS
                row, valid, first, k, stop = strips[s], strips[s + 1], strips[s + 2], strips[s + 3], strips[s + 4]
                for j in range(taken):
                    _strip(n, valid, packed, j * ldp, columns, k, stop, values, first + k * ldw, ldw, bias, row,
                           y, (t + 6 * j) * outputs + row, outputs, gelu, scratch)  # fmt: skip
            i += taken


@inner
def _sixes(x: Any, columns: Any, strips: Any, begin: int, end: int, w: Any, ldw: int, bias: Any,
           y: Any, to: int, ldy: int, gelu: bool) -> None:  # fmt: skip
    """Full strips of two vectors for six tokens: nearly all of the work."""
    for s in range(begin * STRIP_FIELDS, end * STRIP_FIELDS, STRIP_FIELDS):
        row, first = element(strips, s), element(strips, s + 2)
        k, stop = element(strips, s + 3), element(strips, s + 4)
        for i in range(6):
            prefetch_to_write(y, to + row + i * ldy)
        panel_6x2(x, 0, columns, k, stop, w, first + k * ldw, ldw, bias, row, 0, y, to + row, ldy)
        if gelu:
            gelu_rows(y, to + row, ldy, 6, 2 * WIDTH)


@inner
def _twelves(x: Any, ldp: int, columns: Any, strips: Any, begin: int, end: int, w: Any, ldw: int, bias: Any,
             y: Any, to: int, ldy: int, gelu: bool) -> None:  # fmt: skip
    """Full strips of one vector for twelve tokens."""
    for s in range(begin * STRIP_FIELDS, end * STRIP_FIELDS, STRIP_FIELDS):
        row, first = element(strips, s), element(strips, s + 2)
        k, stop = element(strips, s + 3), element(strips, s + 4)
        for i in range(12):
            prefetch_to_write(y, to + row + i * ldy)
        panel_12x1(x, 0, ldp, columns, k, stop, w, first + k * ldw, ldw, bias, row, 0, y, to + row, ldy)
        if gelu:
            gelu_rows(y, to + row, ldy, 12, WIDTH)


@inner(forceinline=True)
def _strip(n: int, valid: int, x: Any, base: int, columns: Any, k: int, stop: int, w: Any, at: int, ldw: int,
           bias: Any, row: int, y: Any, to: int, ldy: int, gelu: bool, scratch: Any) -> None:  # fmt: skip
    """One strip for one tile of n tokens; through the scratch tile where either is not whole."""
    width = 2 * WIDTH if valid > WIDTH else WIDTH
    whole = valid == width and (n == 6 or n == 1 or (n == 4 and width > WIDTH))
    seed, start, lds, target, into, ldt = bias, row, 0, y, to, ldy
    if not whole:
        _copy(bias, row, 0, scratch, 0, width, n, valid)
        seed, start, lds, target, into, ldt = scratch, 0, width, scratch, 0, width
    if width == WIDTH:
        if n == 1:
            panel_1x1(x, base, columns, k, stop, w, at, ldw, seed, start, target, into)
        else:
            panel_6x1(x, base, columns, k, stop, w, at, ldw, seed, start, lds, target, into, ldt)
    elif n == 1:
        panel_1x2(x, base, columns, k, stop, w, at, ldw, seed, start, target, into)
    elif n <= 4:
        panel_4x2(x, base, columns, k, stop, w, at, ldw, seed, start, lds, target, into, ldt)
    else:
        panel_6x2(x, base, columns, k, stop, w, at, ldw, seed, start, lds, target, into, ldt)
    if gelu:
        gelu_rows(target, into, ldt, n, width)
    if not whole:
        _copy(scratch, 0, width, y, to, ldy, n, valid)


@inner
def _copy(source: Any, at: int, stride: int, target: Any, to: int, target_stride: int, rows: int, count: int) -> None:
    for i in range(rows):
        for j in range(count):
            target[to + i * target_stride + j] = source[at + i * stride + j]


def token_tiles(tokens: int) -> tuple[int, int]:
    """(tiles of six, all tiles): what is left over goes in one or two tiles of four, or one of five.

    >>> token_tiles(12), token_tiles(128), token_tiles(13), token_tiles(5), token_tiles(2)
    ((2, 2), (20, 22), (1, 3), (0, 1), (0, 1))
    """
    sixes, rest = divmod(tokens, 6)
    if rest in (1, 2) and sixes:
        return sixes - 1, sixes + 1
    return sixes, sixes + (rest > 0)


def multiply(
    plan: PanelPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int, gelu: bool = False
) -> Tensor:
    """x (T, inputs), contiguous float32 rows → (T, outputs), `gelu`: with GELU applied. The caller checks `values`."""
    tokens = x.shape[0]
    y = new_matrix(tokens, plan.outputs)
    if tokens == 0 or len(plan.strips) == 0:
        return y
    split = plan.splits.get((tokens, workers))
    if split is None:
        split = plan.splits[tokens, workers] = _split(plan, tokens, workers)
    items, workers, packed_floats, *rest = split
    values, bias = plan.contiguous_weights(values), plan.no_bias if bias is None else bias
    space = parallel.workspace()
    packed = space.floats(packed_floats + workers * SCRATCH_FLOATS)
    job = space.job(
        SCRATCH + 1,
        (0, items, 0, x.data_ptr(), x.stride()[0], tokens, y.data_ptr(), plan.outputs, values.data_ptr(), plan.stride,
         bias.data_ptr(), gelu, *plan.addresses, *rest, packed, packed + 4 * packed_floats)
    )  # fmt: skip
    parallel.run(panel_worker, job, workers)
    return y


def _split(plan: PanelPlan, tokens: int, workers: int) -> tuple[int, ...]:
    """How the work is cut: (items, threads, packed floats) and the fields of a job from PARTS to LEADING_FULL."""
    sixes, tiles = token_tiles(tokens)
    count = len(plan.strips)
    wanted = 1 if workers == 1 else 4 * workers  # items a thread can choose from, so that none waits long for another
    part_count = max(1, min(count, round(plan.weight_bytes / PART_BYTES)))
    chunks = max(1, min(-(-wanted // part_count), tiles // LEAST_TILES))
    part_count = min(count, max(part_count, -(-wanted // chunks)))
    chunk = -(-tiles // chunks)
    items = -(-tiles // chunk) * part_count
    workers = min(workers, items)
    ldp = plan.inputs * PACKED_TOKENS
    cut = (plan.parts(part_count).ctypes.data, part_count, ldp, sixes, tiles, chunk)
    return items, workers, 2 * workers * ldp, *cut, plan.narrow, plan.leading_full_strips
