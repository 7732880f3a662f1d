"""Checkers of *your-own-model*: one rate for a promise, the best choice within a limit, budgets that were kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from ...pruning.allocation import cheapest_choice
from ..exercises import Function, exercise, expect, fields, is_number, number, plain, positive

#: A budget is kept where a call takes at most this much longer than was asked.
LATE = 0.05


@exercise("one-rate", "rate(rest, dense, asked)")
def one_rate(answer: Function) -> str:
    """What is left for the matrices is what was asked less the rest; a rate is never below 1."""
    for rest, dense, asked in ((1.0, 8.0, 5.0), (2.0, 6.0, 2.5), (1.0, 8.0, 20.0), (3.0, 4.0, 3.0), (3.0, 4.0, 1.0)):
        got, left = answer(rest, dense, asked), asked - rest
        where = f"for a rest of {rest:g}, matrices of {dense:g} and {asked:g} asked"
        if left <= 0:
            expect(got is None, f"{where} it gives {got!r}, not None", "the rest alone takes what was asked, or more")
            continue
        rate, right = number(got, where), max(1.0, dense / left)
        slips = {
            (rest + dense) / asked: "the rest does not shrink with the matrices",
            dense / left: "no rate is below 1",
        }
        hint = next((why for value, why in slips.items() if math.isclose(rate, value)), "")
        expect(math.isclose(rate, right, rel_tol=1e-9), f"{where} it gives {rate:.4g}, not {right:.4g}", hint)
    return "it keeps the promise in five cases, and says where it cannot be kept"


@exercise("best-choice", "choose(times, losses, limit)")
def best_choice(answer: Function) -> str:
    """Trying each matrix's best in turn may spend the time where it helps least; keep every way to spend it."""
    rng = np.random.default_rng(5)
    small = [([[3, 1], [3, 1]], [[0.0, 0.5], [0.0, 0.1]], 4), ([[2, 5]], [[1.0, 0.0]], 1), ([[0, 2]], [[0.3, 0.3]], 2)]
    for matrices in (3, 4):
        small.append((_times(rng, matrices, 3), rng.random((matrices, 3)).tolist(), 4 * matrices))
    for times, losses, limit in small:
        where = f"for times {times} and a limit of {limit}"
        every = [choice for choice in product(*map(range, map(len, times))) if _sum(times, choice) <= limit]
        _judge(answer, times, losses, limit, min((_sum(losses, choice) for choice in every), default=None), where)
    times, losses = _times(rng, 40, 4), rng.random((40, 4)).tolist()
    limit = 40 * 5
    best = cheapest_choice(times, losses, limit, steps=limit - sum(map(min, times)))
    _judge(answer, times, losses, limit, _sum(losses, best), "for 40 matrices with 4 candidates each")
    return "it finds the least loss in six cases, one of them with 4 to the power of 40 choices"


def _judge(
    answer: Function, times: list[list[int]], losses: list[list[float]], limit: int, least: float | None, where: str
) -> None:
    got = answer([list(time) for time in times], [list(loss) for loss in losses], limit)
    if least is None:
        expect(got is None, f"{where} nothing fits; it should return None, not {got!r:.60}")
        return
    row = isinstance(got, (list, tuple)) or (isinstance(got, np.ndarray) and got.ndim == 1)
    right = row and len(got) == len(times)
    expect(right, f"{where} it returned {got!r:.60}, expected a candidate for each of {len(times)} matrices")
    numbers = [int(c) for c in got if is_number(c) and float(c).is_integer()]
    valid = len(numbers) == len(times) and all(0 <= c < len(time) for c, time in zip(numbers, times, strict=True))
    expect(valid, f"{where} it returned {got!r:.60}, in which not every number is a candidate's")
    spent, lost = _sum(times, numbers), _sum(losses, numbers)
    expect(spent <= limit, f"{where} the times sum to {spent:g}, above the limit")
    hint = "another choice within the limit loses less; is the quickest gain always the best one?"
    expect(lost <= least + 1e-9, f"{where} the losses sum to {lost:.4g}, and {least:.4g} is possible", hint)


def _times(rng: np.random.Generator, matrices: int, candidates: int) -> list[list[int]]:
    rows: list[list[int]] = rng.integers(1, 10, size=(matrices, candidates)).tolist()
    return rows


def _sum(table: Sequence[Sequence[float]], choice: Sequence[int]) -> float:
    return sum(row[c] for row, c in zip(table, choice, strict=True))


@exercise("own-budget")
def own_budget(answer: Any) -> str:
    """Three budgets or more, in ms, and scores beside the dense one and the majority's: which were kept, which to ship.

    How far a budget was missed is the machine's doing; what is judged is whether the reader says so.
    """
    names = ("asked", "measured", "majority", "dense", "scores", "kept", "ship")
    asked, measured, majority, dense, scores, kept, ship = fields(answer, *names)
    asked, measured, scores, kept = (
        one.tolist() if isinstance(one, (np.ndarray, torch.Tensor)) else one for one in (asked, measured, scores, kept)
    )
    count = len(asked) if isinstance(asked, (list, tuple)) else 0
    expect(count >= 3, f"it asks for {count} budgets, three are needed")
    for name, values in (("asked", asked), ("measured", measured)):
        expect(positive(values, count), f"{name!r} should be {count} times in ms, got {values!r:.60}")
    expect(len({round(float(ms), 6) for ms in asked}) == count, "the same budget was asked for twice")
    shares = [*scores] if isinstance(scores, (list, tuple)) else []
    right = len(shares) == count and all(is_number(value) and -1 <= value <= 1 for value in (*shares, majority, dense))
    expect(right, f"scores should be {count} numbers from -1 to 1, and so majority and dense")
    expect(dense > majority, f"the dense model scores {dense:.3g}, and the majority class {majority:.3g}",
           "a model that has learnt nothing cannot show what pruning loses")  # fmt: skip
    said = [*kept] if isinstance(kept, (list, tuple)) else []
    flags = len(said) == count and all(isinstance(plain(one), (bool, np.bool_)) for one in said)
    expect(flags, f"'kept' should be {count} times True or False, got {kept!r:.60}")
    over = [took / ms - 1 for took, ms in zip(measured, asked, strict=True)]
    for at, (by, one) in enumerate(zip(over, said, strict=True)):
        if abs(by - LATE) > 0.005:  # times that were written down rounded may lie on either side
            longer = f"takes {by:.1%} longer than was asked" if by > 0 else "takes no longer than was asked"
            expect(bool(one) == (by <= LATE), f"budget {at} {longer}, and 'kept' says {one}")
    fit = [at for at in range(count) if said[at] and shares[at] > majority]
    if ship is None:
        expect(not fit, f"budget {fit[0] if fit else ''} was kept and scores above the majority class: it could ship")
        return f"{sum(map(bool, said))} of {count} were kept, and none of them is worth shipping"
    expect(is_number(ship) and ship in range(count), f"'ship' should be a number from 0 to {count - 1} or None")
    expect(said[int(ship)], f"budget {ship} was not kept, and it is to be shipped")
    expect(shares[int(ship)] > majority, f"budget {ship} scores no more than the majority class")
    lost = 100 * (dense - shares[int(ship)])
    return f"{sum(map(bool, said))} of {count} were kept; what you ship scores {lost:.1f} points below the dense model"
