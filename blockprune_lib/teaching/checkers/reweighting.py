"""Checkers of *reweighting*: which round empties a group, which norm is too small, a matrix of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...pruning.groups import group_norms
from ..exercises import Function, attempt, exercise, expect, fields, grouped, number, stated


@exercise("reweighting-rounds", "last(n, lam, eps)")
def reweighting_rounds(answer: Function) -> str:
    """After which round the norm is zero, or None: just below the edge rounds change little, and still end at zero."""
    slowest, near = 0, ((0.63, 0.1, 1e-3), (0.631, 0.1, 1e-3), (0.6314, 0.1, 1e-3), (0.31, 0.04, 0.1))
    for n, lam, eps in ((0.3, 0.1, 1e-3), (0.6, 0.1, 1e-3), (1.2, 0.1, 1e-3), *near):
        where, right = f"for n = {n}, λ = {lam} and ε = {eps}", _last(n, lam, eps)
        for_ever = "a group that survives is never empty: when is that sure?"
        got = attempt(where, answer, n, lam, eps, hint=for_ever)
        if right is None:
            rest = _rounds(n, lam, eps, 5000)
            expect(got is None, f"{where} it gives {got!r:.80}, but the norm comes to rest at {rest:.3f}")
            continue
        wanted = f"the group is empty after {right} round{'s' * (right > 1)}"
        more = "look at more rounds: one that changes little is not yet at rest"
        expect(got is not None or right == 1, f"{where} it gives None, but {wanted}", more)
        count = number(got, where, whole=True)
        late = "the first round is round 1" if abs(count - right) == 1 else ""
        chained = count == _last(n, lam, eps, chained=True)
        slip = "the starting norm is lowered in each round, not the present one" if chained else late
        expect(count == right, f"{where} it gives {count:g}, but {wanted}", slip)
        slowest = max(slowest, right)
    return f"it tells groups that vanish, the slowest after {slowest} rounds, from groups that come to rest"


def _last(n: float, lam: float, eps: float, chained: bool = False) -> int | None:
    return next((count for count in range(400) if _rounds(n, lam, eps, count, chained) == 0), None)


def _rounds(n: float, lam: float, eps: float, count: int, chained: bool = False) -> float:
    now = n
    for _ in range(count):
        now = max(0.0, (now if chained else n) - lam / (now + eps))
    return now


@exercise("reweighting-cliff", "cliff(lam, eps)")
def reweighting_cliff(answer: Function) -> str:
    """At rest a round changes nothing: n = n0 - λ / (n + ε). For which n0 can that be?"""
    for lam, eps in ((0.1, 1e-3), (0.01, 1e-3), (1.0, 0.1), (0.25, 0.0625)):
        where = f"for λ = {lam} and ε = {eps}"
        norm = number(attempt(where, answer, lam, eps), where)
        expect(norm > 0, f"{where} it gives {norm:g}, expected a norm")
        slip = "a survivor at rest is shorter than it began; where it began is asked" if norm < lam**0.5 * 1.01 else ""
        below, above = (_rounds(part * norm, lam, eps, 5000) for part in (0.99, 1.01))
        expect(below == 0, f"{where} a group that begins at 0.99 of {norm:.4g} survives, at {below:.3g}", slip)
        expect(above > 0, f"{where} a group that begins at 1.01 of {norm:.4g} dies", slip)
    return "a group one per cent below it dies, and one per cent above it lives, for four pairs of λ and ε"


@exercise("reweighting-own")
def reweighting_own(answer: Any) -> str:
    """bp.group_norms(weight, structure) gives the norms; the rounds are those of the first exercise."""
    weight, structure, lam, said_empty, said_left = fields(answer, "weight", "structure", "lam", "empty", "left")
    weight, structure = grouped(weight, structure)
    lam, said_empty, said_left = stated(lam, "lam"), stated(said_empty, "empty"), stated(said_left, "left")
    expect(lam > 0, f"lam should be above 0, not {lam:g}")
    first = now = chained = group_norms(weight, structure).double()
    for _ in range(10):
        now = (first - lam / (now + 1e-3)).clamp_min(0)
        chained = (chained - lam / (chained + 1e-3)).clamp_min(0)
    (empty, left), slipped = (
        (float((norms == 0).double().mean()), float(norms.square().sum() / first.square().sum()))
        for norms in (now, chained)
    )
    lowered = np.allclose((said_empty, said_left), slipped, rtol=1e-4, atol=5.1e-5)
    expect(0 < empty < 1, f"{empty:.0%} of the groups are empty", "choose λ so that some die and some live")
    for key, said, right in (("empty", said_empty, empty), ("left", said_left, left)):
        slips = {
            "a share is from 0 to 1": 100 * right,
            "that is the other share: what is empty, and what is left, are asked": 1 - right,
            "that is a number of groups; their share is asked": right * now.numel(),
            "that is the share of the norm; of its square is asked": math.sqrt(right),
        }
        hint = next((why for why, slip in slips.items() if math.isclose(said, slip, rel_tol=1e-4)), "")
        hint = "the starting norm is lowered in each round, not the present one" if lowered else hint
        near = math.isclose(said, right, rel_tol=1e-4, abs_tol=5.1e-5)  # such as four decimals
        expect(near, f"{key} is {said:.6g}; ten rounds give {right:.6g}", hint)
    return f"{empty:.0%} of the groups are empty, and {left:.0%} of the squared norm is left"
