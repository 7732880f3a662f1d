"""Reports: means and intervals against SciPy and plain arithmetic; what is put together and what is kept apart."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blockprune_lib.experiments import report

from ..helpers.record_of import record_of

scores = st.floats(0, 1, width=32)


@given(st.lists(scores, min_size=2, max_size=9))
def test_the_interval_is_students(values):
    low, high = report.interval(values)
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = stats.t.isf(0.025, len(values) - 1) * spread / math.sqrt(len(values))
    np.testing.assert_allclose([low, high], [mean - half, mean + half], atol=1e-9)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_fewer_than_two_scores_have_no_interval(values):
    assert report.interval(values) is None


@given(st.integers(1, 2000), st.data())
def test_sampling_is_half_of_wilsons_interval(examples, data):
    right = data.draw(st.integers(0, examples))
    z, share = stats.norm.isf(0.025), right / examples
    middle = (share + z**2 / (2 * examples)) / (1 + z**2 / examples)
    half = z / (1 + z**2 / examples) * math.sqrt(share * (1 - share) / examples + z**2 / (4 * examples**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    assert report.wilson_half(share, examples) == pytest.approx((high - low) / 2, abs=1e-9)


def test_seeds_are_put_together_and_everything_else_kept_apart():
    seeds = [record_of(seed=seed, score=score) for seed, score in ((3, 0.8), (1, 0.6), (2, 0.7))]
    others = [
        record_of(task="mrpc"), record_of(model="other"), record_of(structure="row"), record_of(method="magnitude"),
        record_of(rate=1.79), record_of(lam=1e-4),
    ]  # fmt: skip
    found = report.lines([*seeds, *others])
    assert len(found) == 7
    (line,) = [line for line in found if len(line.scores) == 3]
    assert line.scores == (0.6, 0.7, 0.8)
    assert line.mean == pytest.approx(0.7)
    assert line.interval == pytest.approx(report.interval([0.6, 0.7, 0.8]))
    assert line.sampling == pytest.approx(report.wilson_half(0.7, 200))
    assert line.to_dict()["mean"] == line.mean
    assert found == report.lines([*others, *seeds[::-1]])


def test_whether_the_model_was_kept_does_not_part_runs():
    kept, not_kept = record_of(seed=1), record_of(seed=2)
    not_kept["run"]["options"] = not_kept["run"]["options"] | {"keep_model": False}
    assert len(report.lines([kept, not_kept])) == 1


def test_a_record_that_is_there_twice_counts_once():
    (line,) = report.lines([record_of(), record_of()])
    assert line.scores == (0.7,)


def test_two_different_records_of_one_seed_are_refused():
    with pytest.raises(ValueError, match="two different records of 'rte_minilm_block_row-64_reweighted_rate5_seed1'"):
        report.lines([record_of(score=0.7), record_of(score=0.8)])


def test_the_table_shows_each_figure_and_leaves_out_columns_that_tell_nothing_apart():
    text = report.table([record_of(seed=1, score=0.6), record_of(seed=2, score=0.7)])
    head, line = text.splitlines()
    assert head.split()[:6] == ["task", "structure", "method", "rate", "seeds", "score"]
    for cell in (
        "rte",
        "block_row:64",
        "reweighted",
        "5.00x",
        "0.650 accuracy",
        "0.015 to 1.285",
        "0.900",
        "0.500",
        "57.0",
    ):
        assert cell in line
    assert "one seed" in report.table([record_of()])
    assert "model" in report.table([record_of(), record_of(model="other")]).splitlines()[0]
    assert "settings" in report.table([record_of(), record_of(lam=1.0)]).splitlines()[0]
    assert "±" not in report.table([record_of(metric="matthews")])


def test_the_page_says_what_the_text_says():
    html = report.html([record_of()])
    assert "<table" in html
    assert "<caption" in html
    assert "0.700 accuracy" in html
