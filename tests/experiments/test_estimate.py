"""Hours before they start: each shared stage once, in proportion to steps and layers, and none for what is done."""

import pytest

from blockprune_lib import experiments
from blockprune_lib.cli import main
from blockprune_lib.experiments import estimate
from blockprune_lib.experiments.recipe import plan

from ..helpers.small_runs import STEPS, recipe


@pytest.fixture
def even(monkeypatch):
    """Every task has 16 rows of 4 tokens, and every machine trains on 64 tokens a second: an epoch takes a second."""
    monkeypatch.setattr(estimate, "_measure", lambda run: estimate._Text(16, 64, 64.0, 2))


def seconds(material, **more):
    plain = {"reweight": STEPS | {"lam": 1.0, "distil": 0, "hidden": 0}, "retrain": STEPS | {"distil": 0, "hidden": 0}}
    return 3600 * estimate.hours(plan(recipe(material, **(plain | more))))


def test_stages_that_are_shared_count_once_and_others_each(material, even):
    # Two steps of eight rows are an epoch, a second; three stages train.
    assert seconds(material) == pytest.approx(3)
    assert seconds(material, rate=[2, 4]) == pytest.approx(4)
    assert seconds(material, seed=[1, 2]) == pytest.approx(6)
    assert seconds(material, method="one-shot", rate=[2, 4]) == pytest.approx(1)
    assert seconds(material, method="gradual", structure=["row", "column"]) == pytest.approx(5)
    assert seconds(material, method="bag-of-words") == 0


def test_a_teacher_costs_a_third_and_a_layer_less_costs_less(material, even):
    assert seconds(material, retrain=STEPS | {"distil": 0.5}) == pytest.approx(3 + 1 / 3 + 0 * 1)
    assert seconds(material, method="dense", layers=1, rate=1) == pytest.approx(1 + 2 / 2)


def test_what_is_done_is_left_out_and_the_plan_says_the_rest(material, tmp_path, capsys):
    plain = recipe(material, method=["gradual", "one-shot"])
    assert estimate.hours(plan(plain), tmp_path) > 0
    experiments.run(plain, tmp_path)
    assert estimate.hours(plan(plain), tmp_path) == 0
    flags = ["--set", "task=rte", "--set", "rate=5", "--set", "structure=row", "--set", "method=bag-of-words"]
    assert main(["run", *flags, "--plan", "--hours"]) == 0
    assert "1 runs, about 0.0 hours of training here" in capsys.readouterr().out
