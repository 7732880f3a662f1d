"""How a layer's product is cut into items that threads take: worked out once for a number of tokens and of threads.

Where outputs are in the lanes, an item is some sixes of tokens by a run of bands. Where tokens are, it is a whole tile
of tokens, or, with too few of them, first the transposition of a tile and then a run of its bands. How tokens fall into
register tiles depends on their number alone, or else a sum would depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..machine.simd import WIDTH
from .plan import Side
from .records import PRODUCT, filled

TOKENS_IN_LANES, OUTPUTS_IN_LANES = 0, 1
#: Vectors of tokens in a tile: 64 tokens.
TILE = 64 // WIDTH
#: With fewer tiles than this for each thread, threads share each tile.
OWN_TILES = 4
#: Items for each thread to choose from, so that none waits long for another.
ITEMS = 4
#: Up to so many tokens leave lanes empty, which costs more than tiles of a single vector of outputs do.
FEW = 16
#: Multiply-adds that take longer than it takes to wake another thread.
WORTH_A_THREAD = 1_000_000
#: Bytes of the weights of a run of bands: they stay in L2 while tokens pass.
RUN_BYTES = 600_000


@dataclass(frozen=True, eq=False)
class Cut:
    """How many threads, the memory that they need in floats, `shared` ones first, and the record but for addresses."""

    threads: int
    floats: int
    shared: int
    flags: int
    template: np.ndarray


def cut_for(side: Side, tokens: int, threads: int) -> Cut:
    """The cut of a product by one side of a plan; a small one stays on one thread."""
    threads = max(1, min(threads, side.weights * tokens // WORTH_A_THREAD))
    if side.wide >= 2 or (side.wide and tokens <= FEW):
        return _outputs_in_lanes(side, tokens, threads)
    return _tokens_in_lanes(side, tokens, threads)


def sixes(tokens: int) -> int:
    """How many tiles of six tokens there are before what is left over: less than six, or eight.

    >>> sixes(12), sixes(13), sixes(14), sixes(5)
    (2, 2, 1, 0)
    """
    return tokens // 6 - (tokens % 6 == 2 and tokens > 2)


def _outputs_in_lanes(side: Side, tokens: int, threads: int) -> Cut:
    wanted = 1 if threads == 1 else ITEMS * threads
    runs = min(len(side.work), -(-4 * side.weights // RUN_BYTES))
    chunks = max(1, min(sixes(tokens), -(-wanted // max(1, runs))))
    runs = max(1, min(len(side.work), max(runs, -(-wanted // chunks))))
    chunk = -(-sixes(tokens) // chunks) if chunks > 1 else 0
    chunks = -(-sixes(tokens) // chunk) if chunk else 1
    template = _record(side, tokens, runs, items=runs * chunks, in_lanes=OUTPUTS_IN_LANES, chunks=chunks,
                       chunk=6 * chunk)  # fmt: skip
    return Cut(min(threads, runs * chunks), 0, 0, 0, template)


def _tokens_in_lanes(side: Side, tokens: int, threads: int) -> Cut:
    lanes = WIDTH * min(TILE, -(-tokens // WIDTH))
    tiles = -(-tokens // lanes)
    share = threads > 1 and tiles < OWN_TILES * threads
    runs = min(len(side.work), -(-ITEMS * threads // tiles)) if share else 1
    items = tiles * (1 + runs) if share else tiles
    threads, own = min(threads, items), (side.inputs + side.highest) * lanes
    shared = tiles * side.inputs * lanes if share else 0
    template = _record(side, tokens, runs, items=items, in_lanes=TOKENS_IN_LANES, chunks=tiles, chunk=lanes,
                       pitch=4 * lanes, scratch_bytes=4 * own)  # fmt: skip
    return Cut(threads, shared + threads * own, shared, tiles if share else 0, template)


def _record(side: Side, tokens: int, runs: int, **fields: int) -> np.ndarray:
    """The record's whole numbers; what a call adds is zero."""
    later = dict.fromkeys(("values", "bias", "x", "ldx", "y", "activation", "flags", "turned", "scratch"), 0)
    record = filled(
        PRODUCT, **later | {"next": 0, "slot": 0, "pitch": 0, "scratch_bytes": 0} | fields, **side.tables(),
        kind=side.kind, tokens=tokens, inputs=side.inputs, outputs=side.outputs, runs=runs,
        parts=side.parts(runs).ctypes.data,
    )  # fmt: skip
    return record.view(np.int64)
