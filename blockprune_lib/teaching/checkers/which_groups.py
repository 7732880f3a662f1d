"""Checkers of *which-groups*: two weights together, what the outputs lose, one ranking over matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..exercises import Function, array, attempt, exercise, expect, is_whole, same, several


@exercise("two-together")
def two_together(answer: Any) -> str:
    """Four rows of two inputs: each alone matters by at least 1, and their sum is zero."""
    x = array(answer, (4, 2), "as numbers")
    expect(np.isfinite(x).all(), "a row has a number that is not finite")
    alone = np.sqrt((x**2).mean(axis=0))
    for which, size in enumerate(alone, 1):
        expect(size >= 1 - 1e-6, f"without weight {which} alone the output changes by {size:.3g}, at least 1 is asked")
    both = float(np.sqrt((x.sum(axis=1) ** 2).mean()))
    expect(both < 1e-6, f"without both the output changes by {both:.3g}, and it should not change")
    return f"alone they count for {alone[0]:.3g} and {alone[1]:.3g}, and together for nothing"


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


@exercise("one-ranking", "kept(scores, rate)")
def one_ranking(answer: Function) -> str:
    """How many of each matrix's groups are among the round(n / rate) largest of all."""
    rng = np.random.default_rng(8)
    cases = (
        ((6, 6), (1.0, 10.0), 2.0), ((10, 4, 7), (1.0, 3.0, 0.2), 3.0), ((5,), (1.0,), 1.79),
        ((8, 8), (1.0, 1.0), 1.0), ((12, 3), (5.0, 0.1), 5.0),
    )  # fmt: skip
    for lengths, widths, rate in cases:
        scores = [width * rng.uniform(0.5, 1.5, n) for n, width in zip(lengths, widths, strict=True)]
        case, count = f"for matrices of {lengths} groups at rate {rate:g}", round(sum(lengths) / rate)
        edge = np.sort(np.concatenate(scores))[-count]
        right = [int((one >= edge).sum()) for one in scores]
        got = attempt(case, answer, [one.copy() for one in scores], rate)
        given = several(got, len(right), case, f"{len(right)} whole numbers")
        expect(all(map(is_whole, given)), f"{case} it gives {given!r:.80}, expected whole numbers")
        each = [round(n / rate) for n in lengths]
        hint = (
            "that keeps the same share of each matrix, and the ranking is over all of them"
            if list(given) == each else
            "those are the groups that go; asked is how many stay"
            if list(given) == [n - k for n, k in zip(lengths, right, strict=True)] else ""
        )  # fmt: skip
        expect(list(given) == right, f"{case} it gives {list(map(int, given))}, not {right}", hint)
    return "it counts what stays in five cases, of one matrix to three"
