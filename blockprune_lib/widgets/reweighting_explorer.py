"""The reweighting explorer: two weights in the plane, the penalty's contour, and the path of the iterate.

The loss is ½ (w − m)ᵀ H (w − m) with H = [[1, ρ], [ρ, 1]], whose minimum m the reader sets. Each round takes 60
proximal gradient steps of length 1 / (1 + |ρ|) on loss + λ Σ α_g ‖w_g‖, first with α = 1, and after each refresh with
α_g = 1 / (‖w_g‖ + ε): majorise-minimise of the loss + λ Σ log(‖w_g‖ + ε) (Candès, Wakin and Boyd 2008).
"""

from __future__ import annotations

from typing import Any

import torch
import traitlets

from ..pruning.groups import group_norms
from ..pruning.lasso import ReweightedGroupLasso, concave_penalty
from ..pruning.structure import BlockStructure
from .host import Explorer, source
from .pictures import plane

RHO = 0.3
STEPS = 60


class ReweightingExplorer(Explorer):
    """Where the minimum of loss and penalty lies, round by round, as λ, ε and the number of refreshes change.

    Settings: `first`, `second` (the minimum of the loss alone, 0 to 2.4), `lam` (0 to 1.5), `eps` (0.001 to 1),
    `rounds` (refreshes of α, 0 to 8), `grouping` "separate" (two groups of one weight) or "together".
    """

    module = "reweighting_explorer"
    _esm = source("reweighting_explorer")

    first = traitlets.Float(1.4, min=0.0, max=2.4, help="first weight without penalty").tag(sync=True)
    second = traitlets.Float(0.7, min=0.0, max=2.4, help="second weight without penalty").tag(sync=True)
    lam = traitlets.Float(0.25, min=0.0, max=1.5, help="strength of the penalty").tag(sync=True)
    eps = traitlets.Float(0.1, min=0.001, max=1.0, help="keeps alpha finite").tag(sync=True)
    rounds = traitlets.Int(0, min=0, max=8, help="refreshes of alpha").tag(sync=True)
    grouping = traitlets.Enum(("separate", "together"), "separate", help="what a group is").tag(sync=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(data={"rho": RHO}, **settings)

    def figures(self) -> dict[str, Any]:
        """The last round by the library: w, alpha, the loss, loss + λ Σ log, and the path, a list of w."""
        least = torch.tensor([[self.first, self.second]], dtype=torch.float64)
        curvature = torch.tensor([[1.0, RHO], [RHO, 1.0]], dtype=torch.float64)
        structure = BlockStructure.irregular() if self.grouping == "separate" else BlockStructure.row()
        weight, step = torch.nn.Parameter(least.clone()), 1 / (1 + abs(RHO))
        for done in range(self.rounds + 1):
            penalty = ReweightedGroupLasso({"w": weight}, structure, self.lam, eps=self.eps, reweighted=done > 0)
            path = [weight.tolist()[0]]
            for _ in range(STEPS):
                with torch.no_grad():
                    weight.sub_(step * (weight - least) @ curvature)
                penalty.proximal_(step)
                path.append(weight.tolist()[0])
        away = weight.detach() - least
        loss = float(0.5 * (away @ curvature @ away.T))
        objective = loss + self.lam * float(concave_penalty(group_norms(weight.detach(), structure), self.eps).sum())
        alpha = penalty.alpha["w"].flatten().tolist()
        return {"w": path[-1], "alpha": alpha, "loss": loss, "objective": objective, "path": path}

    def describe(self) -> str:
        """What the explorer shows, in a sentence."""
        found = ", ".join(f"{value:.3f}" for value in self.figures()["w"])
        alone = f"two weights ({self.grouping}) whose loss alone is least at {self.first:g}, {self.second:g}"
        return f"Reweighting explorer: {alone}; under λ {self.lam:g} after {self.rounds} refreshes they are {found}."

    def picture(self) -> bytes | None:
        """A PNG of the loss, the penalty's contour and the path."""
        found = self.figures()
        return plane((self.first, self.second), RHO, found["path"], found["alpha"], self.grouping == "separate")
