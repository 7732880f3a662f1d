r"""The proximal step of the reweighted group Lasso with a strength that follows a target: this share of groups at zero.

A fixed λ is a guess: too small and no group vanishes, too large and all do. Here the share is given, and λ follows.
With ||W_g|| the norm of a group and α_g its pull, the step by a strength c is

    W_g  <-  W_g · max(0, 1 - c · α_g / ||W_g||)              a group vanishes where  r_g = ||W_g|| / α_g  <=  c

so with c the quantile of all r_g that belongs to the share, that many groups vanish, whatever the structure, the model
or the size of its weights. Reweighted, α_g = 1 / (||W_g|| + ε) and c = q (q + ε), q the quantile of the norms:

    what is left                   . - ´
    of a norm              . - ´  ´   ´        - -  untouched
                        ,´      ´              ...  this step: a group at q just vanishes, a large one hardly moves
             __________/__ ´______________
                       q        ||W_g||
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .._common.checks import finite_number, same_names
from .groups import chunks, group_scores, result_dtype, spread
from .lasso import reweighted_alpha
from .selection import Balance, Scope, keep_largest
from .structure import BlockStructure


class Shrinkage(NamedTuple):
    """What one step did: which groups live {name: bool (R, C)}, and c {name: strength}, in units of norm / α."""

    keep: dict[str, Tensor]
    strength: dict[str, float]


@torch.no_grad()
def shrink_to_share_(
    weights: Mapping[str, Tensor], structure: BlockStructure, rate: float, *, eps: float = 1e-3,
    alpha: Mapping[str, Tensor] | None = None, scope: Scope = "matrix", balanced: Balance = False,
    reach: float | None = None,
) -> Shrinkage:  # fmt: skip
    """Shrink every group of `weights` in place so that those outside the best n / `rate` are exactly zero.

    `weights` {name: (M, N)}; of each, max(1, round(n / rate)) groups stay, over all of them together with
    scope "model", and the same share of each strip where `balanced`, as in `select_model`. ||W_g|| is the root mean
    square of the group times the square root of a full group's size, so that a smaller group at a ragged edge does not
    vanish for its size. `alpha` {name: (R, C)}: the pull on each group; None computes 1 / (||W_g|| + `eps`) now.
    With r_g = ||W_g|| / α_g, groups of r_g at most c vanish; c is what `strength` of the result holds.
    `reach` > 1: groups with r_g of `reach` · c or more stay as they are, and those in between are scaled to meet them
    (firm thresholding: Gao and Bruce 1997, the proximal step of the minimax concave penalty of Zhang 2010); None: every
    group pays. Raises as `select` does.

    >>> weight = torch.tensor([[3.0, 4.0, 0.6, 0.8]])
    >>> c = shrink_to_share_({"w": weight}, BlockStructure.block_row(2), rate=2.0, eps=1.0).strength["w"]
    >>> round(c, 5)  # norms 5 and 1: c = 1 (1 + eps), and the larger group loses c / (5 + eps) = 1/3
    2.0
    >>> weight
    tensor([[2.8000, 3.7333, 0.0000, 0.0000]])
    """
    finite_number(eps, "eps", 0, "1e-3 is the paper's", above=True)
    if reach is not None:
        finite_number(reach, "reach", 1, "2 leaves what is twice the threshold as it is", above=True)
    if alpha is not None:
        same_names(alpha, weights, "alpha")
    ratios = {name: _ratios(w, structure, eps, None if alpha is None else alpha[name]) for name, w in weights.items()}
    keep = keep_largest(ratios, rate, scope, structure.strips if balanced is True else balanced)
    if scope == "model":
        together = _quantile(torch.cat([ratio.flatten().cpu() for ratio in ratios.values()]), _zeros(*keep.values()))
        strength = dict.fromkeys(ratios, together)
    elif balanced is not False:
        strength = {name: _quantile(ratio.flatten(), _zeros(keep[name])) for name, ratio in ratios.items()}
    else:  # the same, without sorting again
        strength = {name: float(ratio.masked_fill(keep[name], 0.0).max()) for name, ratio in ratios.items()}
    for name, weight in weights.items():
        factor = _factors(ratios[name], keep[name], strength[name], reach).to(result_dtype(weight))
        for cells, (block,) in chunks(structure, weight):
            block.mul_(spread(factor[cells])).masked_fill_(spread(~keep[name][cells]), 0.0)
    return Shrinkage(keep, strength)


def _ratios(weight: Tensor, structure: BlockStructure, eps: float, alpha: Tensor | None) -> Tensor:
    """r_g = ||W_g|| / α_g: (R, C)."""
    r, c = structure.group_shape(weight.shape)
    norms = group_scores(weight, structure) * (r * c) ** 0.5
    if alpha is not None:
        return norms / alpha.to(norms.device, norms.dtype)
    pull = torch.empty_like(norms)
    reweighted_alpha(norms.clone(), eps, out=pull)
    return norms / pull


def _zeros(*keep: Tensor) -> int:
    return sum(int((~kept).sum()) for kept in keep)


def _quantile(ratios: Tensor, zeros: int) -> float:
    """c: the largest of so many smallest ratios."""
    return float(ratios.kthvalue(zeros).values) if zeros else 0.0


def _factors(ratio: Tensor, keep: Tensor, strength: float, reach: float | None) -> Tensor:
    """What each group is multiplied by, 0 to 1; 1 - c / r where every group pays."""
    left = 1 - strength / ratio.clamp_min(torch.finfo(ratio.dtype).tiny)
    if reach is not None:
        left = (left / (1 - 1 / reach)).clamp_max(1.0)
    # A group that stays though it is no larger than one that goes (a tie, the best of its matrix or strip) is spared:
    # equal groups must not all vanish.
    return torch.where(ratio > strength, left, 1.0).masked_fill(~keep, 0.0)
