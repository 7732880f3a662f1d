"""Checkers of *fine-tuning*: the interval of an accuracy, the work of a layer, a difference between settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..exercises import Wrong, exercise


@exercise("score-interval", hint="1.96 times the square root of a (1 - a) / n.")
def score_interval(answer: Callable[..., Any]) -> str:
    """Compare with the formula at shares and sizes of GLUE's tasks."""
    if not callable(answer):
        raise Wrong("the answer should be a function half(share, n)")
    for share, n in ((0.65, 277), (0.5, 71), (0.9, 872), (0.8, 9815), (1.0, 100)):
        got, right = answer(share, n), 1.96 * math.sqrt(share * (1 - share) / n)
        if isinstance(got, bool) or not isinstance(got, (int, float)):
            raise Wrong(f"for {share:.0%} of {n} it returned {type(got).__name__}, expected a number")
        if not math.isclose(got, right, rel_tol=2e-3, abs_tol=1e-9):
            hint = "these are points; the answer should be a share" if math.isclose(got, 100 * right) else ""
            raise Wrong(f"for {share:.0%} of {n} examples it gives {got:.4g}, not {right:.4g}", hint)
    return "it agrees at five shares and sizes"


@exercise(
    "layer-work", hint="4 width² + 2 width · inner in the matrices; 2 tokens · width in attention's own products."
)
def layer_work(answer: Callable[..., Any]) -> str:
    """Count the multiply-adds of a layer by going through its matrices."""
    if not callable(answer):
        raise Wrong("the answer should be a function work(width, inner, tokens)")
    for width, inner, tokens in ((768, 3072, 128), (384, 1536, 1), (512, 512, 64)):
        got = answer(width, inner, tokens)
        shapes = [(width, width)] * 4 + [(inner, width), (width, inner)]
        right = sum(m * n for m, n in shapes), 2 * tokens * width
        where = f"for width {width}, inner {inner} and {tokens} tokens"
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"{where} it gives {got!r}, expected a pair")
        for value, wanted, part in zip(got, right, ("the matrices", "attention's own products"), strict=True):
            if value != wanted:
                hint = "count for one token, not for all" if value == wanted * tokens else ""
                raise Wrong(f"{where} {part} take {value:,} multiply-adds, not {wanted:,}", hint)
    return "it agrees for three layers; at 2 · width + inner tokens the two are equal"


@exercise("seed-difference", hint="Welch: scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95).")
def seed_difference(answer: Mapping[str, Any]) -> str:
    """Compute Welch's interval anew from the scores."""
    from scipy import stats

    if not isinstance(answer, Mapping) or {"a", "b", "low", "high"} - set(answer):
        raise Wrong("the answer should be a dictionary with a, b, low and high")
    for key in ("a", "b"):
        if not isinstance(answer[key], (list, tuple)) or len(answer[key]) < 3:
            raise Wrong(f"{key} should be a list of at least three scores, one a seed")
    ends = stats.ttest_ind(answer["b"], answer["a"], equal_var=False).confidence_interval(0.95)
    for key in ("low", "high"):
        right = float(getattr(ends, key))
        if not math.isclose(float(answer[key]), right, rel_tol=1e-3, abs_tol=1e-6):
            raise Wrong(f"{key} is {float(answer[key]):.4g}, Welch's interval has {right:.4g}")
    verdict = "no difference that these runs can show" if ends.low <= 0 <= ends.high else "a difference"
    return f"the interval is {ends.low:.3f} to {ends.high:.3f}: {verdict}"
