"""Checkers of *reweighting*: rounds on one norm, the norm below which a group dies, a matrix of one's own."""

from __future__ import annotations

import math
from typing import Any

import torch

from ...pruning.groups import group_norms
from ...pruning.structure import BlockStructure
from ..exercises import Function, Judged, agree, exercise, expect, fields, number


@exercise("reweighting-rounds", "after(n, lam, eps, count)")
def reweighting_rounds(answer: Function) -> str:
    """Two norms play a part in a round: α comes from one of them, and the pull shortens the other."""
    cases = ((0.6, 0.1, 1e-3, 2), (1.2, 0.1, 1e-3, 1), (0.3, 0.1, 1e-3, 5), (0.7, 0.1, 0.0, 0), (0.7, 0.1, 0.05, 30))

    def judge(n: float, lam: float, eps: float, count: int) -> Judged:
        slip = "the starting norm is lowered in each round, not the present one"
        return _rounds(n, lam, eps, count), {slip: _rounds(n, lam, eps, count, chained=True)}

    agree(answer, cases, judge, "for n = {}, λ = {}, ε = {} and {} rounds", abs_tol=1e-12)
    return "it follows the rounds, from none to thirty"


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
        near = math.isclose(float(said), right, rel_tol=1e-2, abs_tol=1e-3)
        expect(near, f"{key} is {float(said):.4g}; ten rounds give {right:.4g}")
    return f"{empty:.0%} of the groups are empty, and {left:.0%} of the squared norm is left"
