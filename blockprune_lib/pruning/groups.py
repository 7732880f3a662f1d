"""What is computed of every group of a weight: its norm and the gradient, its score, its proximal operator.

`chunks` cuts a weight into views (R', r, C', c) of whole rows of groups, which fit a core's cache, so that no temporary
is as large as a weight. On one such block work `block_norms` (which neither overflow nor vanish), `pull` (for their
gradient) and `shrink_block`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .._common.checks import check_finite, check_present, finite_number
from .structure import BlockStructure, check_weight

CHUNK = 1 << 17  # elements: 512 KiB of float32


def group_norms(weight: Tensor, structure: BlockStructure, *, name: str = "weight") -> Tensor:
    r"""The l2 norm of each group, ||W_g||_2 = sqrt(sum of w² over the group): what the penalty sums.

    `weight` (M, N), any float type and strides → (R, C) = `structure.grid((M, N))`, float32 (float64 for
    float64 weights). Differentiable once: the gradient is W_g / ||W_g||, and 0 at a group of zeros (a
    subgradient there). Raises TypeError for anything but a float matrix, ValueError for NaN or infinite
    weights, for a block that `BlockStructure.group_shape` refuses and for a norm beyond the largest float; errors call
    the weight `name`.

    >>> group_norms(torch.tensor([[3.0, 4.0, 0.0, 0.0]]), BlockStructure.block_row(2))
    tensor([[5., 0.]])

    Where r divides M and c divides N, and no square overflows or vanishes, this is what it computes:

    >>> weight, (r, c) = torch.randn(6, 8), (3, 4)
    >>> view = weight.view(6 // r, r, 8 // c, c)
    >>> plain = view.square().sum((1, 3)).sqrt()
    >>> torch.testing.assert_close(group_norms(weight, BlockStructure.tile(r, c)), plain)
    """
    check_weight(weight, structure, name)
    norms: Tensor = _GroupNorms.apply(weight, structure, name)
    return norms


@torch.no_grad()
def group_scores(weight: Tensor, structure: BlockStructure, *, name: str = "weight") -> Tensor:
    """The root mean square of each group, sqrt(mean of w² over the group): what selection ranks by.

    `weight` (M, N) → (R, C). The same order as the norms where groups are equal; at a ragged edge the size alone does
    not decide. Computed in float64 (float32 where the device has none) and rounded to float32 (float64 for float64
    weights), so that groups of equal values tie on every machine. No gradient. Raises as `group_norms` does.

    >>> group_scores(torch.tensor([[2.0, 2.0, 2.0]]), BlockStructure.block_row(2))
    tensor([[2., 2.]])
    """
    check_weight(weight, structure, name)
    exact = torch.float32 if weight.device.type == "mps" else torch.float64
    sizes = structure.sizes(weight.shape, weight.device).to(exact)
    scores = _sum_norms(weight, structure, exact, name) / sizes.sqrt()
    if not bool(scores.isfinite().all()):  # the norm of float64 weights near the largest float; their mean is in range
        scores = _sum_norms(weight / sizes.max().sqrt(), structure, exact) * (sizes.max() / sizes).sqrt()
    return scores.to(result_dtype(weight))


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


class _GroupNorms(torch.autograd.Function):
    # torch's own chain would keep a squared copy of the weight, and give NaN at a group of zeros.

    @staticmethod
    def forward(ctx: Any, weight: Tensor, structure: BlockStructure, name: str) -> Tensor:
        norms = _finite_norms(weight, structure, name)
        ctx.structure = structure
        ctx.save_for_backward(weight, norms)
        return norms

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, norms = ctx.saved_tensors
        scaled = torch.empty_like(weight)
        for cells, (block, target) in chunks(ctx.structure, weight, scaled):
            torch.mul(block, spread(pull(grad[cells], norms[cells])), out=target)
        return scaled, None, None


def pull(strength: Tensor, norms: Tensor) -> Tensor:
    """strength / ||W_g||: times W_g, the gradient of strength · ||W_g||. 0 where a norm counts as zero."""
    quotient = strength / norms
    limits = torch.finfo(norms.dtype)
    least = limits.tiny / limits.eps  # below it the quotient might overflow
    if not bool(norms.min() > least):  # a minimum takes a tenth of the time of a mask
        quotient.masked_fill_(norms <= least, 0.0)
    return quotient


def shrink_block(block: Tensor, threshold: Tensor, out: Tensor) -> None:
    """Shrink the groups of one chunk (R, r, C, c) by their own `threshold` (R, C) into `out`, which may be `block`."""
    norms = block_norms(block, result_dtype(block))
    dead = (norms <= threshold) & (threshold > 0)
    torch.mul(block, spread(torch.where(threshold > 0, 1 - threshold / norms, 1.0)), out=out)
    out.masked_fill_(spread(dead), 0.0)  # a product with 0 would leave -0.0, or NaN from 0 / 0


def _finite_norms(weight: Tensor, structure: BlockStructure, name: str) -> Tensor:
    """The norms (R, C), known to be finite."""
    norms = _sum_norms(weight, structure, result_dtype(weight), name)
    if not bool(norms.isfinite().all()):
        dtype = str(norms.dtype).removeprefix("torch.")
        raise ValueError(f"{name} has a group whose norm is beyond the largest {dtype}; .double() would do")
    return norms


def check_norms(weight: Tensor, structure: BlockStructure, name: str) -> None:
    """Raise what `_finite_norms` raises, from one reading of the weight and without keeping its norms."""
    check_present(weight, name)
    r, c = structure.group_shape(weight.shape)
    parts = weight.split(max(1, _chunk(weight) // weight.shape[1]))
    peak = float(torch.stack([end for part in parts for end in torch.aminmax(part)]).abs().max())  # NaN if there is one
    if not math.isfinite(peak):
        check_finite(weight, name)
    if r * c > 1 and peak * math.sqrt(r * c) > torch.finfo(result_dtype(weight)).max / 2:
        _finite_norms(weight, structure, name)


def _sum_norms(weight: Tensor, structure: BlockStructure, dtype: torch.dtype, name: str = "weight") -> Tensor:
    """The norms (R, C), summed in `dtype`; raises ValueError for NaN or infinite weights."""
    check_present(weight, name)
    norms = weight.new_empty(structure.grid(weight.shape), dtype=dtype)
    for cells, (block,) in chunks(structure, weight):
        norms[cells] = block_norms(block, dtype)
    if not bool(norms.isfinite().all()):
        check_finite(weight, name)
    return norms


def block_norms(block: Tensor, dtype: torch.dtype) -> Tensor:
    """The norms (R', C') of one chunk (R', r, C', c), summed in `dtype`; not finite where an element is not.

    Groups whose squares would overflow or vanish in `dtype` are divided by their largest element first.
    """
    norms = _reduce(block, dtype)
    if block.shape[1] == block.shape[3] == 1:
        return norms
    limits = torch.finfo(dtype)
    least = math.sqrt(limits.tiny / limits.eps)  # below this a sum of squares has lost digits
    low, high = (float(value) for value in torch.aminmax(norms))
    if least < low and high <= limits.max:
        return norms
    peak = torch.maximum(block.amax((1, 3)), -block.amin((1, 3))).to(dtype)
    if bool(((peak > 0) & ~((norms > least) & (norms <= limits.max))).any()):
        scale = torch.where(peak > 0, peak, 1.0)
        norms = scale * _reduce(block, dtype, scale)
    return norms


def chunks(structure: BlockStructure, *matrices: Tensor) -> Iterator[tuple[tuple[slice, slice], list[Tensor]]]:
    """The place in the grid and the views of the same groups of each matrix: `CHUNK` elements, or one row of groups."""
    for regions in zip(*(structure.regions(matrix) for matrix in matrices), strict=True):
        (rows, columns), first = regions[0]
        height = max(1, _chunk(first) // first[0].numel())
        for start in range(0, len(first), height):
            stop = min(start + height, len(first))
            cells = slice(rows.start + start, rows.start + stop), columns
            yield cells, [block[start:stop] for _, block in regions]


def spread(values: Tensor) -> Tensor:
    """One value for each group (R', C'), viewed so that it broadcasts over the groups' elements (R', r, C', c)."""
    return values[:, None, :, None]


def result_dtype(weight: Tensor) -> torch.dtype:
    """The type of norms and scores: float64 for float64 weights, else float32."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def _chunk(matrix: Tensor) -> int:
    return CHUNK if matrix.device.type == "cpu" else 64 * CHUNK  # on a GPU a call costs more than its memory


def _reduce(block: Tensor, dtype: torch.dtype, scale: Tensor | None = None) -> Tensor:
    """sqrt(sum of squares) of each group, of the block divided by `scale` (R', C') where it is given."""
    # torch's vector_norm is quick along memory, and 13 times slower across it than a plain sum of squares.
    _, r, _, c = block.shape
    if r == c == 1:
        return block[:, 0, :, 0].abs().to(dtype)
    if r == 1:
        rows = block[:, 0] if scale is None else block[:, 0] / scale[..., None]
        return torch.linalg.vector_norm(rows, dim=2, dtype=dtype)
    total: Any = 0
    for part in block.split(max(1, _chunk(block) * r // block.numel()), dim=1):
        total = total + (part.to(dtype) if scale is None else part / spread(scale)).square().sum(1)
    return total.sum(2).sqrt()
