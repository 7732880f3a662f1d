"""The floor learns what words can tell, for one text and for two, and for numbers."""

import numpy as np
import pytest

from blockprune_lib.data import tasks
from blockprune_lib.experiments.bag_of_words import bag_of_words_scores
from blockprune_lib.experiments.held_out import hold_out


def make(count, pairs=False, regression=False):
    dice = np.random.default_rng(0)
    words = [[str(word) for word in dice.choice(["cat", "dog", "sat", "ran", "the"], 6)] for _ in range(count)]
    label = [row.count("cat") / 2 if regression else int("cat" in row) for row in words]
    rows = {"a": [" ".join(row) for row in words], "label": label}
    if pairs:
        rows["b"] = [" ".join(row[::-1]) for row in words]
    part = {"train": rows, "validation": rows}
    return tasks.from_datasets(part, text=["a", "b"] if pairs else "a", label="label")


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("regression", [False, True])
def test_it_learns_what_the_words_tell(pairs, regression):
    task = make(200, pairs, regression)
    scores, outputs = bag_of_words_scores(task)
    assert scores[task.primary] > 0.9 > task.majority[task.primary]
    assert outputs.shape == (200, task.num_labels)


def test_a_held_out_part_is_of_the_training_rows_and_of_no_other():
    task = make(40)
    held = hold_out(task, 0.1, seed=3)
    assert (len(held.train), len(held.validation)) == (36, 4)
    assert sorted([*held.train["a"], *held.validation["a"]]) == sorted(task.train["a"])
    assert held.fingerprint != task.fingerprint
    assert held.fingerprint == hold_out(task, 0.1, seed=3).fingerprint != hold_out(task, 0.1, seed=4).fingerprint
    for part in (0.001, 0.999):
        with pytest.raises(ValueError, match="held_out must leave rows"):
            hold_out(task, part)
