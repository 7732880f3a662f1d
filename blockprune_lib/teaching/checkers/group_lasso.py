"""Checkers of *group-lasso*: one group's proximal step, the conditions of a minimum, a threshold for a rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ...pruning.groups import group_norms
from ...pruning.proximal import group_soft_threshold
from ...pruning.structure import BlockStructure
from ..exercises import Wrong, exercise


@exercise("group-shrink", hint="The direction stays, the length goes down by t, and never below zero.")
def group_shrink(answer: Callable[..., Any]) -> str:
    """Compare with the closed form on groups of several lengths, an empty one and one at the edge among them."""
    if not callable(answer):
        raise Wrong("the answer should be a function shrunk(v, t)")
    for v, t in (([3.0, 4.0], 1.0), ([0.6, 0.8], 2.0), ([0.0, 0.0], 0.5), ([-2.0], 0.5), ([1.0, 2.0, 2.0], 3.0)):
        got = answer(list(v), t)
        length = math.hypot(*v)
        right = [x * max(0.0, 1 - t / length) if length else 0.0 for x in v]
        if not isinstance(got, (list, tuple, np.ndarray)) or len(got) != len(v):
            raise Wrong(f"for v = {v} and t = {t} it gives {got!r}, expected a list of {len(v)} numbers")
        if not np.allclose(np.asarray(got, dtype=float), right, atol=1e-12):
            single = [math.copysign(max(0.0, abs(x) - t), x) for x in v]
            hint = "each weight was shrunk on its own: that is Lasso" if np.allclose(got, single) else ""
            raise Wrong(f"for v = {v} and t = {t} it gives {list(map(float, got))}, not {right}", hint)
    return "it keeps the direction, takes t from the length, and empties what is no longer than t"


@exercise("lasso-optimality", hint="Alive: norm of slope + lam W / ||W||. Empty: what ||slope|| has above lam, or 0.")
def lasso_optimality(answer: Callable[..., Any]) -> str:
    """Compare with the two conditions at minima, next to minima, and where all groups are empty or alive."""
    if not callable(answer):
        raise Wrong("the answer should be a function gap(slope, W, lam)")
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(4, 3))
    weight[[1, 3]] = 0
    slope = rng.normal(size=(4, 3))
    best = slope.copy()
    best[[0, 2]] = -0.7 * weight[[0, 2]] / np.linalg.norm(weight[[0, 2]], axis=1, keepdims=True)
    best[[1, 3]] *= 0.5 / np.linalg.norm(best[[1, 3]], axis=1, keepdims=True)
    cases = {
        "at a minimum": (best, weight),
        "where an empty group should wake": (np.where([[0], [1], [0], [0]], 4 * best, best), weight),
        "where a live group is pulled too hard": (np.where([[1], [0], [0], [0]], best + 0.2, best), weight),
        "where all groups are empty": (slope, np.zeros((4, 3))),
        "where all groups are alive": (slope, rng.normal(size=(4, 3))),
    }
    for where, (grad, matrix) in cases.items():
        right = _gap(grad, matrix, 0.7)
        try:
            got = float(answer(grad.copy(), matrix.copy(), 0.7))
        except (TypeError, ValueError) as error:
            raise Wrong(f"{where} it gives no number: {error}") from None
        if not math.isclose(got, right, rel_tol=1e-9, abs_tol=1e-12):
            raise Wrong(f"{where} it gives {got:.4g}, not {right:.4g}")
    return "it is zero at a minimum, and as large as the worst group's violation elsewhere"


def _gap(slope: Any, weight: Any, lam: float) -> float:
    worst = 0.0
    for row, group in zip(slope, weight, strict=True):
        length = np.linalg.norm(group)
        if length > 0:
            worst = max(worst, float(np.linalg.norm(row + lam * group / length)))
        else:
            worst = max(worst, float(np.linalg.norm(row)) - lam)
    return worst


@exercise("threshold-for-rate", hint="Sort the norms; the threshold lies between the k-th largest and the next.")
def threshold_for_rate(answer: Mapping[str, Any]) -> str:
    """Apply the threshold and count what stays, and weigh it."""
    if not isinstance(answer, Mapping) or {"weight", "structure", "rate", "threshold", "share"} - set(answer):
        raise Wrong("the answer should be a dictionary with weight, structure, rate, threshold and share")
    weight, structure, rate = answer["weight"], answer["structure"], answer["rate"]
    if not isinstance(weight, torch.Tensor) or not isinstance(structure, BlockStructure):
        raise Wrong("weight should be a torch matrix, and structure a BlockStructure")
    norms = group_norms(weight, structure)
    left = group_norms(group_soft_threshold(weight, structure, float(answer["threshold"])), structure)
    kept, wanted = int((left > 0).sum()), max(1, round(norms.numel() / float(rate)))
    if kept != wanted:
        raise Wrong(f"{kept} of {norms.numel()} groups stay, rate {rate:g} asks for {wanted}")
    share = float(left.square().sum() / norms.square().sum())
    if not math.isclose(share, float(answer["share"]), rel_tol=1e-3, abs_tol=1e-6):
        raise Wrong(f"after it the survivors hold {share:.4g} of the squared norm, not {answer['share']:.4g}")
    return f"{kept} of {norms.numel()} groups stay, and hold {share:.1%} of the squared norm"
