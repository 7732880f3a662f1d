"""From a packed matrix to the lists that a kernel walks: made once, checked once, kept beside the matrix.

A packed group is c columns of r neighbouring weights. Read forwards (y = W x) those r weights belong to r outputs, so
groups at least half a vector high become column panels and flatter ones become row groups. Read backwards (the gradient
x' = Wᵀ y') the roles change: the r weights belong to r *inputs* of Wᵀ, which is what a row group is; so panels go back
as row groups, and row groups as panels. Three kernels serve all structures in both directions.

Row groups are taken in sets: up to six rows of one band (see `rows`) that keep the same block of inputs, so that one
load of inputs serves all of them. Where rows 0, 2, 3 and 5 keep four inputs each:

    row 0   . . . . a b c d        the set      4 |  0  2L  3L  5L   D   D |  0   4   8  12   0   0
    row 2   . . . . e f g h                  rows |  where each begins     |  where its weights begin
    row 3   . . . . i j k l                       |  in the band of y      |  in a b c d e f .. p
    row 5   . . . . m n o p

A row of the band is L = LANE_TOKENS floats long. Four rows leave two places over: these repeat the first row's weights
and add them to D, the discard row below the band, which nobody reads.

Nothing here copies a weight, except that the backward panels of row groups need theirs in another order.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..machine.simd import WIDTH
from ..pruning.packing import PackedMatrix

#: A strip: first output, outputs that exist, place of them in a step, first and last step (exclusive).
STRIP_FIELDS = 5
#: A set: how many rows, then where six rows begin in the band, and the position of the first weight of each.
SET_FIELDS = 13
#: A block of inputs in a band: first input, how many, first and last set (exclusive).
BLOCK_FIELDS = 4
#: Tokens of a panel's tile, whose inputs lie packed side by side: column c begins at PACKED_TOKENS * c.
PACKED_TOKENS = 6
#: Inputs of a row group at most: with its tokens they fill an eighth of a first cache.
BLOCK_INPUTS = 64
#: Tokens that row groups take at a time: two vectors.
LANE_TOKENS = 2 * WIDTH


@dataclass(frozen=True, eq=False)
class PanelPlan:
    """Panels of a matrix of outputs x inputs: the columns of all steps, `step` weights apart, and the strips."""

    outputs: int
    inputs: int
    step: int
    #: PACKED_TOKENS times the column of each step.
    columns: np.ndarray
    strips: np.ndarray
    #: Weights in the order the panels want them: None as they are, else positions of the groups.
    order: Tensor | None
    _parts: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    #: How `panels` splits the work for (tokens, threads).
    splits: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def narrow(self) -> bool:
        """Whether no strip is wider than one vector."""
        return bool((self.strips[:, 1] <= WIDTH).all())

    @cached_property
    def whole(self) -> int:
        """How many strips, from the first on, are whole: two vectors wide, or one where all are narrow."""
        ragged = np.flatnonzero(self.strips[:, 1] != (WIDTH if self.narrow else 2 * WIDTH))
        return int(ragged[0]) if len(ragged) else len(self.strips)

    @cached_property
    def addresses(self) -> tuple[int, int]:
        """Of columns and strips: what a kernel is told."""
        return self.columns.ctypes.data, self.strips.ctypes.data

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights that the strips read."""
        return int(((self.strips[:, 4] - self.strips[:, 3]) * self.strips[:, 1]).sum()) * 4

    def parts(self, count: int) -> np.ndarray:
        """Bounds of `count` runs of strips with about the same number of steps in each: (count + 1,)."""
        if count not in self._parts:
            self._parts[count] = _equal_runs(self.strips[:, 4] - self.strips[:, 3] + 8, count)  # 8: a strip's own cost
        return self._parts[count]

    def contiguous_weights(self, values: Tensor) -> Tensor:
        """The weights as a kernel may read them: in order, and with room for whole vectors at the end.

        A copy where they are not; it is not kept, since a write through `.data` would go unnoticed.
        """
        if self.order is not None:
            values = values.index_select(0, self.order).transpose(1, 2)
        elif self.step % WIDTH == 0:
            return values
        return torch.cat([values.reshape(-1), values.new_zeros(2 * WIDTH)])

    @cached_property
    def no_bias(self) -> Tensor:
        """Zeros (outputs,), for a product without a bias."""
        return torch.zeros(self.outputs)


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Entries of a matrix of outputs x inputs: row, first input, how many, position of the first weight; all int64."""

    outputs: int
    inputs: int
    step: int
    entries: np.ndarray
    _bands: dict[int, Bands] = field(default_factory=dict, repr=False)
    _parts: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    #: How `rows` splits the work for (tokens, threads).
    splits: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, repr=False)

    def bands(self, count: int) -> Bands:
        """The entries cut into about `count` bands of rows, each sorted by block of inputs and grouped into sets."""
        height = -(-self.outputs // max(1, count))
        height = -(-height // WIDTH) * WIDTH
        if height not in self._bands:
            self._bands[height] = _bands(self.entries, self.outputs, height)
        return self._bands[height]

    def parts(self, count: int) -> np.ndarray:
        """Bounds of `count` runs of the blocks of one band of all rows, with about the same work in each."""
        if count not in self._parts:
            blocks = self.bands(1).blocks
            self._parts[count] = _equal_runs((blocks[:, 3] - blocks[:, 2]) * blocks[:, 1], count)
        return self._parts[count]


@dataclass(frozen=True)
class Bands:
    """What `rows` walks: band b has rows b * height on and blocks offsets[b] to offsets[b + 1] - 1."""

    height: int
    offsets: np.ndarray
    blocks: np.ndarray
    sets: np.ndarray

    @cached_property
    def addresses(self) -> tuple[int, int, int]:
        """Of offsets, blocks and sets."""
        return self.offsets.ctypes.data, self.blocks.ctypes.data, self.sets.ctypes.data


@dataclass(frozen=True)
class Plan:
    """How one packed matrix is multiplied forwards and backwards."""

    forward: PanelPlan | RowPlan
    backward: PanelPlan | RowPlan
    #: (groups, c, r) of the values; a kernel that read others would read wild.
    values_shape: torch.Size


_plans: WeakKeyDictionary[PackedMatrix, Plan] = WeakKeyDictionary()
_lock = threading.Lock()


def plan_of(packed: PackedMatrix) -> Plan:
    """The plan of `packed`, made at first use; raises ValueError if an index cannot be trusted."""
    plan = _plans.get(packed)
    if plan is None:
        with _lock:
            plan = _plans.get(packed)
            if plan is None:
                plan = _plans[packed] = make_plan(packed.validate())
    return plan


def make_plan(packed: PackedMatrix) -> Plan:
    """The plan of a packed matrix that is valid."""
    (M, N), (r, c) = packed.shape, packed.group_shape
    if packed.values.numel() >= 2**31 or max(M, N) >= 2**31 // PACKED_TOKENS:
        raise ValueError(
            f"packed must have sides below {2**31 // PACKED_TOKENS:,} and fewer than {2**31:,} values; "
            f"got {M:,} x {N:,} with {packed.values.numel():,}"
        )
    offsets, columns = packed.offsets.numpy(), packed.columns.numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    forward: PanelPlan | RowPlan
    backward: PanelPlan | RowPlan
    if 2 * r >= WIDTH:
        forward = _panels(offsets, columns, (r, c), (M, N), None)
    else:
        forward = _rows(rows, columns, (r, c), (M, N), within=1, step=r)
    if 2 * r < WIDTH <= 2 * c:
        order = np.lexsort((rows, columns))
        starts = np.searchsorted(columns[order], np.arange(packed.grid[1] + 1))
        backward = _panels(starts, rows[order], (c, r), (N, M), torch.from_numpy(order))
    else:
        backward = _rows(columns, rows, (c, r), (N, M), within=r, step=1)
    return Plan(forward, backward, packed.values.shape)


def _panels(
    offsets: np.ndarray, columns: np.ndarray, group: tuple[int, int], shape: tuple[int, int], order: Tensor | None
) -> PanelPlan:
    (r, c), (M, N) = group, shape
    steps = columns[:, None] * c + np.arange(c)
    begin, end = offsets[:-1] * c, offsets[1:] * c
    # A group at the right edge is the last of its panel: its steps beyond the matrix are cut off.
    filled = np.flatnonzero(end > begin)
    end = end.copy()
    end[filled] -= np.maximum(0, (columns[offsets[1:][filled] - 1] + 1) * c - N)
    strips = []
    for first in range(0, r, 2 * WIDTH):
        row = np.arange(len(begin)) * r + first
        valid = np.minimum(np.minimum(r - first, 2 * WIDTH), M - row)
        part = np.stack([row, valid, np.full_like(row, first), begin, end], axis=1)
        strips.append(part[valid > 0])
    table = np.concatenate(strips)
    table = table[np.argsort(table[:, 0], kind="stable")]
    flat = steps.reshape(-1)
    return PanelPlan(M, N, r, (PACKED_TOKENS * flat).astype(np.int32), np.ascontiguousarray(table), order)


def _equal_runs(work: np.ndarray, count: int) -> np.ndarray:
    """Where to cut a list into `count` runs of about equal work: (count + 1,).

    >>> [int(bound) for bound in _equal_runs(np.array([1, 1, 2, 2, 2]), 2)]
    [0, 3, 5]
    """
    done = np.concatenate([[0], np.cumsum(work)])
    bounds = np.searchsorted(done, np.linspace(0, done[-1], count + 1)).astype(np.int64)
    bounds[0], bounds[-1] = 0, len(work)
    return bounds


def _rows(
    rows: np.ndarray, columns: np.ndarray, group: tuple[int, int], shape: tuple[int, int], within: int, step: int
) -> RowPlan:
    """One entry per row of each group: weight (row i, input k) of group g lies at g r c + i within + k step."""
    (r, c), (M, N) = group, shape
    row = rows[:, None, None] * r + np.arange(r)[None, :, None]
    cuts = np.arange(0, c, BLOCK_INPUTS)
    first = columns[:, None, None] * c + cuts
    count = np.minimum(np.minimum(c - cuts, BLOCK_INPUTS), N - first)
    at = np.arange(len(rows))[:, None, None] * r * c + np.arange(r)[None, :, None] * within + cuts * step
    entries = np.stack([part.reshape(-1) for part in np.broadcast_arrays(row, first, count, at)], axis=1)
    entries = entries[(entries[:, 0] < M) & (entries[:, 2] > 0)].astype(np.int64)
    return RowPlan(M, N, step, entries)


def _bands(entries: np.ndarray, outputs: int, height: int) -> Bands:
    count = max(1, -(-outputs // height))
    band = entries[:, 0] // height
    entries = entries[np.lexsort((entries[:, 0], entries[:, 1], band))]
    band = entries[:, 0] // height
    change = np.flatnonzero((np.diff(band) != 0) | (np.diff(entries[:, 1]) != 0)) + 1
    starts = np.concatenate([[0], change]).astype(np.int64) if len(entries) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(entries)))
    sixes, fours = _tiles(sizes)
    per_block = sixes + fours
    set_end = np.cumsum(per_block)
    blocks = np.stack([entries[starts, 1], entries[starts, 2], set_end - per_block, set_end], axis=1)
    sets = np.zeros((int(per_block.sum()) + 1, SET_FIELDS), np.int64)[:-1]  # one may look at the set after the last
    block = np.repeat(np.arange(len(sizes)), per_block)
    place = np.arange(len(sets)) - (set_end - per_block)[block]  # which set of its block
    full = np.minimum(place, sixes[block])
    start = starts[block] + 6 * full + 4 * (place - full)
    sets[:, 0] = np.where(place < sixes[block], 6, 4)
    for i in range(6):
        position = start + i
        discarded = (position >= (starts + sizes)[block]) | (i >= sets[:, 0])
        chosen = entries[np.where(discarded, start, position)] if len(sets) else entries[:0]
        # a row too many repeats the first one's weights and adds them to a row below the band, which nobody reads
        sets[:, 1 + i] = LANE_TOKENS * np.where(discarded, height, chosen[:, 0] % height)
        sets[:, 7 + i] = chosen[:, 3]
    offsets = np.searchsorted(band[starts], np.arange(count + 1)).astype(np.int64)
    return Bands(height, offsets, np.ascontiguousarray(blocks), sets)


def _tiles(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many sets of six and of four cover each number of rows with the fewest discarded.

    >>> [tuple(int(n) for n in pair) for pair in zip(*_tiles(np.array([4, 6, 7, 9, 11])))]
    [(0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
    """
    sixes, rest = rows // 6, rows % 6
    fours = np.where(rest == 0, 0, np.where(rest == 5, 0, 1))
    two = (rest > 0) & (rest < 3) & (sixes > 0)
    return np.where(two, sixes - 1, sixes + (rest == 5)), np.where(two, 2, fours)
