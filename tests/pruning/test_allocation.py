"""The choice by dynamic programming: against trying every choice."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.pruning.allocation import cheapest_choice

NUMBERS = st.integers(0, 12).map(float)
#: For each matrix, (time, loss) of each of its candidates: not as many for one as for another.
TABLES = st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), min_size=1, max_size=5)


def totals(times, losses, choice):
    return sum(map(list.__getitem__, times, choice)), sum(map(list.__getitem__, losses, choice))


def tried(times, losses, limit):
    """The least loss of all choices within the limit."""
    every = (totals(times, losses, choice) for choice in itertools.product(*(range(len(each)) for each in times)))
    return min((loss for time, loss in every if time <= limit), default=None)


@given(TABLES, st.integers(0, 40))
def test_the_choice_is_the_best_of_all_where_times_are_whole_steps(tables, above):
    times, losses = ([[pair[i] for pair in each] for each in tables] for i in range(2))
    limit = sum(map(min, times)) + above
    choice = cheapest_choice(times, losses, limit, steps=max(1, above))
    time, loss = totals(times, losses, choice)
    assert time <= limit
    assert loss == tried(times, losses, limit)


@given(TABLES, st.floats(0.0, 40.0), st.integers(1, 500))
def test_any_number_of_steps_keeps_the_limit_and_wastes_at_most_one_step_a_matrix(tables, above, steps):
    times, losses = ([[pair[i] * 0.37 for pair in each] for each in tables] for i in range(2))
    limit = sum(map(min, times)) + above
    time, loss = totals(times, losses, cheapest_choice(times, losses, limit, steps=steps))
    assert time <= limit + 1e-6 * (1 + above)
    bound = tried(times, losses, limit - len(times) * above / steps)
    assert bound is None or loss <= bound + 1e-9


@given(TABLES)
def test_more_time_never_loses_more(tables):
    times, losses = ([[pair[i] for pair in each] for each in tables] for i in range(2))
    least, most = sum(map(min, times)), sum(map(max, times))
    found = [
        totals(times, losses, cheapest_choice(times, losses, limit, steps=max(1, int(limit - least))))[1]
        for limit in np.arange(least, most + 2)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] == sum(map(min, losses))


def test_negative_times_are_differences():
    assert cheapest_choice([[-3.0, 0.0], [1.0, -1.0]], [[1.0, 0.0], [0.0, 5.0]], limit=-2.0) == [0, 0]


def test_of_equal_losses_the_quicker_candidate_is_taken():
    assert cheapest_choice([[5.0, 2.0, 3.0]], [[1.0, 1.0, 1.0]], limit=9.0) == [1]


def test_at_the_least_limit_only_the_quickest_fit():
    times = [[0.3, 0.1, 0.1], [0.7, 0.2, 0.9]]
    assert cheapest_choice(times, [[0.0, 2.0, 1.0], [0.0, 9.0, 1.0]], limit=0.1 + 0.2) == [2, 1]


def test_next_to_nothing_above_the_least_limit_is_nothing():
    assert cheapest_choice([[0.0, 1.0]], [[1.0, 0.0]], limit=1e-306) == [0]


@pytest.mark.parametrize(
    ("times", "losses", "limit", "said"),
    [
        ([[2.0, 3.0]], [[0.0, 0.0]], 1.0, "limit must be at least 2, the sum of the least times; got 1"),
        ([[2.0]], [], 5.0, "losses must have a list for each of 1 matrices, at least one; got 0"),
        ([], [], 5.0, "losses must have a list for each of 0 matrices"),
        ([[1.0, 2.0]], [[1.0]], 5.0, r"losses\[0\] must hold a number for each of 2 times, at least one; got 1"),
        ([[]], [[]], 5.0, "at least one; got 0"),
        ([[float("nan")]], [[1.0]], 5.0, "must be finite numbers"),
        ([[1.0]], [[1.0]], float("inf"), "limit must be a finite number"),
    ],
)
def test_bad_input_is_named(times, losses, limit, said):
    with pytest.raises(ValueError, match=said):
        cheapest_choice(times, losses, limit)


@pytest.mark.parametrize("steps", [0, 2.5, "many"])
def test_steps_must_be_a_whole_number(steps):
    with pytest.raises((TypeError, ValueError), match="steps must be a whole number of at least 1"):
        cheapest_choice([[1.0]], [[1.0]], 2.0, steps=steps)


def test_a_limit_that_is_the_least_sum_in_another_order_is_no_error():
    assert sum([0.1, 0.2, 0.3]) > 0.6
    assert cheapest_choice([[0.1, 0.4], [0.2, 0.4], [0.3, 0.4]], [[1.0, 0.0]] * 3, 0.6) == [0, 0, 0]
