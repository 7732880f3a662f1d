"""Checkers of *prune-and-retrain*: how many groups stay, a step that keeps zeros, a recipe for a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..exercises import Wrong, exercise


@exercise("exact-count", hint="round(n / rate), and at least 1.")
def exact_count(answer: Callable[..., Any]) -> str:
    """Compare with the library's selection at many sizes and rates."""
    if not callable(answer):
        raise Wrong("the answer should be a function count(n, rate)")
    for n, rate in ((7, 5.0), (100, 3.0), (9216, 1.79), (2, 10.0), (5, 2.0), (7, 2.0), (1, 1.0)):
        got, right = answer(n, rate), max(1, round(n / rate))
        if isinstance(got, bool) or not isinstance(got, (int, np.integer)):
            raise Wrong(f"for {n} groups at rate {rate:g} it returned {type(got).__name__}, expected a whole number")
        if got != right:
            raise Wrong(f"for {n} groups at rate {rate:g} it keeps {got}, not {right}")
    return "it keeps the right number of groups in seven cases, the smallest among them"


@exercise("masked-step", hint="New velocity and new weights, then zero where the mask is False, in both.")
def masked_step(answer: Callable[..., Any]) -> str:
    """Compare with SGD on what lives; what is pruned must be zero whatever came in."""
    if not callable(answer):
        raise Wrong("the answer should be a function step(w, slope, velocity, mask, lr, momentum, decay)")
    rng = np.random.default_rng(3)
    mask = rng.random((6, 8)) < 0.4
    w, velocity = np.where(mask, rng.normal(size=mask.shape), 0.0), rng.normal(size=mask.shape)
    for kind in ("a usual gradient", "a gradient that is infinite where nothing lives"):
        slope = rng.normal(size=mask.shape)
        if "infinite" in kind:
            slope[~mask] = np.inf
        got = answer(w.copy(), slope.copy(), velocity.copy(), mask.copy(), 0.1, 0.9, 0.01)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"it returned {type(got).__name__}, expected the pair (w, velocity)")
        moved = 0.9 * velocity + slope + 0.01 * w
        for name, value, right in zip(("w", "velocity"), got, (w - 0.1 * moved, moved), strict=True):
            value = np.asarray(value, dtype=float)
            if value.shape != mask.shape:
                raise Wrong(f"{name} has shape {value.shape}, expected {mask.shape}")
            if (count := int((value[~mask] != 0).sum())) > 0:
                raise Wrong(f"with {kind}, {count} pruned places of {name} are not zero")
            if not np.allclose(value[mask], right[mask]):
                raise Wrong(f"with {kind}, what lives moves to another place in {name}")
    return "what lives moves as SGD moves it, and what is pruned is zero in both, whatever the gradient"


@exercise("own-study", hint="Lists are swept over: method, rate and seed need at least two, two and three entries.")
def own_study(answer: Mapping[str, Any]) -> str:
    """Plan the recipe, and see that it can answer a question."""
    from ...experiments import plan

    if not isinstance(answer, Mapping):
        raise Wrong(f"the answer should be a dictionary, not {type(answer).__name__}")
    try:
        runs = plan(answer)
    except (TypeError, ValueError) as error:
        raise Wrong(str(error)) from None
    seen = {key: {getattr(run, key) for run in runs} for key in ("method", "rate", "seed")}
    for key, least in (("method", 2), ("rate", 2), ("seed", 3)):
        if len(seen[key]) < least:
            raise Wrong(f"it has {len(seen[key])} value of {key}, at least {least} are needed")
    if seen["method"] == {"reweighted", "no-refresh"}:
        raise Wrong("both methods reweight", "magnitude, group-lasso, movement, gradual or one-shot is a baseline")
    return f"{len(runs)} runs: {len(seen['method'])} methods, {len(seen['rate'])} rates, {len(seen['seed'])} seeds"
