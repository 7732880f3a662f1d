"""Which groups stay: exactly k of them at a rate, per matrix, per strip of blocks, or over the whole model.

Selection ranks scores and nothing else; the default score is the root mean square of a group, and any other grid of
numbers (movement, Taylor) ranks as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from .._common.checks import check_finite, check_matrix, finite_number, same_names
from .architectures import prunable_weights
from .groups import group_scores
from .masks import Masks
from .structure import BlockStructure, check_weight, expand

Balance = bool | Literal["rows", "columns"]
#: One ranking for each matrix, or one over the whole model.
Scope = Literal["matrix", "model"]
_RATE = "rate 5.0 keeps one group in five, rate 1.0 keeps all"


def select(scores: Tensor, rate: float, balanced: Balance = False) -> Tensor:
    """The k = max(1, round(n / rate)) groups with the largest of n scores; of equal ones the first stays.

    `scores` (R, C) finite floats → bool (R, C), True where kept. `rate` ≥ 1 is n / k, a compression rate.
    `balanced="rows"` keeps the k largest of each row of the grid instead, "columns" of each column, and True does so
    along the grid's longer side. Raises TypeError or ValueError for other arguments.

    >>> select(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), rate=2.0)
    tensor([[False,  True,  True, False]])
    """
    rate = finite_number(rate, "rate", 1, _RATE)
    check_matrix(scores, "scores")
    check_finite(scores, "scores")
    scores = scores.detach()
    if balanced is False:
        return _top(scores.reshape(1, -1), rate).view(scores.shape)
    if balanced is True:
        balanced = "rows" if scores.shape[1] >= scores.shape[0] else "columns"
    if balanced not in ("rows", "columns"):
        raise ValueError(f"balanced must be False, True, 'rows' or 'columns'; got {balanced!r}")
    return _top(scores, rate) if balanced == "rows" else _top(scores.T, rate).T.contiguous()


@torch.no_grad()
def select_model(
    model: nn.Module, structure: BlockStructure, rate: float, scope: Scope = "matrix", balanced: Balance = False,
    scores: Mapping[str, Tensor] | None = None, **which: bool,
) -> Masks:  # fmt: skip
    """Masks for every prunable matrix of `model`: {parameter name: bool, the weight's shape}, True where kept.

    `scope="matrix"` keeps round(n / rate) groups of each matrix. `scope="model"` ranks all groups together and
    keeps max(number of matrices, round(total / rate)), of every matrix at least its best. `balanced` (with scope
    "matrix") is as in `select`, but True, which goes by the longer side there, goes by `structure.strips` here.
    `scores` {parameter name: (R, C)} replaces the root mean squares; `which` are the flags of `prunable`.

    >>> masks = select_model(nn.Linear(4, 4), BlockStructure.block_row(2), rate=4.0)
    >>> masks["weight"].sum()
    tensor(4)
    """
    rate = finite_number(rate, "rate", 1, _RATE)
    if scope not in ("matrix", "model"):
        raise ValueError(f"scope must be 'matrix' (each at the rate) or 'model' (one ranking); got {scope!r}")
    if scope == "model" and balanced is not False:
        raise ValueError("balanced strips need scope='matrix': one ranking over the model cannot keep them equal")
    weights = prunable_weights(model, **which)
    grids = _grids(weights, structure, scores)
    along = structure.strips if balanced is True else balanced
    kept = keep_largest(grids, rate, scope, along)
    masks = {name: expand(keep, structure, weights[name].shape) for name, keep in kept.items()}
    return Masks(masks, structure, {name: _squared_norm_kept(weights[name], mask) for name, mask in masks.items()})


def keep_largest(
    grids: Mapping[str, Tensor], rate: float, scope: Scope = "matrix", balanced: Balance = False
) -> dict[str, Tensor]:
    """{name: bool (R, C)}: the largest scores of each grid, or of all grids together, as `select_model` keeps them."""
    if scope == "model":
        return _select_together(grids, finite_number(rate, "rate", 1, _RATE))
    return {name: select(grid, rate, balanced) for name, grid in grids.items()}


def _top(scores: Tensor, rate: float) -> Tensor:
    return _largest(scores, max(1, round(scores.shape[1] / rate)))


def _largest(scores: Tensor, k: int) -> Tensor:
    """In each row of (strips, n) `scores`, the k largest; of those equal to the k-th, the first."""
    smallest_kept = scores.kthvalue(scores.shape[1] - k + 1, dim=1, keepdim=True).values
    above, ties = scores > smallest_kept, scores == smallest_kept
    room = k - above.sum(1, keepdim=True)
    return above | (ties & (ties.cumsum(1) <= room))


def _grids(
    weights: Mapping[str, nn.Parameter], structure: BlockStructure, scores: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The grid of scores of each matrix: the ones given, or the root mean squares; both checked."""
    if scores is None:
        return {name: group_scores(weight, structure, name=name) for name, weight in weights.items()}
    same_names(scores, weights, "scores")
    for name, weight in weights.items():
        check_weight(weight, structure, name)
        given, what, grid = scores[name], f"scores[{name!r}]", structure.grid(weight.shape)
        check_matrix(given, what)
        check_finite(given, what)
        if given.shape != grid:
            raise ValueError(f"{what} must have the grid's shape {grid}; got {tuple(given.shape)}")
    return {name: scores[name].detach().to(weights[name].device) for name in weights}


def _select_together(grids: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """The kept groups of each matrix under one ranking over all."""
    device = next(iter(grids.values())).device
    lengths = [grid.numel() for grid in grids.values()]
    ranking = torch.cat([grid.flatten().to(device) for grid in grids.values()])
    for part in ranking.split(lengths):  # the best group of each matrix goes to the front of the ranking
        part[_largest(part[None], 1)[0]] = torch.inf
    keep = _largest(ranking[None], max(len(lengths), round(len(ranking) / rate)))[0]
    return {n: part.view(g.shape).to(g.device) for (n, g), part in zip(grids.items(), keep.split(lengths), strict=True)}


def _squared_norm_kept(weight: Tensor, mask: Tensor) -> float:
    """The part of the weight's squared norm that the mask keeps, 0 to 1."""
    peak = float(weight.abs().max())  # divided by it, the squares stay in range
    if peak == 0:
        return 1.0
    squares = (weight.detach().double() / peak).square()
    return float(squares[mask].sum() / squares.sum())
