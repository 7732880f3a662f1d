"""What `function` needs of the modules that load Numba, imported at the first product and not before."""

from __future__ import annotations

from torch import Tensor

from . import panels, rows
from .plan import PanelPlan, RowPlan, make_plan, plan_of

__all__ = ["make_plan", "multiply", "plan_of"]


def multiply(plan: PanelPlan | RowPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int) -> Tensor:
    """x (T, inputs) → (T, outputs) by the kernel that `plan` is for, on at most `workers` threads."""
    if isinstance(plan, PanelPlan):
        return panels.multiply(plan, x, values, bias, workers)
    return rows.multiply(plan, x, values, bias, workers)
