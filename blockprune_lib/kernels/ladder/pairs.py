"""The rung in bfloat16: two numbers in each lane, and one instruction that multiplies pairs and adds both to a sum.

    sum[t] += w[0] * x[t, 0] + w[1] * x[t, 1]            for all lanes t; w and x in bfloat16, the sum in float32

bfloat16 is the upper half of a float32: 8 bits of exponent and 7 of fraction. Two inputs of a token lie side by side,
so x is (inputs / 2, tokens, 2); here its pairs travel as float32 that nobody reads as a number. The kernels are that of
`turned`, with `dot` in place of `fma` and half the steps:

    neighbours    a step takes inputs 2i and 2i + 1; where one of them was removed, its weight is zero
    picked        a step takes any even input and any odd one of the piece, and joins their halves on the way
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from torch import Tensor

from ...machine.native import inner, native
from ...machine.pairs import HAS_PAIRS, multiply_pairs, pairs_of
from ...machine.simd import WIDTH, Vector, broadcast, load
from ...pruning.packing import PackedMatrix
from .turned import four_vectors, pieces, put_four

_FLOATS, _WORDS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(32), WIDTH)
_LOWER, _UPPER, _SIXTEEN = (ir.Constant(_WORDS, [number] * WIDTH) for number in (0xFFFF, -65536, 16))


def _three(name: str, vectors: tuple[Any, ...]) -> None:
    if not all(vector == Vector(WIDTH) for vector in vectors):
        raise TypingError(f"{name} needs vectors of {WIDTH} lanes; got {', '.join(map(str, vectors))}")


@intrinsic
def dot(typing_context: Any, a: Any, b: Any, total: Any) -> Any:
    """dot(a, b, sum) -> sum + a[0] b[0] + a[1] b[1] in each lane; a and b hold pairs of bfloat16."""
    _three("dot", (a, b, total))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return multiply_pairs(builder, *values) if HAS_PAIRS else _ordinary(builder, *values)

    return total(a, b, total), generate


def _ordinary(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """Without the instruction: each half becomes a float32, the upper by clearing the lower, the lower by a shift."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f32")

    def halves(vector: Any) -> tuple[Any, Any]:
        words = builder.bitcast(vector, _WORDS)
        low, high = builder.shl(words, _SIXTEEN), builder.and_(words, _UPPER)
        return builder.bitcast(low, _FLOATS), builder.bitcast(high, _FLOATS)

    for x, y in zip(halves(a), halves(b), strict=True):
        total = builder.call(fma, [x, y, total])
    return total


@intrinsic
def join(typing_context: Any, even: Any, odd: Any) -> Any:
    """join(a, b) -> in each lane the first number of a's pair and the second of b's."""
    _three("join", (even, odd))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first, second = (builder.bitcast(value, _WORDS) for value in values)
        both = builder.or_(builder.and_(first, _LOWER), builder.and_(second, _UPPER))
        return builder.bitcast(both, _FLOATS)

    return even(even, odd), generate


@native
def four_by_four_pairs(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """4 outputs x 4 vectors of tokens, two inputs at a step: the turned kernel with another instruction."""
    tokens = x.shape[1]
    for t in range(0, tokens, 4 * WIDTH):
        for p in range(len(rows)):
            a, b = rows[p, 0] * tokens + t, rows[p, 1] * tokens + t
            c, d = rows[p, 2] * tokens + t, rows[p, 3] * tokens + t
            a0, a1, a2, a3 = four_vectors(y, a)
            b0, b1, b2, b3 = four_vectors(y, b)
            c0, c1, c2, c3 = four_vectors(y, c)
            d0, d1, d2, d3 = four_vectors(y, d)
            for k in range(offsets[p], offsets[p + 1]):
                x0, x1, x2, x3 = four_vectors(x, np.int64(columns[k]) * tokens + t)
                w = broadcast(values[k, 0], WIDTH)
                a0, a1, a2, a3 = dot(w, x0, a0), dot(w, x1, a1), dot(w, x2, a2), dot(w, x3, a3)
                w = broadcast(values[k, 1], WIDTH)
                b0, b1, b2, b3 = dot(w, x0, b0), dot(w, x1, b1), dot(w, x2, b2), dot(w, x3, b3)
                w = broadcast(values[k, 2], WIDTH)
                c0, c1, c2, c3 = dot(w, x0, c0), dot(w, x1, c1), dot(w, x2, c2), dot(w, x3, c3)
                w = broadcast(values[k, 3], WIDTH)
                d0, d1, d2, d3 = dot(w, x0, d0), dot(w, x1, d1), dot(w, x2, d2), dot(w, x3, d3)
            put_four(y, a, a0, a1, a2, a3), put_four(y, b, b0, b1, b2, b3)
            put_four(y, c, c0, c1, c2, c3), put_four(y, d, d0, d1, d2, d3)


@inner
def four_joined(x: np.ndarray, even: int, odd: int) -> Any:
    """Four vectors whose pairs are of one even input and one odd one."""
    return (
        join(load(x, even, WIDTH), load(x, odd, WIDTH)),
        join(load(x, even + WIDTH, WIDTH), load(x, odd + WIDTH, WIDTH)),
        join(load(x, even + 2 * WIDTH, WIDTH), load(x, odd + 2 * WIDTH, WIDTH)),
        join(load(x, even + 3 * WIDTH, WIDTH), load(x, odd + 3 * WIDTH, WIDTH)),
    )


@native
def four_by_four_picked(
    x: np.ndarray, values: np.ndarray, columns: np.ndarray, offsets: np.ndarray, rows: np.ndarray, y: np.ndarray
) -> None:
    """The same, a step taking one even and one odd input: columns[2k] and columns[2k + 1] are their rows of pairs."""
    tokens = x.shape[1]
    for t in range(0, tokens, 4 * WIDTH):
        for p in range(len(rows)):
            a, b = rows[p, 0] * tokens + t, rows[p, 1] * tokens + t
            c, d = rows[p, 2] * tokens + t, rows[p, 3] * tokens + t
            a0, a1, a2, a3 = four_vectors(y, a)
            b0, b1, b2, b3 = four_vectors(y, b)
            c0, c1, c2, c3 = four_vectors(y, c)
            d0, d1, d2, d3 = four_vectors(y, d)
            for k in range(offsets[p], offsets[p + 1]):
                even, odd = np.int64(columns[2 * k]) * tokens + t, np.int64(columns[2 * k + 1]) * tokens + t
                x0, x1, x2, x3 = four_joined(x, even, odd)
                w = broadcast(values[k, 0], WIDTH)
                a0, a1, a2, a3 = dot(w, x0, a0), dot(w, x1, a1), dot(w, x2, a2), dot(w, x3, a3)
                w = broadcast(values[k, 1], WIDTH)
                b0, b1, b2, b3 = dot(w, x0, b0), dot(w, x1, b1), dot(w, x2, b2), dot(w, x3, b3)
                w = broadcast(values[k, 2], WIDTH)
                c0, c1, c2, c3 = dot(w, x0, c0), dot(w, x1, c1), dot(w, x2, c2), dot(w, x3, c3)
                w = broadcast(values[k, 3], WIDTH)
                d0, d1, d2, d3 = dot(w, x0, d0), dot(w, x1, d1), dot(w, x2, d2), dot(w, x3, d3)
            put_four(y, a, a0, a1, a2, a3), put_four(y, b, b0, b1, b2, b3)
            put_four(y, c, c0, c1, c2, c3), put_four(y, d, d0, d1, d2, d3)


def as_pairs(matrix: Tensor) -> Tensor:
    """(n, m) float, n even, rounded to bfloat16: rows 2i and 2i + 1 as pairs in row i, (n / 2, m) float32 to look at.

    It begins at a multiple of 64 bytes, as a kernel needs it: a vector across two cache lines is two reads.

    >>> as_pairs(torch.tensor([[1.0], [2.0]])).view(torch.bfloat16)
    tensor([[1., 2.]], dtype=torch.bfloat16)
    """
    rows = matrix.numpy()
    return torch.from_numpy(pairs_of(rows[::2], rows[1::2]).view(np.float32)).clone()  # torch's memory is aligned


def pair_tables(packed: PackedMatrix, picked: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(values, columns, offsets, rows) as `turned.tables` has them, a step for each pair of inputs of a piece.

    Picked: the n-th even input of a piece goes with its n-th odd one, and a step has two columns, one after the other.
    A half that nothing goes with has a weight of zero, and reads the row of the other half.
    """
    found, weight = pieces(packed), packed.to_dense().detach().numpy()
    steps = [_picked(inputs) if picked else _neighbours(inputs) for _, inputs in found]
    offsets = np.concatenate([[0], np.cumsum([len(step) for step in steps])]).astype(np.int64)
    values = np.zeros((offsets[-1], 2, 4), np.float32)
    rows = np.full((len(found), 4), len(weight), np.int64)
    for p, ((outputs, inputs), step) in enumerate(zip(found, steps, strict=True)):
        used = np.isin(step, inputs)  # never the -1 of a half that is missing
        block = np.where(used, weight[outputs[:, None, None], np.where(used, step, 0)], 0)
        values[offsets[p] : offsets[p + 1], :, : len(outputs)] = block.transpose(1, 2, 0)
        rows[p, : len(outputs)] = outputs
    every = np.concatenate(steps) if steps else np.zeros((0, 2), np.int64)
    every = np.where(every < 0, every[:, ::-1], every) // 2
    columns = every.reshape(-1) if picked else every[:, 0]
    return as_pairs(torch.from_numpy(values.reshape(-1, 4))).numpy(), columns.astype(np.uint32), offsets, rows


def _neighbours(inputs: np.ndarray) -> np.ndarray:
    """(steps, 2): inputs 2i and 2i + 1 where either of them is there."""
    return np.unique(inputs // 2)[:, None] * 2 + np.arange(2)


def _picked(inputs: np.ndarray) -> np.ndarray:
    """(steps, 2): the n-th even input and the n-th odd one; -1 for one that is missing.

    >>> _picked(np.array([1, 4, 6])).tolist()
    [[4, 1], [6, -1]]
    """
    found = np.full((max(np.bincount(inputs % 2, minlength=2)), 2), -1)
    for half in (0, 1):
        chosen = inputs[inputs % 2 == half]
        found[: len(chosen), half] = chosen
    return found
