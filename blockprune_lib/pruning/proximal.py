"""The proximal operator of group norms: every group shrinks towards zero, and the small ones reach it."""

from __future__ import annotations

import torch
from torch import Tensor

from .._common.checks import check_finite, finite_number
from .groups import block_norms, check_norms, chunks, result_dtype, spread
from .structure import BlockStructure, check_weight


@torch.no_grad()
def group_soft_threshold(weight: Tensor, structure: BlockStructure, threshold: float | Tensor) -> Tensor:
    r"""Shrink each group towards zero: W_g · max(0, 1 - t_g / ||W_g||), the proximal operator of t_g · ||W_g||.

    `weight` (M, N) → a new tensor (M, N), no gradient; groups with ||W_g|| ≤ t_g become exactly +0.0.
    `threshold` t ≥ 0: one number, or one for each group, shape `structure.grid(weight.shape)`. Raises as `group_norms`,
    and TypeError or ValueError for a threshold that is neither. (Parikh and Boyd 2014, section 6.5.4.)

    >>> group_soft_threshold(torch.tensor([[3.0, 4.0, 0.6, 0.8]]), BlockStructure.block_row(2), 1.0)
    tensor([[2.4000, 3.2000, 0.0000, 0.0000]])
    """
    check_weight(weight, structure)
    grid = structure.grid(weight.shape)
    if isinstance(threshold, Tensor) and threshold.ndim > 0:
        if (got := tuple(threshold.shape)) != grid:
            raise ValueError(f"threshold must be a number or have the grid's shape {grid}; got {got}")
        check_finite(threshold, "threshold")
        if bool((threshold < 0).any()):
            raise ValueError(f"threshold must be at least 0; got {float(threshold.min()):g}")
        limits = threshold.to(weight.device, result_dtype(weight))
    else:
        value = threshold.item() if isinstance(threshold, Tensor) else threshold
        value = finite_number(value, "threshold", 0, "0 changes nothing")
        limits = torch.full(grid, value, dtype=result_dtype(weight), device=weight.device)
    check_norms(weight, structure, "weight")
    shrunk = torch.empty_like(weight)
    for cells, (block, target) in chunks(structure, weight, shrunk):
        shrink_block(block, limits[cells], out=target)
    return shrunk


def shrink_block(block: Tensor, threshold: Tensor, out: Tensor) -> None:
    """Shrink the groups of one chunk (R, r, C, c) by their own `threshold` (R, C) into `out`, which may be `block`."""
    norms = block_norms(block, result_dtype(block))
    dead = (norms <= threshold) & (threshold > 0)
    torch.mul(block, spread(torch.where(threshold > 0, 1 - threshold / norms, 1.0)), out=out)
    out.masked_fill_(spread(dead), 0.0)  # a product with 0 would leave -0.0, or NaN from 0 / 0
