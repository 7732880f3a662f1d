"""The encoder of `pair_encoder` with its products and its attention in tiles of AMX; everything else is as there."""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.amx_tiles import configure_tiles, release_tiles
from ..machine.native import inner
from ..machine.simd import WIDTH
from .amx_attention import attend_in_tiles
from .amx_product import multiply_in_tiles
from .encoder import product_of, result_of, work_through
from .intrinsics import UNKNOWN
from .pair_encoder import do_between_products
from .pair_product import FLOATS, HALVES, PAIRS
from .records import SEQUENCE, pointer_to

_sequences = pointer_to(SEQUENCE)


def amx_encoder_worker(pointer: Any) -> None:
    """Take items of every phase until the last is done; `pointer`: a job whose fourth field is a call's address."""
    configure_tiles()
    work_through(pointer, _do)
    release_tiles()


@inner
def _do(call: Any, layer: Any, kind: int, item: int, memory: int) -> None:
    """One item of a phase."""
    if kind == 2:
        sequence = carray(_sequences(call.sequences), (UNKNOWN,))[item // call.heads]
        attend_in_tiles(call, sequence.start, sequence.length, item % call.heads, memory)
    elif not do_between_products(call, layer, kind, item):
        matrix, part = product_of(layer, kind, item)
        x = call.a if kind == 3 else call.f if kind == 6 else call.pairs
        y = result_of(call, layer, kind, item)
        form = FLOATS if y == call.r else HALVES if y == call.v else PAIRS
        multiply_in_tiles(matrix, part, x, y, call.pitch, (call.tokens + WIDTH - 1) // WIDTH, form,
                          call.x if y == call.r else 0, layer.activation if kind == 5 else 0, memory)  # fmt: skip
