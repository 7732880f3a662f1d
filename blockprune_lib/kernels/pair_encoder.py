"""The encoder of `encoder` with its products in pairs of bfloat16; sums, residual, LayerNorm and softmax stay float32.

    x               float32, the residual, and beside it `pairs`, the same rounded: what products read
    q, k, a, f      pairs of features
    v               halves: each feature's tokens as neighbours
    r               float32

Phases, threads and the order of sequences are those of `encoder`.
"""

from __future__ import annotations

from typing import Any

from numba import carray

from ..machine.native import inner
from ..machine.simd import WIDTH
from .encoder import PHASES, normalise, product_of, result_of, turn, work_through
from .intrinsics import UNKNOWN
from .pair_attention import attend_in_pairs
from .pair_product import FLOATS, HALVES, PAIRS, multiply_in_pairs, pair_rows
from .records import SEQUENCE, pointer_to
from .tile_loop import BYTES

_sequences = pointer_to(SEQUENCE)


def pair_encoder_worker(pointer: Any) -> None:
    """Take items of every phase until the last is done; `pointer`: a job whose fourth field is a call's address."""
    work_through(pointer, _do)


@inner
def _do(call: Any, layer: Any, kind: int, item: int, memory: int) -> None:
    """One item of a phase."""
    do_item(call, layer, kind, item, memory, attend_in_pairs, multiply_in_pairs)


@inner(inline="always")  # else `attend` and `multiply` would be pointers, as in `work_through`
def do_item(call: Any, layer: Any, kind: int, item: int, memory: int, attend: Any, multiply: Any) -> None:
    """One item of a phase, its attention and its products by two functions that read pairs and write them."""
    if kind == 2:
        sequence = carray(_sequences(call.sequences), (UNKNOWN,))[item // call.heads]
        attend(call, sequence.start, sequence.length, item % call.heads, memory)
    elif kind == 4 or kind == PHASES:
        norm = layer.norm if kind == 4 else layer.final
        normalise(norm, call.width, call.r + item * BYTES, call.x + item * BYTES, call.pitch)
        _pair(call, item)
    elif kind == 0 or kind > PHASES:
        turn(call, item, kind == 0)
        if kind == 0:
            _pair(call, item)
    else:
        matrix, part = product_of(layer, kind, item)
        x = call.a if kind == 3 else call.f if kind == 6 else call.pairs
        y = result_of(call, layer, kind, item)
        form = FLOATS if y == call.r else HALVES if y == call.v else PAIRS
        multiply(matrix, part, x, y, call.pitch, (call.tokens + WIDTH - 1) // WIDTH, form,
                 call.x if y == call.r else 0, layer.activation if kind == 5 else 0, memory)  # fmt: skip


@inner
def _pair(call: Any, item: int) -> None:
    """Round one vector of tokens of x to pairs."""
    pair_rows(call.x + item * BYTES, call.pitch, call.width, call.pairs + item * BYTES, call.pitch, 1)
