"""Checkers of *on-top-of-distillation*: the rate of the whole model, a loss of hidden states, a recipe that stacks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..exercises import Function, agree, attempt, exercise, expect, number, planned


@exercise("whole-rate", "whole_rate(parameters, cut, layers, kept, rate)")
def whole_rate(answer: Function) -> str:
    """What is not in the matrices stays; of them kept / layers / rate is left."""
    cases = ((100, 80, 6, 6, 1.0), (100, 80, 6, 6, 5.0), (100, 80, 6, 3, 2.0), (1200, 960, 12, 1, 4.0))

    def judge(parameters: int, cut: int, layers: int, kept: int, rate: float) -> tuple[float, dict[str, float]]:
        left = cut * kept / layers / rate
        return parameters / (parameters - cut + left), {
            "that is the rate of the matrices alone": layers / kept * rate,
            "that counts the rate and not the layers that went": parameters / (parameters - cut + cut / rate),
            "that counts the layers that went and not the rate": parameters / (parameters - cut + cut * kept / layers),
            "what lies outside the matrices stays": parameters / left,
            "that is the share that is left; the rate is one over it": (parameters - cut + left) / parameters,
            "layers that stay are counted, not those that went": parameters / (parameters - cut + cut / rate - left),
        }

    where = "of {} parameters, {} in the matrices, {} layers, {} kept, at rate {:g},"
    agree(answer, cases, judge, where)
    return "it gives the rate of the whole model in four cases, with and without layers that went"


@exercise("hidden-loss", "hidden(student, teacher, mask)")
def hidden_loss(answer: Function) -> str:
    """Real tokens only; the mean square over the teacher's variance; the mean over the student's layers."""
    rng = np.random.default_rng(5)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    real = mask.astype(bool)
    # In the last two some places lie between two layers: 1.3 and 2.7, then 1.5, 3, 4.5 and 6.
    for layers, teachers in ((3, 3), (2, 4), (1, 3), (3, 4), (4, 6)):
        scales = (1.0, 3.0, 0.5, 2.0, 1.5, 0.8)[:teachers]
        teacher = [scale * rng.normal(size=(2, 5, 8)) + 1 for scale in scales]
        student = [rng.normal(size=(2, 5, 8)) for _ in range(layers)]
        where = f"for {layers} layers that learn from {teachers}"
        copies = [states.copy() for states in student], [states.copy() for states in teacher]
        got = number(attempt(where, answer, *copies, mask.copy()), where)
        places = [i * teachers / layers for i in range(1, layers + 1)]
        chosen, down, up, half_up = (
            [teacher[max(1, by(place)) - 1] for place in places]
            for by in (round, math.floor, math.ceil, lambda place: math.floor(place + 0.5))
        )
        count = real.sum() * 8
        right = _distance(student, chosen, real)
        everything = np.ones_like(real)
        slips = {
            "it counts padding too": _distance(student, chosen, everything),
            "it does not divide by the teacher's variance": _distance(student, chosen, real, divided=False),
            "it takes the first layers of the teacher, and the last should learn from the last": _distance(
                student, teacher[:layers], real
            ),
            "round to the nearest layer, not down": _distance(student, down, real),
            "a half goes to the even neighbour, as Python's `round` has it": _distance(student, half_up, real),
            "round to the nearest layer, not up": _distance(student, up, real),
            "it adds the student's layers up; their mean is asked": right * layers,
            "the variance is that of the population: divide by the count, not by one less": right * (count - 1) / count,
            "it indexes with whole numbers; a mask of truth values picks": _distance(student, chosen, mask),
        }
        reason = next(
            (said for said, value in slips.items() if np.isclose(got, value) and not np.isclose(value, right)), ""
        )
        expect(np.isclose(got, right), f"{where} it gives {got:.6g}, not {right:.6g}", reason)
    return "it measures real tokens in units of the teacher's variance, each layer against the right one"


def _distance(student: list[Any], teacher: list[Any], real: Any, divided: bool = True) -> float:
    pairs = [(ours[real], theirs[real]) for ours, theirs in zip(student, teacher, strict=True)]
    return float(np.mean([np.mean((a - b) ** 2) / (np.var(b) if divided else 1.0) for a, b in pairs]))


@exercise("own-stack")
def own_stack(answer: Any) -> str:
    """Two numbers of layers, one with groups cut and one without, as many weights in both (to a tenth), three seeds."""
    runs = planned(answer)
    layers = {run.layers for run in runs}
    expect(len(layers) >= 2, f"every run has {layers.pop() or 'all'} layers, at least two numbers of layers are needed")
    cut = [run for run in runs if run.layers and run.rate > 1 and run.method not in ("dense", "bag-of-words")]
    expect(cut, "no run cuts groups of a model whose layers were removed")
    whole = [run for run in runs if run.layers and run.rate == 1 and run.method != "bag-of-words"]
    expect(whole, "no run keeps layers and cuts nothing", "method: dense with layers and rate 1 would do")
    seeds = min(len({run.seed for run in group}) for group in (cut, whole))
    expect(seeds >= 3, f"one side has {seeds} seed{'s' * (seeds > 1)}, three are needed")
    left = [sorted({round((run.layers or 0) / run.rate, 2) for run in group}) for group in (cut, whole)]
    told = [", ".join(f"{layers:g}" for layers in some) for some in left]
    fair = any(abs(ours / theirs - 1) <= 0.1 for ours in left[0] for theirs in left[1])
    unfair = f"not a fair pair: the weights of {told[0]} layers are left where groups are cut, of {told[1]} elsewhere"
    expect(fair, unfair, "layers over rate is what is left: 3 layers at rate 1.5 keep the weights of 2")
    return (
        f"{len(runs)} runs: {len(cut)} with blocks on kept layers, {len(whole)} with layers alone; the weights of "
        f"{told[0]} layers are left in the former, of {told[1]} in the latter"
    )
