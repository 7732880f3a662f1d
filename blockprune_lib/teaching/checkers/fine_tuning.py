"""Checkers of *fine-tuning*: the interval of an accuracy, the work of a layer, a difference between settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..exercises import Function, Judged, Wrong, agree, exercise, expect, fields, several


@exercise("score-interval", "half(share, n)")
def score_interval(answer: Function) -> str:
    """1.96 times the square root of a (1 - a) / n."""

    def judge(share: float, n: int) -> Judged:
        right = 1.96 * math.sqrt(share * (1 - share) / n)
        return right, {"these are points; the answer should be a share": 100 * right}

    cases = ((0.65, 277), (0.5, 71), (0.9, 872), (0.8, 9815), (1.0, 100))
    agree(answer, cases, judge, "for {:.0%} of {} examples", rel_tol=2e-3, abs_tol=1e-9)
    return "it agrees at five shares and sizes"


@exercise("layer-work", "work(width, inner, tokens)")
def layer_work(answer: Function) -> str:
    """4 width² + 2 width · inner in the matrices; 2 tokens · width in attention's own products."""
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
    """Welch: scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)."""
    from scipy import stats

    a, b, low, high = fields(answer, "a", "b", "low", "high")
    for key, scores in (("a", a), ("b", b)):
        enough = not isinstance(scores, str) and np.ndim(scores) == 1 and len(scores) >= 3
        expect(enough, f"{key} should be a list of at least three scores, one per seed")
    ends = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    for key, stated, right in (("low", low, ends.low), ("high", high, ends.high)):
        near = math.isclose(float(stated), right, rel_tol=1e-3, abs_tol=1e-6)
        expect(near, f"{key} is {float(stated):.4g}, Welch's interval has {right:.4g}")
    verdict = "no difference that these runs can show" if ends.low <= 0 <= ends.high else "a difference"
    return f"the interval is {ends.low:.3f} to {ends.high:.3f}: {verdict}"
