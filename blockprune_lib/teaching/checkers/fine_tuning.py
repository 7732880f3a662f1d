"""Checkers of *fine-tuning*: how sure a score and a difference are, the work of a layer, seeds of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..exercises import Function, Judged, Wrong, agree, exercise, expect, fields, several


@exercise("score-interval", "half(share, n)")
def score_interval(answer: Function) -> str:
    """95 % of a bell curve lie within 1.96 standard deviations of its middle; the page has the standard deviation."""

    def judge(share: float, n: int) -> Judged:
        right = 1.96 * math.sqrt(share * (1 - share) / n)
        slips = {
            "these are points; the answer should be a share": 100 * right,
            "this is the whole interval; half of it was asked for": 2 * right,
            "this is one standard deviation; 95 % need 1.96 of them": right / 1.96,
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
        got = several(answer(width, inner, tokens), 2, where, "a pair")
        for value, wanted, part in zip(got, right, ("the matrices", "attention's own products"), strict=True):
            if value != wanted:
                hint = "count for one token, not for all" if value == wanted * tokens else ""
                raise Wrong(f"{where} {part} take {value:,} multiply-adds, not {wanted:,}", hint)
    return "it agrees for three layers; at 2 · width + inner tokens the two are equal"


@exercise("seed-difference")
def seed_difference(answer: Any) -> str:
    """With equal_var=False scipy.stats.ttest_ind does Welch's test; what it returns can give a confidence interval."""
    from scipy import stats

    a, b, low, high = fields(answer, "a", "b", "low", "high")
    for key, scores in (("a", a), ("b", b)):
        enough = not isinstance(scores, str) and np.ndim(scores) == 1 and len(scores) >= 3
        expect(enough, f"{key} should be a list of at least three scores, one per seed")
    alike = max(np.ptp(a), np.ptp(b)) == 0
    expect(not alike, "no seed changed a score: with no scatter there is no interval", "was each seed another one?")
    ends = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    for key, stated, right in (("low", low, ends.low), ("high", high, ends.high)):
        near = math.isclose(float(stated), right, rel_tol=1e-3, abs_tol=1e-6)
        expect(near, f"{key} is {float(stated):.4g}, Welch's interval has {right:.4g}")
    verdict = "no difference that these runs can show" if ends.low <= 0 <= ends.high else "a difference"
    return f"the interval is {ends.low:.3f} to {ends.high:.3f}: {verdict}"
