"""Attention of one head over one sequence, features x tokens: a lane is a query, so softmax never adds across lanes.

scores (keys, queries) = k' q                     softmax over keys, lane by lane
a      (features, queries) = v softmax(scores)    softmax's division comes last
"""

from __future__ import annotations

from typing import Any

from ..machine.native import inner
from ..machine.simd import WIDTH, divide
from .lanes import every, exp2, maximum, minus, plus, put, put_first, times, vector_at
from .product import LOG2E, rows_of, width_of
from .tile import dense_tile
from .tile_loop import BYTES, ROW


@inner(inline="always")
def attend(call: Any, start: int, length: int, head: int, memory: int) -> None:
    """One head of the sequence of `length` tokens at `start`; `memory`: scratch, (length + width of a head + 1) rows.

    Where the call has a `position`, it is added to the scores: (heads, keys, queries), already divided by the scale.
    """
    pitch, width = call.pitch, call.width // call.heads
    place = head * width * pitch + 4 * start
    first = 0
    while first < length:
        vectors = width_of((length - first + WIDTH - 1) // WIDTH)
        seed = call.position + head * call.position_head + 4 * first if call.position != 0 else 0
        key = 0
        while key < length:
            rows = rows_of(length - key)
            dense_tile(rows, vectors, call.q + place + 4 * first, pitch, width, call.k + place + 4 * key, 4, pitch,
                       memory + key * ROW, ROW, seed + key * call.position_pitch if seed != 0 else 0,
                       call.position_pitch)  # fmt: skip
            key += rows
        result = memory + length * ROW
        for shift in range(0, vectors * BYTES, BYTES):
            _softmax(memory + shift, length, call.scale, result + width * ROW + shift)
        i = 0
        while i < width:
            rows = rows_of(width - i)
            dense_tile(rows, vectors, memory, ROW, length, call.v + place + i * pitch, pitch, 4, result + i * ROW, ROW,
                       0, 0)  # fmt: skip
            i += rows
        for shift in range(0, vectors * BYTES, BYTES):
            share = vector_at(result + width * ROW + shift)
            left = length - first - shift // 4
            for i in range(width):
                value = times(vector_at(result + i * ROW + shift), share)
                put_first(call.a + place + i * pitch + 4 * first + shift, value, left)  # other sequences follow
        first += vectors * WIDTH


@inner
def largest(scores: int, length: int) -> Any:
    """The largest of `length` rows of scores, lane by lane."""
    peak = vector_at(scores)
    for place in range(scores, scores + length * ROW, ROW):
        peak = maximum(peak, vector_at(place))
    return peak


@inner
def _softmax(scores: int, length: int, scale: float, share: int) -> None:
    """Put e^(scale (score - largest)) in place for one vector of queries, and 1 / their sum at address `share`."""
    factor = every(scale * LOG2E)
    peak, total = times(largest(scores, length), factor), every(0.0)
    for place in range(scores, scores + length * ROW, ROW):
        power = exp2(minus(times(vector_at(place), factor), peak))
        put(place, power)
        total = plus(total, power)
    put(share, divide(every(1.0), total))
