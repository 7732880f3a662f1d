"""The micro-kernel on pairs of bfloat16: the tiles of `tile`, a step taking two inputs where that takes one.

    y[i, t] = seed[i, t] + sum over k of w[i, k, 0] * x[k, t, 0] + w[i, k, 1] * x[k, t, 1]

x is stored as pairs of features x tokens, a weight is a pair in 32 bits, sums are float32. Four functions differ in
where x and w lie: a list of pairs; a list of an even and an odd input each, brought together on the way (`picked`);
neighbouring pairs of any set of rows; and two dense matrices.

Every address is an integer and nothing is checked: callers have checked shapes and indices before.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ..machine.pairs import joined, multiply_pairs
from .tile import listed
from .tile_loop import BYTES, I64, Loaded, emit_dense, emit_listed, emit_rows, load_vector, load_whole, plus


@intrinsic
def listed_pairs_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, index: Any, count: Any, w: Any,
                      step: Any, ahead: Any, apart: Any, y: Any, ldy: Any, bias: Any, residual: Any,
                ldr: Any) -> Any:  # fmt: skip
    """y[i] = bias[i] + residual[i] + sum over k < count of w[k step + i] x[index[k]], w and x pairs; else as `tile`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, index, *others = values
        emit_listed(builder, [rows, vectors, *others], lambda v: listed(x, ldx, index, v), multiply_pairs)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 15), generate


@intrinsic
def picked_pairs_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, index: Any, count: Any, w: Any,
                      step: Any, ahead: Any, apart: Any, y: Any, ldy: Any, bias: Any, residual: Any,
                ldr: Any) -> Any:  # fmt: skip
    """As `listed_pairs_tile`, but step k takes the first halves of row index[2 k] and the second of index[2 k + 1]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rows, vectors, x, ldx, index, *others = values
        emit_listed(builder, [rows, vectors, *others], lambda v: _picked(x, ldx, index, v), multiply_pairs)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 15), generate


def _picked(x: Any, ldx: Any, index: Any, vectors: int) -> Loaded:
    """An even input and an odd one, whose halves are in the right places already."""

    def load(builder: Any, k: Any) -> list[Any]:
        place = builder.add(index, builder.shl(k, I64(3)))
        a, b = (builder.add(x, builder.mul(load_whole(builder, plus(builder, place, at)), ldx)) for at in (0, 4))
        return [
            joined(builder, *(load_vector(builder, plus(builder, row, BYTES * v)) for row in (a, b)))
            for v in range(vectors)
        ]  # fmt: skip

    return load


@intrinsic
def rows_pairs_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, ahead: Any,
                    numbers: Any, y: Any, ldy: Any) -> Any:  # fmt: skip
    """y[numbers[i]] += sum over k < count of w[k rows + i] x[k], w and x pairs; else as `rows_tile`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit_rows(builder, values, multiply_pairs)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), generate


@intrinsic
def dense_pairs_tile(typing_context: Any, rows: Any, vectors: Any, x: Any, ldx: Any, count: Any, w: Any, ldw: Any,
                     step: Any, y: Any, ldy: Any, seed: Any, lds: Any) -> Any:  # fmt: skip
    """y[i] = seed[i] + sum over k < count of w[i ldw + k step] x[k], w and x pairs; else as `dense_tile`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit_dense(builder, values, multiply_pairs)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate
