"""Checkers of *prune-and-retrain*: how many groups stay, a step that keeps zeros, a verdict."""

from __future__ import annotations

import numpy as np

from ..exercises import Function, agree, exercise, expect, several


@exercise("exact-count", "true_rate(groups, rate)")
def exact_count(answer: Function) -> str:
    """All groups over those kept, where each matrix keeps round(n / rate), and at least 1."""
    cases = (
        ((7, 7), 5.0), ((100, 100, 100), 3.0), ((7, 7, 7, 2), 5.0), ((9216, 2304), 1.79), ((2, 3), 10.0), ((5, 1), 2.0)
    )  # fmt: skip

    def judge(groups: tuple[int, ...], rate: float) -> tuple[float, dict[str, float]]:
        kept, whole = [max(1, round(n / rate)) for n in groups], sum(groups)
        up = [max(1, int(n / rate + 0.5)) for n in groups]
        return whole / sum(kept), {
            "that is the mean of the matrices' rates": float(
                np.mean([n / k for n, k in zip(groups, kept, strict=True)])
            ),
            "that rounds halves up, and Python's round takes the even neighbour": whole / sum(up),
            "that rounds once for all matrices": whole / max(1, round(whole / rate)),
            "that lets a matrix lose all of its groups": whole / (sum(round(n / rate) for n in groups) or np.inf),
            "that is the rate that was asked for": rate,
        }

    agree(answer, cases, judge, "for matrices of {} groups at rate {:g}", rel_tol=1e-6)
    return "it gives the true rate in six cases, of one matrix and of several"


@exercise("masked-step", "step(w, slope, velocity, mask, lr, momentum, decay)")
def masked_step(answer: Function) -> str:
    """New velocity and new weights, then zero where the mask is False, in both."""
    rng = np.random.default_rng(3)
    mask = rng.random((6, 8)) < 0.4
    w, velocity = np.where(mask, rng.normal(size=mask.shape), 0.0), rng.normal(size=mask.shape)
    for case in ("a usual gradient", "a gradient that is infinite where nothing lives"):
        slope = rng.normal(size=mask.shape)
        if "infinite" in case:
            slope[~mask] = np.inf
        got = answer(w.copy(), slope.copy(), velocity.copy(), mask.copy(), 0.1, 0.9, 0.01)
        pair = several(got, 2, f"with {case}", "the pair (w, velocity)")
        moved = 0.9 * velocity + slope + 0.01 * w
        for name, value, right in zip(("w", "velocity"), pair, (w - 0.1 * moved, moved), strict=True):
            value = np.asarray(value, dtype=float)
            expect(value.shape == mask.shape, f"{name} has shape {value.shape}, expected {mask.shape}")
            count = int((value[~mask] != 0).sum())
            expect(count == 0, f"with {case}, {count} pruned places of {name} are not zero")
            expect(np.allclose(value[mask], right[mask]), f"with {case}, what lives moves to another place in {name}")
    return "what lives moves as SGD moves it, and what is pruned is zero in both, whatever the gradient"


@exercise("verdict", "verdict(first, second)")
def verdict(answer: Function) -> str:
    """Both intervals of the mean difference, over seeds and over rows, must exclude zero."""
    rng = np.random.default_rng(11)
    sure, rows = np.arange(400) < 300, np.arange(400)
    ahead = np.stack([(sure | (rows % 4 == 3)) & (rows % 37 != seed) for seed in range(3)])
    behind = np.stack([sure & (rows % 5 != 0) & (rows % 41 != seed) for seed in range(3)])
    wide = np.stack([sure & (rows % 3 != 0), sure, sure & (rows % 50 != 0)])
    few = behind.copy()
    few[:, [5, 10]] = True
    shuffled = rng.permutation(400)
    half, wrong = np.stack([rows % 2 == 0] * 3), np.flatnonzero(rows % 2)
    uneven = half.copy()  # ahead by 16, 40 and 42 rows: a mean of 3.9 standard errors
    for seed, count in enumerate((16, 40, 42)):
        uneven[seed, wrong[:count]] = True
    low = np.stack([rows < level for level in (150, 220, 300)])
    high = np.stack([rows < level for level in (174, 245, 326)])
    # Hard rows are hard for both: row by row 10 of 400 are sure, beside the scatter of the rows they are nothing.
    alike = np.stack([sure & (rows >= count) for count in (9, 10, 11)])
    cases = (
        ("one that is right far more often, with every seed", ahead, behind, "better"),
        ("the same two the other way round", behind, ahead, "worse"),
        ("two of one seed each", ahead[:1], behind[:1], "one seed"),
        ("one whose seeds differ by more than the methods", np.stack([sure] * 3), wide, "not told apart"),
        ("two that differ alike in each seed, in two rows alone", few, behind, "not told apart"),
        ("one ahead by 16, 40 and 42 of 400 rows", uneven, half, "not told apart"),
        ("two that go up and down together, one a little above", high, low, "better"),
        ("two that are right in the same rows but for some ten", np.stack([sure] * 3), alike, "better"),
        ("rows in another order", ahead[:, shuffled], behind[:, shuffled], "better"),
    )
    for name, first, second, right in cases:
        got = answer(first.copy(), second.copy())
        expect(isinstance(got, str), f"for {name} it returned {type(got).__name__}, expected a word such as 'better'")
        expect(got == right, f"for {name} it says {got!r}, not {right!r}")
    return "it asks seeds and rows, and neither alone is enough"
