"""Pruning while training: the masks shrink along the cubic schedule of Zhu and Gupta (2017).

What goes is chosen by one of three scores:

    magnitude     the root mean square of a group, as everywhere else
    sensitivity   the same of sqrt(G_ii) · w_ij · sqrt(A_jj): how far the model's outputs move without the group, by the
                  inputs A and the slopes G of the model that training starts from (`pruning.sensitivity`)
    movement      how far training wants a group's weights away from zero: Sanh, Wolf and Rush 2020, "Movement
                  pruning", equation 2, S_g = - sum over steps of sum over g of (dL/dW) * W

Selection reads only the scores' order, so the learning rate of movement's does not matter. Under movement a pruned
group comes back with its old values where its score rises again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .._common.checks import finite_number, one_of, same_names, whole_number
from ..pruning.architectures import prunable_weights
from ..pruning.groups import group_scores
from ..pruning.masks import HeldMasks, Masks
from ..pruning.selection import Balance, Scope, select_model
from ..pruning.sensitivity import Scales
from ..pruning.structure import BlockStructure
from .hooks import HookState, MaskHook, Progress
from .settings import PruningScore


def cubic_density(step: int, start: int, end: int, final: float) -> float:
    """d_t = d + (1 - d) · (1 - (t - t_0) / (t_1 - t_0))³: 1 up to `start`, `final` from `end` on, steep at first.

    Zhu and Gupta 2017, equation 1, in densities.

    >>> [cubic_density(step, 0, 4, 0.2) for step in (0, 2, 4)]
    [1.0, 0.30000000000000004, 0.2]
    """
    left = min(1.0, max(0.0, 1 - (step - start) / max(1, end - start)))
    return final + (1 - final) * left**3


class GradualPruning(MaskHook):
    """Masks that shrink from density 1 to 1 / `rate` between two points of the training, then hold.

    `model` and `which` say which matrices; `structure`, `rate`, `scope` and `balanced` are those of `select_model`.
    `score`: "magnitude", "movement" or "sensitivity", which needs `scales`, {parameter name: its rows' and columns'}.
    `begin`, `end`: shares of the steps, 0 to 1. `updates`: how often the masks change in between. Movement keeps one
    copy of the masked matrices; the others none.
    """

    name = "gradual"
    masks: Masks

    def __init__(
        self, model: nn.Module, structure: BlockStructure, rate: float, score: PruningScore = "magnitude",
        scope: Scope = "matrix", balanced: Balance = False, begin: float = 0.1, end: float = 0.7, updates: int = 50,
        scales: Mapping[str, Scales] | None = None, **which: bool,
    ) -> None:  # fmt: skip
        one_of(score, "score", get_args(PruningScore))
        for name, value in (("begin", begin), ("end", end)):
            finite_number(value, name, 0, "a share of the steps, such as 0.1, would do")
        if not begin < end <= 1:
            rule = "begin and end must be shares of the steps with 0 <= begin < end <= 1"
            raise ValueError(f"{rule}; got {begin} and {end}: 0.1 and 0.7 would do")
        self.structure, self.rate, self.score = structure, rate, score
        self.begin, self.end, self.updates = begin, end, whole_number(updates, "updates", at_least=1, example=50)
        self._choice: dict[str, Any] = {"scope": scope, "balanced": balanced, **which}
        self.weights = prunable_weights(model, **which)
        select_model(model, structure, rate, **self._choice)  # refuses what cannot be done before any step
        if (score == "sensitivity") != (scales is not None):
            raise ValueError(f"scales must be given for score='sensitivity', and for no other; got score={score!r}")
        if scales is not None:
            same_names(scales, self.weights, "scales")
        self.scales = scales
        everything = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}
        super().__init__(model, Masks(everything, structure))
        moving = self.weights if score == "movement" else {}
        self.scores = {name: torch.zeros(structure.grid(w.shape), device=w.device) for name, w in moving.items()}
        self.aside = {name: torch.zeros_like(w, requires_grad=False) for name, w in moving.items()}

    def config(self) -> dict[str, Any]:
        """The schedule, and the options of the selection."""
        schedule = {"begin": self.begin, "end": self.end, "updates": self.updates}
        return {"structure": str(self.structure), "rate": self.rate, "score": self.score} | schedule | self._choice

    def started(self, progress: Progress) -> None:
        """Bind the masks where the model is now."""
        for kept in (self.scores, self.aside):
            kept.update({name: value.to(self.weights[name].device) for name, value in kept.items()})
        self.held = HeldMasks(self.model, self.masks)

    @torch.no_grad()
    def before_optimizer_step(self, progress: Progress) -> None:
        """Add this step's movement to the scores; clear the gradients of pruned weights."""
        for name, scores in self.scores.items():
            weight = self.weights[name]
            if weight.grad is not None:
                scores -= self._sums(weight.grad * (weight + self.aside[name]))
        super().before_optimizer_step(progress)

    def step_counted(self, progress: Progress) -> None:
        """Choose new masks when due by the schedule."""
        start, end = round(self.begin * progress.steps), max(1, round(self.end * progress.steps))
        every = max(1, (end - start) // self.updates)
        if progress.step == end or (start < progress.step < end and (progress.step - start) % every == 0):
            self._choose(1 / cubic_density(progress.step, start, end, 1 / self.rate))

    def log_values(self) -> dict[str, float]:
        """The density of the masks."""
        return {"density": self.masks.density}

    def state(self) -> HookState:
        """The masks, and under movement the scores and what lies aside."""
        parts = {"mask": self.masks, "score": self.scores, "aside": self.aside}
        return HookState({f"{part}/{name}": t for part, tensors in parts.items() for name, t in tensors.items()}, {})

    def load(self, state: HookState) -> None:
        """Take the masks, scores and what lies aside."""
        parts: dict[str, dict[str, Tensor]] = {"mask": {}, "score": {}, "aside": {}}
        for key, value in state.tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        self.masks, self.scores, self.aside = Masks(parts["mask"], self.structure), parts["score"], parts["aside"]

    @torch.no_grad()
    def _choose(self, rate: float) -> None:
        for name, aside in self.aside.items():
            self.weights[name].add_(aside)  # one of the two is zero everywhere
        scores = self.scores or None
        if self.scales is not None:
            scores = {n: group_scores(self.scales[n].of(w), self.structure, name=n) for n, w in self.weights.items()}
        self.masks = select_model(self.model, self.structure, rate, scores=scores, **self._choice)
        for name, aside in self.aside.items():
            aside.copy_(self.weights[name]).masked_fill_(self.masks[name], 0.0)
        self.held = HeldMasks(self.model, self.masks)

    def _sums(self, matrix: Tensor) -> Tensor:
        sums = matrix.new_zeros(self.structure.grid(matrix.shape))
        for cells, block in self.structure.regions(matrix):
            sums[cells] = block.sum((1, 3))
        return sums.float()
