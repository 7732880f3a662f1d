"""Checkers of *your-own-model*: one rate for a promise, the quickest for a loss, budgets that were kept."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..exercises import Function, attempt, exercise, expect, fields, is_number, number, plain, positive

#: A budget is kept where a call takes at most this much longer than was asked.
LATE = 0.05
#: Seconds for 10 matrices: a million choices, one by one, take longer, and what is asked for takes a hundredth.
SLOW = 0.5
#: What helps where it takes too long.
FORGET = "of the partial choices that take the same number of steps, which need not be kept?"
#: Times in steps, and losses: a row for each matrix, a number for each of its candidates.
Tables = tuple[Sequence[Sequence[int]], Sequence[Sequence[float]]]


@exercise("one-rate", "rate(rest, dense, asked)")
def one_rate(answer: Function) -> str:
    """What is left for the matrices is what was asked less the rest; a rate is never below 1."""
    for rest, dense, asked in ((1.0, 8.0, 5.0), (2.0, 6.0, 2.5), (1.0, 8.0, 20.0), (3.0, 4.0, 3.0), (3.0, 4.0, 1.0)):
        where, left = f"for rest={rest:g}, dense={dense:g} and asked={asked:g}", asked - rest
        got = attempt(where, answer, rest, dense, asked)
        if left <= 0:
            expect(got is None, f"{where} it gives {got!r}, not None", "the rest alone takes what was asked, or more")
            continue
        expect(got is not None, f"{where} it gives None", "there is a rate that will do; is it returned?")
        rate, right = number(got, where), max(1.0, dense / left)
        slips = {
            (rest + dense) / asked: "the rest does not shrink with the matrices",
            dense / left: "no rate is below 1",
            left / dense: "that is the density; the rate is one over it",
            (dense - rest) / left: "`dense` is the time of the matrices alone: the rest is not in it",
        }
        hint = next((why for value, why in slips.items() if math.isclose(rate, value)), "")
        expect(math.isclose(rate, right, rel_tol=1e-6), f"{where} it gives {rate:.4g}, not {right:.4g}", hint)
    return "it keeps the promise in five cases, and says where it cannot be kept"


@exercise("loss-limit", "quickest(times, losses, allowed)")
def loss_limit(answer: Function) -> str:
    """The fewest steps whose least loss is allowed; for each number of steps one partial choice need be kept."""
    rng = np.random.default_rng(5)
    small: list[tuple[Tables, float]] = [(([[6, 1], [4, 1]], [[0.0, 0.5], [0.0, 0.25]]), 0.5625)]
    small += [(([[6, 1], [4, 1], [4, 1]], [[0.0, 0.5], [0.0, 0.25], [0.0, 0.25]]), 0.5)]  # a greedy one fails
    small += [(([[5, 3, 1]], [[0.125, 0.25, 0.75]]), 0.0625), (([[2, 8], [3, 5]], [[0.5, 0.0], [0.5, 0.25]]), 0.25)]
    small += [(_drawn(rng, matrices, 3), matrices / 4) for matrices in (3, 4)]
    for (times, losses), allowed in small:
        _judge(answer, times, losses, allowed, f"for times {times}, losses {losses} and allowed {allowed:g}")
    begun = time.thread_time()
    _judge(answer, *_drawn(rng, 10, 4), 2.5, "for 10 matrices with 4 candidates each")
    took = time.thread_time() - begun
    expect(took < SLOW, f"10 matrices with 4 candidates each take {took:.1f} s, and 20 would never end", FORGET)
    _judge(answer, *_drawn(rng, 20, 4), 5.0, "for 20 matrices with 4 candidates each")
    return "it finds the fewest steps in eight cases, one of them with 4 to the power of 20 choices"


def fewest(times: Sequence[Sequence[int]], losses: Sequence[Sequence[float]], allowed: float) -> int | None:
    """The least sum of times among the choices whose losses add up to at most `allowed`; None where none does."""
    best = {0: 0.0}  # steps: the least loss
    for row in zip(times, losses, strict=True):
        longer: dict[int, float] = {}
        for spent, lost in best.items():
            for steps, more in zip(*row, strict=True):
                longer[spent + steps] = min(longer.get(spent + steps, math.inf), lost + more)
        best = longer
    return min((spent for spent, lost in best.items() if lost <= allowed), default=None)


def _judge(
    answer: Function, times: Sequence[Sequence[int]], losses: Sequence[Sequence[float]], allowed: float, where: str
) -> None:
    got = attempt(where, answer, [[*row] for row in times], [[*row] for row in losses], allowed, hint=FORGET)
    right = fewest(times, losses, allowed)
    if right is None:
        expect(got is None, f"{where} it gives {got!r:.60}, not None", "even the least losses add up to more")
        return
    found = number(got, where)
    alone = [
        min((steps for steps, lost in zip(*row, strict=True) if lost <= allowed), default=0)
        for row in zip(times, losses, strict=True)
    ]
    slips: dict[float | None, str] = {
        fewest(times, losses, allowed - 1 / 128): "a loss of exactly `allowed` is allowed",
        sum(alone): "`allowed` is for all matrices together",
    }
    hint = slips.get(found, "")
    expect(found == right, f"{where} it gives {found:g}, not {right}", hint)


def _drawn(rng: np.random.Generator, matrices: int, candidates: int) -> Tables:
    """Times in whole steps, and losses whose sums are exact in floating point."""
    times = rng.integers(1, 6, size=(matrices, candidates))
    return times.tolist(), (rng.integers(0, 64, size=(matrices, candidates)) / 64).tolist()


@exercise("own-budget")
def own_budget(answer: Any) -> str:
    """Three budgets or more, in ms, and scores beside the dense one and the majority's: which were kept, which to ship.

    How far a budget was missed is the machine's doing; what is judged is whether the reader says so, and ships the
    quickest of those that were kept and lose no more than was allowed.
    """
    names = ("lose", "asked", "measured", "majority", "dense", "scores", "kept", "ship")
    lose, asked, measured, majority, dense, scores, kept, ship = fields(answer, *names)
    asked, measured, scores, kept = (
        one.tolist() if isinstance(one, (np.ndarray, torch.Tensor)) else one for one in (asked, measured, scores, kept)
    )
    count = len(asked) if isinstance(asked, (list, tuple)) else 0
    expect(count >= 3, f"'asked' should be a list of three budgets or more, in ms, not {asked!r:.60}")
    for name, values in (("asked", asked), ("measured", measured)):
        expect(positive(values, count), f"{name!r} should be {count} times in ms, got {values!r:.60}")
    expect(len({round(float(ms), 6) for ms in asked}) == count, "the same budget was asked for twice")
    shares = [*scores] if isinstance(scores, (list, tuple)) else []
    right = len(shares) == count and all(is_number(value) and -1 <= value <= 1 for value in (*shares, majority, dense))
    expect(right, f"scores should be {count} numbers from -1 to 1, and so majority and dense", "85 % is 0.85")
    expect(dense > majority, f"the dense model scores {dense:.3g}, and the majority class {majority:.3g}",
           "a model that has learnt nothing cannot show what pruning loses")  # fmt: skip
    expect(is_number(lose) and lose > 0, f"'lose' should be a number above 0, such as 0.03; got {lose!r:.60}")
    expect(dense - lose > majority, f"a score {lose:.3g} below the dense model's is no better than the majority class",
           "3 points are 0.03" if lose >= 1 else "")  # fmt: skip
    said = [*kept] if isinstance(kept, (list, tuple)) else []
    flags = len(said) == count and all(
        isinstance(plain(one), (bool, np.bool_, int)) and plain(one) in (0, 1) for one in said
    )
    expect(flags, f"'kept' should be {count} times True or False, got {kept!r:.60}")
    over = [took / ms - 1 for took, ms in zip(measured, asked, strict=True)]
    for at, (by, one) in enumerate(zip(over, said, strict=True)):
        if abs(by - LATE) > 0.005:  # times that were written down rounded may lie on either side
            longer = f"takes {by:.1%} longer than was asked" if by > 0 else "takes no longer than was asked"
            expect(bool(one) == (by <= LATE), f"budget {at} {longer}, and 'kept' says {one}")
    lost = [100 * (dense - score) for score in shares]
    fit = [at for at in range(count) if said[at] and lost[at] <= 100 * lose + 1e-9]
    if ship is None:
        expect(not fit, f"budget {fit[0] if fit else ''} was kept and loses no more than you allowed: it could ship")
        return f"{sum(map(bool, said))} of {count} were kept, and none of them is worth shipping"
    expect(is_number(ship) and ship in range(count), f"'ship' should be a number from 0 to {count - 1} or None")
    expect(said[int(ship)], f"budget {ship} was not kept, and it is to be shipped")
    expect(int(ship) in fit, f"budget {ship} loses {lost[int(ship)]:.1f} points, more than you allowed")
    quick = min(fit, key=lambda at: float(measured[at]))
    expect(measured[int(ship)] <= measured[quick], f"budget {quick} is quicker, was kept and loses no more than you "
           "allowed")  # fmt: skip
    return (
        f"{sum(map(bool, said))} of {count} were kept; what you ship scores {lost[int(ship)]:.1f} points below the "
        "dense model"
    )
