"""Tokens x features into features x tokens and back, through registers: squares of one vector by one vector.

    turn_in     x (tokens, features)  ->  a row of tokens for each feature
    turn_out    and back

Elements change places by shuffles of two registers (`_transposed`); features that fill no whole vector are copied one
by one. Left out: when and where (`layer_product`, `gradients`, `encoder`).
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
            for place, column in zip(places, _transposed(builder, rows), strict=True):
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
        tokens = _transposed(builder, _spaced(builder, source, pitch))
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


def _vector(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, VECTOR.as_pointer())


def _every_lane(builder: Any, number: Any) -> Any:
    kind = ir.VectorType(I64, WIDTH)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square whose rows begin at these addresses.

    A register is put together from quarters of four floats, those of rows j, 4 + j, 8 + j .. at one place: so what is
    left to do is to transpose squares of 4 x 4 within quarters, where shuffles are cheap.

        row j      | a b c d |         register j:  a b c d | e f g h | ..      register 0:  first numbers of rows
        row 4 + j  | e f g h |                                                  0 1 2 3 | 4 5 6 7 | ..
    """
    quarter = ir.VectorType(ir.FloatType(), 4)
    columns = []
    for place in range(0, WIDTH, 4):
        registers = []
        for j in range(4):
            begins = [builder.add(row, I64(4 * place)) for row in rows[j::4]]
            parts = [builder.load(builder.inttoptr(begin, quarter.as_pointer()), align=4) for begin in begins]
            while len(parts) > 1:
                parts = [_joined(builder, *pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
            registers.append(parts[0])
        a, b, c, d = registers
        ab, AB = _picked(builder, a, b, (0, 4, 1, 5)), _picked(builder, a, b, (2, 6, 3, 7))
        cd, CD = _picked(builder, c, d, (0, 4, 1, 5)), _picked(builder, c, d, (2, 6, 3, 7))
        for first, second in ((ab, cd), (AB, CD)):
            columns += [_picked(builder, first, second, half) for half in ((0, 1, 4, 5), (2, 3, 6, 7))]
    return columns


def _joined(builder: Any, a: Any, b: Any) -> Any:
    """The lanes of a, then those of b."""
    count = 2 * int(a.type.count)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count))))


def _picked(builder: Any, a: Any, b: Any, four: tuple[int, ...]) -> Any:
    """From every quarter of a (0 to 3) and b (4 to 7) four lanes."""
    picks = [quarter + (i if i < 4 else WIDTH + i - 4) for quarter in range(0, WIDTH, 4) for i in four]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), picks))
