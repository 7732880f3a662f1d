"""From a packed matrix to the tables that its products walk, forwards and backwards: made once, checked once.

A product W x walks the rows of W, the gradient of x walks those of Wᵀ. Either is one of the two kinds of `walk`: strips
of *listed* inputs, or bands of rows that keep runs of neighbouring inputs. What is a group of r x c weights one way is
one of c x r the other way:

    group            W x              gradient of x                 gradient of the weights
    r x c, r > 1     listed           rows: an input of each        the listed way: x against the strips of y'
    1 x c            rows             listed: groups by column      the listed way: y' against the strips of x

No table holds a weight, since weights change at every step of training: tables say where packing left them. Only the
listed way back needs whole groups in another order, `Side.order`.

Left out: the products themselves (`layer_product`, `gradients`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..machine.simd import WIDTH
from ..pruning.packing import PackedMatrix
from .records import BLOCK, PLACED, STRIP
from .tile_loop import VECTORS
from .walk import BAND_OUTPUTS, BLOCK_INPUTS, LISTED, ROWS, equal_runs, strips_of

#: At most so many ways of cutting a job are kept; batches of ever new lengths would add to them for ever.
MOST_CUTS = 64
#: At most so many outputs per strip: four vectors of 16.
MOST_OUTPUTS = 64
#: Sums of a band of rows for the tokens of a register tile: 24 KB, so that they stay in L1. The higher a band, the
#: longer the runs of rows that its sets are cut from.
ROW_SUMS = 6144
#: What a run of rows is cut into when it is no multiple of six: by what is left over; last, a run of eight.
_RESTS = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [4, 0], [4, 1], [4, 4]])


@dataclass(frozen=True, eq=False)
class Side:
    """One way to walk a matrix of outputs x inputs: its tables, and how the work is cut.

    tops     first output of each band, and the end: (bands + 1,); bands: where each begins among strips or blocks
    places   listed: position of the first weight of each step among the packed values
    order    the order in which the groups are wanted; None: as they are
    weights  how many numbers packing stores
    """

    kind: int
    outputs: int
    inputs: int
    weights: int
    tops: np.ndarray
    bands: np.ndarray
    work: np.ndarray
    index: np.ndarray
    places: np.ndarray
    strips: np.ndarray
    blocks: np.ndarray
    sets: np.ndarray
    order: Tensor | None = None
    _parts: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    _cuts: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def highest(self) -> int:
        """Outputs of the highest band."""
        return int(np.diff(self.tops).max(initial=0))

    @cached_property
    def wide(self) -> float:
        """How many vectors of outputs a strip has on average, or 0 where not all strips are whole vectors."""
        outputs = self.strips["outputs"]
        return float(outputs.mean()) / WIDTH if self.kind == LISTED and (outputs % WIDTH == 0).all() else 0.0

    def parts(self, count: int) -> np.ndarray:
        """Bounds of `count` runs of bands with about the same work in each: (count + 1,)."""
        if count not in self._parts:
            self._parts[count] = equal_runs(self.work, count)
        return self._parts[count]

    def cut(self, how: Callable[[Side, int, int], Any], tokens: int, workers: int) -> Any:
        """how(side, tokens, workers): how a job is cut, worked out once for each."""
        key = (how, tokens, workers)
        found = self._cuts.get(key)
        if found is None:
            if len(self._cuts) >= MOST_CUTS:
                self._cuts.clear()
            found = self._cuts[key] = how(self, tokens, workers)
        return found

    @staticmethod
    def check_rows(name: str, rows: Tensor, width: int) -> None:
        """Raise ValueError unless `rows` are (tokens, width) neighbouring float32 in memory that a kernel can read."""
        if (rows.ndim != 2 or rows.shape[1] != width or rows.dtype is not torch.float32 or not rows.is_cpu
                or (width > 1 and rows.stride(1) != 1)):  # fmt: skip
            raise ValueError(f"{name} must be float32 rows of {width} neighbouring numbers; got {_said(rows)}")

    @staticmethod
    def check_flat(name: str, numbers: Tensor, count: int) -> None:
        """Raise ValueError unless they are `count` neighbouring float32."""
        if (numbers.numel() != count or numbers.dtype is not torch.float32 or not numbers.is_cpu
                or not numbers.is_contiguous()):  # fmt: skip
            raise ValueError(f"{name} must be {count} neighbouring float32; got {_said(numbers)}")

    def tables(self) -> dict[str, int]:
        """The addresses of the tables, by the names of their fields in a record."""
        names = ("tops", "bands", "index", "places", "strips", "blocks", "sets")
        return {name: getattr(self, name).ctypes.data for name in names}


def _said(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)} and strides {tensor.stride()} on {tensor.device}"


@dataclass(frozen=True)
class Plan:
    """How one packed matrix is multiplied forwards and backwards."""

    forward: Side
    backward: Side
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
    if packed.values.numel() >= 2**31 or max(M, N) >= 2**31:
        raise ValueError(
            f"packed must have sides and values fewer than {2**31:,}; "
            f"got {M:,} x {N:,} with {packed.values.numel():,} values"
        )
    offsets, columns = packed.offsets.numpy(), packed.columns.numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if r > 1:
        places = r * np.arange(len(columns) * c)
        return Plan(_listed((r, c), (M, N), columns, offsets, places), _rows(columns, rows, (c, r), (N, M)),
                    packed.values.shape)  # fmt: skip
    order = np.lexsort((rows, columns))
    starts = np.searchsorted(columns[order], np.arange(packed.grid[1] + 1))
    back = _listed((c, 1), (N, M), rows[order], starts, c * order, order)
    if c > 1:
        return Plan(_rows(rows, columns, (1, c), (M, N)), back, packed.values.shape)
    return Plan(_listed((1, 1), (M, N), columns, offsets, np.arange(len(columns))), back, packed.values.shape)


def _listed(group: tuple[int, int], shape: tuple[int, int], columns: np.ndarray, offsets: np.ndarray,
            places: np.ndarray, order: np.ndarray | None = None) -> Side:  # fmt: skip
    index, strips = strips_of(group, shape, columns, offsets, MOST_OUTPUTS)
    # A band is the strips that begin in the same so many outputs: their sums fit L1, and they fill whole cache lines.
    bands = np.flatnonzero(np.diff(strips["output"] // BAND_OUTPUTS, prepend=-1))
    tops = np.append(strips["output"][bands], shape[0])
    work = np.add.reduceat(strips["outputs"] * (strips["steps"] + 8), bands)
    moved = None if order is None or (np.diff(order) == 1).all() else torch.from_numpy(order)
    return _side(LISTED, shape, len(columns) * group[0] * group[1], tops, np.append(bands, len(strips)), work, moved,
                 strips=strips, index=index, places=np.append(places, 0).astype(np.int32))  # fmt: skip


def _rows(rows: np.ndarray, columns: np.ndarray, group: tuple[int, int], shape: tuple[int, int]) -> Side:
    """Each of the r rows of a group keeps a run of c inputs, whose weights begin c after those of the row before."""
    (r, c), (M, N) = group, shape
    i, cuts = np.arange(r)[:, None], np.arange(0, c, BLOCK_INPUTS)
    row = rows[:, None, None] * r + i
    first = columns[:, None, None] * c + cuts
    count = np.minimum(np.minimum(c - cuts, BLOCK_INPUTS), N - first)
    place = (np.arange(len(rows))[:, None, None] * r + i) * c + cuts
    entries = np.stack([part.reshape(-1) for part in np.broadcast_arrays(row, first, count, place)], axis=1)
    entries = entries[(entries[:, 0] < M) & (entries[:, 2] > 0)].astype(np.int64)
    # at least four bands, for all threads, unless these are lower than any other band
    height = min(ROW_SUMS // (VECTORS * WIDTH), max(BAND_OUTPUTS, -(-M // 4 // WIDTH) * WIDTH))
    band = entries[:, 0] // height
    sort = np.lexsort((entries[:, 0], entries[:, 1], band))
    entries, band = entries[sort], band[sort]
    starts = np.flatnonzero((np.diff(band, prepend=-1) != 0) | (np.diff(entries[:, 1], prepend=-1) != 0))
    sizes = np.diff(np.append(starts, len(entries)))
    sets, ends = _sets(entries, starts, sizes)
    blocks = np.zeros(len(starts), BLOCK)
    blocks["input"], blocks["inputs"] = entries[starts, 1], entries[starts, 2]
    blocks["begin"], blocks["end"] = np.append(0, ends[:-1]), ends
    tops = np.append(np.arange(0, M, height), M)
    bands = np.searchsorted(band[starts], np.arange(len(tops))).astype(np.int64)
    work = np.bincount(band, entries[:, 2], minlength=len(tops) - 1) + 8 * height
    return _side(ROWS, shape, len(rows) * r * c, tops, bands, work, None, blocks=blocks, sets=sets)


def _sets(entries: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of entries cut into sixes, then fours, twos and ones: (the sets and one more, where those of a run end)."""
    rest = np.where((sizes >= 8) & (sizes % 6 == 2), 6, sizes % 6)
    sixes = sizes // 6 - (rest == 6)
    ends = np.cumsum(sixes + (_RESTS[rest] > 0).sum(1))
    run = np.repeat(np.arange(len(sizes)), np.diff(ends, prepend=0))
    place = np.arange(len(run)) - np.append(0, ends[:-1])[run]  # which set of its run
    over = np.maximum(0, place - sixes[run])
    rows = np.where(place < sixes[run], 6, _RESTS[rest[run], np.minimum(over, 1)])
    start = starts[run] + 6 * np.minimum(place, sixes[run]) + np.where(over > 0, _RESTS[rest[run], 0], 0)
    sets = np.zeros(len(run) + 1, PLACED)  # one more, since the next set's weights are asked for ahead
    sets["rows"][:-1] = rows
    for i in range(6):
        entry = entries[np.where(i < rows, start + i, start)] if len(run) else entries[:0]
        sets["numbers"][:-1, i], sets["places"][:-1, i] = entry[:, 0], entry[:, 3]
    return sets, ends


def _side(kind: int, shape: tuple[int, int], weights: int, tops: np.ndarray, bands: np.ndarray, work: np.ndarray,
          order: Tensor | None, **tables: np.ndarray) -> Side:  # fmt: skip
    none = {"index": np.zeros(1, np.int32), "places": np.zeros(1, np.int32), "strips": np.zeros(0, STRIP),
            "blocks": np.zeros(0, BLOCK), "sets": np.zeros(1, PLACED)}  # fmt: skip
    return Side(
        kind, *shape, weights, tops.astype(np.int64), bands.astype(np.int64), work, order=order, **(none | tables)
    )
