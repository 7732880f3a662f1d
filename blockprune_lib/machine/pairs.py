"""Pairs of bfloat16: two neighbouring inputs of one token in 32 bits, and the instructions of AVX512-BF16 on them.

    a vector of pairs     | x[2k, t] x[2k+1, t] | x[2k, t+1] x[2k+1, t+1] | ..      16 tokens, two inputs each

A bfloat16 is the upper half of a float32: 8 bits of exponent, 7 of fraction. One instruction, `vdpbf16ps`, multiplies
two vectors of pairs and adds both products of a lane to a float32 sum: twice the multiply-adds of float32 (2 x 16), at
the same rate on AMD since Zen 4. A vector of pairs has the type of a float32 vector here, since it fills the same bits.

LLVM's names are https://llvm.org/docs/LangRef.html; numbers too small for a normal float32 count as zero. The
intrinsics exist only where `HAS_PAIRS`: elsewhere LLVM could not compile them. Left out: tiles (`amx_tiles`).
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import WIDTH, compile_target

#: Whether this machine multiplies pairs of bfloat16, and Numba compiles for it.
HAS_PAIRS = WIDTH == 16 and "+avx512bf16" in compile_target()[1].split(",")


class _BFloat16(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


_FLOATS = ir.VectorType(ir.FloatType(), 16)
_SHORTS, _HALF = ir.VectorType(ir.IntType(16), 32), ir.VectorType(ir.IntType(16), 16)
# LLVM 17 gave the operands the type bfloat; before, they were whole numbers.
_TYPED = llvm.llvm_version_info[0] >= 17
_PAIRS = ir.VectorType(_BFloat16(), 32) if _TYPED else ir.VectorType(ir.IntType(32), 16)
_ROUNDED = ir.VectorType(_BFloat16(), 32) if llvm.llvm_version_info[0] >= 16 else _SHORTS
_ROUNDED_HALF = ir.VectorType(_BFloat16(), 16) if llvm.llvm_version_info[0] >= 16 else _HALF


def _call(builder: Any, name: str, result: Any, operands: list[Any]) -> Any:
    kind = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)


def pairs_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Two float32 arrays of one shape rounded to bfloat16, to nearest: in each uint32, low's number and then high's.

    >>> [hex(pair) for pair in pairs_of(np.float32([1, 2]), np.float32([-1, 0]))]
    ['0xbf803f80', '0x4000']
    """
    first, second = (
        torch.from_numpy(np.ascontiguousarray(half)).bfloat16().view(torch.int16).numpy().view(np.uint16)
        for half in (low, high)
    )
    return first | second.astype(np.uint32) << 16


def multiply_pairs(builder: Any, weight: Any, x: Any, total: Any) -> Any:
    """total + weight[0] x[0] + weight[1] x[1] in each lane: the `Arithmetic` of pairs (see `tile_loop`)."""
    operands = [builder.bitcast(x, _PAIRS), builder.bitcast(weight, _PAIRS)]
    return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, [total, *operands])


def joined(builder: Any, first: Any, second: Any) -> Any:
    """In each lane the first half of `first` and the second half of `second`, two vectors of pairs."""
    words = ir.VectorType(ir.IntType(32), 16)
    low, high = (ir.Constant(words, [ir.IntType(32)(mask)] * 16) for mask in (0x0000FFFF, 0xFFFF0000))
    a, b = builder.and_(builder.bitcast(first, words), low), builder.and_(builder.bitcast(second, words), high)
    return builder.bitcast(builder.or_(a, b), _FLOATS)


@intrinsic
def joined_halves(typing_context: Any, first: Any, second: Any) -> Any:
    """joined_halves(first, second) -> in each lane the first half of one and the second half of the other."""
    return first(first, second), lambda context, builder, signature, values: joined(builder, *values)


@intrinsic
def fma_pairs(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """fma_pairs(a, b, c) -> c + a[0] b[0] + a[1] b[1] in each lane; a and b are pairs, c is float32."""
    return a(a, b, c), lambda context, builder, signature, values: multiply_pairs(builder, *values)


@intrinsic
def paired(typing_context: Any, low: Any, high: Any) -> Any:
    """paired(low, high) -> both vectors rounded to bfloat16 (to nearest, ties to even), as pairs (low, high)."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        low, high = values
        rounded = _call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", _ROUNDED, [high, low])
        words = builder.bitcast(rounded, _SHORTS)
        order = [ir.IntType(32)(word) for lane in range(16) for word in (lane, 16 + lane)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 32), order)
        return builder.bitcast(builder.shuffle_vector(words, words, mask), _FLOATS)

    return low(low, high), generate


@intrinsic
def put_rounded(typing_context: Any, address: Any, vector: Any) -> Any:
    """put_rounded(address, vector): writes its 16 lanes there as bfloat16, 32 bytes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rounded = _call(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", _ROUNDED_HALF, [values[1]])
        builder.store(rounded, builder.inttoptr(values[0], _ROUNDED_HALF.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.none(types.int64, vector), generate


@intrinsic
def first_half(typing_context: Any, address: Any) -> Any:
    """first_half(address) -> the 16 bits there as an int64: the pair (that number, zero)."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = builder.load(builder.inttoptr(values[0], ir.IntType(16).as_pointer()), align=2)
        return builder.zext(word, ir.IntType(64))

    return types.int64(types.int64), generate
