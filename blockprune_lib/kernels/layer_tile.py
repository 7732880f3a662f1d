"""Two more tiles, for the products of single layers, whose weights and tokens are left where they lie.

    placed_tile    rows of weights anywhere, instead of side by side as an encoder's are copied
    outputs_tile   x and w in each other's place: outputs in the lanes, numbers of x broadcast

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from .tile_loop import (
    BYTES,
    I64,
    Address,
    at,
    each_size,
    load_vector,
    load_whole,
    loop,
    multiply_add,
    neighbours,
    plus,
    seeds,
    spaced,
    store,
    store_rows,
    times,
)


@intrinsic
def placed_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, places: Any,
                numbers: Any, y: Any, ldy: Any) -> Any:  # fmt: skip
    """y[numbers[i]] += sum over k < count of w[places[i] + k] x[k]: as `rows_tile`, each row's weights anywhere.

    `places` and `numbers` are int64; strides are in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _placed(builder, values)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


def _placed(builder: Any, values: Any) -> None:
    rows, vectors, x, ldx, count, w, places, numbers, y, ldy = values

    def tile(r: int, v: int) -> None:
        found, begins = (
            [builder.load(at(builder, plus(builder, table, 8 * i), I64), align=8) for i in range(r)]
            for table in (numbers, places)
        )
        rows_of_y = [builder.add(y, builder.mul(number, ldy)) for number in found]
        weights = [spaced(builder.add(w, times(builder, begin, 4)), I64(4)) for begin in begins]
        sums = [load_vector(builder, plus(builder, place, BYTES * j)) for place in rows_of_y for j in range(v)]
        sums = loop(builder, count, sums, neighbours(spaced(x, ldx), v), weights, multiply_add)
        store_rows(builder, sums, v, rows_of_y)

    each_size(builder, rows, vectors, tile)


@intrinsic
def outputs_tile(typing_context: Any, tokens: Any, vectors: Any, x: Any, ldx: Any, index: Any, count: Any, w: Any,
                 step: Any, y: Any, ldy: Any, bias: Any) -> Any:  # fmt: skip
    """y[t, i] = bias[i] + sum over k < count of x[t, index[k]] w[k step + i]: outputs in the lanes, x broadcast.

    x and y are tokens x features here; `index` is int32, strides are in bytes, and `bias` may be 0 for none.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _outputs(builder, values)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


def _outputs(builder: Any, values: Any) -> None:
    tokens, vectors, x, ldx, index, count, w, step, y, ldy, bias = values

    def number(i: int) -> Address:
        row = builder.add(x, builder.mul(I64(i), ldx))

        def address(builder: Any, k: Any) -> Any:
            column = load_whole(builder, builder.add(index, times(builder, k, 4)))
            return builder.add(row, times(builder, column, 4))

        return address

    def tile(r: int, v: int) -> None:
        sums = seeds(builder, r, v, None, bias, I64(0))  # every token's row begins with the same bias
        numbers = [number(i) for i in range(r)]
        sums = loop(builder, count, sums, neighbours(spaced(w, step), v), numbers, multiply_add)
        store(builder, sums, v, y, ldy)

    each_size(builder, tokens, vectors, tile)
