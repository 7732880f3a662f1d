"""Checkers of *group-lasso*: one group's proximal step, the conditions of a minimum, a threshold for a rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ...pruning.groups import group_norms, group_soft_threshold
from ...pruning.structure import BlockStructure
from ..exercises import LISTS, Function, Wrong, array, exercise, expect, fields


@exercise("group-shrink", "shrunk(v, t)")
def group_shrink(answer: Function) -> str:
    """The direction stays, the length goes down by t, and never below zero."""
    for v, t in (([3.0, 4.0], 1.0), ([0.6, 0.8], 2.0), ([0.0, 0.0], 0.5), ([-2.0], 0.5), ([1.0, 2.0, 2.0], 3.0)):
        got = answer(list(v), t)
        length = math.hypot(*v)
        right = [x * max(0.0, 1 - t / length) if length else 0.0 for x in v]
        where = f"for v = {v} and t = {t} it gives"
        expect(isinstance(got, (*LISTS, np.ndarray, torch.Tensor)), f"{where} {got!r:.80}, expected a list")
        got = array(got, (len(v),), where.removesuffix(" it gives"))
        if not np.allclose(got, right, atol=1e-6 if got.dtype == np.float32 else 1e-12):
            single = [math.copysign(max(0.0, abs(x) - t), x) for x in v]
            hint = "each weight was shrunk on its own: that is Lasso" if np.allclose(got, single) else ""
            raise Wrong(f"{where} {list(map(float, got))}, not {right}", hint)
    return "it keeps the direction, takes t from the length, and empties what is no longer than t"


@exercise("lasso-optimality", "gap(slope, W, lam)")
def lasso_optimality(answer: Function) -> str:
    """Alive: norm of slope + lam W / ||W||. Empty: what ||slope|| has above lam, or 0."""
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
        "where all groups are empty and none is pulled": (0.1 * best, np.zeros((4, 3))),
        "where all groups are alive": (slope, rng.normal(size=(4, 3))),
    }
    for where, (grad, matrix) in cases.items():
        right = _gap(grad, matrix, 0.7)
        try:
            got = float(answer(grad.copy(), matrix.copy(), 0.7))
        except (TypeError, ValueError) as error:
            raise Wrong(f"{where} it gives no number: {error}") from None
        reason = "a gap is never below 0: there nothing is violated" if got < 0 else ""
        near = math.isclose(got, right, rel_tol=1e-9, abs_tol=1e-12)
        expect(near, f"{where} it gives {got:.4g}, not {right:.4g}", reason)
    return "it is zero at a minimum, and as large as the worst group's violation elsewhere"


def _gap(slope: Any, weight: Any, lam: float) -> float:
    length = np.linalg.norm(weight, axis=1)
    alive = length > 0
    direction = weight / np.where(alive, length, 1.0)[:, None]
    violation = np.linalg.norm(slope + lam * direction, axis=1) - np.where(alive, 0.0, lam)
    return max(0.0, float(violation.max()))


@exercise("threshold-for-rate")
def threshold_for_rate(answer: Any) -> str:
    """The threshold lies between the k-th largest norm and the next."""
    weight, structure, rate, threshold, stated = fields(answer, "weight", "structure", "rate", "threshold", "share")
    pair = isinstance(weight, torch.Tensor) and isinstance(structure, BlockStructure)
    expect(pair, "weight should be a torch matrix, and structure a BlockStructure")
    norms = group_norms(weight, structure)
    left = group_norms(group_soft_threshold(weight, structure, float(threshold)), structure)
    kept, wanted = int((left > 0).sum()), max(1, round(norms.numel() / float(rate)))
    expect(kept == wanted, f"{kept} of {norms.numel()} groups stay, rate {float(rate):g} asks for {wanted}")
    share = float(left.square().sum() / norms.square().sum())
    same = math.isclose(share, float(stated), rel_tol=1e-3, abs_tol=1e-6)
    expect(same, f"after it the survivors hold {share:.4g} of the squared norm, not {float(stated):.4g}")
    return f"{kept} of {norms.numel()} groups stay, and hold {share:.1%} of the squared norm"
