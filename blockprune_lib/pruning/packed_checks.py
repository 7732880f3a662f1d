"""What a packed matrix must satisfy before a kernel, which checks nothing, may follow its indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._common.checks import check_finite
from .structure import check_structure

if TYPE_CHECKING:
    from .packing import PackedMatrix


def check_packed(packed: PackedMatrix) -> None:
    """Raise ValueError, naming the part, unless every index is in range and in order and the padding is zero."""
    check_structure(packed.structure)
    values, columns, offsets = packed.values, packed.columns, packed.offsets
    (R, C), (r, c) = packed.grid, packed.group_shape
    for name, part in (("values", values), ("columns", columns), ("offsets", offsets)):
        _require(isinstance(part, Tensor), f"{name} must be a tensor; got {type(part).__name__}")
        _require(part.is_contiguous(), f"{name} must be contiguous; {name}.contiguous() would do")
    for name, part, dtype in (("columns", columns, torch.int32), ("offsets", offsets, torch.int64)):
        sound = part.ndim == 1 and part.dtype == dtype
        _require(sound, f"{name} must be a 1-D {dtype} tensor; got {part.ndim}-D {part.dtype}")
    _require(len(offsets) == R + 1, f"offsets must have {R + 1} entries for {R} rows of groups; got {len(offsets)}")
    bounds = (int(offsets[0]), int(offsets[-1]))
    _require(bounds == (0, len(columns)), f"offsets must run from 0 to {len(columns)}; got {bounds[0]} to {bounds[1]}")
    _require(not bool((offsets.diff() < 0).any()), "offsets must not fall")
    outside = int(((columns < 0) | (columns >= C)).sum())
    _require(outside == 0, f"columns must lie in 0 to {C - 1}; {outside} of {len(columns)} do not")
    rows = packed._group_rows()
    rising = (rows[1:] > rows[:-1]) | (columns[1:] > columns[:-1])
    _require(bool(rising.all()), "columns must ascend within each row of groups, without repeats")
    shape = (len(columns), c, r)
    _require(values.is_floating_point(), f"values must hold floats; got {values.dtype}")
    _require(
        tuple(values.shape) == shape, f"values must have shape (groups, c, r) = {shape}; got {tuple(values.shape)}"
    )
    check_finite(values, "values")
    padding: Iterable[Tensor] = (
        values[rows == R - 1][:, :, packed.shape[0] - (R - 1) * r :],
        values[columns == C - 1][:, packed.shape[1] - (C - 1) * c :],
    )
    _require(not any(bool((part != 0).any()) for part in padding), "values beyond the matrix's edge must be zero")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
