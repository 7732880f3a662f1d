"""Checkers of *the-study*: how many seeds, who is on the frontier, a recipe for a study."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from ...experiments.methods import METHODS
from ..exercises import Function, agree, array, attempt, exercise, expect, planned, same


@exercise("seeds-needed", "seeds_needed(gap, scatter)")
def seeds_needed(answer: Function) -> str:
    """The least n >= 2 with t(0.975, n - 1) * scatter / sqrt(n) < |gap|."""
    cases = ((2.0, 2.0), (5.0, 2.0), (-2.0, 1.0), (0.5, 1.0), (3.0, 0.1), (1.0, 0.38))

    def least(gap: float, width: Any) -> int:
        return next(n for n in range(2, 10**6) if width(n) < gap)

    def judge(gap: float, scatter: float) -> tuple[float, dict[str, float]]:
        size, right = abs(gap), lambda n: stats.t.ppf(0.975, n - 1) * scatter / n**0.5
        return least(size, right), {
            "that takes 1.96 whatever the number of seeds": least(size, lambda n: 1.96 * scatter / n**0.5),
            "that has n degrees of freedom, and Student's has n - 1": least(
                size, lambda n: stats.t.ppf(0.975, n) * scatter / n**0.5
            ),
            "that makes the interval too narrow: 0.975 leaves 2.5 % on either side": least(
                size, lambda n: stats.t.ppf(0.95, n - 1) * scatter / n**0.5
            ),
        }

    agree(answer, cases, judge, "for a gap of {:g} that scatters by {:g}", whole=True)
    return "it counts the seeds in six cases, and takes a gap of either sign"


@exercise("on-frontier", "frontier(speeds, points)")
def on_frontier(answer: Function) -> str:
    """True where no other model is at least as fast and at least as good, and better in one of the two."""
    cases = (
        ("four models, one of them behind another", [1.0, 2.0, 3.0, 2.5], [0.0, -1.0, -5.0, -6.0]),
        ("one that is as fast as another and worse", [1.0, 2.0, 2.0], [0.0, -3.0, -1.0]),
        ("one that is as good as another and slower", [1.0, 2.0, 3.0], [-2.0, -1.0, -1.0]),
        ("two alike", [2.0, 2.0, 1.0], [-1.0, -1.0, -0.5]),
        ("one model", [1.5], [-2.0]),
    )
    for case, speeds, points in cases:
        fast, good = np.array(speeds), np.array(points)
        least = (fast[:, None] >= fast) & (good[:, None] >= good)  # [i, j]: i is no worse than j in either
        more = (fast[:, None] > fast) | (good[:, None] > good)
        right = ~(least & more).any(axis=0)
        got = array(attempt(f"for {case}", answer, fast.copy(), good.copy()), right.shape, f"for {case}")
        strict = ~((fast[:, None] > fast) & (good[:, None] > good)).any(axis=0)
        itself = ~least.any(axis=0)
        alike = ~(least & ~np.eye(len(fast), dtype=bool)).any(axis=0)
        slips = {
            "another that is as fast and better, or as good and faster, is enough to fall behind": strict,
            "each model is at least as fast and as good as itself, and no rival of itself": itself,
            "two that are alike in both do not put each other behind": alike,
            "True is for those on the frontier": ~right,
        }
        same(got, right.astype(float), f"for {case}", {why: slip.astype(float) for why, slip in slips.items()})
    return "it finds who is left in five cases, ties among them"


@exercise("own-study")
def own_study(answer: Any) -> str:
    """Lists are swept over: method, rate and seed need at least two, two and three entries; some run must cut."""
    runs = planned(answer)
    seen = {key: {getattr(run, key) for run in runs} for key in ("method", "rate", "seed")}
    for key, least in (("method", 2), ("rate", 2), ("seed", 3)):
        expect(
            len(seen[key]) >= least,
            f"it has {len(seen[key])} value{'s' * (len(seen[key]) > 1)} of {key}, at least {least} are needed",
        )
    baselines = [
        name
        for name, method in METHODS.items()
        if not any(s.action == "train_reweighted" and s.changes.get("reweighted", True) for s in method.stages)
    ]
    remedy = f"each of {', '.join(baselines)} is a baseline"
    expect(seen["method"].intersection(baselines), "every method reweights, and one should be a baseline", remedy)
    cut = {run.rate for run in runs if run.rate > 1 and run.method not in ("dense", "bag-of-words")}
    expect(len(cut) >= 2, f"groups are cut at {len(cut)} rate{'s' * (len(cut) != 1)}, at least 2 are needed")
    return f"{len(runs)} runs: {len(seen['method'])} methods, {len(seen['rate'])} rates, {len(seen['seed'])} seeds"
