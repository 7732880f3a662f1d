"""What every register tile is made of, as LLVM's intermediate code: its sums' first values, its loop, its stores.

    y[i, t] = seed[i, t] + sum over k of w[i, k] * x[k, t]                    i < R, t < V * WIDTH

                     t = 0 .. V vectors of tokens
                  x[k]  |======|======|======|======|        loaded once per step
    w[0, k] *           | sum  | sum  | sum  | sum  |
    w[1, k] *           | sum  | sum  | sum  | sum  |        R x V sums stay in registers over all k
       ..               |      |      |      |      |

Each pair of R and V gets a loop of its own, emitted from one description instead of unrolled by hand for every pair.
An `Arithmetic` says what a step multiplies: numbers of float32, or pairs of bfloat16, which fill the same 32 bits. So
both kinds of tile share all of this. Left out: where x and w lie (`tile`, `pair_tile`).

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from ..machine.simd import WIDTH
from .intrinsics import ask_for

FLOAT, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, WIDTH)
BYTES = 4 * WIDTH
#: Vectors of tokens in a tile: with 32 registers 6 x 4 sums, with 16 registers 6 x 2.
VECTORS = 4 if WIDTH == 16 else 2
#: Bytes from one row of scratch to the next, which holds a tile's vectors.
ROW = VECTORS * BYTES
#: Sums that must be in flight at once: two multiply-add units, each with a latency of four or five cycles.
CHAINS = 8
#: The rows and the vectors that a tile may have: the rest at an edge is covered by smaller tiles.
SIZES, WIDTHS = (6, 4, 2, 1), tuple(width for width in (4, 2, 1) if width <= VECTORS)

#: (builder, step) -> the address of a weight; (builder, step) -> the vectors of x of that step.
Address = Callable[[Any, Any], Any]
Loaded = Callable[[Any, Any], list[Any]]
#: (builder, a weight in every lane, a vector of x, the sum so far) -> the sum.
Arithmetic = Callable[[Any, Any, Any, Any], Any]


def at(builder: Any, address: Any, kind: Any) -> Any:
    """A pointer to `kind`."""
    return builder.inttoptr(address, kind.as_pointer())


def plus(builder: Any, address: Any, constant: int) -> Any:
    """address + constant."""
    return builder.add(address, I64(constant)) if constant else address


def times(builder: Any, number: Any, constant: int) -> Any:
    """number * constant."""
    return builder.mul(number, I64(constant))


def splat(builder: Any, scalar: Any) -> Any:
    """A float in every lane."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, WIDTH), None))


def multiply_add(builder: Any, weight: Any, x: Any, total: Any) -> Any:
    """The `Arithmetic` of float32."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f32")
    return builder.call(fma, [weight, x, total])


def load_vector(builder: Any, address: Any) -> Any:
    """The vector at an address."""
    return builder.load(at(builder, address, VECTOR), align=4)


def load_number(builder: Any, address: Any) -> Any:
    """The 32 bits at an address, as a float."""
    return builder.load(at(builder, address, FLOAT), align=4)


def load_whole(builder: Any, address: Any) -> Any:
    """The int32 at an address, as an int64."""
    return builder.sext(builder.load(at(builder, address, I32), align=4), I64)


def neighbours(address_of: Address, vectors: int) -> Loaded:
    """The vectors of x from `address_of(step)` on."""

    def load(builder: Any, step: Any) -> list[Any]:
        address = address_of(builder, step)
        return [load_vector(builder, plus(builder, address, BYTES * v)) for v in range(vectors)]

    return load


def spaced(start: Any, apart: Any) -> Address:
    """The address of a step: start + step * apart."""
    return lambda builder, step: builder.add(start, builder.mul(step, apart))


def prefetch(builder: Any, address: Any) -> None:
    """Ask for the cache line at an address, into the second level."""
    ask_for(builder, builder.inttoptr(address, ir.IntType(8).as_pointer()), level=2)


def loop(
    builder: Any, count: Any, sums: list[Any], load_x: Loaded, weights_at: list[Address], arithmetic: Arithmetic
) -> list[Any]:
    """The loop over k: the sums after `count` steps, from the sums before.

    Each addition to a sum waits for the one before. A small tile has too few sums to keep the multiply-add units busy
    meanwhile, so it keeps several copies of them, one for each of several steps, and adds the copies up at the end.
    """
    copies = max(1, min(4, CHAINS // len(sums)))
    k = I64(0)
    if copies > 1:
        zeros = [ir.Constant(VECTOR, None)] * (len(sums) * (copies - 1))
        k, found = _steps(builder, k, count, sums + zeros, copies, load_x, weights_at, arithmetic)
        sums = found[: len(sums)]
        for copy in range(1, copies):
            sums = [builder.fadd(a, b) for a, b in zip(sums, found[copy * len(sums) :], strict=False)]
    return _steps(builder, k, count, sums, 1, load_x, weights_at, arithmetic)[1]


def _steps(
    builder: Any, start: Any, count: Any, sums: list[Any], copies: int,
    load_x: Loaded, weights_at: list[Address], arithmetic: Arithmetic,
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
    place = 0
    for copy in range(copies):
        step = builder.add(k, I64(copy)) if copy else k
        loaded = load_x(builder, step)
        for weight_at in weights_at:
            weight = splat(builder, load_number(builder, weight_at(builder, step)))
            for x in loaded:
                held[place].add_incoming(arithmetic(builder, weight, x, held[place]), builder.block)
                place += 1
    k.add_incoming(builder.add(k, I64(copies)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return k, held


def each_size(builder: Any, rows: Any, vectors: Any, emit: Callable[[int, int], None]) -> None:
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


def seeds(builder: Any, rows: int, vectors: int, bias: Any, residual: Any, ldr: Any) -> list[Any]:
    """The initial sums: bias[i] for every token (bias None: zero) plus residual[i]; an address of 0 means none."""
    zero = ir.Constant(VECTOR, None)
    sums = [zero] * (rows * vectors)
    if bias is not None:
        with builder.if_else(builder.icmp_signed("!=", bias, I64(0))) as (some, none):
            with some:
                spread = [splat(builder, load_number(builder, plus(builder, bias, 4 * i))) for i in range(rows)]
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
                builder.fadd(sums[i * vectors + v], load_vector(builder, plus(builder, places[i], BYTES * v)))
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


def store(builder: Any, sums: list[Any], vectors: int, y: Any, ldy: Any) -> None:
    """Write the sums to the rows of y, `ldy` bytes apart."""
    places = [builder.add(y, builder.mul(I64(i), ldy)) for i in range(len(sums) // vectors)]
    store_rows(builder, sums, vectors, places)


def store_rows(builder: Any, sums: list[Any], vectors: int, places: list[Any]) -> None:
    """Write the sums, those of a row from its place on."""
    for number, total in enumerate(sums):
        place = plus(builder, places[number // vectors], BYTES * (number % vectors))
        builder.store(total, at(builder, place, VECTOR), align=4)


def emit_listed(builder: Any, values: Any, load_of: Callable[[int], Loaded], arithmetic: Arithmetic) -> None:
    """`listed_tile`; `load_of(v)`: how its v vectors of x are loaded."""
    rows, vectors, count, w, step, ahead, apart, y, ldy, bias, residual, ldr = values

    def weight(i: int) -> Address:
        return lambda builder, k: plus(builder, builder.add(w, builder.mul(k, step)), 4 * i)

    def load(v: int) -> Loaded:
        def load_and_prefetch(builder: Any, k: Any) -> list[Any]:
            prefetch(builder, builder.add(ahead, builder.mul(k, apart)))
            return load_of(v)(builder, k)

        return load_and_prefetch

    def tile(r: int, v: int) -> None:
        sums = seeds(builder, r, v, bias, residual, ldr)
        store(builder, loop(builder, count, sums, load(v), [weight(i) for i in range(r)], arithmetic), v, y, ldy)

    each_size(builder, rows, vectors, tile)


def emit_rows(builder: Any, values: Any, arithmetic: Arithmetic) -> None:
    """`rows_tile`."""
    rows, vectors, x, ldx, count, w, ahead, numbers, y, ldy = values

    def load(r: int, v: int) -> Loaded:
        def load_and_prefetch(builder: Any, k: Any) -> list[Any]:
            prefetch(builder, builder.add(builder.add(w, ahead), times(builder, k, 4 * r)))
            return neighbours(spaced(x, ldx), v)(builder, k)

        return load_and_prefetch

    def weight(i: int, r: int) -> Address:
        return lambda builder, k: plus(builder, builder.add(w, times(builder, k, 4 * r)), 4 * i)

    def tile(r: int, v: int) -> None:
        found = [builder.load(at(builder, plus(builder, numbers, 8 * i), I64), align=8) for i in range(r)]
        places = [builder.add(y, builder.mul(number, ldy)) for number in found]
        sums = [load_vector(builder, plus(builder, place, BYTES * j)) for place in places for j in range(v)]
        weights = [weight(i, r) for i in range(r)]
        sums = loop(builder, count, sums, load(r, v), weights, arithmetic)
        store_rows(builder, sums, v, places)

    each_size(builder, rows, vectors, tile)


def emit_dense(builder: Any, values: Any, arithmetic: Arithmetic) -> None:
    """`dense_tile`."""
    rows, vectors, x, ldx, count, w, ldw, step, y, ldy, seed, lds = values

    def tile(r: int, v: int) -> None:
        sums = seeds(builder, r, v, None, seed, lds)
        weights = [spaced(builder.add(w, builder.mul(I64(i), ldw)), step) for i in range(r)]
        store(builder, loop(builder, count, sums, neighbours(spaced(x, ldx), v), weights, arithmetic), v, y, ldy)

    each_size(builder, rows, vectors, tile)
