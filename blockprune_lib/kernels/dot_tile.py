"""Dot products of rows of tokens, a register tile at a time: what the gradient of stored weights is made of.

    result[place[k] + i] = sum over tokens t of a[i, t] * b[number[k], t]            i < R, k < K

Both matrices are features x tokens. A step loads R + K vectors of tokens for R x K fused multiply-adds; each sum is a
vector, whose lanes are added up at the end, all sums of the tile together:

    p0 p1 p2 p3     +     q0 q1 q2 q3      ->      p0+p2  p1+p3  q0+q2  q1+q3     and so on, until a lane is a sum

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.simd import WIDTH
from .tile_loop import BYTES, FLOAT, I32, I64, VECTOR, at, load_vector, load_whole, multiply_add, plus

#: Rows of a -> how many of b go with them: with 32 registers 4 x 4 sums, with 16 registers 4 x 2.
TILES = {4: 4 if WIDTH == 16 else 2, 2: 4, 1: 8}


@intrinsic
def dots(typing_context: Any, rows: Any, a: Any, lda: Any, b: Any, ldb: Any, numbers: Any, places: Any, left: Any,
         vectors: Any, result: Any, add: Any) -> Any:  # fmt: skip
    """One tile of `rows` (4, 2 or 1) rows of a and min(left, TILES[rows]) rows of b; with `add` added to the result.

    `numbers` and `places` are addresses of int32, one for each row of b; `lda`, `ldb` are strides in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        end = builder.append_basic_block("end")
        choice = builder.switch(values[0], end)
        for r in TILES:
            block = builder.append_basic_block(f"dots_{r}")
            choice.add_case(I64(r), block)
            builder.position_at_end(block)
            _tile(builder, r, *values[1:])
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


def _tile(builder: Any, r: int, a: Any, lda: Any, b: Any, ldb: Any, numbers: Any, places: Any, left: Any,
          vectors: Any, result: Any, add: Any) -> None:  # fmt: skip
    last, count = builder.sub(left, I64(1)), TILES[r]
    a_rows = [builder.add(a, builder.mul(I64(i), lda)) for i in range(r)]
    b_rows, targets = [], []
    for k in range(count):  # where fewer are left, the last stands in: it gives the same numbers once more
        offset = builder.shl(builder.select(builder.icmp_signed("<", I64(k), last), I64(k), last), I64(2))
        b_rows.append(builder.add(b, builder.mul(load_whole(builder, builder.add(numbers, offset)), ldb)))
        place = load_whole(builder, builder.add(places, offset))
        targets.append(builder.add(result, builder.shl(place, I64(2))))
    sums = _sums(builder, a_rows, b_rows, vectors)
    kind = ir.VectorType(FLOAT, r)
    totals = _totals(builder, sums)  # for k the sums of all rows of a, side by side
    found = [_lanes(builder, totals[r * k // WIDTH], r * k % WIDTH, r) for k in range(count)]
    with builder.if_then(builder.icmp_signed("!=", add, I64(0))):
        more = [builder.load(at(builder, target, kind), align=4) for target in targets]
        added = [builder.fadd(total, before) for total, before in zip(found, more, strict=True)]
        for total, target in zip(added, targets, strict=True):
            builder.store(total, at(builder, target, kind), align=4)
    with builder.if_then(builder.icmp_signed("==", add, I64(0))):
        for total, target in zip(found, targets, strict=True):
            builder.store(total, at(builder, target, kind), align=4)


def _sums(builder: Any, a_rows: list[Any], b_rows: list[Any], vectors: Any) -> list[Any]:
    """sums[k][i], as one list: of the products of row i of a and row k of b, lane by lane, over all vectors."""
    before, body = builder.block, builder.append_basic_block("tokens")
    after = builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    v = builder.phi(I64)
    v.add_incoming(I64(0), before)
    sums = [builder.phi(VECTOR) for _ in range(len(a_rows) * len(b_rows))]
    shift = builder.mul(v, I64(BYTES))
    xs, ys = ([load_vector(builder, builder.add(row, shift)) for row in rows] for rows in (a_rows, b_rows))
    found = [
        multiply_add(builder, y, x, sums[len(xs) * k + i]) for k, y in enumerate(ys) for i, x in enumerate(xs)
    ]  # fmt: skip
    for phi, total in zip(sums, found, strict=True):
        phi.add_incoming(ir.Constant(VECTOR, None), before)
        phi.add_incoming(total, builder.block)
    following = plus(builder, v, 1)
    v.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, vectors), body, after)
    builder.position_at_end(after)
    return found


def _totals(builder: Any, sums: list[Any]) -> list[Any]:
    """The sum of the lanes of each vector, WIDTH sums to a vector; where there are fewer, in its first lanes."""
    whole = [sums[i : i + WIDTH] for i in range(0, len(sums), WIDTH)]
    return [_folded(builder, group) for group in whole]


def _folded(builder: Any, vectors: list[Any]) -> Any:
    """One vector with the sums of the lanes of up to WIDTH vectors, a multiple of four, in their order.

    First within quarters of four lanes, where shuffles are cheap: four vectors become one, each lane of a quarter for
    another of them. Then quarters are added up the same way.
    """
    for low, high in (((0, 4, 1, 5), (2, 6, 3, 7)), ((0, 1, 4, 5), (2, 3, 6, 7))):
        vectors = _halved(builder, vectors, low, high)
    held = WIDTH // 4  # quarters that still belong to the same sums
    while held > 1:
        held //= 2
        firsts = [2 * held * g + q for g in range(WIDTH // 4 // (2 * held)) for q in range(held)]
        both = [*firsts, *(WIDTH // 4 + q for q in firsts)]
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True)) if len(vectors) > 1 else [(vectors[0], vectors[0])]
        vectors = [
            builder.fadd(_quarters(builder, a, b, both), _quarters(builder, a, b, [q + held for q in both]))
            for a, b in pairs
        ]
    return vectors[0]


def _halved(builder: Any, vectors: list[Any], low: tuple[int, ...], high: tuple[int, ...]) -> list[Any]:
    """From each pair of vectors one: in every quarter, the lanes `low` of both plus the lanes `high` (4 to 7: b's)."""
    return [
        builder.fadd(*(
            _shuffle(builder, a, b, [q + (i if i < 4 else WIDTH + i - 4) for q in range(0, WIDTH, 4) for i in picks])
            for picks in (low, high)
        ))
        for a, b in zip(vectors[::2], vectors[1::2], strict=True)
    ]  # fmt: skip


def _quarters(builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
    return _shuffle(builder, a, b, [4 * q + lane for q in picks for lane in range(4)])


def _shuffle(builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(picks)), picks))


def _lanes(builder: Any, vector: Any, first: int, count: int) -> Any:
    return _shuffle(builder, vector, vector, list(range(first, first + count)))
