"""What is left after pruning, packed for a kernel, and its bytes on disk.

One format carries all six structures: compressed rows (BSR) over the grid of groups. It leaves out how the
packed matrix is multiplied (`kernels`) and how a whole model is stored (`modules`).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .._common.checks import check_finite
from .packed_checks import check_packed
from .structure import BlockStructure, check_weight

FORMAT = "blockprune packed matrices, version 1"


@dataclass(frozen=True, eq=False, repr=False)
class PackedMatrix:
    """The groups of an M × N weight that are not all zero, row of groups after row of groups.

    values   (n, c, r) float, contiguous; inside a group the r elements of a column lie together. Groups
             at a ragged edge are padded with zeros to r × c.
    columns  (n,) int32, the column of each group in the grid; ascending within a row of groups.
    offsets  (R + 1,) int64; row i of the grid owns groups offsets[i] to offsets[i + 1] - 1.
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
        return int(self.structure.sizes(self.shape)[self._group_rows().cpu(), self.columns.cpu().long()].sum())

    @property
    def density(self) -> float:
        """Stored elements ÷ all elements of the matrix, 0 to 1."""
        return self.elements / (self.shape[0] * self.shape[1])

    @property
    def bytes_values(self) -> int:
        """Bytes of the stored values, padding included."""
        return self.values.numel() * self.values.element_size()

    @property
    def bytes_indices(self) -> int:
        """Bytes of `columns` and `offsets`."""
        return sum(part.numel() * part.element_size() for part in (self.columns, self.offsets))

    @property
    def bytes_total(self) -> int:
        """Bytes of values and indices."""
        return self.bytes_values + self.bytes_indices

    @property
    def bytes_dense(self) -> int:
        """Bytes of the dense matrix in the same float type."""
        return self.shape[0] * self.shape[1] * self.values.element_size()

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

    def validate(self) -> PackedMatrix:
        """Raise ValueError unless a kernel may trust every index and the padding; returns itself."""
        check_packed(self)
        return self

    def _group_rows(self) -> Tensor:
        """(n,) int64: the row of each group in the grid."""
        rows = torch.arange(self.grid[0], device=self.offsets.device)
        return rows.repeat_interleave(self.offsets.diff(), output_size=self.groups)

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

    `keep`, bool of shape `structure.grid(weight.shape)`, says instead which groups are stored, zero or not: a support
    that is trained may hold groups that are zero today. A group that it leaves out must be zero. `to_dense()` gives the
    weight back bit for bit; a group of nothing but zeros counts as zero whatever the
    signs of its zeros, and comes back as +0.0. Any float type and strides; the result shares no memory with
    `weight` and carries no gradient. Raises as `group_norms` does, and ValueError for a `keep` that will not do.

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
    keep = filled if keep is None else _checked(keep, filled)
    place = keep.flatten().cumsum(0).view(R, C) - 1
    values = weight.new_zeros(int(keep.sum()), c, r)
    for cells, block in structure.regions(weight):
        kept = keep[cells]
        values[place[cells][kept], : block.shape[3], : block.shape[1]] = block.permute(0, 2, 3, 1)[kept]
    offsets = torch.zeros(R + 1, dtype=torch.int64, device=weight.device)
    offsets[1:] = keep.sum(1).cumsum(0)
    columns = keep.nonzero()[:, 1].to(torch.int32)
    return PackedMatrix(structure, (weight.shape[0], weight.shape[1]), values.detach(), columns, offsets)


def _checked(keep: Tensor, filled: Tensor) -> Tensor:
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool or keep.shape != filled.shape:
        got = f"{keep.dtype} {tuple(keep.shape)}" if isinstance(keep, Tensor) else type(keep).__name__
        raise ValueError(f"keep must be a bool tensor of the grid's shape {tuple(filled.shape)}; got {got}")
    keep = keep.to(filled.device)
    if lost := int((filled & ~keep).sum()):
        raise ValueError(f"keep leaves out {lost} groups that are not zero; set them to zero first, as prune() does")
    return keep


def to_tensors(matrices: Mapping[str, PackedMatrix]) -> tuple[dict[str, Tensor], str]:
    """Flatten named matrices into tensors `NAME.values`, `NAME.columns`, `NAME.offsets` and a JSON description."""
    tensors: dict[str, Tensor] = {}
    description: dict[str, dict[str, object]] = {}
    for name, packed in matrices.items():
        if not isinstance(packed, PackedMatrix):
            raise TypeError(f"{name!r} must be a PackedMatrix, as pack() returns; got {type(packed).__name__}")
        _named(name, packed)
        description[name] = {"structure": str(packed.structure), "shape": list(packed.shape)}
        for part in _PARTS:
            tensors[f"{name}.{part}"] = getattr(packed, part).detach().cpu().contiguous()
    return tensors, json.dumps(description)


def from_tensors(tensors: Mapping[str, Tensor], description: str) -> dict[str, PackedMatrix]:
    """The named matrices back from `to_tensors`, each validated; raises ValueError saying which is broken."""
    try:
        entries = {
            name: (BlockStructure.parse(entry["structure"]), (int(entry["shape"][0]), int(entry["shape"][1])))
            for name, entry in json.loads(description).items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"the description of the packed matrices is broken: {error}") from None
    matrices = {}
    for name, (structure, shape) in entries.items():
        missing = [part for part in _PARTS if f"{name}.{part}" not in tensors]
        if missing:
            raise ValueError(f"matrix {name!r} lacks {', '.join(missing)}")
        matrices[name] = _named(name, PackedMatrix(structure, shape, *(tensors[f"{name}.{p}"] for p in _PARTS)))
    return matrices


def save_packed(matrices: Mapping[str, PackedMatrix], path: str | os.PathLike[str]) -> None:
    """Write named packed matrices to one safetensors file; the file appears whole or not at all.

    Raises TypeError for other things than packed matrices, ValueError if there are none or the folder does
    not exist.
    """
    from safetensors.torch import save_file

    if not isinstance(matrices, Mapping):
        raise TypeError(f"matrices must be a dict {{name: PackedMatrix}}; got {type(matrices).__name__}")
    if not matrices:
        raise ValueError("matrices is empty: there is nothing to save")
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"path {str(target)!r}: the folder {str(target.parent)!r} does not exist; make it first")
    if target.is_dir():
        raise ValueError(f"path {str(target)!r} is a folder; name a file in it, such as packed.safetensors")
    tensors, description = to_tensors(matrices)
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        save_file(_unshared(tensors), scratch, metadata={"format": FORMAT, "matrices": description})
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def load_packed(path: str | os.PathLike[str]) -> dict[str, PackedMatrix]:
    """Read what `save_packed` wrote; every index is checked. Raises ValueError naming the file if it is broken."""
    from safetensors import SafetensorError, safe_open

    source = Path(path)
    if not source.is_file():
        raise ValueError(f"path {str(source)!r}: there is no such file; save_packed(matrices, path) writes one")
    try:
        with safe_open(source, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"it was not written by save_packed (format {metadata.get('format')!r})")
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        return from_tensors(tensors, metadata.get("matrices", ""))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"path {str(source)!r} cannot be read: {error}; save it again with save_packed") from error


_PARTS = ("values", "columns", "offsets")


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors whose memory another one holds already (tied layers), which safetensors refuses."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        separate[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return separate


def _named(name: str, packed: PackedMatrix) -> PackedMatrix:
    """Validate, and put the matrix's name into the error."""
    try:
        return packed.validate()
    except ValueError as error:
        raise ValueError(f"matrix {name!r}: {error}") from None
