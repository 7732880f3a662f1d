"""A packed matrix as the tables that the encoder's kernels walk: strips of listed inputs, or bands of rows.

Two kinds serve all structures. *Listed*: all outputs of a panel keep the same list of inputs (block_column, tile,
column, irregular: a panel of one output). *Rows*: a row keeps runs of neighbouring inputs (block_row, row); rows of one
band that keep the same input block form sets of six, four, two or one.

    listed, a panel of h outputs              rows, a band of outputs
         inputs  2   7   9                         | block 0 | block 1 | block 2 |
    output 0     w   w   w                     row 0  wwww                wwww
    output 1     w   w   w                     row 1            wwww      wwww
       ..                                      row 2  wwww
                                               sets:  (0, 2)    (1)       (0, 1)

A walk does not depend on the number of tokens: it is made once per matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..pruning.packing import PackedMatrix
from .records import BLOCK, SET, STRIP

LISTED, ROWS = 0, 1
#: At most so many outputs per strip, so that there are enough strips for all threads; at most so many inputs per input
#: block and outputs per band, so that their rows of x and y stay in L1.
STRIP_OUTPUTS, BLOCK_INPUTS, BAND_OUTPUTS = 48, 64, 64


@dataclass(frozen=True, eq=False)
class Walk:
    """The tables of one matrix. `parts`: where the list of strips, or of bands, is cut into runs of equal work."""

    kind: int
    outputs: int
    inputs: int
    values: np.ndarray
    height: int
    parts: np.ndarray
    index: np.ndarray
    strips: np.ndarray
    bands: np.ndarray
    blocks: np.ndarray
    sets: np.ndarray


def walk_of(packed: PackedMatrix) -> Walk:
    """The walk of a valid packed matrix."""
    r, c = packed.group_shape
    columns = packed.columns.numpy().astype(np.int64)
    offsets = packed.offsets.numpy()
    values = packed.values.detach().contiguous().numpy().reshape(-1)
    if r == 1 and c > 1:
        return _rows(packed, columns, offsets, values)
    return _listed(packed, columns, offsets, values)


def _listed(packed: PackedMatrix, columns: np.ndarray, offsets: np.ndarray, values: np.ndarray) -> Walk:
    index, strips = strips_of(packed.group_shape, packed.shape, columns, offsets, STRIP_OUTPUTS)
    work = strips["outputs"] * (strips["steps"] + 8)
    return _made(LISTED, packed.shape, values, work, index=index, strips=strips, height=packed.group_shape[0])


def strips_of(
    group: tuple[int, int], shape: tuple[int, int], columns: np.ndarray, offsets: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The input of each step, and the strips, of at most so many outputs, of panels that keep the groups `columns`."""
    (r, c), (M, N) = group, shape
    inputs = (columns[:, None] * c + np.arange(c)).reshape(-1)
    # A group at the right edge is the last of its panel: its steps beyond the matrix are cut off.
    ends = offsets[1:] * c
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    over = np.zeros(len(ends), np.int64)
    over[filled] = np.maximum(0, (columns[offsets[1:][filled] - 1] + 1) * c - N)
    steps = ends - offsets[:-1] * c - over
    pieces = []
    for first in range(0, r, most):
        piece = np.zeros(len(steps), STRIP)
        piece["output"] = np.arange(len(steps)) * r + first
        piece["outputs"] = np.minimum(np.minimum(r - first, most), M - piece["output"])
        piece["begin"], piece["steps"] = offsets[:-1] * c, steps
        piece["weight"], piece["apart"] = offsets[:-1] * c * r + first, r
        pieces.append(piece[piece["outputs"] > 0])
    strips = np.concatenate(pieces)
    strips = strips[np.argsort(strips["output"], kind="stable")]
    return np.append(inputs, 0).astype(np.int32), strips  # one more, so that it is never empty


def _rows(packed: PackedMatrix, columns: np.ndarray, offsets: np.ndarray, values: np.ndarray) -> Walk:
    (_, c), (M, N) = packed.group_shape, packed.shape
    row = np.repeat(np.arange(M), np.diff(offsets))
    cuts = np.arange(0, c, BLOCK_INPUTS)
    first = columns[:, None] * c + cuts
    count = np.minimum(np.minimum(c - cuts, BLOCK_INPUTS), N - first)
    start = np.arange(len(row))[:, None] * c + cuts
    row = np.broadcast_to(row[:, None], first.shape).reshape(-1)
    first, count, start = first.reshape(-1), np.broadcast_to(count, first.shape).reshape(-1), start.reshape(-1)
    row, first, count, start = (part[count > 0] for part in (row, first, count, start))
    height = min(BAND_OUTPUTS, max(6, 2 * -(-M // 16)))  # even, as pairs of outputs ask
    band = row // height
    order = np.lexsort((row, first, band))
    row, first, count, start, band = (part[order] for part in (row, first, count, start, band))
    change = np.flatnonzero((np.diff(band) != 0) | (np.diff(first) != 0)) + 1
    begins = np.concatenate([[0], change]) if len(row) else np.zeros(0, np.int64)
    ends = np.append(change, len(row)) if len(row) else np.zeros(0, np.int64)
    sets: list[tuple[int, int, np.ndarray]] = []
    blocks, weights, weight = np.zeros(len(begins), BLOCK), [np.zeros(0, np.float32)], 0
    for number, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        inputs = int(count[begin])
        blocks[number] = (first[begin], inputs, len(sets), 0)
        for at, size in _sizes(begin, end):
            numbers = np.zeros(6, np.int64)
            numbers[:size] = row[at : at + size]
            sets.append((size, weight, numbers))
            # Input by input, the rows of a set side by side: a tile reads its weights contiguously.
            weights.append(values[start[at : at + size] + np.arange(inputs)[:, None]].reshape(-1))
            weight += inputs * size
        blocks[number]["end"] = len(sets)
    bands = np.searchsorted(band[begins] if len(begins) else begins, np.arange(-(-M // height) + 1)).astype(np.int64)
    made = np.array(sets, SET) if sets else np.zeros(0, SET)
    work = np.bincount(band, count, minlength=len(bands) - 1) + 8 * height
    return _made(
        ROWS, packed.shape, np.concatenate(weights), work, bands=bands, blocks=blocks, sets=made, height=height
    )


def _sizes(begin: int, end: int) -> list[tuple[int, int]]:
    """(first, how many): a run cut into sixes and fours, then twos and ones.

    >>> _sizes(0, 16), _sizes(0, 7)
    ([(0, 6), (6, 6), (12, 4)], [(0, 6), (6, 1)])
    """
    found, at = [], begin
    while at < end:
        size = next(size for size in (6, 4, 2, 1) if size <= end - at)
        if size == 6 and end - at == 8:
            size = 4
        found.append((at, size))
        at += size
    return found


def _made(kind: int, shape: tuple[int, int], values: np.ndarray, work: np.ndarray, height: int, **parts: np.ndarray
) -> Walk:  # fmt: skip
    empty = {"index": np.zeros(1, np.int32), "strips": np.zeros(0, STRIP), "bands": np.zeros(1, np.int64),
             "blocks": np.zeros(0, BLOCK), "sets": np.zeros(0, SET)}  # fmt: skip
    bounds = equal_runs(work, int(min(len(work), 32)))
    return Walk(kind, *shape, values, height, bounds, **(empty | parts))


def equal_runs(work: np.ndarray, count: int) -> np.ndarray:
    """Where to cut a list into `count` runs of about equal work: (count + 1,).

    >>> [int(bound) for bound in equal_runs(np.array([1, 1, 2, 2, 2]), 2)]
    [0, 3, 5]
    """
    done = np.concatenate([[0], np.cumsum(work)])
    bounds = np.searchsorted(done, np.linspace(0, done[-1], count + 1)).astype(np.int64)
    bounds[0], bounds[-1] = 0, len(work)
    return bounds
