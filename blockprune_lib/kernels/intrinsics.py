"""What a kernel needs of the machine besides vectors: raw memory, a shared counter, a prefetch.

None of these checks a bound: whoever writes a job (see `parallel`) checks shapes and indices first, in Python. Left
out: anything that knows what is multiplied.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.native import inner

#: Length given to arrays over raw memory: no kernel asks for it.
UNKNOWN = 1 << 60


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """An integer address as a pointer to elements of the number type of `like`."""
    kind = types.CPointer(types.unliteral(like))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(kind))

    return kind(types.int64, types.unliteral(like)), generate


@intrinsic
def address_of(typing_context: Any, pointer: Any) -> Any:
    """The address that a pointer holds, as an integer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(values[0], ir.IntType(64))

    return types.int64(pointer), generate


@inner
def floats_at(address: int) -> np.ndarray:
    """The float32 in memory from `address` on, as an array that owns nothing and does not know its length."""
    return carray(_pointer(address, np.float32(0)), (UNKNOWN,), np.float32)


@inner
def int32_at(address: int) -> np.ndarray:
    """The int32 in memory from `address` on."""
    return carray(_pointer(address, np.int32(0)), (UNKNOWN,), np.int32)


@inner
def int64_at(address: int) -> np.ndarray:
    """The int64 in memory from `address` on."""
    return carray(_pointer(address, np.int64(0)), (UNKNOWN,), np.int64)


@intrinsic
def fetch_add(typing_context: Any, array: Any, index: Any, amount: Any) -> Any:
    """fetch_add(array, index, n): adds n to an int64 in one indivisible step and returns what it was before.

    What this thread wrote before is seen by whoever reads the sum.
    """
    signature = types.int64(array, types.intp, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [values[1]]), values[2], "acq_rel")

    return signature, generate


@intrinsic
def fetch_line(typing_context: Any, address: Any) -> Any:
    """fetch_line(address): asks for the cache line there to read it, and waits for nothing."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        ask_for(builder, builder.inttoptr(values[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), generate


def ask_for(builder: Any, pointer: Any, write: int = 0, level: int = 3) -> None:
    """Code that asks for the cache line at an i8 pointer; `level` as LLVM counts: 3 into every cache, 2 not into L1."""
    i32 = ir.IntType(32)
    suffix = "p0i8" if llvm.llvm_version_info[0] < 15 else "p0"  # how LLVM spells a pointer: it once said to what
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.prefetch.{suffix}")
    builder.call(function, [pointer, i32(write), i32(level), i32(1)])  # of data
