"""The few machine words that a kernel needs besides vectors: raw memory, one element, a shared counter, a transpose.

None of these checks a bound: whoever writes a job (see `threads`) checks shapes and indices first, in Python. Left out:
anything that knows what is multiplied.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from blockprune_lib.vectors import HAS_FMA, LANES, Vector

#: Floats in one vector of a tile. Arm has 32 registers of 4 lanes: there a vector is a pair, which LLVM splits.
WIDTH: int = 8 if HAS_FMA and LANES == 4 else LANES

#: Length given to arrays over raw memory: no kernel asks for it.
UNKNOWN = 1 << 60


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """An integer address as a pointer to elements of the number type of `like`."""
    kind = types.CPointer(types.unliteral(like))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(kind))

    return kind(types.int64, types.unliteral(like)), generate


@njit
def floats_at(address: int) -> np.ndarray:
    """The float32 in memory from `address` on, as an array that owns nothing and does not know its length."""
    return carray(_pointer(address, np.float32(0)), (UNKNOWN,), np.float32)


@njit
def int32_at(address: int) -> np.ndarray:
    """The int32 in memory from `address` on."""
    return carray(_pointer(address, np.int32(0)), (UNKNOWN,), np.int32)


@njit
def int64_at(address: int) -> np.ndarray:
    """The int64 in memory from `address` on."""
    return carray(_pointer(address, np.int64(0)), (UNKNOWN,), np.int64)


@intrinsic
def element(typing_context: Any, array: Any, index: Any) -> Any:
    """element(array, index): array[index] without Numba's test for a negative index, which costs in an inner loop."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        where = context.cast(builder, values[1], index, types.intp)
        return builder.load(builder.gep(data, [where]))

    return array.dtype(array, index), generate


@intrinsic
def fetch_add(typing_context: Any, array: Any, index: Any, amount: Any) -> Any:
    """fetch_add(array, index, n): adds n to an int64 in one indivisible step and returns what it was before."""
    signature = types.int64(array, types.intp, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [values[1]]), values[2], "monotonic")

    return signature, generate


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """prefetch(array, index): asks for that element's cache line, and waits for nothing."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        pointer = builder.bitcast(builder.gep(data, [values[1]]), ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.prefetch.{_suffix(pointer.type)}")
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])  # for reading, into every level, data
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


def _suffix(pointer: Any) -> str:
    """How LLVM spells a pointer in an intrinsic's name: it once said to what."""
    return "p0i8" if llvm.llvm_version_info[0] < 15 else "p0"


@intrinsic
def transpose(
    typing_context: Any, source: Any, start: Any, stride: Any, target: Any, target_start: Any, target_stride: Any
) -> Any:
    """Write the transpose of WIDTH rows of WIDTH floats, `stride` apart, to rows `target_stride` apart.

    target[target_start + j * target_stride + i] = source[start + i * stride + j]. All rows pass through registers:
    first 4 x 4 squares within quarters of a register, then the quarters change places.
    """
    arguments = (source, types.intp, types.intp, target, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        from_data = context.make_array(source)(context, builder, values[0]).data
        to_data = context.make_array(target)(context, builder, values[3]).data
        vector = context.get_value_type(Vector(WIDTH))

        def address(data: Any, first: Any, step: Any, row: int) -> Any:
            offset = builder.add(first, builder.mul(step, ir.Constant(step.type, row)))
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        def shuffle(a: Any, b: Any, picks: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), picks)
            return builder.shuffle_vector(a, b, mask)

        rows = [builder.load(address(from_data, values[1], values[2], i), align=4) for i in range(WIDTH)]
        for row, column in enumerate(_transposed(rows, shuffle)):
            builder.store(column, address(to_data, values[4], values[5], row), align=4)
        return context.get_dummy_value()

    return types.none(*arguments), generate


def _transposed(rows: list[Any], shuffle: Any) -> list[Any]:
    """The columns of a square of registers, by two-register shuffles that stay within quarters as long as they can."""
    width = len(rows)
    quarters = range(0, width, 4)

    def pick(a: Any, b: Any, four: tuple[int, int, int, int]) -> Any:
        return shuffle(a, b, [q + (i if i < 4 else width + i - 4) for q in quarters for i in four])

    parts: list[list[Any]] = []  # parts[g][c]: in quarter q, column 4q + c of rows 4g .. 4g + 3
    for first in quarters:
        a, b, c, d = rows[first : first + 4]
        ab, AB = pick(a, b, (0, 4, 1, 5)), pick(a, b, (2, 6, 3, 7))
        cd, CD = pick(c, d, (0, 4, 1, 5)), pick(c, d, (2, 6, 3, 7))
        low, high = (0, 1, 4, 5), (2, 3, 6, 7)
        parts.append([pick(ab, cd, low), pick(ab, cd, high), pick(AB, CD, low), pick(AB, CD, high)])
    columns: list[Any] = [None] * width
    for c in range(4):
        for q, register in enumerate(_exchanged([part[c] for part in parts], shuffle, width)):
            columns[4 * q + c] = register
    return columns


def _exchanged(registers: list[Any], shuffle: Any, width: int) -> list[Any]:
    """Register q of the result holds quarter q of each of `registers`, in their order."""
    count, step = len(registers), 1
    while step < count:
        swapped = list(registers)
        for i in range(count):
            if not i & step:
                a, b = registers[i], registers[i + step]
                # quarters whose number lacks the bit `step` come from a, the others from b's matching quarter
                even = [(q if not q & step else width // 4 + q - step) for q in range(count)]
                odd = [(q + step if not q & step else width // 4 + q) for q in range(count)]
                swapped[i] = shuffle(a, b, [4 * q + k for q in even for k in range(4)])
                swapped[i + step] = shuffle(a, b, [4 * q + k for q in odd for k in range(4)])
        registers = swapped
        step *= 2
    return registers
