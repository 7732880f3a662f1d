"""The rung in bfloat16: two numbers in each lane, and one instruction that multiplies pairs and adds both to a sum.

    sum[t] += w[0] * x[t, 0] + w[1] * x[t, 1]            for all lanes t; w and x in bfloat16, the sum in float32

bfloat16 is the upper half of a float32: 8 bits of exponent and 7 of fraction. Two inputs of a token lie side by side,
so x is (inputs / 2, tokens, 2); here its pairs travel as float32 that nobody reads as a number. The kernel is that of
`turned`, with `dot` in place of `fma` and half the steps. Where one input of a pair was removed, its weight is zero.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from torch import Tensor

from ...machine.native import native
from ...machine.simd import LANES, WIDTH, Vector, broadcast, compile_target
from ...pruning.packing import PackedMatrix
from .turned import four_vectors, pieces, put_four

#: Whether one instruction multiplies pairs here (AVX512-BF16). Elsewhere a few ordinary ones give the same sums.
HAS_PAIRS: bool = LANES == 16 and "+avx512bf16" in compile_target()[1] and llvm.llvm_version_info[0] >= 17


class _BFloat16(ir.Type):
    """LLVM's type, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


_FLOATS, _WORDS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(32), WIDTH)
_PAIRS = ir.VectorType(_BFloat16(), 2 * WIDTH)


@intrinsic
def dot(typing_context: Any, a: Any, b: Any, total: Any) -> Any:
    """dot(a, b, sum) -> sum + a[0] b[0] + a[1] b[1] in each lane; a and b hold pairs of bfloat16."""
    if not all(vector == Vector(WIDTH) for vector in (a, b, total)):
        raise TypingError(f"dot needs three vectors of {WIDTH} lanes; got {a}, {b}, {total}")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _one_instruction(builder, *values) if HAS_PAIRS else _ordinary_ones(builder, *values)

    return total(a, b, total), generate


def _one_instruction(builder: Any, a: Any, b: Any, total: Any) -> Any:
    kind, name = ir.FunctionType(_FLOATS, [_FLOATS, _PAIRS, _PAIRS]), "llvm.x86.avx512bf16.dpbf16ps.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [total, builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)])


def _ordinary_ones(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """Each half of a lane becomes a float32: the upper one by clearing the lower, the lower one by a shift."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f32")
    upper, sixteen = (ir.Constant(_WORDS, [number] * WIDTH) for number in (-65536, 16))

    def halves(vector: Any) -> tuple[Any, Any]:
        words = builder.bitcast(vector, _WORDS)
        low, high = builder.shl(words, sixteen), builder.and_(words, upper)
        return builder.bitcast(low, _FLOATS), builder.bitcast(high, _FLOATS)

    for x, y in zip(halves(a), halves(b), strict=True):
        total = builder.call(fma, [x, y, total])
    return total


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


def as_pairs(matrix: Tensor) -> Tensor:
    """(n, m) float, n even, rounded to bfloat16: rows 2i and 2i + 1 as pairs in row i, (n / 2, m) float32 to look at.

    >>> as_pairs(torch.tensor([[1.0], [2.0]])).view(torch.bfloat16)
    tensor([[1., 2.]], dtype=torch.bfloat16)
    """
    n, m = matrix.shape
    pairs = matrix.bfloat16().reshape(n // 2, 2, m).transpose(1, 2).contiguous()
    return pairs.reshape(-1).view(torch.float32).reshape(n // 2, m)


def pair_tables(packed: PackedMatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `turned.tables` gives, with a step for each *pair* of inputs that a piece needs."""
    found, weight = pieces(packed), packed.to_dense().detach().numpy()
    steps = [np.unique(inputs // 2) for _, inputs in found]
    offsets = np.concatenate([[0], np.cumsum([len(step) for step in steps])]).astype(np.int64)
    values = np.zeros((offsets[-1], 2, 4), np.float32)
    rows = np.full((len(found), 4), len(weight), np.int64)
    for p, (outputs, inputs) in enumerate(found):
        at = offsets[p] + np.searchsorted(steps[p], inputs // 2)
        values[at[:, None], inputs[:, None] % 2, np.arange(len(outputs))] = weight[np.ix_(outputs, inputs)].T
        rows[p, : len(outputs)] = outputs
    columns = np.concatenate(steps).astype(np.uint32) if steps else np.zeros(0, np.uint32)
    return as_pairs(torch.from_numpy(values.reshape(-1, 4))).numpy(), columns, offsets, rows
