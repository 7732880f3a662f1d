"""Which groups stay: exactly k of them at a rate, per matrix, per strip of blocks, or over the whole model.

Selection ranks scores and nothing else; the default score is the root mean square of a group, and any other
grid of numbers (movement, Taylor) ranks as well. It leaves out retraining under the mask (`training`) and
storing what is left (`packing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._common.checks import check_finite, check_matrix, finite_number, same_names
from .architectures import prunable_weights
from .groups import group_scores
from .masks import Masks
from .structure import BlockStructure, check_structure, check_weight, expand

Balance = bool | Literal["rows", "columns"]
_RATE = "rate 5.0 keeps one group in five, rate 1.0 keeps all"


def select(scores: Tensor, rate: float, balanced: Balance = False) -> Tensor:
    """The k = max(1, round(n / rate)) groups with the largest of n scores; of equal ones the first stays.

    `scores` (R, C) finite floats → bool (R, C), True where kept. `rate` ≥ 1 is n / k, a compression rate.
    `balanced=True` keeps the same k of every strip of the grid, along its longer side; "rows" and "columns"
    say that each row, or each column, of the grid is a strip. Raises TypeError or ValueError otherwise.

    >>> select(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), rate=2.0)
    tensor([[False,  True,  True, False]])
    """
    rate = finite_number(rate, "rate", 1, _RATE)
    check_matrix(scores, "scores")
    check_finite(scores, "scores")
    scores = scores.detach()
    strips = _strips(balanced, scores.shape)
    if strips is None:
        return _top(scores.reshape(1, -1), rate).view(scores.shape)
    return _top(scores, rate) if strips == "rows" else _top(scores.T, rate).T.contiguous()


@torch.no_grad()
def select_model(
    model: nn.Module,
    structure: BlockStructure,
    rate: float,
    scope: Literal["matrix", "model"] = "matrix",
    balanced: Balance = False,
    scores: Mapping[str, Tensor] | None = None,
    **which: bool,
) -> Masks:
    """Masks for every prunable matrix of `model`: {parameter name: bool, the weight's shape}, True where kept.

    `scope="matrix"` keeps round(n / rate) groups of each matrix. `scope="model"` ranks all groups together and
    keeps max(number of matrices, round(total / rate)), of every matrix at least its best. `balanced=True` (with
    scope "matrix") keeps the same number in each strip: the grid's columns under block_row and row, else its rows.
    `scores` {parameter name: (R, C)} replaces the root mean squares; `which` are the flags of `prunable`.

    >>> masks = select_model(nn.Linear(4, 4), BlockStructure.block_row(2), rate=4.0)
    >>> masks["weight"].sum()
    tensor(4)
    """
    check_structure(structure)
    rate = finite_number(rate, "rate", 1, _RATE)
    if scope not in ("matrix", "model"):
        raise ValueError(f"scope must be 'matrix' (each at the rate) or 'model' (one ranking); got {scope!r}")
    if scope == "model" and balanced is not False:
        raise ValueError("balanced strips need scope='matrix': one ranking over the model cannot keep them equal")
    if balanced is True:
        balanced = "columns" if structure.kind in ("block_row", "row") else "rows"
    weights = prunable_weights(model, **which)
    for name, weight in weights.items():
        check_weight(weight, structure, name)
    grids = _grids(weights, structure, scores)
    if scope == "matrix":
        kept = {name: select(grid, rate, balanced) for name, grid in grids.items()}
    else:
        kept = _select_together(grids, rate)
    masks = {name: expand(keep, structure, weights[name].shape) for name, keep in kept.items()}
    shares = {name: _share(weights[name], mask) for name, mask in masks.items()}
    return Masks(masks, structure, shares)


def _count(groups: int, rate: float) -> int:
    return max(1, round(groups / rate))


def _top(scores: Tensor, rate: float) -> Tensor:
    """In each row of (strips, n) `scores`, the k largest; of those equal to the k-th, the first."""
    return _largest(scores, _count(scores.shape[1], rate))


def _largest(scores: Tensor, k: int) -> Tensor:
    smallest_kept = scores.kthvalue(scores.shape[1] - k + 1, dim=1, keepdim=True).values
    above, ties = scores > smallest_kept, scores == smallest_kept
    room = k - above.sum(1, keepdim=True)
    return above | (ties & (ties.cumsum(1) <= room))


def _strips(balanced: Any, shape: torch.Size) -> str | None:
    if isinstance(balanced, bool):
        return ("rows" if shape[1] >= shape[0] else "columns") if balanced else None
    if balanced not in ("rows", "columns"):
        raise ValueError(f"balanced must be False, True, 'rows' or 'columns'; got {balanced!r}")
    return str(balanced)


def _grids(
    weights: Mapping[str, nn.Parameter], structure: BlockStructure, scores: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The grid of scores of each matrix: the ones given, checked, or the root mean squares."""
    if scores is None:
        return {name: group_scores(weight, structure, name=name) for name, weight in weights.items()}
    same_names(scores, weights, "scores")
    for name, weight in weights.items():
        grid = structure.grid(weight.shape)
        check_matrix(scores[name], f"scores[{name!r}]")
        check_finite(scores[name], f"scores[{name!r}]")
        if scores[name].shape != grid:
            raise ValueError(f"scores[{name!r}] must have the grid's shape {grid}; got {tuple(scores[name].shape)}")
    return {name: scores[name].detach().to(weights[name].device) for name in weights}


def _select_together(grids: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    device = next(iter(grids.values())).device
    lengths = [grid.numel() for grid in grids.values()]
    ranking = torch.cat([grid.flatten().to(device) for grid in grids.values()])
    first = 0
    for length in lengths:  # the best group of each matrix goes to the front of the ranking
        ranking[first + int(_largest(ranking[None, first : first + length], 1).int().argmax())] = torch.inf
        first += length
    keep = _largest(ranking[None], max(len(lengths), _count(sum(lengths), rate)))[0]
    return {n: part.view(g.shape).to(g.device) for (n, g), part in zip(grids.items(), keep.split(lengths), strict=True)}


def _share(weight: Tensor, mask: Tensor) -> float:
    # The root mean square keeps squares of float32 and float16 weights in range.
    peak = float(weight.abs().max())
    if peak == 0:
        return 1.0
    squares = (weight.detach().double() / peak).square()
    return float(squares[mask].sum() / squares.sum())
