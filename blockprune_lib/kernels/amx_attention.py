"""Attention of one head over one sequence by tiles of AMX: as `pair_attention`, with both products in tiles.

    scores (keys, queries) = k' q            k turned once into rows of keys; q as it lies: pairs of features
    a      (features, queries) = v p         v as it lies: rows of features; p, the softmax, in pairs of keys

Where a sequence ends within a tile, the values of the keys beyond it are replaced by zeros: they belong to the next
sequence, and zero times infinite is not zero. Heads whose features fill no whole tiles go through `pair_attention`.
"""

from __future__ import annotations

from typing import Any

from ..machine.amx_tiles import TILE_BYTES, TILE_ROW_BYTES, load_tile
from ..machine.native import inner
from ..machine.pairs import first_half
from .amx_sums import add_products, clear_sums, store_sums
from .intrinsics import int32_at
from .lanes import every, plus, put, put_first, vector_at
from .pair_attention import attend_in_pairs, put_weighted, softmax_of_pairs
from .product import width_of
from .tile_loop import BYTES, ROW, WIDTH
from .transpose import square_in

#: Features of a head must fill tiles of 16 pairs; keys come in tiles of 16, and as pairs in tiles of 32.
FEATURES, KEYS = 32, 32


def amx_attention_rows(longest: int, head: int) -> int:
    """Rows of scratch: scores, results, the sums' inverses, the turned keys and the last values."""
    keys = -(-longest // KEYS) * KEYS
    return keys + head + 1 + -(-keys * head * 2 // ROW) + -(-head * 64 // ROW)


@inner(inline="always")
def attend_in_tiles(call: Any, start: int, length: int, head: int, memory: int) -> None:
    """One head of the sequence of `length` tokens at `start`; `memory`: scratch, `amx_attention_rows` rows."""
    width = call.width // call.heads
    if width % FEATURES != 0:
        attend_in_pairs(call, start, length, head, memory)
        return
    pitch, keys = call.pitch, (length + KEYS - 1) // KEYS * KEYS
    place = head * width // 2 * pitch + 4 * start
    values = call.v + head * width * (pitch // 2) + 2 * start
    result = memory + keys * ROW
    share = result + width * ROW
    turned = share + ROW
    last = turned + keys * width * 2
    chunks = width // FEATURES
    for key in range(0, keys, 16):
        for chunk in range(chunks):
            square_in(call.k + place + 4 * key + chunk * 16 * pitch, pitch, 16,
                      turned + (key // 16 * chunks + chunk) * TILE_BYTES, TILE_ROW_BYTES)  # fmt: skip
    whole = length // KEYS * KEYS
    if whole < length:
        _last_values(values + 2 * whole, pitch // 2, width, length - whole, last)
    first = 0
    while first < length:
        vectors = width_of((length - first + WIDTH - 1) // WIDTH)
        for shift in range(0, vectors * BYTES, 2 * BYTES):
            for key in range(0, keys, KEYS):
                _scores(turned + key // 16 * chunks * TILE_BYTES, chunks, call.q + place + 4 * first + shift, pitch,
                        memory + key * ROW + shift)  # fmt: skip
        if call.position != 0:
            seed = call.position + head * call.position_head + 4 * first
            for key in range(length):
                for shift in range(0, vectors * BYTES, BYTES):
                    row = memory + key * ROW + shift
                    put(row, plus(vector_at(row), vector_at(seed + key * call.position_pitch + shift)))
        for shift in range(0, vectors * BYTES, BYTES):
            softmax_of_pairs(memory + shift, length, call.scale, share + shift)
            for pair in range((length + 1) // 2, keys // 2):
                put(memory + pair * ROW + shift, every(0.0))
        for shift in range(0, vectors * BYTES, 2 * BYTES):
            for feature in range(0, width, FEATURES):
                _weighted(values + feature * (pitch // 2), pitch // 2, whole // KEYS, last + feature * 64,
                          keys // KEYS, memory + shift, result + feature * ROW + shift)  # fmt: skip
        put_weighted(call.a + place + 4 * first, pitch, width, vectors, length - first, result, share)
        first += vectors * WIDTH


@inner
def _scores(turned: int, chunks: int, q: int, pitch: int, scores: int) -> None:
    """32 keys by 32 queries: rows of 16 keys and 16 pairs of features, times pairs of features by queries."""
    clear_sums()
    for chunk in range(chunks):
        load_tile(4, turned + chunk * TILE_BYTES, TILE_ROW_BYTES)
        load_tile(5, turned + (chunks + chunk) * TILE_BYTES, TILE_ROW_BYTES)
        load_tile(6, q + chunk * 16 * pitch, pitch)
        load_tile(7, q + chunk * 16 * pitch + BYTES, pitch)
        add_products()
    store_sums(scores, KEYS)


@inner
def _weighted(values: int, apart: int, whole: int, last: int, chunks: int, p: int, result: int) -> None:
    """32 features by 32 queries: rows of features by keys, `apart` bytes from each other, times pairs of keys."""
    clear_sums()
    for chunk in range(chunks):
        if chunk < whole:
            load_tile(4, values + 64 * chunk, apart)
            load_tile(5, values + 64 * chunk + 16 * apart, apart)
        else:
            load_tile(4, last, TILE_ROW_BYTES)
            load_tile(5, last + TILE_BYTES, TILE_ROW_BYTES)
        load_tile(6, p + chunk * 16 * ROW, ROW)
        load_tile(7, p + chunk * 16 * ROW + BYTES, ROW)
        add_products()
    store_sums(result, FEATURES)


@inner
def _last_values(values: int, apart: int, features: int, keys: int, last: int) -> None:
    """The values of the last `keys` keys of a sequence, fewer than 32, as rows of 32 with zeros behind."""
    for i in range(features):
        row, target = values + i * apart, last + 64 * i
        put(target, every(0.0))
        put_first(target, vector_at(row), keys // 2)
        if keys % 2 == 1:
            int32_at(target)[keys // 2] = first_half(row + 2 * (keys - 1))
