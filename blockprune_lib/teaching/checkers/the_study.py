"""Checkers of *the-study*: how many seeds, what the outputs lose, a recipe for a study."""

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


@exercise("output-scores", "output_scores(weight, inputs, slopes, size)")
def output_scores(answer: Function) -> str:
    """The root mean of G_ii A_jj w_ij^2 over each group of `size` weights in a column."""
    rng = np.random.default_rng(5)
    for outputs, inputs, size, rows in ((8, 5, 4, 30), (6, 4, 2, 10), (4, 7, 1, 12), (6, 3, 6, 9)):
        weight = rng.normal(size=(outputs, inputs))
        x = rng.normal(size=(rows, inputs)) * rng.uniform(0.1, 5, inputs) + 1
        slopes = rng.normal(size=(rows, outputs)) * rng.uniform(0.1, 5, outputs) + 0.5
        a, g = (x**2).mean(0), (slopes**2).mean(0)

        def score_by(of_rows: Any, of_columns: Any, weight: Any = weight, size: int = size) -> Any:
            return (of_rows[:, None] * weight**2 * of_columns).reshape(-1, size, weight.shape[1]).mean(1) ** 0.5

        case, right = f"for a matrix of {outputs} x {inputs} in groups of {size}", score_by(g, a)
        got = array(attempt(case, answer, weight.copy(), x.copy(), slopes.copy(), size), right.shape, case)
        slips = {
            "that is the root of the sum, not of the mean": right * size**0.5,
            "that is the mean square, without the root": right**2,
            "that takes the variance of the inputs, and their mean counts too": score_by(g, x.var(0)),
            "that takes the variance of the slopes, and their mean counts too": score_by(slopes.var(0), a),
            "that multiplies by A and G, not by their roots": score_by(g**2, a**2),
            "that leaves the slopes out": score_by(np.ones_like(g), a),
            "that leaves the inputs out": score_by(g, np.ones_like(a)),
            "A and G are means of squares over the rows, not sums": right * rows,
            "A and G are means of squares, not squares of means": score_by(slopes.mean(0) ** 2, x.mean(0) ** 2),
            "A and G are means of squares, not of sizes": score_by(abs(slopes).mean(0) ** 2, abs(x).mean(0) ** 2),
            "a score is the root of a mean of squares, not a mean": (g[:, None] * weight**2 * a)
            .reshape(-1, size, inputs).__pow__(0.5).mean(1),
            "a group is `size` neighbours of a column": (g[:, None] * weight**2 * a)
            .reshape(size, -1, inputs).mean(0) ** 0.5,
        }  # fmt: skip
        same(got, right, f"{case} the scores are others:", slips)
    return "it gives the scores of four matrices, for groups of 1, 2, 4 and 6"


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
