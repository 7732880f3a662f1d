"""In which precision a whole encoder's products run: one entry says what a plan and a call need to know of each.

Left out: which precision is the fastest here (`machine.peak.fastest_precision`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..machine.amx_tiles import HAS_TILES
from ..machine.pairs import HAS_PAIRS
from ..pruning.packing import PackedMatrix
from .amx_attention import amx_attention_rows
from .amx_encoder import amx_encoder_worker
from .amx_product import amx_product_rows
from .amx_walk import amx_walk_of, modelled_cycles
from .encoder import encoder_worker
from .pair_encoder import pair_encoder_worker
from .pair_product import SCRATCH_ROWS
from .pair_walk import pair_walk_of
from .tile_loop import ROW
from .walk import Walk, walk_of


@dataclass(frozen=True)
class Precision:
    """How an encoder runs in one precision.

    worker         the kernel that runs a call
    walk           a packed matrix as that kernel walks it
    rows           (features, inner features) -> {buffer: its rows}, a row being 4 bytes a token
    scratch_rows   (longest sequence, features of a head, of a layer at most) -> rows of `VECTORS` vectors that each
                   thread needs
    missing        what this machine lacks for it; empty: nothing
    even_heads     whether a head must have an even number of features
    """

    name: str
    worker: Callable[[Any], None]
    walk: Callable[[PackedMatrix], Walk]
    rows: Callable[[int, int], dict[str, int]]
    scratch_rows: Callable[[int, int, int], int]
    missing: str = ""
    even_heads: bool = False


def _float32_rows(width: int, inner: int) -> dict[str, int]:
    return dict.fromkeys(("x", "q", "k", "v", "a", "r"), width) | {"f": inner, "pairs": 0}


def _bfloat16_rows(width: int, inner: int) -> dict[str, int]:
    half = (width + 1) // 2
    return {"x": width, "r": width, "f": (inner + 1) // 2} | dict.fromkeys(("q", "k", "v", "a", "pairs"), half)


def _pairs_scratch(longest: int, head: int, most: int) -> int:
    return max(SCRATCH_ROWS, longest + head + 1 + -(-8 * head // ROW))


def _tiles_scratch(longest: int, head: int, most: int) -> int:
    return max(_pairs_scratch(longest, head, most), amx_product_rows(most), amx_attention_rows(longest, head))


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision(
            "float32", encoder_worker, walk_of, _float32_rows, lambda longest, head, most: longest + head + 1
        ),
        Precision("bfloat16", amx_encoder_worker, amx_walk_of, _bfloat16_rows, _tiles_scratch, even_heads=True)
        if HAS_TILES else
        Precision(
            "bfloat16", pair_encoder_worker, lambda packed: pair_walk_of(walk_of(packed)), _bfloat16_rows,
            _pairs_scratch, "" if HAS_PAIRS else "a processor with AVX512-BF16, for which Numba compiles",
            even_heads=True,
        ),
    )
}  # fmt: skip


#: Modelled cycles of one core for a kept weight in float32 and 32 tokens: 64 operations a cycle at three quarters of
#: the peak; single weights reach a third of it.
FLOAT32, FLOAT32_ALONE = 32 * 2 / 64 / 0.75, 32 * 2 / 64 / 0.33


def slower_in_tiles(matrices: Iterable[PackedMatrix]) -> bool:
    """Whether tiles, for all of these together, are modelled to be slower than float32: they do not fit its groups."""
    tiles = single = 0.0
    for packed in matrices if HAS_TILES else ():
        tiles += modelled_cycles(packed)
        single += packed.elements * (FLOAT32_ALONE if packed.group_shape == (1, 1) else FLOAT32)
    return tiles > single


def check_precision(precision: str, lacks: str = "") -> None:
    """Raise ValueError where this machine, or else the caller, lacks what a precision needs; "auto" needs nothing."""
    missing = "" if precision == "auto" else PRECISIONS[precision].missing or lacks
    if missing:
        raise ValueError(f"precision must be 'float32' or 'auto' here; got {precision!r}, which needs {missing}")
