"""Differences seed by seed and row by row: by hand, with a verdict that needs more than one seed."""

import copy

import numpy as np
import pytest
from scipy import stats

from blockprune_lib import experiments
from blockprune_lib.cli import main
from blockprune_lib.experiments.paired import Difference, differences

from ..helpers.record_of import record_of
from ..helpers.small_runs import recipe


def test_only_runs_that_are_alike_are_paired():
    records = [record_of(method=m, seed=s, score=v) for m, s, v in (
        ("reweighted", 1, 0.8), ("reweighted", 2, 0.7), ("gradual", 1, 0.6), ("gradual", 2, 0.6), ("gradual", 3, 0.1),
    )]  # fmt: skip
    records.append(record_of(method="reweighted", rate=3.0, score=0.9))
    (found,) = differences(records, "gradual", text=False)
    assert found.by_seed == pytest.approx((0.2, 0.1))
    assert found.seeds == pytest.approx(stats.t.interval(0.95, 1, 0.15, stats.sem([0.2, 0.1])))
    with pytest.raises(ValueError, match="against must be a method of the records; got 'movement'"):
        differences(records, "movement")
    other = copy.deepcopy(records)
    other[0]["data"]["fingerprint"] = "99"
    with pytest.raises(ValueError, match="cannot be compared: their rows differ"):
        differences(other, "gradual")


@pytest.mark.parametrize(
    ("by_seed", "rows", "verdict"),
    [
        ((0.2,), (0.1, 0.3), "one seed"),
        ((0.2, 0.21, 0.19), (0.1, 0.3), "better"),
        ((0.2, 0.21, 0.19), (-0.1, 0.3), "not told apart"),
        ((-0.2, -0.21, -0.19), None, "worse"),
        ((0.2, -0.2), (0.1, 0.3), "not told apart"),
    ],
)
def test_a_verdict_needs_both_intervals_and_more_than_one_seed(by_seed, rows, verdict):
    assert Difference("rte", "row", 5.0, "a", "b", by_seed, rows).verdict == verdict


def test_rows_are_drawn_alike_for_both(material, tmp_path, capsys):
    found = experiments.run(recipe(material, method=["gradual", "one-shot"], seed=[1, 2], keep_model=False), tmp_path)
    (one,) = differences(found, "one-shot")
    assert one.rows is not None
    assert one.rows[0] <= one.mean <= one.rows[1]
    same = [copy.deepcopy(record) for record in found if record["run"]["method"] == "one-shot"]
    for record in same:
        record["run"]["method"] = "magnitude"
    (none,) = differences([*(r for r in found if r["run"]["method"] == "one-shot"), *same], "one-shot")
    assert (none.mean, none.rows) == (0, (0, 0))
    assert main(["report", str(tmp_path), "--against", "one-shot"]) == 0
    assert "one-shot" in capsys.readouterr().out
    assert np.isfinite(one.mean)
