"""Checkers of *group-lasso*: one group before its proximal step, the λ that empties all, a threshold for a rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ...pruning.groups import group_norms, group_soft_threshold
from ..exercises import (
    LISTS,
    NOTHING,
    Function,
    Wrong,
    array,
    attempt,
    exercise,
    expect,
    fields,
    grouped,
    is_number,
    number,
    stated,
)


@exercise("group-shrink", "before(w, t)")
def group_shrink(answer: Function) -> str:
    """The direction was the same, and the length larger by t."""
    for w, t in (([2.4, 3.2], 1.0), ([0.6, 0.8], 2.0), ([-2.0], 0.5), ([1.0, -2.0, 2.0], 3.0), ([1e-3, 0.0], 0.25)):
        length = math.hypot(*w)
        right = [x * (1 + t / length) for x in w]
        where = f"for w = {w} and t = {t} it gives"
        got = attempt(where.removesuffix(" it gives"), answer, list(w), t)
        expect(got is not None, f"{where.removesuffix(' it gives')} {NOTHING}")
        expect(isinstance(got, (*LISTS, np.ndarray, torch.Tensor)), f"{where} {got!r:.80}, expected a list")
        got = array(got, (len(w),), where.removesuffix(" it gives"))
        near = 1e-6  # single precision will do
        if not np.allclose(got, right, rtol=near, atol=near):
            slips = {
                "each weight was moved on its own: that is Lasso": [x + math.copysign(t, x) if x else x for x in w],
                "this is the threshold once more; what was there before it is asked": [
                    x * max(0.0, 1 - t / length) for x in w
                ],
                "t is a length, not a factor": [x * (1 + t) for x in w],
                "the factor is the length before over the length after": [x / (1 - t / length) for x in w],
                "the length is a norm: the root of the sum of squares": [
                    x * (1 + t * len(w) ** 0.5 / length) for x in w
                ],
            }
            hint = next((why for why, slip in slips.items() if np.allclose(got, slip, rtol=near, atol=near)), "")
            raise Wrong(f"{where} {list(map(float, got))}, not {right}", hint)
    return "the direction is kept, and t is put back on the length"


@exercise("largest-lambda", "largest(X, y, size)")
def largest_lambda(answer: Function) -> str:
    """At zero the slope of the loss is -X'y / n; all groups stay empty as soon as lambda holds the longest of them."""
    rng = np.random.default_rng(5)
    for samples, groups, size in ((30, 4, 3), (8, 5, 1), (50, 1, 6), (12, 6, 4)):
        X, y = rng.normal(size=(samples, groups * size)), 3 * rng.normal(size=samples)
        slope = (X.T @ y).reshape(groups, size) / samples
        lengths = np.linalg.norm(slope, axis=1)
        right, where = float(lengths.max()), f"for X of {samples} x {groups * size} in groups of {size}"
        got = number(attempt(where, answer, X.copy(), y.copy(), size), where)
        slips = {
            "the loss is half the *mean* square error: divide by the number of samples": right * samples,
            "the mean square error is halved": 2 * right,
            "the half goes with the two of the square: the slope is the whole mean": right / 2,
            "a norm is the root of a sum, not of a mean": right / math.sqrt(size),
            "this is the square of the norm": right**2,
            "a group is of neighbouring inputs": float(np.linalg.norm(slope.reshape(size, groups), axis=0).max()),
            "this empties single weights: that is Lasso's": float(np.abs(slope).max()),
            "this is the whole slope; each group has a kink of its own": float(np.linalg.norm(slope)),
            "this empties one group; all of them are asked": float(lengths.min()),
            "a group is held by its norm, not by the sum of its sizes": float(np.abs(slope).sum(axis=1).max()),
        }
        if not math.isclose(got, right, rel_tol=1e-5):
            hint = next((why for why, slip in slips.items() if math.isclose(got, slip, rel_tol=1e-6)), "")
            raise Wrong(f"{where} it gives {got:.4g}, not {right:.4g}", hint)
    return "below it some group is alive, from it on none is"


@exercise("threshold-for-rate")
def threshold_for_rate(answer: Any) -> str:
    """The threshold lies between the k-th largest norm and the next."""
    weight, structure, rate, threshold, said = fields(answer, "weight", "structure", "rate", "threshold", "share")
    weight, structure = grouped(weight, structure)
    few = f"rate is {rate!r:.80}: groups for each one that is kept, so at least 1"
    possible = is_number(rate) and 1 <= float(rate) < math.inf
    expect(possible, few, "to keep a quarter of the groups is rate 4, not 0.25")
    threshold, said = stated(threshold, "threshold"), stated(said, "share")
    expect(threshold >= 0, f"threshold should be at least 0, not {threshold:g}")
    norms = group_norms(weight, structure)
    left = group_norms(group_soft_threshold(weight, structure, threshold), structure)
    stay = left > 0
    kept, wanted = int(stay.sum()), max(1, round(norms.numel() / float(rate)))
    expect(kept == wanted, f"{kept} of {norms.numel()} groups stay, rate {float(rate):g} asks for {wanted}")
    whole = norms.square().sum()
    share, before = float(left.square().sum() / whole), float(norms[stay].square().sum() / whole)
    slips = {"that is before the threshold: it makes the survivors shorter, too": before,
             "the share is from 0 to 1": 100 * share, "that is what goes; what stays is asked": 1 - share}  # fmt: skip
    hint = next((why for why, slip in slips.items() if math.isclose(said, slip, rel_tol=1e-3)), "")
    near = math.isclose(share, said, rel_tol=1e-3, abs_tol=5.1e-5)  # such as four decimals
    expect(near, f"after it the survivors hold {share:.4g} of the squared norm, not {said:.4g}", hint)
    return f"{kept} of {norms.numel()} groups stay, and hold {share:.1%} of the squared norm"
