"""What is left after pruning, packed for a kernel: one format, compressed rows (BSR) over the grid of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._common.checks import check_finite
from .structure import BlockStructure, check_structure, check_weight


@dataclass(frozen=True, eq=False, repr=False)
class PackedMatrix:
    """The groups of an M × N weight that are stored, one row of groups after the other.

    values   (n, c, r) float, contiguous; within a group the r elements of a column are adjacent. Groups
             at a ragged edge are padded with zeros to r × c.
    columns  (n,) int32, the column of each group in the grid; ascending within a row of groups.
    offsets  (R + 1,) int64; row i of the grid owns groups offsets[i] to offsets[i + 1] - 1.

    `pack` makes one. One put together by hand is checked by `validate()`, and not before.
    """

    structure: BlockStructure
    shape: tuple[int, int]
    values: Tensor
    columns: Tensor
    offsets: Tensor

    @property
    def group_shape(self) -> tuple[int, int]:
        """(r, c), the height and width of a group."""
        return self.structure.group_shape(self.shape)

    @property
    def grid(self) -> tuple[int, int]:
        """(R, C), the rows and columns of groups in the whole matrix, kept or not."""
        return self.structure.grid(self.shape)

    @property
    def groups(self) -> int:
        """How many groups are stored."""
        return int(self.columns.numel())

    @property
    def elements(self) -> int:
        """How many elements of the matrix are stored; padding at a ragged edge is not counted."""
        sizes = self.structure.sizes(self.shape, device="cpu")
        return int(sizes[self._group_rows().cpu(), self.columns.cpu().long()].sum())

    @property
    def density(self) -> float:
        """Stored elements ÷ all elements of the matrix, 0 to 1."""
        return self.elements / (self.shape[0] * self.shape[1])

    @property
    def bytes_values(self) -> int:
        """Bytes of the stored values, padding included."""
        return self.values.nbytes

    @property
    def bytes_indices(self) -> int:
        """Bytes of `columns` and `offsets`."""
        return self.columns.nbytes + self.offsets.nbytes

    @property
    def bytes_total(self) -> int:
        """Bytes of values and indices."""
        return self.bytes_values + self.bytes_indices

    @property
    def bytes_dense(self) -> int:
        """Bytes of the dense matrix in the same float type."""
        return self.shape[0] * self.shape[1] * self.values.itemsize

    def keep(self) -> Tensor:
        """Which groups are stored: bool, (R, C)."""
        stored = torch.zeros(self.grid, dtype=torch.bool, device=self.columns.device)
        stored[self._group_rows(), self.columns.long()] = True
        return stored

    def to_dense(self) -> Tensor:
        """The (M, N) weight, bit for bit; differentiable where `values` is.

        >>> pack(torch.eye(2), BlockStructure.irregular()).to_dense()
        tensor([[1., 0.],
                [0., 1.]])
        """
        (R, C), (r, c), (M, N) = self.grid, self.group_shape, self.shape
        cells = self.values.new_zeros(R * C, c, r)
        cells = cells.index_copy(0, self._group_rows() * C + self.columns, self.values)
        return cells.view(R, C, c, r).permute(0, 3, 1, 2).reshape(R * r, C * c)[:M, :N].contiguous()

    @torch.no_grad()
    def validate(self) -> PackedMatrix:
        """The matrix itself, safe for a kernel, which checks nothing; else raises ValueError naming the part.

        Every index must be in range and in order, every value finite, and the padding zero.
        """
        self.check_indices()
        _check_tensor(self.values, "values")
        _check_values(self)
        return self

    def check_indices(self) -> None:
        """Raise ValueError unless every index is in range and in order; what kernels rely on besides shapes."""
        check_structure(self.structure)
        _check_tensor(self.columns, "columns")
        _check_tensor(self.offsets, "offsets")
        _check_indices(self)

    def _group_rows(self) -> Tensor:
        """(n,) int64: the row of each group in the grid."""
        return torch.repeat_interleave(self.offsets.diff(), output_size=self.groups)

    def __repr__(self) -> str:
        (R, C), (r, c) = self.grid, self.group_shape
        lines = {
            "matrix": f"{self.shape[0]} x {self.shape[1]}, {str(self.values.dtype).removeprefix('torch.')}",
            "groups": f"{self.groups:,} of {R * C:,} stored, {r} x {c} each",
            "density": f"{self.density:.2%}",
            "values": f"{self.bytes_values:,} bytes",
            "indices": f"{self.bytes_indices:,} bytes",
            "total": f"{self.bytes_total:,} bytes, {self.bytes_total / self.bytes_dense:.1%} of dense",
        }
        return "\n".join([f"PackedMatrix {self.structure}", *(f"  {k:<8} {v}" for k, v in lines.items())])


@torch.no_grad()
def pack(weight: Tensor, structure: BlockStructure, keep: Tensor | None = None) -> PackedMatrix:
    """Keep the groups of `weight` (M, N) that hold anything but zero; the others are not stored.

    `keep`, bool of shape `structure.grid(weight.shape)`, says instead which groups are stored, zero or not: while a
    model trains, a group that is kept may be zero for now. The groups it leaves out must be zero. `to_dense()` gives
    the weight back bit for bit, but for -0.0 in a group that is not stored, which comes back as +0.0. Any float type
    and strides; the result shares no memory with `weight` and carries no gradient. Raises as `group_norms` does, and
    ValueError for a `keep` of another type or shape, or one that leaves out a group that is not zero.

    >>> packed = pack(torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]]), BlockStructure.block_row(2))
    >>> packed.values.tolist(), packed.columns.tolist(), packed.offsets.tolist()
    ([[[1.0], [2.0]]], [1], [0, 1, 1])
    """
    check_weight(weight, structure)
    check_finite(weight)
    (R, C), (r, c) = structure.grid(weight.shape), structure.group_shape(weight.shape)
    filled = torch.empty(R, C, dtype=torch.bool, device=weight.device)
    for cells, block in structure.regions(weight):
        filled[cells] = (block != 0).any(3).any(1)
    keep = filled if keep is None else _checked_keep(keep, filled)
    place = keep.flatten().cumsum(0).view(R, C) - 1
    values = weight.new_zeros(int(keep.sum()), c, r)
    for cells, block in structure.regions(weight):
        kept = keep[cells]
        values[place[cells][kept], : block.shape[3], : block.shape[1]] = block.permute(0, 2, 3, 1)[kept]
    offsets = torch.nn.functional.pad(keep.sum(1).cumsum(0), (1, 0))
    columns = keep.nonzero()[:, 1].to(torch.int32)
    return PackedMatrix(structure, (weight.shape[0], weight.shape[1]), values.detach(), columns, offsets)


def _checked_keep(keep: Tensor, filled: Tensor) -> Tensor:
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool or keep.shape != filled.shape:
        got = f"{keep.dtype} {tuple(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
        raise ValueError(f"keep must be a bool tensor of the grid's shape {tuple(filled.shape)}; got {got}")
    keep = keep.to(filled.device)
    if lost := int((filled & ~keep).sum()):
        raise ValueError(f"keep leaves out {lost} groups that are not zero; set them to zero first, as prune() does")
    return keep


def _check_tensor(part: Any, name: str) -> None:
    _require(isinstance(part, Tensor), f"{name} must be a tensor; got {type(part).__name__}")
    _require(part.is_contiguous(), f"{name} must be contiguous; {name}.contiguous() would do")


def _check_indices(packed: PackedMatrix) -> None:
    (R, C), columns, offsets = packed.grid, packed.columns, packed.offsets
    for name, part, dtype in (("columns", columns, torch.int32), ("offsets", offsets, torch.int64)):
        got = part.ndim, part.dtype
        _require(got == (1, dtype), f"{name} must be a 1-D {dtype} tensor; got {part.ndim}-D {part.dtype}")
    _require(len(offsets) == R + 1, f"offsets must have {R + 1} entries for {R} rows of groups; got {len(offsets)}")
    first, last = int(offsets[0]), int(offsets[-1])
    _require((first, last) == (0, len(columns)), f"offsets must run from 0 to {len(columns)}; got {first} to {last}")
    _require(not bool((offsets.diff() < 0).any()), "offsets must not fall")
    outside = int(((columns < 0) | (columns >= C)).sum())
    _require(outside == 0, f"columns must lie in 0 to {C - 1}; outside: {outside} of {len(columns)}")
    rows = packed._group_rows()
    ascending = (rows[1:] > rows[:-1]) | (columns[1:] > columns[:-1])
    _require(bool(ascending.all()), "columns must ascend within each row of groups, without repeats")


def _check_values(packed: PackedMatrix) -> None:
    (R, C), (r, c), (M, N), values = packed.grid, packed.group_shape, packed.shape, packed.values
    got, shape = tuple(values.shape), (packed.groups, c, r)
    _require(values.is_floating_point(), f"values must hold floats; got {values.dtype}")
    _require(got == shape, f"values must have shape (groups, c, r) = {shape}; got {got}")
    check_finite(values, "values")
    below = values[packed._group_rows() == R - 1][:, :, M - (R - 1) * r :]
    right = values[packed.columns == C - 1][:, N - (C - 1) * c :]
    _require(not bool(below.any() | right.any()), "values beyond the matrix's edge must be zero")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
