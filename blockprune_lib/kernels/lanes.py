"""Vectors at addresses, and the arithmetic on them that an encoder needs besides products: exponential, square root.

A vector is the type of `machine.simd`, WIDTH float32. Nothing here checks an address.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.native import inner
from ..machine.simd import WIDTH, Vector, broadcast

_VECTOR = Vector(WIDTH)
_KIND = ir.VectorType(ir.FloatType(), WIDTH)
_WORDS = ir.VectorType(ir.IntType(32), WIDTH)


def _splat(value: float) -> Any:
    return ir.Constant(_KIND, [ir.Constant(ir.FloatType(), value)] * WIDTH)


def _words(value: int) -> Any:
    return ir.Constant(_WORDS, [ir.Constant(ir.IntType(32), value)] * WIDTH)


@inner
def every(value: float) -> Any:
    """A number in every lane."""
    return broadcast(value, WIDTH)


@intrinsic
def vector_at(typing_context: Any, address: Any) -> Any:
    """vector_at(address) -> the WIDTH floats that begin there."""
    return _VECTOR(types.int64), lambda context, builder, signature, values: builder.load(
        builder.inttoptr(values[0], _KIND.as_pointer()), align=4
    )


@intrinsic
def put(typing_context: Any, address: Any, vector: Any) -> Any:
    """put(address, vector): writes the lanes of vector there."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[1], builder.inttoptr(values[0], _KIND.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(types.int64, vector), generate


@intrinsic
def put_first(typing_context: Any, address: Any, vector: Any, count: Any) -> Any:
    """put_first(address, vector, n): writes only its first n lanes there (all where n >= WIDTH)."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], _KIND.as_pointer())
        mask_kind, i32 = ir.VectorType(ir.IntType(1), WIDTH), ir.IntType(32)
        lane = ir.Constant(_WORDS, [i32(number) for number in range(WIDTH)])
        n = builder.trunc(values[2], i32)
        undefined = ir.Constant(_WORDS, ir.Undefined)
        spread = builder.shuffle_vector(
            builder.insert_element(undefined, n, i32(0)), undefined, ir.Constant(_WORDS, None)
        )
        mask = builder.icmp_signed("<", lane, spread)
        kind = ir.FunctionType(ir.VoidType(), [_KIND, pointer.type, i32, mask_kind])
        suffix = "p0" if "ptr" in str(pointer.type) else f"p0v{WIDTH}f32"
        store = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{WIDTH}f32.{suffix}")
        builder.call(store, [values[1], pointer, i32(4), mask])
        return context.get_dummy_value()

    return types.none(types.int64, vector, types.int64), generate


@intrinsic
def spread(typing_context: Any, address: Any) -> Any:
    """spread(address) -> the float there, in every lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = builder.load(builder.inttoptr(values[0], ir.FloatType().as_pointer()), align=4)
        undefined = ir.Constant(_KIND, ir.Undefined)
        first = builder.insert_element(undefined, number, ir.IntType(32)(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, None))

    return _VECTOR(types.int64), generate


def _binary(name: str) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return getattr(builder, name)(*values)

    return emit


@intrinsic
def plus(typing_context: Any, a: Any, b: Any) -> Any:
    """plus(a, b) -> a + b lane by lane."""
    return a(a, b), _binary("fadd")


@intrinsic
def minus(typing_context: Any, a: Any, b: Any) -> Any:
    """minus(a, b) -> a - b lane by lane."""
    return a(a, b), _binary("fsub")


@intrinsic
def times(typing_context: Any, a: Any, b: Any) -> Any:
    """times(a, b) -> a * b lane by lane."""
    return a(a, b), _binary("fmul")


@intrinsic
def maximum(typing_context: Any, a: Any, b: Any) -> Any:
    """maximum(a, b) -> the larger lane by lane; a where either is NaN."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a, b = values
        return builder.select(builder.fcmp_ordered("<", a, b), b, a)

    return a(a, b), generate


@intrinsic
def where_negative(typing_context: Any, x: Any, a: Any, b: Any) -> Any:
    """where_negative(x, a, b) -> a in the lanes where x < 0, else b."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, a, b = values
        return builder.select(builder.fcmp_ordered("<", x, _splat(0.0)), a, b)

    return a(x, a, b), generate


@intrinsic
def square_root(typing_context: Any, a: Any) -> Any:
    """square_root(a) lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        name = f"llvm.sqrt.v{WIDTH}f32"
        return builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(_KIND, [_KIND]), name), values
        )

    return a(a), generate


#: 2^f on [-1/2, 1/2] as a polynomial, lowest power first; fitted, its relative error at most 2e-9 before rounding.
_EXP2 = (1.0, 0.6931471824645996, 0.24022647738456726, 0.055503323674201965, 0.00961843691766262,
         0.0013398875016719103, 0.00015353361959569156)  # fmt: skip
_MAGIC = 12582912.0  # 1.5 * 2^23: adding it rounds a float to the nearest whole number, which its low bits then hold


@intrinsic
def exp2(typing_context: Any, a: Any) -> Any:
    """exp2(a) -> 2^a lane by lane, for a <= 0; 0 where a < -126; relative error at most 2e-7; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_KIND, [_KIND] * 3), f"llvm.fmuladd.v{WIDTH}f32"
        )
        x = values[0]
        low = builder.fcmp_ordered("<", x, _splat(-126.0))
        x = builder.select(low, _splat(-126.0), x)
        shifted = builder.fadd(x, _splat(_MAGIC))
        fraction = builder.fsub(x, builder.fsub(shifted, _splat(_MAGIC)))
        total = _splat(_EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            total = builder.call(fma, [total, fraction, _splat(coefficient)])
        exponent = builder.shl(builder.bitcast(shifted, _WORDS), _words(23))
        whole = builder.bitcast(builder.add(builder.bitcast(total, _WORDS), exponent), _KIND)
        return builder.select(low, _splat(0.0), whole)

    return a(a), generate
