"""Four tiles of sums, 32 x 32 float32, which products and attention add up in the matrix unit.

  |    6   |    7   |    x or queries: two tiles side by side
4 | sums 0 | sums 1 |
5 | sums 2 | sums 3 |    weights, keys or values: two tiles below each other
"""

from __future__ import annotations

from ..machine.amx_tiles import TILE_ROWS, multiply_tiles, store_tile, zero_tile
from ..machine.native import inner
from .tile_loop import BYTES, ROW


@inner
def clear_sums() -> None:
    """All four become zero."""
    zero_tile(0), zero_tile(1), zero_tile(2), zero_tile(3)


@inner
def add_products() -> None:
    """Add all four products of the tiles 4 and 5 with 6 and 7."""
    multiply_tiles(0, 4, 6), multiply_tiles(1, 4, 7), multiply_tiles(2, 5, 6), multiply_tiles(3, 5, 7)


@inner
def store_sums(target: int, rows: int) -> None:
    """Write the upper 16 or all 32 `rows` of sums to rows of scratch."""
    store_tile(0, target, ROW), store_tile(1, target + BYTES, ROW)
    if rows > TILE_ROWS:
        store_tile(2, target + TILE_ROWS * ROW, ROW), store_tile(3, target + TILE_ROWS * ROW + BYTES, ROW)
