"""From a packed matrix to the lists that a kernel walks: made once, checked once, cached per matrix.

A packed group is c columns of r neighbouring weights. Read forwards (y = W x) those r weights belong to r outputs, so
groups at least half a vector high become column panels and flatter ones become row groups. Read backwards (the gradient
x' = Wᵀ y') the r weights belong to r *inputs* of Wᵀ, as in a row group: panels become row groups, and the reverse.

    panel   r outputs that keep the same inputs; a strip is at most two vectors of them, a step the weights of one input
    entry   neighbouring inputs that one row keeps; these inputs are its input block
    band    rows whose results stay in L1; a set is up to six of its entries that have the same input block
    tile    the outputs x tokens whose sums a kernel holds in registers

One load of inputs serves all rows of a set. The set of rows 0, 2, 3 and 5, which keep four inputs each:

    row 0   . . . . a b c d        the set:  rows |  where each begins      |  where its weights begin
    row 2   . . . . e f g h                       |  in the band            |  in a b c d e f .. p
    row 3   . . . . i j k l                    4  |  0  2L  3L  5L   D   D  |  0   4   8  12   0   0
    row 5   . . . . m n o p        L = LANE_TOKENS, the floats in a row of the band

Four rows leave two places over: these repeat the first row's weights and add them to D, the discard row below the band.
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

#: A strip: first output, outputs that exist, offset of the first within a step, first and last step (exclusive).
STRIP_FIELDS = 5
#: A set: how many rows, then where six rows begin in the band, and the position of the first weight of each.
SET_ROWS, FIRST_ROW, FIRST_WEIGHT, SET_FIELDS = 0, 1, 7, 13
#: An input block of a band: first input, how many, first and last set (exclusive).
BLOCK_FIELDS = 4
#: Tokens of a panel's tile, whose inputs lie packed side by side: column c begins at PACKED_TOKENS * c.
PACKED_TOKENS = 6
#: At most so many inputs per entry: with their tokens they fill an eighth of L1.
BLOCK_INPUTS = 64
#: Tokens that the kernel of row groups takes at a time: two vectors.
LANE_TOKENS = 2 * WIDTH


@dataclass(frozen=True, eq=False)
class PanelPlan:
    """Panels of a matrix of outputs x inputs: the column of each step, `stride` weights apart, and the strips."""

    outputs: int
    inputs: int
    stride: int
    #: PACKED_TOKENS times the column of each step.
    columns: np.ndarray
    strips: np.ndarray
    #: Positions of the groups in the order that the panels need; None: already in order.
    order: Tensor | None
    _parts: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    #: How `panels` splits the work for (tokens, threads).
    splits: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def narrow(self) -> bool:
        """Whether no strip is wider than one vector."""
        return bool((self.strips[:, 1] <= WIDTH).all())

    @cached_property
    def leading_full_strips(self) -> int:
        """How many strips come before the first that is not full: two vectors wide, or one where all are narrow."""
        ragged = np.flatnonzero(self.strips[:, 1] != (WIDTH if self.narrow else 2 * WIDTH))
        return int(ragged[0]) if len(ragged) else len(self.strips)

    @cached_property
    def addresses(self) -> tuple[int, int]:
        """Addresses of columns and strips, passed to the kernel."""
        return self.columns.ctypes.data, self.strips.ctypes.data

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights that the strips read."""
        return int(((self.strips[:, 4] - self.strips[:, 3]) * self.strips[:, 1]).sum()) * 4

    def parts(self, count: int) -> np.ndarray:
        """Bounds of `count` runs of strips with about the same number of steps in each: (count + 1,)."""
        if count not in self._parts:
            self._parts[count] = _equal_runs(self.strips[:, 4] - self.strips[:, 3] + 8, count)  # 8: a strip's cost
        return self._parts[count]

    def contiguous_weights(self, values: Tensor) -> Tensor:
        """The weights as a kernel may read them: in order, and with room for whole vectors at the end.

        A copy where they are not; it is not cached, since a write through `.data` would go unnoticed.
        """
        if self.order is not None:
            values = values.index_select(0, self.order).transpose(1, 2)
        elif self.stride % WIDTH == 0:
            return values
        return torch.cat([values.reshape(-1), values.new_zeros(2 * WIDTH)])

    @cached_property
    def no_bias(self) -> Tensor:
        """Zeros (outputs,), for a product without a bias."""
        return torch.zeros(self.outputs, dtype=torch.float32, device="cpu")


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Entries of a matrix of outputs x inputs: row, first input, how many, position of the first weight; all int64.

    `stride`: weights from one input of an entry to the next.
    """

    outputs: int
    inputs: int
    stride: int
    entries: np.ndarray
    _bands: dict[int, Bands] = field(default_factory=dict, repr=False)
    _parts: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    #: How `rows` splits the work for (tokens, threads).
    splits: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, repr=False)

    def bands(self, count: int) -> Bands:
        """The entries cut into about `count` bands of rows, each sorted by input block and grouped into sets."""
        height = -(-self.outputs // max(1, count))
        height = -(-height // WIDTH) * WIDTH
        if height not in self._bands:
            self._bands[height] = _bands(self.entries, self.outputs, height)
        return self._bands[height]

    def parts(self, count: int) -> np.ndarray:
        """Bounds of `count` runs of the input blocks of one band of all rows, with about the same work in each."""
        if count not in self._parts:
            _, inputs, first_set, end_set = self.bands(1).input_blocks.T
            self._parts[count] = _equal_runs((end_set - first_set) * inputs, count)
        return self._parts[count]


@dataclass(frozen=True)
class Bands:
    """What `rows` walks: band b begins at row b * height and has input blocks offsets[b] to offsets[b + 1] - 1."""

    height: int
    offsets: np.ndarray
    input_blocks: np.ndarray
    sets: np.ndarray

    @cached_property
    def addresses(self) -> tuple[int, int, int]:
        """Addresses of offsets, input blocks and sets."""
        return self.offsets.ctypes.data, self.input_blocks.ctypes.data, self.sets.ctypes.data


@dataclass(frozen=True)
class Plan:
    """How one packed matrix is multiplied forwards and backwards."""

    forward: PanelPlan | RowPlan
    backward: PanelPlan | RowPlan
    #: (groups, c, r) of the values; with others a kernel would read out of bounds.
    values_shape: torch.Size


_plans: WeakKeyDictionary[PackedMatrix, Plan] = WeakKeyDictionary()
_lock = threading.Lock()


def plan_of(packed: PackedMatrix) -> Plan:
    """The plan of `packed`, made at first use; raises ValueError if an index cannot be trusted."""
    plan = _plans.get(packed)
    if plan is None:
        with _lock:
            plan = _plans.get(packed) or _plans.setdefault(packed, make_plan(packed.validate()))
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
        forward = _rows(rows, columns, (r, c), (M, N), row_stride=1, stride=r)
    if 2 * r < WIDTH <= 2 * c:
        order = np.lexsort((rows, columns))
        starts = np.searchsorted(columns[order], np.arange(packed.grid[1] + 1))
        backward = _panels(starts, rows[order], (c, r), (N, M), torch.from_numpy(order))
    else:
        backward = _rows(columns, rows, (c, r), (N, M), row_stride=r, stride=1)
    return Plan(forward, backward, packed.values.shape)


def _panels(
    offsets: np.ndarray, columns: np.ndarray, group: tuple[int, int], shape: tuple[int, int], order: Tensor | None
) -> PanelPlan:
    (r, c), (M, N) = group, shape
    steps = (columns[:, None] * c + np.arange(c)).reshape(-1)
    begin, end = offsets[:-1] * c, offsets[1:] * c
    # A group at the right edge is the last of its panel: its steps beyond the matrix are cut off.
    filled = np.flatnonzero(end > begin)
    end[filled] -= np.maximum(0, (columns[offsets[1:][filled] - 1] + 1) * c - N)
    strips = []
    for first in range(0, r, 2 * WIDTH):
        row = np.arange(len(begin)) * r + first
        valid = np.minimum(np.minimum(r - first, 2 * WIDTH), M - row)
        part = np.stack([row, valid, np.full_like(row, first), begin, end], axis=1)
        strips.append(part[valid > 0])
    table = np.concatenate(strips)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return PanelPlan(M, N, r, (PACKED_TOKENS * steps).astype(np.int32), np.ascontiguousarray(table), order)


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
    rows: np.ndarray, columns: np.ndarray, group: tuple[int, int], shape: tuple[int, int], row_stride: int, stride: int
) -> RowPlan:
    """One entry per row of each group: weight (row i, input k) of group g lies at g r c + i row_stride + k stride."""
    (r, c), (M, N) = group, shape
    row = rows[:, None, None] * r + np.arange(r)[None, :, None]
    cuts = np.arange(0, c, BLOCK_INPUTS)
    first = columns[:, None, None] * c + cuts
    count = np.minimum(np.minimum(c - cuts, BLOCK_INPUTS), N - first)
    at = np.arange(len(rows))[:, None, None] * r * c + np.arange(r)[None, :, None] * row_stride + cuts * stride
    entries = np.stack([part.reshape(-1) for part in np.broadcast_arrays(row, first, count, at)], axis=1)
    entries = entries[(entries[:, 0] < M) & (entries[:, 2] > 0)].astype(np.int64)
    return RowPlan(M, N, stride, entries)


def _bands(entries: np.ndarray, outputs: int, height: int) -> Bands:
    count = max(1, -(-outputs // height))
    band = entries[:, 0] // height
    entries = entries[np.lexsort((entries[:, 0], entries[:, 1], band))]
    band = entries[:, 0] // height
    change = np.flatnonzero((np.diff(band) != 0) | (np.diff(entries[:, 1]) != 0)) + 1
    starts = np.concatenate([[0], change]).astype(np.int64) if len(entries) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(entries)))
    sixes, fours = _set_counts(sizes)
    per_block = sixes + fours
    set_end = np.cumsum(per_block)
    input_blocks = np.stack([entries[starts, 1], entries[starts, 2], set_end - per_block, set_end], axis=1)
    sets = np.zeros((int(per_block.sum()) + 1, SET_FIELDS), np.int64)[:-1]  # the prefetch reads one past the end
    block = np.repeat(np.arange(len(sizes)), per_block)
    place = np.arange(len(sets)) - (set_end - per_block)[block]  # which set of its input block
    full = np.minimum(place, sixes[block])
    start = starts[block] + 6 * full + 4 * (place - full)
    sets[:, SET_ROWS] = np.where(place < sixes[block], 6, 4)
    for i in range(6):
        position = start + i
        discarded = (position >= (starts + sizes)[block]) | (i >= sets[:, SET_ROWS])
        chosen = entries[np.where(discarded, start, position)] if len(sets) else entries[:0]
        # a place left over repeats the first row's weights and adds them to the discard row
        sets[:, FIRST_ROW + i] = LANE_TOKENS * np.where(discarded, height, chosen[:, 0] % height)
        sets[:, FIRST_WEIGHT + i] = chosen[:, 3]
    offsets = np.searchsorted(band[starts], np.arange(count + 1)).astype(np.int64)
    return Bands(height, offsets, np.ascontiguousarray(input_blocks), sets)


def _set_counts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many sets of six and of four cover each number of rows with the fewest discarded.

    >>> [tuple(int(n) for n in pair) for pair in zip(*_set_counts(np.array([4, 6, 7, 9, 11])))]
    [(0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
    """
    sixes, rest = rows // 6, rows % 6
    fours = np.where(rest == 0, 0, np.where(rest == 5, 0, 1))
    two = (rest > 0) & (rest < 3) & (sixes > 0)
    return np.where(two, sixes - 1, sixes + (rest == 5)), np.where(two, 2, fours)
