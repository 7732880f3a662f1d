"""Checkers of *reweighting*: which round empties a group, which norm is too small, a matrix of one's own."""

from __future__ import annotations

import math
from typing import Any

import torch

from ...pruning.groups import group_norms
from ...pruning.structure import BlockStructure
from ..exercises import Function, exercise, expect, fields, number


@exercise("reweighting-rounds", "last(n, lam, eps)")
def reweighting_rounds(answer: Function) -> str:
    """After which round the norm is zero, or None: just below the edge rounds change little, and still end at zero."""
    slowest, near = 0, ((0.63, 0.1, 1e-3), (0.631, 0.1, 1e-3), (0.31, 0.04, 0.1))
    for n, lam, eps in ((0.3, 0.1, 1e-3), (0.6, 0.1, 1e-3), (1.2, 0.1, 1e-3), *near):
        where, right = f"for n = {n}, λ = {lam} and ε = {eps}", _last(n, lam, eps)
        got = answer(n, lam, eps)
        if right is None:
            rest = _rounds(n, lam, eps, 5000)
            expect(got is None, f"{where} it gives {got!r:.80}, but the norm comes to rest at {rest:.3f}")
            continue
        wanted = f"the group is empty after {right} round{'s' * (right > 1)}"
        more = "look at more rounds: one that changes little is not yet at rest"
        expect(got is not None or right == 1, f"{where} it gives None, but {wanted}", more)
        count = number(got, where, whole=True)
        chained = count == _last(n, lam, eps, chained=True)
        slip = "the starting norm is lowered in each round, not the present one" if chained else ""
        expect(count == right, f"{where} it gives {count:g}, but {wanted}", slip)
        slowest = max(slowest, right)
    return f"it tells groups that vanish, the slowest after {slowest} rounds, from groups that come to rest"


def _last(n: float, lam: float, eps: float, chained: bool = False) -> int | None:
    return next((count for count in range(200) if _rounds(n, lam, eps, count, chained) == 0), None)


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
        norm = number(answer(lam, eps), where)
        expect(norm > 0, f"{where} it gives {norm:g}, expected a norm")
        below, above = (_rounds(part * norm, lam, eps, 5000) for part in (0.99, 1.01))
        expect(below == 0, f"{where} a group that begins at 0.99 of {norm:.4g} survives, at {below:.3g}")
        expect(above > 0, f"{where} a group that begins at 1.01 of {norm:.4g} dies")
    return "a group one per cent below it dies, and one per cent above it lives, for four pairs of λ and ε"


@exercise("reweighting-own")
def reweighting_own(answer: Any) -> str:
    """bp.group_norms(weight, structure) gives the norms; the rounds are those of the first exercise."""
    weight, structure, lam, said_empty, said_left = fields(answer, "weight", "structure", "lam", "empty", "left")
    pair = isinstance(weight, torch.Tensor) and isinstance(structure, BlockStructure)
    expect(pair, "weight should be a torch matrix, and structure a BlockStructure")
    first = now = group_norms(weight.detach(), structure).double()
    for _ in range(10):
        now = (first - float(lam) / (now + 1e-3)).clamp_min(0)
    empty = float((now == 0).double().mean())
    left = float(now.square().sum() / first.square().sum())
    expect(0 < empty < 1, f"{empty:.0%} of the groups are empty", "choose λ so that some die and some live")
    for key, said, right in (("empty", said_empty, empty), ("left", said_left, left)):
        near = math.isclose(float(said), right, rel_tol=1e-4, abs_tol=1e-6)
        expect(near, f"{key} is {float(said):.6g}; ten rounds give {right:.6g}")
    return f"{empty:.0%} of the groups are empty, and {left:.0%} of the squared norm is left"
