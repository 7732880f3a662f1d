"""Attention of one head over one sequence in pairs of bfloat16: as `attention`, with both products in pairs.

scores (keys, queries) = k' q                     pairs of features; softmax in float32, its results as pairs of keys
a      (features, queries) = v softmax(scores)    v has its tokens as neighbours, so two of them are a pair of keys
"""

from __future__ import annotations

from typing import Any

from ..machine.native import inner
from ..machine.pairs import first_half, paired
from ..machine.simd import WIDTH, divide
from .attention import largest
from .intrinsics import int64_at
from .lanes import every, exp2, minus, plus, put, put_first, times, vector_at
from .pair_tile import dense_pairs_tile
from .product import LOG2E, rows_of, width_of
from .tile_loop import BYTES, ROW


@inner(inline="always")
def attend_in_pairs(call: Any, start: int, length: int, head: int, memory: int) -> None:
    """One head of the sequence of `length` tokens at `start`; `memory`: scratch, its rows as `precision` counts them.

    Where the call has a `position`, it is added to the scores: (heads, keys, queries), already divided by the scale.
    """
    pitch, width = call.pitch, call.width // call.heads
    place = head * width // 2 * pitch + 4 * start
    values = call.v + head * width * (pitch // 2) + 2 * start
    result = memory + length * ROW
    share, alone = result + width * ROW, result + (width + 1) * ROW
    if length % 2 == 1:  # the last key has no partner: a word of its own for each feature, the second half zero
        words = int64_at(alone)
        for i in range(width):
            words[i] = first_half(values + i * (pitch // 2) + 2 * (length - 1))
    first = 0
    while first < length:
        vectors = width_of((length - first + WIDTH - 1) // WIDTH)
        seed = call.position + head * call.position_head + 4 * first if call.position != 0 else 0
        key = 0
        while key < length:
            rows = rows_of(length - key)
            dense_pairs_tile(rows, vectors, call.q + place + 4 * first, pitch, width // 2, call.k + place + 4 * key, 4,
                             pitch, memory + key * ROW, ROW, seed + key * call.position_pitch if seed != 0 else 0,
                             call.position_pitch)  # fmt: skip
            key += rows
        for shift in range(0, vectors * BYTES, BYTES):
            softmax_of_pairs(memory + shift, length, call.scale, share + shift)
        i = 0
        while i < width:
            rows = rows_of(width - i)
            dense_pairs_tile(rows, vectors, memory, ROW, length // 2, values + i * (pitch // 2), pitch // 2, 4,
                             result + i * ROW, ROW, 0, 0)  # fmt: skip
            if length % 2 == 1:
                dense_pairs_tile(rows, vectors, memory + length // 2 * ROW, ROW, 1, alone + 8 * i, 8, 0,
                                 result + i * ROW, ROW, result + i * ROW, ROW)  # fmt: skip
            i += rows
        put_weighted(call.a + place + 4 * first, pitch, width, vectors, length - first, result, share)
        first += vectors * WIDTH


@inner
def put_weighted(a: int, pitch: int, width: int, vectors: int, left: int, result: int, share: int) -> None:
    """Write the rows of `result` times 1 / their sums, at `share`, as pairs of features, for at most `left` queries."""
    for shift in range(0, vectors * BYTES, BYTES):
        scale = vector_at(share + shift)
        for i in range(0, width, 2):
            low = times(vector_at(result + i * ROW + shift), scale)
            high = times(vector_at(result + (i + 1) * ROW + shift), scale)
            put_first(a + i // 2 * pitch + shift, paired(low, high), left - shift // 4)


@inner
def softmax_of_pairs(scores: int, length: int, scale: float, share: int) -> None:
    """e^(scale (score - largest)) as pairs of keys from `scores` on, and 1 / their sum at address `share`."""
    factor = every(scale * LOG2E)
    peak, total = times(largest(scores, length), factor), every(0.0)
    for key in range(0, length, 2):
        place = scores + key * ROW
        low, high = exp2(minus(times(vector_at(place), factor), peak)), every(0.0)
        if key + 1 < length:
            high = exp2(minus(times(vector_at(place + ROW), factor), peak))
        put(scores + key // 2 * ROW, paired(low, high))
        total = plus(total, plus(low, high))
    put(share, divide(every(1.0), total))
