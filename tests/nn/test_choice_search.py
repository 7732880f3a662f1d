"""Factors for losses: what is tried, how often, and that the best is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockprune_lib.nn.choice_search import scaled_to_the_whole
from blockprune_lib.pruning.allocation import cheapest_choice


def cheapest(times, limit):
    return lambda losses: tuple(cheapest_choice(times, list(losses.values()), limit, steps=64))


@settings(max_examples=20)
@given(st.integers(0, 20), st.integers(0, 9), st.integers(1, 5))
def test_the_factors_are_those_of_the_choice_that_moved_least(trials, seed, matrices):
    draw = np.random.default_rng(seed)
    times = [[4.0, 2.0, 1.0]] * matrices
    losses = {str(at): [0.0, *sorted(draw.random(2))] for at in range(matrices)}
    table, seen = draw.random((matrices, 3)), []

    def far(choice):
        return float(sum(table[at][c] for at, c in enumerate(choice)))

    def change(choice):
        seen.append(choice)
        return far(choice)

    solve = cheapest(times, 2.0 * matrices)
    found = scaled_to_the_whole(losses, solve, change, trials, seed)
    assert len(seen) == len(set(seen)) <= 1 + trials
    assert seen[0] == solve(losses)
    assert far(solve(found)) == min(map(far, seen))
    factors = [found[name][2] / each[2] for name, each in losses.items()]
    assert all(factor > 0 for factor in factors)
    for (name, each), factor in zip(losses.items(), factors, strict=True):
        assert found[name] == pytest.approx([factor * loss for loss in each])


def test_a_matrix_whose_loss_was_estimated_too_low_is_found():
    losses = {"much": [0.0, 0.1], "little": [0.0, 0.3]}
    times = [[2.0, 1.0], [2.0, 1.0]]
    whole = {(1, 0): 5.0, (0, 1): 0.5}  # what the whole model loses
    solve = cheapest(times, 3.0)
    assert solve(losses) == (1, 0)
    assert solve(scaled_to_the_whole(losses, solve, whole.__getitem__, trials=30)) == (0, 1)


def test_without_trials_the_losses_stay():
    losses = {"a": [1.0, 2.0]}
    assert scaled_to_the_whole(losses, lambda _: (0,), lambda _: 1.0, trials=0) == losses
