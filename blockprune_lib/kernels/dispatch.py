"""What `function` needs of the modules that load Numba, imported at the first product and not before."""

from __future__ import annotations

from torch import Tensor

from . import gradients, panels, rows
from .intrinsics import WIDTH
from .plan import PanelPlan, Plan, RowPlan, make_plan, plan_of

__all__ = ["make_plan", "multiply", "plan_of", "values_gradient"]


def multiply(
    plan: PanelPlan | RowPlan, x: Tensor, values: Tensor, bias: Tensor | None, workers: int, curved: bool = False
) -> Tensor:
    """x (T, inputs) → (T, outputs) by the kernel that `plan` is for, on up to `workers` threads; gelu where curved."""
    if isinstance(plan, PanelPlan):
        return panels.multiply(plan, x, values, bias, workers, curved)
    return rows.multiply(plan, x, values, bias, workers, curved)


def values_gradient(plan: Plan, x: Tensor, grad: Tensor, workers: int) -> Tensor | None:
    """The gradient of the values from x (T, inputs) and grad (T, outputs); None for groups that no vector fits."""
    forward, width = plan.forward, plan.values_shape[1]
    if isinstance(forward, RowPlan) and (forward.step > 1 or width < WIDTH):
        return None
    return gradients.values_gradient(forward, x, grad, plan.values_shape, workers)
