"""Means over tasks, against NumPy and SciPy by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blockprune_lib import experiments
from blockprune_lib._common.plots import figure
from blockprune_lib.experiments.paired import Difference
from blockprune_lib.machine import Ratio

from ..helpers.record_of import record_of
from .test_standing import timed, uncut


def difference(task, by_seed, rows=(-0.1, 0.1), method="gradual", against="dense", model="minilm"):
    return Difference(task, "block_column:4", 5.0, method, against, tuple(by_seed), rows, model, f"id-{task}")


@given(st.integers(2, 5).flatmap(lambda seeds: st.lists(
    st.lists(st.floats(-1, 1), min_size=seeds, max_size=seeds), min_size=2, max_size=6)))  # fmt: skip
def test_the_mean_over_tasks_seed_by_seed(scores):
    (found,) = experiments.over_tasks([difference(f"task{i}", row) for i, row in enumerate(scores)])
    by_hand = np.asarray(scores).mean(axis=0)
    np.testing.assert_allclose(found.by_seed, by_hand, atol=1e-12)
    assert found.task == f"mean of {len(scores)} tasks"
    half = stats.t.ppf(0.975, len(by_hand) - 1) * stats.sem(by_hand)
    np.testing.assert_allclose(found.seeds, (by_hand.mean() - half, by_hand.mean() + half), atol=1e-9)


def test_the_interval_over_rows_is_that_of_a_mean_of_independent_tasks():
    rng = np.random.default_rng(0)
    sizes, means = (0.02, 0.05, 0.01), (0.01, -0.03, 0.02)
    parts = [
        difference(f"task{i}", (m, m), (m - 1.96 * s, m + 1.96 * s))
        for i, (m, s) in enumerate(zip(means, sizes, strict=True))
    ]
    (found,) = experiments.over_tasks(parts)
    drawn = np.mean([rng.normal(m, s, 200_000) for m, s in zip(means, sizes, strict=True)], axis=0)
    np.testing.assert_allclose(found.rows, np.quantile(drawn, [0.025, 0.975]), atol=5e-4)


def test_tasks_with_fewer_seeds_take_no_part():
    found = experiments.over_tasks([
        difference("rte", (0.1, 0.2, 0.3)), difference("mrpc", (0.3, 0.2, 0.1)), difference("sst2", (9.0, 9.0)),
    ])  # fmt: skip
    (one,) = found
    assert one.task == "mean of 2 tasks"
    np.testing.assert_allclose(one.by_seed, (0.2, 0.2, 0.2))


def test_tasks_whose_text_was_seen_take_no_part_unless_asked_for():
    parts = [difference(task, (0.1, 0.2)) for task in ("rte", "mrpc", "qnli")]
    assert [one.tasks for one in experiments.over_tasks(parts)] == [("rte", "mrpc")]
    assert [one.tasks for one in experiments.over_tasks([*parts, difference("wnli", (9, 9))])] == [("rte", "mrpc")]
    assert [one.tasks for one in experiments.over_tasks(parts, leave_out=())] == [("rte", "mrpc", "qnli")]
    assert experiments.over_tasks(parts, leave_out=(*experiments.SEEN, "rte")) == []


def test_what_differs_is_kept_apart_and_one_task_is_no_mean():
    others = ({"method": "reweighted"}, {"against": "dense, 2 layers"}, {"model": "mpnet"})
    parts = [difference("rte", (0.1, 0.2)), *(difference("mrpc", (0.1, 0.2), **other) for other in others)]
    assert experiments.over_tasks(parts) == []
    assert len(experiments.over_tasks(parts, least=1, alike=False)) == len(parts)
    assert experiments.over_tasks([]) == []


def test_means_over_other_tasks_than_most_are_left_out_unless_asked_for():
    tasks, methods = ("rte", "mrpc", "cola"), ("gradual", "reweighted")
    parts = [difference(task, (0.1, 0.2), method=method) for task in tasks for method in methods]
    few = [difference(task, (0.3, 0.3), method="sensitivity") for task in tasks[1:]]
    large = [difference(task, (0.1, 0.3), model="mpnet") for task in tasks[:2]]
    found = experiments.over_tasks([*few, *parts, *large])
    assert [(one.method, one.tasks) for one in found if one.model == "mpnet"] == [("gradual", tasks[:2])]
    assert {one.method for one in found if one.tasks == tasks} == set(methods)
    assert len(found) == 3
    assert len(experiments.over_tasks([*few, *parts, *large], alike=False)) == 4


def test_one_seed_gives_no_verdict_and_missing_rows_none():
    (one,) = experiments.over_tasks([difference("rte", (0.5,)), difference("mrpc", (0.5,), None)])
    assert (one.verdict, one.rows) == ("one seed", None)


def test_bad_input():
    with pytest.raises(ValueError, match=r"least must be a number of tasks.*got 0"):
        experiments.over_tasks([], least=0)
    with pytest.raises(ValueError, match="twice for one task"):
        experiments.over_tasks([difference("rte", (0.1,)), difference("rte", (0.2,))])


def timed_study(task, times, seeds=(1, 2)):
    found = []
    for seed in seeds:
        dense = uncut(record_of(task=task, method="dense", rate=1.0, seed=seed, score=0.8))
        blocks = record_of(task=task, method="gradual", seed=seed, score=0.7 + seed / 100)
        found += [dense, timed(blocks, compiled=times) if times and seed == 1 else blocks]
    return found


def test_the_speed_over_tasks_is_a_geometric_mean_of_those_that_take_part():
    records = [*timed_study("rte", 4.0), *timed_study("mrpc", 9.0), *timed_study("sst2", 100.0, seeds=(1,))]
    studies = experiments.standings(records)
    cost = [one for study in studies for one in experiments.comparisons(study, text=False).cost]
    (one,) = experiments.over_tasks(cost)
    assert one.tasks == ("mrpc", "rte")
    assert experiments.times_over_tasks(studies, one) == pytest.approx(6.0)
    assert experiments.ratio_over_tasks(studies, one) == Ratio(*map(pytest.approx, (6.0, 6.0, 6.0)))
    untimed = experiments.standings([*timed_study("rte", 4.0), *timed_study("mrpc", None)])
    cost = [one for study in untimed for one in experiments.comparisons(study, text=False).cost]
    assert experiments.times_over_tasks(untimed, experiments.over_tasks(cost)[0]) is None


def test_the_interval_of_a_speed_over_tasks_is_that_of_a_mean_of_independent_ones():
    rng = np.random.default_rng(0)
    sizes = {"rte": 0.05, "mrpc": 0.1, "stsb": 0.02}
    records = [record for task in sizes for record in timed_study(task, 4.0)]
    for record in records:
        if record["run"]["method"] == "gradual" and record.get("latency"):
            ratio, wide = record["latency"]["engines"]["compiled"]["ratio"], 1.96 * sizes[record["run"]["task"]]
            ratio |= {"low": 4.0 * np.exp(-wide), "high": 4.0 * np.exp(wide)}
    studies = experiments.standings(records)
    (one,) = experiments.over_tasks(d for s in studies for d in experiments.comparisons(s, text=False).cost)
    drawn = 4.0 * np.exp(np.mean([rng.normal(0, size, 200_000) for size in sizes.values()], axis=0))
    found = experiments.ratio_over_tasks(studies, one)
    np.testing.assert_allclose((found.low, found.high), np.quantile(drawn, [0.025, 0.975]), rtol=2e-3)


def test_the_picture_over_tasks_has_every_kind_once_and_dense_at_zero():
    records = [*timed_study("rte", 4.0), *timed_study("mrpc", 9.0)]
    for record in records:
        if record["run"]["method"] == "dense":
            timed(record, compiled=2.0, bfloat16=1.5)
        record["run"]["method"] = record["run"]["method"].replace("gradual", "movement")  # no kind of its own
    studies = experiments.standings(records)
    cost = experiments.over_tasks(one for study in studies for one in experiments.comparisons(study, text=False).cost)
    seen = []

    def draw(axes):
        experiments.draw_over_tasks(axes, studies, cost)
        seen.append((axes.get_legend_handles_labels()[1], [text.get_text() for text in axes.get_legend().get_texts()]))
        points = {line.get_label(): line.get_xydata()[0] for line in axes.lines if line.get_label()[0] != "_"}
        np.testing.assert_allclose(points["dense float32, compiled"], (2.0, 0.0))
        assert [text.get_text() for text in axes.texts] == ["movement,\nrate 5"]

    figure(draw, alt="Points.", caption="Points.")
    drawn, legend = seen[0]
    dense = ["dense float32, torch", "dense bfloat16, torch", "dense float32, compiled"]
    assert legend == [*dense, "other blocks"]
    assert set(drawn) == set(legend)
    assert "svg" in figure(lambda axes: experiments.draw_over_tasks(axes, studies, []), alt="x", caption="x").light
