"""Checkers of *reweighting*: rounds on one norm, the norm below which a group dies, a matrix of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...pruning.groups import group_norms
from ...pruning.structure import BlockStructure
from ..exercises import Wrong, exercise


@exercise("reweighting-rounds", hint="α = 1 / (present norm + ε); the new norm is max(0, starting norm - λ α).")
def reweighting_rounds(answer: Callable[..., Any]) -> str:
    """Compare with the recursion at several norms and counts, none and many rounds among them."""
    if not callable(answer):
        raise Wrong("the answer should be a function after(n, lam, eps, count)")
    for n, lam, eps, count in ((0.6, 0.1, 1e-3, 2), (1.2, 0.1, 1e-3, 1), (0.3, 0.1, 1e-3, 5), (0.7, 0.1, 0.0, 0),
                               (0.7, 0.1, 0.05, 30)):  # fmt: skip
        got, right = answer(n, lam, eps, count), _rounds(n, lam, eps, count)
        where = f"for n = {n}, λ = {lam}, ε = {eps} and {count} rounds"
        if isinstance(got, bool) or not isinstance(got, (int, float)):
            raise Wrong(f"{where} it returned {type(got).__name__}, expected a number")
        if not math.isclose(got, right, rel_tol=1e-9, abs_tol=1e-12):
            chained = n
            for _ in range(count):
                chained = max(0.0, chained - lam / (chained + eps))
            same = math.isclose(got, chained, rel_tol=1e-9, abs_tol=1e-12)
            hint = "the starting norm is lowered in each round, not the present one" if same else ""
            raise Wrong(f"{where} it gives {got:.6g}, not {right:.6g}", hint)
    return "it follows the rounds, from none to thirty"


def _rounds(n: float, lam: float, eps: float, count: int) -> float:
    now = n
    for _ in range(count):
        now = max(0.0, n - lam / (now + eps))
    return now


@exercise("reweighting-cliff", hint="At rest n = n0 - λ / (n + ε): a quadratic equation. When has it a solution?")
def reweighting_cliff(answer: Callable[..., Any]) -> str:
    """Run many rounds just below and just above the answer: one must die, the other live."""
    if not callable(answer):
        raise Wrong("the answer should be a function cliff(lam, eps)")
    for lam, eps in ((0.1, 1e-3), (0.01, 1e-3), (1.0, 0.1), (0.25, 0.0625)):
        got = answer(lam, eps)
        if isinstance(got, bool) or not isinstance(got, (int, float)) or not got > 0:
            raise Wrong(f"for λ = {lam} and ε = {eps} it gives {got!r}, expected a norm")
        if (low := _rounds(0.99 * got, lam, eps, 5000)) > 0:
            raise Wrong(f"λ = {lam}, ε = {eps}: a group that begins at 0.99 of {got:.4g} survives, at {low:.3g}")
        if _rounds(1.01 * got, lam, eps, 5000) == 0:
            raise Wrong(f"λ = {lam}, ε = {eps}: a group that begins at 1.01 of {got:.4g} dies")
    return "a group one per cent below it dies, and one per cent above it lives, for four pairs of λ and ε"


@exercise("reweighting-own", hint="Ten rounds on bp.group_norms(weight, structure), each from the starting norms.")
def reweighting_own(answer: Mapping[str, Any]) -> str:
    """Do the ten rounds and compare both shares."""
    if not isinstance(answer, Mapping) or {"weight", "structure", "lam", "empty", "left"} - set(answer):
        raise Wrong("the answer should be a dictionary with weight, structure, lam, empty and left")
    weight, structure = answer["weight"], answer["structure"]
    if not isinstance(weight, torch.Tensor) or not isinstance(structure, BlockStructure):
        raise Wrong("weight should be a torch matrix, and structure a BlockStructure")
    first = now = group_norms(weight.detach(), structure).double()
    for _ in range(10):
        now = (first - float(answer["lam"]) / (now + 1e-3)).clamp_min(0)
    empty = float((now == 0).double().mean())
    left = float(now.square().sum() / first.square().sum())
    if not 0 < empty < 1:
        raise Wrong(f"{empty:.0%} of the groups are empty", "choose λ so that some die and some live")
    for key, right in (("empty", empty), ("left", left)):
        if not math.isclose(float(answer[key]), right, rel_tol=1e-2, abs_tol=1e-3):
            raise Wrong(f"{key} is {answer[key]:.4g}; ten rounds give {right:.4g}")
    return f"{empty:.0%} of the groups are empty, and {left:.0%} of the squared norm is left"
