"""One candidate for each matrix: the least loss that fits into a limit of time, found exactly by dynamic programming.

Time is cut into equal steps. best[b] is the least loss of the matrices so far within b steps:

    best'[b] = min over candidates c of  best[b - steps of c] + loss of c

With K candidates for each of n matrices that are n · K sums of arrays, where trying all choices would be K^n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._common.checks import positive_int


def cheapest_choice(
    times: Sequence[Sequence[float]], losses: Sequence[Sequence[float]], limit: float, *, steps: int = 10_000
) -> list[int]:
    """Choose a candidate for each matrix: the sum of their losses is least, that of their times at most `limit`.

    times, losses   one list for each matrix, one number for each of its candidates; times may be negative, as
                    differences are
    steps           into how many steps the time above the least possible is cut; each candidate's time is rounded up
                    to a whole step, so that the limit holds. Exact where the times are whole steps; else the choice
                    is at least as good as any that would leave one step a matrix unused

    Returns the position of each choice in its list. Of equal sums the choice with the quicker candidate is taken.
    Raises ValueError where the lists do not fit each other, hold what is not finite, or where no choice fits the limit.

    >>> cheapest_choice([[4.0, 1.0], [4.0, 1.0]], [[0.0, 0.5], [0.0, 0.1]], limit=5.0)
    [0, 1]

    Source: Frantar and Alistarh 2022, SPDY.
    """
    positive_int(steps, "steps")
    if not np.isfinite(limit):
        raise ValueError(f"limit must be a finite number; got {limit!r}: the time that all matrices may take would do")
    tables = _checked(times, losses)
    least = sum(float(time.min()) for time, _ in tables)
    # A limit that is the least sum itself, added up in another order, may lie below it by the rounding of the sum.
    rounding = 1e-9 * (abs(limit) + sum(float(np.abs(time).max()) for time, _ in tables))
    if limit < least - rounding:
        raise ValueError(f"limit must be at least {least:.4g}, the sum of the least times; got {limit:.4g}")
    room = max(limit - least, 0.0)
    free = [int(np.lexsort((time, loss))[0]) for time, loss in tables]  # the least loss, of equal ones the quickest
    if sum(float(time[c]) for (time, _), c in zip(tables, free, strict=True)) <= limit + rounding:
        return free
    step = room / steps
    best, taken = np.zeros(steps + 1), []
    for time, loss in tables:
        spent = _whole_steps(time - time.min(), step, steps)
        order = np.argsort(time, kind="stable")  # of equal losses the first found stays, so the quicker come first
        within = np.full((len(order), steps + 1), np.inf)
        for row, candidate in enumerate(order):
            if (first := spent[candidate]) <= steps:
                within[row, first:] = best[: steps + 1 - first] + loss[candidate]
        lightest = within.argmin(0)
        best = within[lightest, np.arange(steps + 1)]
        taken.append((order[lightest], spent))
    at, choice = steps, list[int]()
    for candidates, spent in reversed(taken):
        choice.append(int(candidates[at]))
        at -= int(spent[choice[-1]])
    return choice[::-1]


def _whole_steps(time: np.ndarray, step: float, steps: int) -> np.ndarray:
    """Times as whole steps, rounded up; what lies beyond the last step, as one step more."""
    if step == 0:
        return np.where(time > 0, steps + 1, 0)
    with np.errstate(over="ignore"):  # a step may be next to nothing
        return np.minimum(np.ceil(time / step - 1e-6), steps + 1).astype(np.int64)


def _checked(times: Any, losses: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(times) != len(losses) or not len(times):
        raise ValueError(f"losses must have a list for each of {len(times)} matrices, at least one; got {len(losses)}")
    tables = []
    for matrix, (time, loss) in enumerate(zip(times, losses, strict=True)):
        pair = np.array(time, np.float64), np.array(loss, np.float64)
        if pair[0].ndim != 1 or pair[0].shape != pair[1].shape or not pair[0].size:
            raise ValueError(
                f"losses[{matrix}] must hold a number for each of {pair[0].size} times, at least one; "
                f"got {pair[1].size}"
            )
        if not all(np.isfinite(numbers).all() for numbers in pair):
            raise ValueError(f"times[{matrix}] and losses[{matrix}] must be finite numbers")
        tables.append(pair)
    return tables
