"""The one micro-kernel in float32: R rows of sums by V vectors of tokens, all sums in registers, tokens in the lanes.

    y[i, t] = seed[i, t] + sum over k of w[i, k] * x[k, t]                    i < R, t < V * WIDTH

Activations are stored as features x tokens, so an input that a group keeps is one contiguous row of x. Whatever the
structure, a step loads V vectors of x, broadcasts R weights and does R x V fused multiply-adds (drawn in `tile_loop`).

Three functions differ in where x and w lie: for a list of inputs, for neighbouring inputs of any set of rows, and for
two dense matrices (attention). A layer's own tiles are in `layer_tile`.

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from .tile_loop import (
    I64,
    Loaded,
    emit_dense,
    emit_listed,
    emit_rows,
    load_whole,
    multiply_add,
    neighbours,
)


@intrinsic
def listed_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, index: Any, count: Any, w: Any,
                step: Any, ahead: Any, apart: Any, y: Any, ldy: Any, bias: Any, residual: Any,
                ldr: Any) -> Any:  # fmt: skip
    """y[i] = bias[i] + residual[i] + sum over k < count of w[k step + i] x[index[k]]: outputs of the same inputs.

    `index` is int32; `ldx`, `step`, `ldy` and `ldr` are strides in bytes; `bias` and `residual` may be 0 for none.
    Step k asks for the cache line at `ahead + k apart`, weights that are needed next: memory is slower than a tile.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, index, *others = values
        emit_listed(builder, [rows, vectors, *others], lambda v: listed(x, ldx, index, v), multiply_add)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 15), generate


def listed(x: Any, ldx: Any, index: Any, vectors: int) -> Loaded:
    """The vectors of row index[k] of x at step k."""

    def address(builder: Any, k: Any) -> Any:
        number = load_whole(builder, builder.add(index, builder.shl(k, I64(2))))
        return builder.add(x, builder.mul(number, ldx))

    return neighbours(address, vectors)


@intrinsic
def rows_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, ahead: Any,
              numbers: Any, y: Any, ldy: Any) -> Any:  # fmt: skip
    """y[numbers[i]] += sum over k < count of w[k rows + i] x[k]: any rows that keep the same neighbouring inputs.

    `numbers` is int64; strides are in bytes. Weights are asked for `ahead` bytes before they are needed.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit_rows(builder, values, multiply_add)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


@intrinsic
def dense_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, ldw: Any, step: Any,
               y: Any, ldy: Any, seed: Any, lds: Any) -> Any:  # fmt: skip
    """y[i] = seed[i] + sum over k < count of w[i ldw + k step] x[k]: dense matrices. Strides in bytes; seed 0: none."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit_dense(builder, values, multiply_add)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate
