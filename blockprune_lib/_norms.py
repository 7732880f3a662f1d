"""Arithmetic over groups: norms that neither overflow nor vanish, their gradient, and scaling group by group.

It knows no structure: `structure.regions(matrix)` hands it views (rows of groups, r, columns of groups, c).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .checks import check_finite

if TYPE_CHECKING:
    from .structure import BlockStructure


class GroupNorms(torch.autograd.Function):
    """||W_g|| of every group, with the gradient W_g / ||W_g||, and 0 at a group of zeros.

    torch's own chain would keep a squared copy of the weight, and give NaN at a group of zeros.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, structure: BlockStructure, name: str) -> Tensor:
        norms = sum_norms(weight, structure, result_dtype(weight), name)
        if not bool(norms.isfinite().all()):
            kind = str(norms.dtype).removeprefix("torch.")
            raise ValueError(f"{name} has a group whose norm is beyond the largest {kind}; .double() would do")
        ctx.structure = structure
        ctx.save_for_backward(weight, norms)
        return norms

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, norms = ctx.saved_tensors
        limits = torch.finfo(norms.dtype)
        alive = norms > limits.tiny / limits.eps  # a group below that counts as zero: grad / norm might overflow
        return scale_groups(weight, ctx.structure, torch.where(alive, grad / norms, 0.0)), None, None


def sum_norms(weight: Tensor, structure: BlockStructure, dtype: torch.dtype, name: str = "weight") -> Tensor:
    """The norms (R, C), summed in `dtype`; raises ValueError for NaN or infinite weights.

    Groups whose squares would overflow or vanish in `dtype` are divided by their largest element first.
    """
    norms = weight.new_empty(structure.grid(weight.shape), dtype=dtype)
    for cells, block in structure.regions(weight):
        norms[cells] = _reduce(block, dtype)
    limits = torch.finfo(dtype)
    least = math.sqrt(limits.tiny / limits.eps)  # below this a sum of squares has lost digits
    low, high = (float(value) for value in torch.aminmax(norms))
    squared = structure.group_shape(weight.shape) != (1, 1)
    if high <= limits.max and (least < low or not squared):
        return norms
    if not high <= limits.max:
        check_finite(weight, name)
    for cells, block in structure.regions(weight):
        peak = block.abs().amax((1, 3)).to(dtype)
        part = norms[cells]
        if bool(((peak > 0) & ~((part > least) & (part <= limits.max))).any()):
            scale = torch.where(peak > 0, peak, 1.0)
            norms[cells] = scale * _reduce(block / scale[:, None, :, None], dtype)
    return norms


def scale_groups(weight: Tensor, structure: BlockStructure, factor: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply every group by its own factor: `factor` (R, C), `weight` (M, N) → (M, N), into `out` if given."""
    scaled = torch.empty_like(weight) if out is None else out
    for (cells, block), (_, target) in zip(structure.regions(weight), structure.regions(scaled), strict=True):
        torch.mul(block, factor[cells][:, None, :, None], out=target)
    return scaled


def result_dtype(weight: Tensor) -> torch.dtype:
    """The type of norms and scores: float64 for float64 weights, else float32."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def _reduce(block: Tensor, dtype: torch.dtype) -> Tensor:
    # torch's vector_norm is quick along memory, and 13 times slower across it than a plain sum of squares.
    _, r, _, c = block.shape
    if r == 1 and c == 1:
        return block[:, 0, :, 0].abs().to(dtype)
    if r == 1:
        return torch.linalg.vector_norm(block[:, 0], dim=2, dtype=dtype)
    return block.to(dtype).square().sum((1, 3)).sqrt()
