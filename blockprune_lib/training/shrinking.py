"""The reweighted group Lasso on a schedule (`lam: auto`): ever more groups shrink to exactly zero, and may come back.

    step        0          begin                    end          fix                 all
    zero groups 0 . . . . . 0  cubic, as in `gradual`  1 - 1/rate   masks are fixed     the same
                            a step of `shrink_to_share_`         the best groups
                            at each refresh                      are the model

Between two refreshes groups at zero get gradients as any other does, so one that training wants comes back; with
`hold` they stay at zero until the masks are chosen anew, and never come back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import finite_number, whole_number
from ..pruning.architectures import prunable_weights
from ..pruning.groups import group_norms
from ..pruning.lasso import reweighted_alpha
from ..pruning.masks import HeldMasks, Masks
from ..pruning.selection import Balance, Scope, select_model
from ..pruning.structure import BlockStructure, expand
from ..pruning.zero_target import shrink_to_share_
from .gradual import cubic_density
from .hooks import HookState, MaskHook, Progress, near_zero_share
from .report import first_and_last

#: Steps between two moves of the threshold where α is never refreshed.
EVERY = 10


class ShrinkToRate(MaskHook):
    """Group Lasso whose strength follows the cubic schedule, then masks that hold.

    `model` and `which` say which matrices; `structure`, `rate`, `scope` and `balanced` are those of `select_model`,
    `eps` and `reach` those of `shrink_to_share_`. `reweighted=False`: α = 1. `refresh_every`: steps between two
    refreshes of α and of the threshold; None: α is that of the first weights, and only the threshold moves. `begin`,
    `end`, `fix`: shares of the steps, begin < end <= fix <= 1. `hold`: what is at zero stays there until the masks are
    fixed.
    """

    name = "shrink"
    masks: Masks

    def __init__(
        self, model: nn.Module, structure: BlockStructure, rate: float, *, eps: float = 1e-3,
        reweighted: bool = True, refresh_every: int | None = EVERY, reach: float | None = None, hold: bool = False,
        scope: Scope = "matrix", balanced: Balance = False, begin: float = 0.1, end: float = 0.7,
        fix: float | None = None, **which: bool,
    ) -> None:  # fmt: skip
        fix = end if fix is None else fix
        for name, value in (("begin", begin), ("end", end), ("fix", fix)):
            finite_number(value, name, 0, "a share of the steps, such as 0.1, would do")
        if not begin < end <= fix <= 1:
            rule = "begin, end and fix must be shares of the steps with 0 <= begin < end <= fix <= 1"
            raise ValueError(f"{rule}; got {begin}, {end} and {fix}: 0.1, 0.7 and 0.7 would do")
        if refresh_every is not None:
            whole_number(refresh_every, "refresh_every", at_least=1, example=EVERY)
        self.structure, self.rate, self.reweighted, self.refresh_every = structure, rate, reweighted, refresh_every
        self.begin, self.end, self.fix, self.hold = begin, end, fix, hold
        self._which: dict[str, bool] = dict(which)
        self._how: dict[str, Any] = {"eps": eps, "reach": reach, "scope": scope, "balanced": balanced}
        self.weights = prunable_weights(model, **which)
        select_model(
            model, structure, rate, scope, balanced, None, **which
        )  # refuses what cannot be done before any step
        shrink_to_share_({"w": torch.eye(2)}, BlockStructure.irregular(), 1.0, **self._how)
        everything = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}
        super().__init__(model, Masks(everything, structure))
        self.fixed, self.refreshes, self.returned = False, 0, 0.0
        self.alpha = self._first_alpha(eps)

    def config(self) -> dict[str, Any]:
        """The schedule, the penalty, and the options of the selection."""
        own = ("rate", "reweighted", "refresh_every", "begin", "end", "fix", "hold")
        told = {key: getattr(self, key) for key in own}
        return {"structure": str(self.structure)} | told | self._how | self._which

    def started(self, progress: Progress) -> None:
        """Bind the masks where the model is now; what is free to come back is left as it was when training stopped."""
        if self.fixed or self.hold:
            self.held = HeldMasks(self.model, self.masks)

    def before_optimizer_step(self, progress: Progress) -> None:
        """Clear the gradients of what is held."""
        if self.fixed or self.hold:
            super().before_optimizer_step(progress)

    def after_optimizer_step(self, progress: Progress) -> None:
        """Zero what is held, whatever the optimiser did to it."""
        if self.fixed or self.hold:
            super().after_optimizer_step(progress)

    def step_counted(self, progress: Progress) -> None:
        """Shrink when due, by the schedule; fix the masks when due."""
        start, end, fix = (round(share * progress.steps) for share in (self.begin, self.end, self.fix))
        fix = max(1, fix)
        due = progress.step > start and (progress.step - start) % (self.refresh_every or EVERY) == 0
        if not self.fixed and (due or progress.step >= fix):
            self._shrink(1 / cubic_density(progress.step, start, min(end, fix), 1 / self.rate))
            self.fixed = progress.step >= fix

    def log_values(self) -> dict[str, float]:
        """The density of the groups that the last step left, and the share of groups near zero now.

        `returned`: of the groups at zero after one step, the share that the next one kept.
        """
        near = near_zero_share(self.weights, self.structure)
        return {"density": self.masks.density, "near_zero": near, "returned": self.returned}

    def report(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """The densities; first and last share of groups near zero; how often the strength was set anew."""
        near = {"near_zero": first_and_last(history, "near_zero"), "refreshes": self.refreshes}
        return super().report(history) | near

    def state(self) -> HookState:
        """The masks, α where it is fixed, and the counts."""
        parts: dict[str, Any] = {"mask": self.masks, "alpha": self.alpha or {}}
        tensors = {f"{part}/{name}": tensor for part, held in parts.items() for name, tensor in held.items()}
        return HookState(tensors, {key: getattr(self, key) for key in ("fixed", "refreshes", "returned")})

    def load(self, state: HookState) -> None:
        """Take the masks, α and the counts."""
        parts: dict[str, dict[str, Tensor]] = {"mask": {}, "alpha": {}}
        for key, value in state.tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        self.masks, self.alpha = Masks(parts["mask"], self.structure), parts["alpha"] or None
        for key, value in state.values.items():
            setattr(self, key, value)

    @torch.no_grad()
    def _shrink(self, rate: float) -> None:
        before = {name: self.masks.keep(name) for name in self.masks}
        keep, _ = shrink_to_share_(self.weights, self.structure, rate, alpha=self.alpha, **self._how)
        masks = {name: expand(kept, self.structure, self.weights[name].shape) for name, kept in keep.items()}
        self.masks = Masks(masks, self.structure)
        gone = sum(int((~kept).sum()) for kept in before.values())
        back = sum(int((keep[name] & ~kept.to(keep[name].device)).sum()) for name, kept in before.items())
        self.returned, self.refreshes = back / max(1, gone), self.refreshes + 1
        self.held = HeldMasks(self.model, self.masks)

    @torch.no_grad()
    def _first_alpha(self, eps: float) -> dict[str, Tensor] | None:
        """α where it stays: 1, or that of the first weights; None where each step computes it."""
        if self.reweighted and self.refresh_every is not None:
            return None
        alpha = {name: torch.ones(self.structure.grid(weight.shape)) for name, weight in self.weights.items()}
        if self.reweighted:
            for name, weight in self.weights.items():
                reweighted_alpha(group_norms(weight, self.structure).clone(), eps, out=alpha[name])
        return alpha
