"""AMX, the matrix unit of recent Intel servers: eight tiles of 16 rows x 64 bytes, and one instruction that multiplies.

    c (16 x 16 float32)  +=  a (16 x 32 bfloat16)  times  b (32 x 16 bfloat16, in pairs: 16 rows of 16 pairs)

    a: 16 outputs x 32 inputs           b: a row is two inputs, side by side     c: 16 outputs x 16 tokens
       w[0, 0] w[0, 1] .. w[0, 31]         x[0, t] x[1, t] | x[0, t+1] ..           y[0, t] y[0, t+1] ..

8192 multiply-adds in 16 cycles. A tile is named by a literal number, 0 to 7; all have the one shape above, which
`configure_tiles` sets in the calling thread and `release_tiles` takes back: between the two, nothing but kernels may
run. Numbers too small for a normal float32 count as zero, as with `pairs`.

The instructions are https://www.felixcloutier.com/x86/tdpbf16ps and its neighbours. They exist only where `HAS_TILES`:
elsewhere LLVM could not compile them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .amx import request_tiles
from .pairs import HAS_PAIRS
from .simd import compile_target

#: Rows of a tile and bytes of a row: 16 float32, or 16 pairs of bfloat16.
TILE_ROWS, TILE_ROW_BYTES = 16, 64
TILE_BYTES = TILE_ROWS * TILE_ROW_BYTES
#: Multiply-adds of one `multiply_tiles`: 16 x 16 sums, 32 inputs.
OF_TILES = TILE_ROWS * 16 * 32
#: Whether Numba compiles for tiles of bfloat16, and the system lets this process use them.
HAS_TILES = HAS_PAIRS and {"+amx-bf16", "+amx-tile"} <= set(compile_target()[1].split(",")) and request_tiles()

_I8, _I64 = ir.IntType(8), ir.IntType(64)
#: Palette 1, then for eight tiles 64 bytes a row (16 bits each, from byte 16 on) and 16 rows (a byte each, from 48 on).
_SHAPES = bytes([1, *[0] * 15, *[TILE_ROW_BYTES, 0] * 8, *[0] * 16, *[TILE_ROWS] * 8, *[0] * 8])


def _call(builder: Any, name: str, operands: list[Any]) -> None:
    kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), operands)


def _moved(instruction: str, tile: Any) -> Any:
    """The type and the code of an instruction that moves a tile from or to (address, bytes from row to row)."""
    number = tile.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[1], _I8.as_pointer())
        _call(builder, instruction, [_I8(number), pointer, values[2]])
        return context.get_dummy_value()

    return types.none(tile, types.int64, types.int64), generate


@intrinsic
def configure_tiles(typing_context: Any) -> Any:
    """configure_tiles(): all eight tiles of the calling thread get 16 rows of 64 bytes, and are zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.ArrayType(_I8, len(_SHAPES))
        memory = cgutils.alloca_once_value(builder, ir.Constant(kind, bytearray(_SHAPES)))
        _call(builder, "ldtilecfg", [builder.bitcast(memory, _I8.as_pointer())])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def release_tiles(typing_context: Any) -> Any:
    """release_tiles(): the calling thread has no tiles any more, so that a switch of threads need not save them."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _call(builder, "tilerelease", [])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic(prefer_literal=True)
def zero_tile(typing_context: Any, tile: Any) -> Any:
    """zero_tile(tile): all its numbers become 0."""
    number = tile.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _call(builder, "tilezero", [_I8(number)])
        return context.get_dummy_value()

    return types.none(tile), generate


@intrinsic(prefer_literal=True)
def load_tile(typing_context: Any, tile: Any, address: Any, apart: Any) -> Any:
    """load_tile(tile, address, apart): reads 16 rows of 64 bytes, `apart` bytes from each other."""
    return _moved("tileloadd64", tile)


@intrinsic(prefer_literal=True)
def store_tile(typing_context: Any, tile: Any, address: Any, apart: Any) -> Any:
    """store_tile(tile, address, apart): writes its 16 rows of 64 bytes, `apart` bytes from each other."""
    return _moved("tilestored64", tile)


@intrinsic(prefer_literal=True)
def multiply_tiles(typing_context: Any, c: Any, a: Any, b: Any) -> Any:
    """multiply_tiles(c, a, b): c += a b, as drawn above."""
    numbers = [operand.literal_value for operand in (c, a, b)]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _call(builder, "tdpbf16ps", [_I8(number) for number in numbers])
        return context.get_dummy_value()

    return types.none(c, a, b), generate
