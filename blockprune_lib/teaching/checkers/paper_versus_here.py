"""Checkers of *paper-versus-here*: a rate by three definitions, the rate a target asks for, a claim of one's own."""

from __future__ import annotations

import math
from typing import Any

from ...nn.model_size import Compression
from ..exercises import Function, Judged, agree, attempt, exercise, expect, fields, is_number, is_whole, several


@exercise("three-rates", "three_rates(pruned, other, vectors, rate)")
def three_rates(answer: Function) -> str:
    """Each rate is all weights over weights kept. What changes is which weights are counted, in both."""
    names = "over the pruned matrices", "over all matrices", "over all parameters"
    for pruned, other, vectors, rate in ((100, 50, 10, 5.0), (84_934_656, 24_427_008, 120_578, 3.0), (60, 0, 4, 2.0)):
        kept = round(pruned / rate)
        pairs = [(pruned + more, kept + more) for more in (0, other, other + vectors)]
        size = Compression(pairs[0], pairs[1], pairs[2], (0, 0), 0, 0, 0, 0, 0, 0)
        right = size.rate_pruned, size.rate_matrices, size.rate_parameters
        where = f"for {pruned:,}, {other:,} and {vectors:,} weights at rate {rate:g}"
        got = several(attempt(where, answer, pruned, other, vectors, rate), 3, where, "three numbers")
        for name, value, wanted, (total, _) in zip(names, got, right, pairs, strict=True):
            expect(is_number(value), f"{where} the rate {name} is {value!r:.40}, expected a number")
            near = math.isclose(value, wanted, rel_tol=1e-6)
            alone = math.isclose(value, total / kept, rel_tol=1e-6)
            slips = {
                "what was not pruned is kept: it stands below the line, too": alone,
                "that is what is left; a rate is all over what is left": math.isclose(value, 1 / wanted, rel_tol=1e-6),
                "that is what went; a rate is all over what is left": math.isclose(value, 1 - 1 / wanted, rel_tol=1e-6),
            }
            slip = next((why for why, hit in slips.items() if hit), "")
            expect(near, f"{where} it gives {value:.4g} for the rate {name}, not {wanted:.4g}", slip)
    return "it agrees with bp.compression's three definitions for three models"


@exercise("rate-of-the-rest", "rate_of_the_rest(share, target)")
def rate_of_the_rest(answer: Function) -> str:
    """Take the model's weights as 1. How much may be kept in all, and how much of it is spoken for?"""

    def judge(share: float, target: float) -> Judged:
        room = 1 / target - share
        right = (1 - share) / room if room > 0 else math.inf
        slips = {
            "what is left dense counts among the kept weights, too": (1 - share) * target,
            "that is the rate over everything, not over the rest": target,
            "where there is no room left the answer is infinity, not a negative rate": (1 - share)
            / (room or -math.inf),
            "that is the share that is left of the rest; the rate is one over it": max(0.0, room) / (1 - share),
            "the rest is 1 - share, not 1": 1 / room if room > 0 else 0.0,
        }
        return right, {slip: value for slip, value in slips.items() if value != right}

    cases = ((0.2, 2.0), (0.0, 5.0), (0.5, 1.5), (0.218, 4.0), (0.218, 5.0), (0.5, 3.0), (0.25, 4.0))
    agree(answer, cases, judge, "for a share of {:g} left dense and a target of {:g}", rel_tol=1e-6)
    return "it agrees in seven cases, three of which no rate can reach"


@exercise("own-claim")
def own_claim(answer: Any) -> str:
    """Shares from 0 to 1, not points; seeds and examples are whole numbers. Look first at what is not stated."""
    keys = "claim", "counts", "rate", "dense", "pruned", "majority", "examples", "seeds"
    claim, counts, rate, dense, pruned, majority, examples, seeds = fields(answer, *keys)
    expect(
        isinstance(claim, str) and len(claim.split()) >= 3, "claim should be a sentence: who says what, of which model"
    )
    told = ("pruned matrices", "all matrices", "all parameters", "not stated")
    expect(isinstance(counts, str) and counts in told, f"counts should be one of {', '.join(map(repr, told))}")
    expect(is_number(rate) and 1 <= rate < math.inf, f"rate should be a number of at least 1, not {rate!r:.40}")
    for key, value in (("dense", dense), ("pruned", pruned), ("majority", majority)):
        right = is_number(value) and 0 <= value <= 1
        expect(right, f"{key} should be an accuracy from 0 to 1, not {value!r:.40}", "70 % is 0.7")
    rate, dense, pruned, majority = map(float, (rate, dense, pruned, majority))
    below = f"dense scores {dense:g}, below the majority class, {majority:g}: such a task can show no loss"
    expect(dense >= majority, below, "if the paper says so, take another of its tasks")
    for key, value in (("examples", examples), ("seeds", seeds)):
        whole = is_whole(value) and value >= 1
        expect(whole, f"{key} should be a whole number of at least 1, not {value!r:.40}")
    examples, seeds = int(examples), int(seeds)
    half = 196 * math.sqrt((dense * (1 - dense) + pruned * (1 - pruned)) / examples)
    lost = 100 * (dense - pruned)
    verdict = f"{lost:+.1f} points lost, where a difference below {half:.1f} may be chance on {examples:,} examples"
    if 100 * (dense - majority) < half:
        verdict += "; dense is no better than the majority class, so no loss could be seen here"
    return verdict + ("; one seed" if seeds == 1 else f"; {seeds} seeds")
