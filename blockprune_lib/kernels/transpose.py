"""Elements that change places between registers, so that a kernel reads x in the order it needs.

    pack_six     six tokens side by side, input after input: what a panel's tile reads
    transpose    any rectangle: what row groups read and write

Left out: when and where (`panels`, `rows`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.native import inner
from ..machine.simd import WIDTH, Vector
from .intrinsics import element, floats_at, prefetch

I64, VECTOR = ir.IntType(64), ir.VectorType(ir.FloatType(), WIDTH)
#: Floats between asking for a row's cache line and reading it.
PREFETCH = 96


@inner
def turn_in(x: int, ldx: int, count: int, features: int, target: int, pitch: int) -> None:
    """target[j, i] = x[i, j] for up to WIDTH tokens i and all features j; lanes beyond `count` tokens become zero.

    x, target   addresses of rows `ldx` and `pitch` bytes apart; a row of target takes a whole vector
    """
    if features < WIDTH:
        source = floats_at(x)
        for j in range(features):
            row = floats_at(target + j * pitch)
            for i in range(WIDTH):
                row[i] = source[i * (ldx // 4) + j] if i < count else np.float32(0)
        return
    for j in range(0, features, WIDTH):
        at = min(j, features - WIDTH)  # the last square overlaps the one before
        square_in(x + 4 * at, ldx, count - 1, target + at * pitch, pitch)


@inner
def turn_out(source: int, pitch: int, features: int, y: int, ldy: int, count: int) -> None:
    """y[i, j] = source[j, i] for up to WIDTH tokens i and all features j, as `turn_in` lays them out."""
    if features < WIDTH:
        target = floats_at(y)
        for j in range(features):
            row = floats_at(source + j * pitch)
            for i in range(count):
                target[i * (ldy // 4) + j] = row[i]
        return
    for j in range(0, features, WIDTH):
        at = min(j, features - WIDTH)
        square_out(source + at * pitch, pitch, y + 4 * at, ldy, count - 1)


@intrinsic
def square_in(typing_context: Any, x: Any, ldx: Any, last: Any, target: Any, pitch: Any) -> Any:
    """Transpose WIDTH features of tokens 0 to `last` < WIDTH, all through registers; lanes beyond become zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, ldx, last, target, pitch = values
        rows = [builder.load(_vector(builder, row), align=4) for row in _rows(builder, x, ldx, last)]
        lanes = ir.Constant(ir.VectorType(I64, WIDTH), [I64(i) for i in range(WIDTH)])
        within = builder.icmp_signed("<=", lanes, _every_lane(builder, last))
        zero = ir.Constant(VECTOR, None)
        for j, column in enumerate(_transposed(rows, partial(_shuffle, builder))):
            place = builder.add(target, builder.mul(pitch, I64(j)))
            builder.store(builder.select(within, column, zero), _vector(builder, place), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@intrinsic
def square_out(typing_context: Any, source: Any, pitch: Any, y: Any, ldy: Any, last: Any) -> Any:
    """The way back: WIDTH features of tokens 0 to `last`.

    What registers hold beyond goes where token `last` belongs and is overwritten there: the last to be written is 0.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, pitch, y, ldy, last = values
        places = [builder.add(source, builder.mul(pitch, I64(j))) for j in range(WIDTH)]
        columns = [builder.load(_vector(builder, place), align=4) for place in places]
        tokens = list(zip(_rows(builder, y, ldy, last), _transposed(columns, partial(_shuffle, builder)), strict=True))
        for place, token in reversed(tokens):
            builder.store(token, _vector(builder, place), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


def _rows(builder: Any, start: Any, apart: Any, last: Any) -> list[Any]:
    """The addresses of WIDTH rows, all beyond `last` the same as it."""
    numbers = [builder.select(builder.icmp_signed("<", I64(i), last), I64(i), last) for i in range(WIDTH)]
    return [builder.add(start, builder.mul(apart, number)) for number in numbers]


def _shuffle(builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), picks))


def _vector(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, VECTOR.as_pointer())


def _every_lane(builder: Any, number: Any) -> Any:
    kind = ir.VectorType(I64, WIDTH)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)


@inner
def pack_six(x: Any, t: int, last: int, ldx: int, target: Any, to: int, inputs: int) -> None:
    """target[to + 6 c + i] = x[min(t + i, last) * ldx + c] for six tokens i and all inputs c."""
    r0, r1, r2 = t * ldx, min(t + 1, last) * ldx, min(t + 2, last) * ldx
    r3, r4, r5 = min(t + 3, last) * ldx, min(t + 4, last) * ldx, min(t + 5, last) * ldx
    whole = inputs // 8 * 8
    for c in range(0, whole, 8):
        interleave_six(x, r0 + c, r1 + c, r2 + c, r3 + c, r4 + c, r5 + c, target, to + 6 * c)
    for c in range(whole, inputs):
        at = to + 6 * c
        target[at], target[at + 1], target[at + 2] = element(x, r0 + c), element(x, r1 + c), element(x, r2 + c)
        target[at + 3], target[at + 4], target[at + 5] = element(x, r3 + c), element(x, r4 + c), element(x, r5 + c)


@inner
def transpose(
    source: Any, at: int, stride: int, rows: int, columns: int, target: Any, to: int, target_stride: int
) -> None:
    """target[to + j target_stride + i] = source[at + i stride + j] for i < rows, j < columns."""
    whole_rows, whole_columns = rows - rows % WIDTH, columns - columns % WIDTH
    if whole_rows < whole_columns:  # the short side inside: both halves of a cache line of the target in a row
        for j in range(0, whole_columns, WIDTH):
            for i in range(rows):  # so many rows at once that no hardware foresees them all
                prefetch(source, at + i * stride + j + PREFETCH)
            for i in range(0, whole_rows, WIDTH):
                transpose_square(source, at + i * stride + j, stride, target, to + j * target_stride + i, target_stride)
    else:
        for i in range(0, whole_rows, WIDTH):
            for j in range(0, whole_columns, WIDTH):
                transpose_square(source, at + i * stride + j, stride, target, to + j * target_stride + i, target_stride)
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            target[to + j * target_stride + i] = source[at + i * stride + j]


@intrinsic
def interleave_six(
    typing_context: Any, x: Any, r0: Any, r1: Any, r2: Any, r3: Any, r4: Any, r5: Any, target: Any, to: Any
) -> Any:
    """Eight numbers of each of six rows of x, written column by column: 48 neighbours from target[to] on."""
    arguments = (x, *[types.intp] * 6, target, types.intp)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from_data = context.make_array(x)(context, builder, values[0]).data
        to_data = context.make_array(target)(context, builder, values[7]).data
        vector = ir.VectorType(ir.FloatType(), 8)

        def address(data: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        def shuffle(a: Any, b: Any, picks: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), 8), picks))

        rows = [builder.load(address(from_data, row), align=4) for row in values[1:7]]
        halves = []  # [columns 0, 1, .. in the lower half | columns 4, 5, .. in the upper], six numbers a column
        for picks in ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]):
            ab, cd, ef = [shuffle(rows[i], rows[i + 1], picks) for i in (0, 2, 4)]
            halves.append(shuffle(ab, cd, [0, 1, 8, 9, 4, 5, 12, 13]))
            halves.append(shuffle(ef, ab, [0, 1, 10, 11, 4, 5, 14, 15]))
            halves.append(shuffle(cd, ef, [2, 3, 10, 11, 6, 7, 14, 15]))
        pairs = [(halves[i], halves[i + 1]) for i in (0, 2, 4)]
        columns = [shuffle(a, b, [0, 1, 2, 3, 8, 9, 10, 11]) for a, b in pairs]
        columns += [shuffle(a, b, [4, 5, 6, 7, 12, 13, 14, 15]) for a, b in pairs]
        for i, column in enumerate(columns):
            where = builder.add(values[8], ir.Constant(values[8].type, 8 * i))
            builder.store(column, address(to_data, where), align=4)
        return context.get_dummy_value()

    return types.none(*arguments), generate


@intrinsic
def transpose_square(
    typing_context: Any, source: Any, start: Any, stride: Any, target: Any, target_start: Any, target_stride: Any
) -> Any:
    """Write the transpose of WIDTH rows of WIDTH floats, `stride` apart, to rows `target_stride` apart.

    target[target_start + j * target_stride + i] = source[start + i * stride + j]. All rows pass through registers:
    first 4 x 4 squares within quarters of a register, then the quarters change places.
    """
    arguments = (source, types.intp, types.intp, target, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from_data = context.make_array(source)(context, builder, values[0]).data
        to_data = context.make_array(target)(context, builder, values[3]).data
        vector = context.get_value_type(Vector(WIDTH))

        def address(data: Any, first: Any, step: Any, row: int) -> Any:
            offset = builder.add(first, builder.mul(step, ir.Constant(step.type, row)))
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        def shuffle(a: Any, b: Any, picks: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), picks)
            return builder.shuffle_vector(a, b, mask)

        rows = [builder.load(address(from_data, values[1], values[2], i), align=4) for i in range(WIDTH)]
        for row, column in enumerate(_transposed(rows, shuffle)):
            builder.store(column, address(to_data, values[4], values[5], row), align=4)
        return context.get_dummy_value()

    return types.none(*arguments), generate


def _transposed(rows: list[Any], shuffle: Any) -> list[Any]:
    """The columns of a square of registers, by two-register shuffles that stay within quarters as long as they can."""
    width = len(rows)
    quarters = range(0, width, 4)

    def pick(a: Any, b: Any, four: tuple[int, int, int, int]) -> Any:
        return shuffle(a, b, [q + (i if i < 4 else width + i - 4) for q in quarters for i in four])

    parts: list[list[Any]] = []  # parts[g][c]: in quarter q, column 4q + c of rows 4g .. 4g + 3
    for first in quarters:
        a, b, c, d = rows[first : first + 4]
        ab, AB = pick(a, b, (0, 4, 1, 5)), pick(a, b, (2, 6, 3, 7))
        cd, CD = pick(c, d, (0, 4, 1, 5)), pick(c, d, (2, 6, 3, 7))
        low, high = (0, 1, 4, 5), (2, 3, 6, 7)
        parts.append([pick(ab, cd, low), pick(ab, cd, high), pick(AB, CD, low), pick(AB, CD, high)])
    columns: list[Any] = [None] * width
    for c in range(4):
        for q, register in enumerate(_exchanged([part[c] for part in parts], shuffle, width)):
            columns[4 * q + c] = register
    return columns


def _exchanged(registers: list[Any], shuffle: Any, width: int) -> list[Any]:
    """Register q of the result holds quarter q of each of `registers`, in their order."""
    count, step = len(registers), 1
    while step < count:
        swapped = list(registers)
        for i in range(count):
            if not i & step:
                a, b = registers[i], registers[i + step]
                # quarters whose number lacks the bit `step` come from a, the others from b's matching quarter
                even = [(q if not q & step else width // 4 + q - step) for q in range(count)]
                odd = [(q + step if not q & step else width // 4 + q) for q in range(count)]
                swapped[i] = shuffle(a, b, [4 * q + k for q in even for k in range(4)])
                swapped[i + step] = shuffle(a, b, [4 * q + k for q in odd for k in range(4)])
        registers = swapped
        step *= 2
    return registers
