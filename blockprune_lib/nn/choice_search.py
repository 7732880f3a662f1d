"""Choices of cuts tried on the whole model: each matrix's losses are scaled until the choice that follows loses least.

A sum of losses takes each matrix by itself, near the dense model. Cut hard, matrices depend on each other, and some
lose more than was estimated, others less. So the estimate of each matrix gets a factor: random ones at first, then the
best so far with a few of them drawn anew. For each draw the choice is solved exactly, and the pruned model is run.

    s* = argmin over s of  change(c(s)),     c(s) = argmin over c within the time of  sum of s_i loss_i,c_i
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Losses = Mapping[str, list[float]]
#: How far factors are drawn: the standard deviation of their logarithm.
SPREAD = 1.0
#: The first part of the trials draws all factors; each later one draws this share of them, at least one.
FIRST, AGAIN = 1 / 3, 0.1


def scaled_to_the_whole(
    losses: Losses, solve: Callable[[Losses], tuple[int, ...]], change: Callable[[tuple[int, ...]], float],
    trials: int, seed: int = 0,
) -> dict[str, list[float]]:  # fmt: skip
    """The losses of each matrix times the factor at which what `solve` chooses changes the whole model least.

    losses    {matrix: loss of each candidate}
    solve     from losses to the number of the candidate of each matrix
    change    how far the outputs of the model move under a choice: measured
    trials    how many choices are tried after the one of the losses as they are; a choice that comes up again is not
              run again, and counts

    >>> picked = lambda losses: tuple(int(np.argmin(each)) for each in losses.values())
    >>> found = scaled_to_the_whole({"a": [1.0, 2.0]}, picked, lambda choice: 0.0, trials=3)
    >>> found
    {'a': [1.0, 2.0]}

    Source: Frantar and Alistarh 2022 (SPDY), whose search draws factors in the same two phases.
    """
    generator, names = np.random.default_rng(seed), list(losses)
    seen: dict[tuple[int, ...], float] = {}

    def tried(factors: np.ndarray) -> float:
        choice = solve(_times(losses, factors))
        if choice not in seen:
            seen[choice] = change(choice)
        return seen[choice]

    best = np.ones(len(names))
    least = tried(best)
    for trial in range(trials):
        drawn = np.exp(generator.normal(0.0, SPREAD, len(names)))
        if trial >= FIRST * trials:
            again = generator.random(len(names)) < AGAIN
            again[generator.integers(len(names))] = True
            drawn = np.where(again, drawn, best)
        moved = tried(drawn)
        if moved < least:
            best, least = drawn, moved
    return _times(losses, best)


def _times(losses: Losses, factors: np.ndarray) -> dict[str, list[float]]:
    pairs = zip(losses.items(), factors, strict=True)
    return {name: [float(factor * loss) for loss in each] for (name, each), factor in pairs}
