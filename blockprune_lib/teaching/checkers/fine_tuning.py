"""Checkers of *fine-tuning*: how sure a score and a difference are, the work of a layer, seeds of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..exercises import LISTS, Function, Judged, agree, attempt, exercise, expect, fields, is_number, several, stated


@exercise("score-interval", "half(share, n)")
def score_interval(answer: Function) -> str:
    """95 % of a bell curve lie within 1.96 standard deviations of its middle; the page has the standard deviation."""

    def judge(share: float, n: int) -> Judged:
        right = 1.96 * math.sqrt(share * (1 - share) / n)
        slips = {
            "these are points; the answer should be a share": 100 * right,
            "this is the whole interval; half of it was asked for": 2 * right,
            "this is one standard deviation; 95 % need 1.96 of them": right / 1.96,
            "95 % need 1.96 standard deviations, not 2": right / 1.96 * 2,
            "the number of examples belongs under the root": right / math.sqrt(n),
            "this is a variance: the root is missing": right**2 / 1.96,
            "this is the standard deviation of one answer: divide by the number of examples under the root":
                right * math.sqrt(n),
        }  # fmt: skip
        return right, slips

    cases = ((0.65, 277), (0.5, 71), (0.9, 872), (0.8, 9815), (1.0, 100))
    agree(answer, cases, judge, "for {:.0%} of {} examples", rel_tol=2e-3, abs_tol=1e-9)
    return "it agrees at five shares and sizes"


@exercise("examples-needed", "examples(a, b)")
def examples_needed(answer: Function) -> str:
    """The variances of two independent scores add up. When is b - a as large as 1.96 standard deviations of b - a?"""

    def judge(a: float, b: float) -> Judged:
        first, second = a * (1 - a), b * (1 - b)

        def needed(variance: float) -> float:
            return (1.96 / (b - a)) ** 2 * variance

        apart = needed((math.sqrt(first) + math.sqrt(second)) ** 2)
        slips = {
            "this makes one score's interval as wide as the difference; both scores are uncertain": needed(first),
            "this asks that the two intervals do not overlap, which is more than is needed": apart,
            "this counts the examples of both models; the answer is for each": 2 * needed(first + second),
            "one standard deviation is not enough: 95 % need 1.96": needed(first + second) / 1.96**2,
            "n is under a root: solve for the root first, then square": 1.96 / abs(b - a) * math.sqrt(first + second),
            "the variances add up, and are not squared": needed((first + second) ** 2),
            "the difference is squared too": 1.96**2 / abs(b - a) * (first + second),
        }
        return needed(first + second), slips

    cases = ((0.9, 0.99), (0.80, 0.81), (0.65, 0.68), (0.5, 0.6), (0.9, 0.87))
    agree(answer, cases, judge, "for {:.0%} and {:.0%}", unit=" examples", rel_tol=5e-3, abs_tol=1.0)
    return "it agrees for five pairs of scores"


@exercise("layer-work", "work(width, inner, tokens)")
def layer_work(answer: Function) -> str:
    """Write down each matrix's shape. A token's query meets the keys of all tokens; then it adds up their values."""
    for width, inner, tokens in ((768, 3072, 128), (384, 1536, 1), (512, 512, 64)):
        shapes = [(width, width)] * 4 + [(inner, width), (width, inner)]
        right = sum(m * n for m, n in shapes), 2 * tokens * width
        where = f"for width {width}, inner {inner} and {tokens} tokens"
        given = attempt(where, answer, width, inner, tokens)
        got = several(given, 2, where, "a pair: in the matrices, in attention's own products")
        for value, wanted, part in zip(got, right, ("the matrices", "attention's own products"), strict=True):
            expect(is_number(value), f"{where} it gives {value!r:.40} for {part}, expected a number")
            slips = {
                "count for one token, not for all": wanted * tokens,
                "these are FLOP: a multiply-add is two of them": wanted * 2,
                "there are six matrices: query, key, value, output, and the two of the feed-forward part":
                    3 * width**2 + 2 * width * inner,
                "the feed-forward part has two matrices, there and back": 4 * width**2 + width * inner,
                "there are two products, the scores and the weighted sum": tokens * width,
                "the matrices come first": right[1],
            }  # fmt: skip
            hint = next((why for why, slip in slips.items() if value == slip), "")
            expect(value == wanted, f"{where} {part} take {wanted:,} multiply-adds, not {value:,}", hint)
    return "it agrees for three layers; at 2 · width + inner tokens the two are equal"


@exercise("seed-difference")
def seed_difference(answer: Any) -> str:
    """With equal_var=False scipy.stats.ttest_ind does Welch's test; what it returns can give a confidence interval."""
    from scipy import stats

    a, b, low, high = fields(answer, "a", "b", "low", "high")
    a, b = _scores(a, "a"), _scores(b, "b")
    low, high = stated(low, "low"), stated(high, "high")
    alike = max(np.ptp(a), np.ptp(b)) == 0
    expect(not alike, "no seed changed a score: with no scatter there is no interval", "was each seed another one?")
    ends, pooled = (stats.ttest_ind(b, a, equal_var=equal).confidence_interval(0.95) for equal in (False, True))
    near = 2e-3 * (ends.high - ends.low)  # such as ends that were rounded
    slips = {
        "that is the mean of `a` minus that of `b`": (-ends.high, -ends.low),
        "that takes the scatter as equal; Welch's does not": (pooled.low, pooled.high),
        "the scores and the interval should have one unit": (100 * ends.low, 100 * ends.high),
        "low and high are exchanged": (ends.high, ends.low),
    }
    fits = (why for why, slip in slips.items() if np.allclose((low, high), slip, rtol=1e-3))
    hint = next(fits, "")
    for key, value, right in (("low", low, ends.low), ("high", high, ends.high)):
        expect(abs(value - right) <= near, f"{key} is {value:.4g}, Welch's interval has {right:.4g}", hint)
    verdict = "no difference that these runs can show" if ends.low <= 0 <= ends.high else "a difference"
    return f"the interval is {ends.low:.3f} to {ends.high:.3f}: {verdict}"


def _scores(given: Any, key: str) -> np.ndarray:
    listed = isinstance(given, (*LISTS, np.ndarray, torch.Tensor)) and all(map(is_number, given)) and len(given) >= 3
    expect(listed, f"{key} should be a list of at least three scores, one per seed")
    scores = np.array([float(score) for score in given])
    expect(np.isfinite(scores).all(), f"{key} holds a score that is no finite number")
    return scores
