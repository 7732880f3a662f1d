"""A packed matrix as tiles of AMX: 32 or 16 outputs by chunks of 32 inputs, which are 16 pairs.

    direct     a strip of neighbouring outputs, and the chunks of neighbouring inputs that any of them keeps: x is read
               as it lies, in pairs
    brought    such a strip, and any 16 even inputs with any 16 odd ones that it keeps: their halves of rows are brought
               together in memory first, which costs as much as multiplying them twice
    scattered  for each block of inputs the outputs of a band that keep any of it, wherever they are: x is read as it
               lies, and the sums are added to their outputs' rows one by one

    32 outputs, chunk k                     weights, 16 x 16 pairs of bfloat16 each, one after the other
        tile of outputs 0 .. 15             [0, k] [1, k]   [0, k + 1] [1, k + 1]  ..
        tile of outputs 16 .. 31

Tiles are whole: where an output does not keep an input of its chunk, its weight there is zero. So groups that 16
outputs or 32 inputs share fill tiles, and single weights leave them mostly zero. Each matrix gets the way of the least
modelled cost. A weight of zero still multiplies: where an input that an output does not keep is infinite or NaN, that
output is NaN, as in a dense product with zeros.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..machine.pairs import pairs_of
from ..pruning.packing import PackedMatrix
from ..pruning.structure import expand
from .records import BLOCK, SET, STRIP
from .walk import Walk, equal_runs

#: Kinds of a walk, beside those of `walk` and `pair_walk`.
DIRECT, BROUGHT, SCATTERED = 3, 4, 5
#: Pairs of inputs in a chunk, outputs in a tile, words (pairs of weights) in a tile.
CHUNK, TILE, WORDS = 16, 16, 256
#: Outputs of a band of the scattered kind, and the widths of its blocks of inputs.
BAND, WIDTHS = 128, (32, 64, 128)
#: Modelled cycles for 32 tokens: to multiply a tile of weights, to bring a chunk of x together, to add one output's
#: sums to its row, to begin tiles and store them, to write a strip's results.
MULTIPLY, BRING, ADD, BEGIN, FINISH = 45.0, 95.0, 6.0, 50.0, 90.0


def amx_walk_of(packed: PackedMatrix) -> Walk:
    """The walk of a valid packed matrix, its weights rounded to bfloat16 (to nearest), for x stored as pairs.

    A strip's `steps` are chunks and its `apart` is how many tiles of weights a chunk has. `index` holds, from a strip's
    `begin` on: for each chunk its first row of pairs (direct); two rows for each of its 16 pairs, of the even input and
    of the odd one (brought). A scattered strip's `begin` is its first row of pairs, and from its `output` on `index`
    holds the numbers of its outputs within their band.
    """
    way = _best_way(packed)
    tables = way.tables()
    strips = tables.strips
    tiles = strips["steps"] * strips["apart"]
    strips["weight"] = (np.cumsum(tiles) - tiles) * WORDS
    parts = equal_runs(way.work, min(len(way.work), 32))
    if way.kind == BROUGHT:  # strips for which the same is brought stay together
        begins = np.append(np.flatnonzero(np.diff(strips["begin"], prepend=-1)), len(strips))
        parts = begins[np.searchsorted(begins, parts)].astype(np.int64)
    return Walk(
        way.kind, *packed.shape, _weights(packed, tables), way.height, parts,
        np.append(tables.index, [0, 0]).astype(np.int32), strips, tables.bands, np.zeros(0, BLOCK), np.zeros(0, SET),
    )  # fmt: skip


def modelled_cycles(packed: PackedMatrix) -> float:
    """Modelled cycles of one core for the product with 32 tokens in tiles.

    >>> from blockprune_lib.pruning import BlockStructure, pack
    >>> import torch
    >>> modelled_cycles(pack(torch.ones(32, 64), BlockStructure.tile(32, 32)))  # a strip, 2 chunks of 2 tiles
    460.0
    """
    return float(_best_way(packed).work.sum())


def _best_way(packed: PackedMatrix) -> _Direct | _Brought | _Scattered:
    M, N = packed.shape
    kept = np.zeros((-(-M // BAND) * BAND, N + N % 2), bool)
    kept[:M, :N] = expand(packed.keep(), packed.structure, packed.shape).numpy()
    ways: list[_Direct | _Brought | _Scattered] = [_Brought(kept, M, height) for height in (32, 16)]
    if N + N % 2 >= 2 * CHUNK:
        ways += [_Direct(kept, M, height) for height in (32, 16)]
        ways += [_Scattered(kept, M, width) for width in WIDTHS if width <= N + N % 2]
    return min(ways, key=lambda way: float(way.work.sum()))


@dataclass(frozen=True, eq=False)
class Tables:
    """What a way gives: its strips, `index`, and the first strip of each band.

    rows     of each strip the outputs of its tiles, (outputs,), -1: none
    inputs   of each strip the two inputs of each pair of each chunk, (chunks, 16, 2), -1: none
    """

    strips: np.ndarray
    index: np.ndarray
    rows: list[np.ndarray]
    inputs: list[np.ndarray]
    bands: np.ndarray


class _Strips(ABC):
    """Strips of `height` neighbouring outputs. kept: bool (outputs, inputs), both padded; `work`: cycles of each."""

    before = 0.0  # cycles for a chunk before it is multiplied

    def __init__(self, kept: np.ndarray, outputs: int, height: int) -> None:
        self.height, self.outputs, count = height, outputs, -(-outputs // height)
        #: Of each strip the inputs that any of its outputs keeps, (strips, pairs, 2).
        self.kept: np.ndarray = np.logical_or.reduce(kept[: count * height].reshape(count, height, -1, 2), axis=1)
        tiles = height // TILE
        self.work = self.chunks() * (tiles * MULTIPLY + self.before) + tiles * (BEGIN + FINISH)

    @abstractmethod
    def chunks(self) -> np.ndarray:
        """How many chunks each strip needs."""

    def strips(self, begins: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        table = np.zeros(len(steps), STRIP)
        table["output"] = np.arange(len(steps)) * self.height
        table["outputs"] = np.minimum(self.height, self.outputs - table["output"])
        table["begin"], table["steps"], table["apart"] = begins, steps, self.height // TILE
        rows = np.arange(len(steps) * self.height)
        return table, list(np.where(rows < self.outputs, rows, -1).reshape(-1, self.height))


class _Direct(_Strips):
    kind = DIRECT

    def chunks(self) -> np.ndarray:
        return np.asarray(self._kept_chunks().sum(1))

    def _kept_chunks(self) -> np.ndarray:
        """Which chunks hold an input that is kept, (strips, chunks)."""
        starts = np.arange(0, self.kept.shape[1], CHUNK)
        return np.asarray(np.logical_or.reduceat(self.kept.any(2), starts, axis=1))

    def tables(self) -> Tables:
        pairs = self.kept.shape[1]
        starts, index = np.arange(0, pairs, CHUNK), [np.zeros(0, np.int64)]
        chosen: list[np.ndarray] = []
        for kept in self._kept_chunks():
            begins = np.minimum(starts[kept], pairs - CHUNK)  # the last chunk ends with x
            inputs = 2 * (begins[:, None, None] + np.arange(CHUNK)[:, None]) + np.arange(2)
            chosen.append(np.where(inputs >= 2 * starts[kept][:, None, None], inputs, -1))
            index.append(begins)
        counts = self.chunks()
        strips, rows = self.strips(np.cumsum(counts) - counts, counts)
        return Tables(strips, np.concatenate(index), rows, chosen, np.zeros(1, np.int64))


class _Brought(_Strips):
    kind, before = BROUGHT, BRING

    def chunks(self) -> np.ndarray:
        return np.asarray(-(-self.kept.sum(1).max(1) // CHUNK))

    def tables(self) -> Tables:
        index, at = [np.zeros(0, np.int64)], 0
        chosen: list[np.ndarray] = []
        begins: list[int] = []
        for number, kept in enumerate(self.kept):
            if number and (kept == self.kept[number - 1]).all():  # of the same panel: brought once
                chosen.append(chosen[-1])
                begins.append(begins[-1])
                continue
            halves = [np.flatnonzero(kept[:, half]) for half in (0, 1)]
            count = -(-max(map(len, halves)) // CHUNK) * CHUNK
            inputs, rows = np.full((count, 2), -1), np.zeros((count, 2), np.int64)
            for half, found in enumerate(halves):
                inputs[: len(found), half] = 2 * found + half
                # What no weight stands for reads a row that the strip reads anyway.
                rows[:, half] = found[0] if len(found) else halves[1 - half][0] if count else 0
                rows[: len(found), half] = found
            chosen.append(inputs.reshape(-1, CHUNK, 2))
            index.append(rows.reshape(-1))
            begins.append(at)
            at += 2 * count
        strips, rows_of = self.strips(np.array(begins), self.chunks())
        return Tables(strips, np.concatenate(index), rows_of, chosen, np.zeros(1, np.int64))


class _Scattered:
    """Blocks of `width` inputs, and the outputs of each band that keep any of them; `work`: cycles of each band."""

    kind, height = SCATTERED, BAND

    def __init__(self, kept: np.ndarray, outputs: int, width: int) -> None:
        starts = np.arange(0, kept.shape[1], width)
        self.pairs, self.width = kept.shape[1] // 2, width
        blocks = np.logical_or.reduceat(kept, starts, axis=1)[: -(-outputs // BAND) * BAND]
        self.kept = blocks.reshape(-1, BAND, len(starts)).transpose(0, 2, 1)  # (bands, blocks, outputs)
        counts = self.kept.sum(2)
        tiles = -(-counts // TILE)
        self.work = (tiles * (width // 32 * MULTIPLY + BEGIN) + ADD * counts).sum(1) + BAND // TILE * FINISH

    def tables(self) -> Tables:
        strips: list[tuple[int, ...]] = []
        rows_of: list[np.ndarray] = []
        chosen: list[np.ndarray] = []
        index, bands, at = [np.zeros(0, np.int64)], [0], 0
        for band, blocks in enumerate(self.kept):
            for number, kept in enumerate(blocks):
                begin, end = number * self.width // 2, min((number + 1) * self.width // 2, self.pairs)
                chunks = -(-(end - begin) // CHUNK)
                first = min(begin, self.pairs - chunks * CHUNK)
                inputs = 2 * (first + np.arange(chunks * CHUNK)[:, None]) + np.arange(2)
                inputs = np.where((inputs >= 2 * begin) & (inputs < 2 * end), inputs, -1).reshape(-1, CHUNK, 2)
                found = np.flatnonzero(kept)
                for some in np.split(found, range(32, len(found), 32)) if len(found) else ():
                    tiles = -(-len(some) // TILE)
                    strips.append((at, len(some), first, chunks, 0, tiles))
                    index.append(some)
                    rows_of.append(np.append(some + band * BAND, [-1] * (tiles * TILE - len(some))).astype(np.int64))
                    chosen.append(inputs)
                    at += len(some)
            bands.append(len(strips))
        return Tables(np.array(strips, STRIP), np.concatenate(index), rows_of, chosen, np.array(bands, np.int64))


def _weights(packed: PackedMatrix, tables: Tables) -> np.ndarray:
    """The tiles of all strips, from the start of a cache line on."""
    N, (r, c), stored = packed.shape[1], packed.group_shape, packed.keep().numpy()
    # The number of each group that is stored; none is the last, of zeros, and so is a row or column beyond the grid.
    number = np.full((stored.shape[0] + 1, stored.shape[1] + 1), packed.groups)
    number[:-1, :-1][stored] = np.arange(packed.groups)  # by rows, then by columns, as `values` has them
    groups = np.concatenate([packed.values.detach().float().numpy(), np.zeros((1, c, r), np.float32)])
    words = sum(len(rows) * len(inputs) * CHUNK for rows, inputs in zip(tables.rows, tables.inputs, strict=True))
    room = np.zeros(words + 32, np.uint32)
    start = -(room.ctypes.data // 4) % 16
    values, at = room[start : start + words + 16], 0
    for rows, inputs in zip(tables.rows, tables.inputs, strict=True):
        # (chunks, outputs, 16 pairs, 2); -1 // r is -1, the row of none
        row, column = rows[None, :, None, None], np.where(inputs < N, inputs, -1)[:, None]
        tiles = groups[number[row // r, column // c], column % c, row % r]
        size = tiles.size // 2
        values[at : at + size] = pairs_of(tiles[..., 0], tiles[..., 1]).reshape(-1)
        at += size
    return values
