"""Checkers of *prune-and-retrain*: how many groups stay, a step that keeps zeros, a verdict."""

from __future__ import annotations

import numpy as np

from ..exercises import NOTHING, Function, agree, array, attempt, exercise, expect, same, several


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
            "that rounds up, and the nearest whole number is asked": whole / sum(-int(-n // rate) for n in groups),
            "that rounds down, and the nearest whole number is asked": whole
            / sum(max(1, int(n / rate)) for n in groups),
            "that is the share that stays; the rate is one over it": sum(kept) / whole,
            "that is how many stay; all groups over those is asked": sum(kept),
        }

    agree(answer, cases, judge, "for matrices of {} groups at rate {:g}", rel_tol=1e-6)
    return "it gives the true rate in six cases, of one matrix and of several"


@exercise("masked-step", "step(w, slope, velocity, mask, lr, momentum, decay)")
def masked_step(answer: Function) -> str:
    """New velocity and new weights, then zero where the mask is False, in both."""
    rng = np.random.default_rng(3)
    mask = rng.random((6, 8)) < 0.4
    w, velocity = np.where(mask, rng.normal(size=mask.shape), 0.0), rng.normal(size=mask.shape)
    cases = ("a usual gradient", "a gradient that is infinite where nothing lives", "weights that were not yet zero")
    for case in cases:
        slope = rng.normal(size=mask.shape)
        if "infinite" in case:
            slope[~mask] = np.inf
        if "not yet" in case:
            w = rng.normal(size=mask.shape)
        given = w.copy(), slope.copy(), velocity.copy(), mask.copy(), 0.1, 0.9, 0.01
        got = attempt(f"with {case}", answer, *given)
        pair = several(got, 2, f"with {case}", "the pair (w, velocity)")
        moved = 0.9 * velocity + slope + 0.01 * w
        slips = {
            "w goes down by the new velocity, not by the one before": w - 0.1 * velocity,
            "weight decay is missing": w - 0.1 * (0.9 * velocity + slope),
            "momentum times the velocity before is missing": w - 0.1 * (slope + 0.01 * w),
            "w goes down by the step, not up": w + 0.1 * moved,
            "the order is (w, velocity)": moved,
        }
        for name, value, right in zip(("w", "velocity"), pair, (w - 0.1 * moved, moved), strict=True):
            value = array(value, mask.shape, f"with {case}, of {name},")
            count = int((value[~mask] != 0).sum())
            expect(count == 0, f"with {case}, {count} pruned places of {name} are not zero")
            told = {why: slip[mask] for why, slip in slips.items()} if name == "w" else {}
            same(value[mask], right[mask], f"with {case}, what lives moves to another place in {name}:", told)
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
    # Five seeds ahead by 4 to 44 of 400 rows: 3.4 standard errors, above the 2.776 of five seeds and below 4.303.
    five, five_half = np.stack([rows % 2 == 0] * 5), np.stack([rows % 2 == 0] * 5)
    for seed, count in enumerate((4, 16, 20, 32, 44)):
        five[seed, wrong[:count]] = True
    cases = (
        ("one that is right far more often, with every seed", ahead, behind, "better"),
        ("the same two the other way round", behind, ahead, "worse"),
        ("two of one seed each", ahead[:1], behind[:1], "one seed"),
        ("one whose seeds differ by more than the methods", np.stack([sure] * 3), wide, "not told apart"),
        ("two that differ alike in each seed, in two rows alone", few, behind, "not told apart"),
        ("one ahead by 16, 40 and 42 of 400 rows", uneven, half, "not told apart"),
        ("two that go up and down together, one a little above", high, low, "better"),
        ("two that are right in the same rows but for some ten", np.stack([sure] * 3), alike, "better"),
        ("five seeds, ahead by 4 to 44 of 400 rows", five, five_half, "better"),
        ("two that are right in the very same rows", half, half, "not told apart"),
        ("rows in another order", ahead[:, shuffled], behind[:, shuffled], "better"),
    )
    for name, first, second, right in cases:
        got = attempt(f"for {name}", answer, first.copy(), second.copy())
        expect(got is not None, f"for {name} {NOTHING}")
        expect(isinstance(got, str), f"for {name} it returned {type(got).__name__}, expected a word such as 'better'")
        expect(got == right, f"for {name} it says {got!r}, not {right!r}")
    return "it asks seeds and rows, and neither alone is enough"
