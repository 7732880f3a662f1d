"""The one micro-kernel: R rows of sums by V vectors of tokens, all R x V sums in registers, tokens in the lanes.

    y[i, t] = seed[i, t] + sum over k of w[i, k] * x[k, t]                    i < R, t < V * WIDTH

Activations are stored as features x tokens, so an input that a group keeps is one contiguous row of x. Whatever the
structure, a step loads V vectors of x, broadcasts R weights and does R x V fused multiply-adds.

                     t = 0 .. V vectors of tokens
                  x[k]  |======|======|======|======|        loaded once per step
    w[0, k] *           | sum  | sum  | sum  | sum  |
    w[1, k] *           | sum  | sum  | sum  | sum  |        R x V sums stay in registers over all k
       ..               |      |      |      |      |

Three functions differ in where x and w lie: for a list of inputs, for neighbouring inputs of any set of rows, and for
two dense matrices (attention). Each pair of R and V gets a loop of its own in LLVM's intermediate code,
emitted here from one description instead of unrolled by hand for every pair.

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.simd import WIDTH

FLOAT, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, WIDTH)
BYTES = 4 * WIDTH
#: Vectors of tokens in a tile: with 32 registers 6 x 4 sums, with 16 registers 6 x 2.
VECTORS = 4 if WIDTH == 16 else 2
#: Sums that must be in flight at once: two multiply-add units, each with a latency of four or five cycles.
CHAINS = 8
#: The rows and the vectors that a tile may have: the rest at an edge is covered by smaller tiles.
SIZES, WIDTHS = (6, 4, 2, 1), tuple(width for width in (4, 2, 1) if width <= VECTORS)

_Address = Callable[[Any, int], Any]


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _plus(builder: Any, address: Any, constant: int) -> Any:
    return builder.add(address, I64(constant)) if constant else address


def _splat(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, WIDTH), None))


def _fma(builder: Any) -> Any:
    name = f"llvm.fmuladd.v{WIDTH}f32"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)


def _load_vector(builder: Any, address: Any) -> Any:
    return builder.load(_at(builder, address, VECTOR), align=4)


def _load_number(builder: Any, address: Any) -> Any:
    return builder.load(_at(builder, address, FLOAT), align=4)


def _loop(
    builder: Any, count: Any, sums: list[Any], vectors: int, x_at: Callable[[Any, Any], Any], weights_at: list[_Address]
) -> list[Any]:
    """The loop over k: the sums after `count` steps, from the sums before.

    Each addition to a sum waits for the one before. A small tile has too few sums to keep the multiply-add units busy
    meanwhile, so it keeps several copies of them, one for each of several steps, and adds the copies up at the end.
    """
    copies = max(1, min(4, CHAINS // len(sums)))
    k = I64(0)
    if copies > 1:
        zeros = [ir.Constant(VECTOR, None)] * (len(sums) * (copies - 1))
        k, found = _steps(builder, k, count, sums + zeros, vectors, copies, x_at, weights_at)
        sums = found[: len(sums)]
        for copy in range(1, copies):
            sums = [builder.fadd(a, b) for a, b in zip(sums, found[copy * len(sums) :], strict=False)]
    return _steps(builder, k, count, sums, vectors, 1, x_at, weights_at)[1]


def _steps(
    builder: Any, start: Any, count: Any, sums: list[Any], vectors: int, copies: int,
    x_at: Callable[[Any, Any], Any], weights_at: list[_Address],
) -> tuple[Any, list[Any]]:  # fmt: skip
    """`copies` steps per iteration while so many are left: (the next k, the sums of each copy)."""
    before, head = builder.block, builder.append_basic_block("steps")
    body, after = builder.append_basic_block("step"), builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(I64)
    k.add_incoming(start, before)
    held = [builder.phi(VECTOR) for _ in sums]
    for phi, seed in zip(held, sums, strict=True):
        phi.add_incoming(seed, before)
    builder.cbranch(builder.icmp_signed("<=", builder.add(k, I64(copies)), count), body, after)
    builder.position_at_end(body)
    fma, place = _fma(builder), 0
    for copy in range(copies):
        step = builder.add(k, I64(copy)) if copy else k
        x = x_at(builder, step)
        loaded = [_load_vector(builder, _plus(builder, x, BYTES * v)) for v in range(vectors)]
        for weight_at in weights_at:
            weight = _splat(builder, _load_number(builder, weight_at(builder, step)))
            for v in range(vectors):
                held[place].add_incoming(builder.call(fma, [weight, loaded[v], held[place]]), builder.block)
                place += 1
    k.add_incoming(builder.add(k, I64(copies)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return k, held


def _each_size(builder: Any, rows: Any, vectors: Any, emit: Callable[[int, int], None]) -> None:
    """The code of every tile, and a switch among them: by rows in SIZES and vectors in WIDTHS."""
    end = builder.append_basic_block("end")
    choice = builder.switch(builder.add(builder.shl(rows, I64(3)), vectors), end)
    for r in SIZES:
        for v in WIDTHS:
            block = builder.append_basic_block(f"tile_{r}x{v}")
            choice.add_case(I64(8 * r + v), block)
            builder.position_at_end(block)
            emit(r, v)
            builder.branch(end)
    builder.position_at_end(end)


@intrinsic
def listed_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, index: Any, count: Any, w: Any,
                step: Any, y: Any, ldy: Any, bias: Any, residual: Any, ldr: Any) -> Any:  # fmt: skip
    """y[i] = bias[i] + residual[i] + sum over k < count of w[k step + i] x[index[k]]: outputs of the same inputs.

    `index` is int32; `ldx`, `step`, `ldy` and `ldr` are strides in bytes; `bias` and `residual` may be 0 for none.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, index, count, w, step, y, ldy, bias, residual, ldr = values

        def x_at(builder: Any, k: Any) -> Any:
            number = builder.load(_at(builder, builder.add(index, builder.shl(k, I64(2))), I32), align=4)
            return builder.add(x, builder.mul(builder.sext(number, I64), ldx))

        def weight(i: int) -> _Address:
            return lambda builder, k: _plus(builder, builder.add(w, builder.mul(k, step)), 4 * i)

        def tile(r: int, v: int) -> None:
            sums = _seeds(builder, r, v, bias, residual, ldr)
            _store(builder, _loop(builder, count, sums, v, x_at, [weight(i) for i in range(r)]), v, y, ldy)

        _each_size(builder, rows, vectors, tile)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13), generate


@intrinsic
def rows_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, numbers: Any,
              y: Any, ldy: Any) -> Any:  # fmt: skip
    """y[numbers[i]] += sum over k < count of w[k rows + i] x[k]: any rows that keep the same neighbouring inputs.

    `numbers` is int64; strides are in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, count, w, numbers, y, ldy = values

        def weight(i: int, r: int) -> _Address:
            return lambda builder, k: _plus(builder, builder.add(w, builder.mul(k, I64(4 * r))), 4 * i)

        def tile(r: int, v: int) -> None:
            found = [builder.load(_at(builder, _plus(builder, numbers, 8 * i), I64), align=8) for i in range(r)]
            places = [builder.add(y, builder.mul(number, ldy)) for number in found]
            sums = [_load_vector(builder, _plus(builder, place, BYTES * j)) for place in places for j in range(v)]
            sums = _loop(builder, count, sums, v, lambda builder, k: builder.add(x, builder.mul(k, ldx)),
                         [weight(i, r) for i in range(r)])  # fmt: skip
            for number, total in enumerate(sums):
                place = _plus(builder, places[number // v], BYTES * (number % v))
                builder.store(total, _at(builder, place, VECTOR), align=4)

        _each_size(builder, rows, vectors, tile)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9), generate


@intrinsic
def dense_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, ldw: Any, step: Any,
               y: Any, ldy: Any, seed: Any, lds: Any) -> Any:  # fmt: skip
    """y[i] = seed[i] + sum over k < count of w[i ldw + k step] x[k]: dense matrices. Strides in bytes; seed 0: none."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, count, w, ldw, step, y, ldy, seed, lds = values

        def weight(start: Any) -> _Address:
            return lambda builder, k: builder.add(start, builder.mul(k, step))

        def tile(r: int, v: int) -> None:
            sums = _seeds(builder, r, v, None, seed, lds)
            weights = [weight(builder.add(w, builder.mul(I64(i), ldw))) for i in range(r)]
            sums = _loop(builder, count, sums, v, lambda builder, k: builder.add(x, builder.mul(k, ldx)), weights)
            _store(builder, sums, v, y, ldy)

        _each_size(builder, rows, vectors, tile)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate


def _seeds(builder: Any, rows: int, vectors: int, bias: Any, residual: Any, ldr: Any) -> list[Any]:
    """The initial sums: bias[i] for every token (bias None: zero) plus residual[i]; an address of 0 means none."""
    zero = ir.Constant(VECTOR, None)
    sums = [zero] * (rows * vectors)
    if bias is not None:
        with builder.if_else(builder.icmp_signed("!=", bias, I64(0))) as (some, none):
            with some:
                spread = [_splat(builder, _load_number(builder, _plus(builder, bias, 4 * i))) for i in range(rows)]
                begun = builder.block
            with none:
                skipped = builder.block
        sums = []
        for row in spread:
            phi = builder.phi(VECTOR)
            phi.add_incoming(row, begun)
            phi.add_incoming(zero, skipped)
            sums += [phi] * vectors
    with builder.if_else(builder.icmp_signed("!=", residual, I64(0))) as (some, none):
        with some:
            places = [builder.add(residual, builder.mul(I64(i), ldr)) for i in range(rows)]
            more = [
                builder.fadd(sums[i * vectors + v], _load_vector(builder, _plus(builder, places[i], BYTES * v)))
                for i in range(rows) for v in range(vectors)
            ]  # fmt: skip
            begun = builder.block
        with none:
            skipped = builder.block
    found = []
    for plain, seeded in zip(sums, more, strict=True):
        phi = builder.phi(VECTOR)
        phi.add_incoming(seeded, begun)
        phi.add_incoming(plain, skipped)
        found.append(phi)
    return found


def _store(builder: Any, sums: list[Any], vectors: int, y: Any, ldy: Any) -> None:
    for place, total in enumerate(sums):
        i, v = divmod(place, vectors)
        row = builder.add(y, builder.mul(I64(i), ldy))
        builder.store(total, _at(builder, _plus(builder, row, BYTES * v), VECTOR), align=4)
