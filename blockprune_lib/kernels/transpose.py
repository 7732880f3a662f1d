"""Tokens x features into features x tokens and back, through registers: squares of one vector by one vector.

    turn_in     x (tokens, features)  ->  a row of tokens for each feature
    turn_out    and back

Elements change places by shuffles of two registers (`_transposed`), and no memory is read or written twice but where
features do not fill whole vectors. Left out: when and where (`turned_product`, `gradients`, `encoder`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.native import inner
from ..machine.simd import WIDTH
from .intrinsics import floats_at

I64, VECTOR = ir.IntType(64), ir.VectorType(ir.FloatType(), WIDTH)
#: Floats in a cache line.
LINE = 16


@inner
def turn_in(x: int, ldx: int, count: int, features: int, target: int, pitch: int) -> None:
    """target[j, i] = x[i, j] for tokens i < count and all features j; the last vector's lanes beyond them become zero.

    x, target   addresses of rows `ldx` and `pitch` bytes apart; a row of target takes whole vectors
    """
    if features < WIDTH:
        for i in range(-(-count // WIDTH) * WIDTH):
            source = floats_at(x + i * ldx)
            for j in range(features):
                floats_at(target + j * pitch)[i] = source[j] if i < count else np.float32(0)
        return
    for start in range(0, count, LINE):  # a whole cache line of the target at once, and not too many rows of x
        for j in range(0, features, WIDTH):
            at = min(j, features - WIDTH)  # the last square overlaps the one before
            for i in range(start, min(start + LINE, count), WIDTH):
                square_in(x + i * ldx + 4 * at, ldx, count - i, target + at * pitch + 4 * i, pitch)


@inner
def turn_out(source: int, pitch: int, features: int, y: int, ldy: int, count: int) -> None:
    """y[i, j] = source[j, i] for tokens i < count and all features j, as `turn_in` lays them out."""
    if features < WIDTH:
        for i in range(count):
            target = floats_at(y + i * ldy)
            for j in range(features):
                target[j] = floats_at(source + j * pitch)[i]
        return
    for i in range(0, count, WIDTH):
        for j in range(0, features, WIDTH):
            at = min(j, features - WIDTH)
            square_out(source + at * pitch + 4 * i, pitch, y + i * ldy + 4 * at, ldy, count - i)


@intrinsic
def square_in(typing_context: Any, x: Any, ldx: Any, count: Any, target: Any, pitch: Any) -> Any:
    """Transpose WIDTH features of the first `count` tokens, at most WIDTH; lanes beyond become zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, ldx, count, target, pitch = values
        places = _spaced(builder, target, pitch)

        def square(rows: list[Any], within: Any) -> None:
            loaded = [builder.load(_vector(builder, row), align=4) for row in rows]
            for place, column in zip(places, _transposed(loaded, partial(_shuffle, builder)), strict=True):
                kept = column if within is None else builder.select(within, column, ir.Constant(VECTOR, None))
                builder.store(kept, _vector(builder, place), align=4)

        with builder.if_else(builder.icmp_signed(">=", count, I64(WIDTH))) as (whole, ragged):
            with whole:
                square(_spaced(builder, x, ldx), None)
            with ragged:
                lanes = ir.Constant(ir.VectorType(I64, WIDTH), [I64(i) for i in range(WIDTH)])
                within = builder.icmp_signed("<", lanes, _every_lane(builder, count))
                square(_clamped(builder, x, ldx, count), within)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@intrinsic
def square_out(typing_context: Any, source: Any, pitch: Any, y: Any, ldy: Any, count: Any) -> Any:
    """The way back: WIDTH features of the first `count` tokens.

    What registers hold beyond goes where the last token belongs and is overwritten there: the first is written last.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, pitch, y, ldy, count = values
        columns = [builder.load(_vector(builder, place), align=4) for place in _spaced(builder, source, pitch)]
        tokens = _transposed(columns, partial(_shuffle, builder))
        with builder.if_else(builder.icmp_signed(">=", count, I64(WIDTH))) as (whole, ragged):
            for branch, places in ((whole, _spaced), (ragged, partial(_clamped, count=count))):
                with branch:
                    for place, token in reversed(list(zip(places(builder, y, ldy), tokens, strict=True))):
                        builder.store(token, _vector(builder, place), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


def _spaced(builder: Any, start: Any, apart: Any) -> list[Any]:
    """The addresses of WIDTH rows."""
    rows = [start]
    while len(rows) < WIDTH:
        rows.append(builder.add(rows[-1], apart))
    return rows


def _clamped(builder: Any, start: Any, apart: Any, count: Any) -> list[Any]:
    """The addresses of WIDTH rows, from the last of `count` on the same."""
    last = builder.sub(count, I64(1))
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
