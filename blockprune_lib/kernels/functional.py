"""`linear` and its gradients: what is checked before a kernel runs, and which path a product takes.

float32 on the CPU runs on the packed weights, forwards and backwards. Other float types and devices take a plain torch
path through the dense matrix, so that nothing fails; it is no faster than dense. Left out: second derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..machine.simd import WIDTH
from ..pruning.packing import PackedMatrix
from . import gradients, panels, rows
from .plan import PanelPlan, Plan, RowPlan, plan_of


def linear(x: Tensor, packed: PackedMatrix, bias: Tensor | None = None, *, activation: str | None = None) -> Tensor:
    """y = x Wᵀ + b with the groups of `packed` that are stored, like `torch.nn.functional.linear`.

    x        (..., N) float; any strides, any number of leading dimensions, zero tokens too
    packed   an M × N `PackedMatrix`; gradients flow to `packed.values` where it requires them
    bias     (M,) or None
    activation   "gelu" returns gelu(y), the exact form of `torch.nn.functional.gelu`, off by at most 1e-6 + 2e-7 |y|

    Returns (..., M). x, the weights and the bias have one float type and one device. float32 on the CPU runs on the
    packed weights; anything else goes through `packed.to_dense()`. An element of x that no stored group reads cannot
    change y, not even NaN. Raises TypeError for non-tensors and for mixed types, ValueError for a shape or a device
    that does not fit and for indices that point outside the matrix.

    >>> import torch
    >>> from blockprune_lib import BlockStructure, pack
    >>> packed = pack(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), BlockStructure.block_row(2))
    >>> linear(torch.tensor([1.0, 2.0, 3.0, 4.0]), packed)
    tensor([10.])
    """
    check_packed(packed)
    check_activation(activation)
    plan = plan_of(packed) if packed.columns.is_cpu else None
    return apply(x, packed, bias, plan, activation)


def check_packed(packed: Any) -> None:
    """Raise TypeError unless it is a PackedMatrix."""
    if not isinstance(packed, PackedMatrix):
        raise TypeError(
            f"packed must be a PackedMatrix; got {type(packed).__name__}: pack(weight, structure) makes one"
        )


def check_activation(activation: str | None) -> str | None:
    """Return it if a product can be followed by it. Raises ValueError."""
    if activation not in (None, "gelu"):
        raise ValueError(f"activation must be 'gelu' or None; got {activation!r}: apply another to the result")
    return activation


def apply(
    x: Tensor, packed: PackedMatrix, bias: Tensor | None, plan: Plan | None, activation: str | None = None
) -> Tensor:
    """`linear` for a plan that is known already (None: the dense path)."""
    values = packed.values
    if not _fits(x, values, bias, packed.shape):
        device = values.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) and isinstance(x, Tensor):
            x = x.to(values.dtype)  # under autocast any float comes in, and the kernels keep float32
        _check(x, packed, bias)
    if plan is None or values.dtype != torch.float32 or not values.is_cpu:
        return _activated(torch.nn.functional.linear(x, packed.to_dense(), bias), activation)
    if values.shape != plan.values_shape:
        raise ValueError(
            f"packed.values must keep its shape {tuple(plan.values_shape)}; got {tuple(values.shape)}: "
            "pack(weight, structure) makes another"
        )
    if torch.is_grad_enabled() and (
        x.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _activated(_Linear.apply(x, values, bias, packed, plan), activation)
    return _product(plan.forward, x, values, bias, activation is not None)


def _activated(y: Tensor, activation: str | None) -> Tensor:
    return y if activation is None else torch.nn.functional.gelu(y)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, packed: PackedMatrix, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, values)
        ctx.packed, ctx.plan = packed, plan
        return _product(plan.forward, x, values, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values = ctx.saved_tensors
        needs_x, needs_values, needs_bias = ctx.needs_input_grad[:3]
        grad_x = _product(ctx.plan.backward, grad, values, None) if needs_x else None
        grad_values = _values_gradient(ctx.packed, ctx.plan, x, grad) if needs_values else None
        grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None
        return grad_x, grad_values, grad_bias, None, None


def _product(plan: PanelPlan | RowPlan, x: Tensor, values: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    flat, workers = _flat(x), torch.get_num_threads()
    values, bias = values.contiguous(), None if bias is None else bias.contiguous()
    if isinstance(plan, PanelPlan):
        y = panels.multiply(plan, flat, values, bias, workers, gelu)
    else:
        y = rows.multiply(plan, flat, values, bias, workers, gelu)
    return y if x.ndim == 2 else y.view(*x.shape[:-1], y.shape[-1])


def _flat(x: Tensor) -> Tensor:
    """x as (tokens, features) with neighbouring features; a copy only where its strides ask for one."""
    flat = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    if flat.stride(1) != 1 or (flat.shape[0] > 1 and flat.stride(0) < flat.shape[1]):
        flat = flat.contiguous()
    return flat


def _values_gradient(packed: PackedMatrix, plan: Plan, x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of the stored weights: those places of grad' x, padding at the edges zero."""
    flat_x, flat_grad = _flat(x), _flat(grad)
    forward, shape = plan.forward, plan.values_shape
    if isinstance(forward, PanelPlan) or (forward.stride == 1 and shape[1] >= WIDTH):
        return gradients.values_gradient(forward, flat_x, flat_grad, shape, torch.get_num_threads())
    # Groups that no vector fits: the dense product, and those places of it.
    (R, C), (r, c), (M, N) = packed.grid, packed.group_shape, packed.shape
    dense = x.new_zeros(R * r, C * c)
    dense[:M, :N] = flat_grad.t() @ flat_x
    cells = dense.view(R, r, C, c)
    return cells.permute(0, 2, 3, 1)[packed._group_rows(), packed.columns.long()].contiguous()


def _fits(x: Any, values: Tensor, bias: Any, shape: tuple[int, int]) -> bool:
    """Whether all is as it should be and of float32 on the CPU: one quick look instead of many messages."""
    return (
        isinstance(x, Tensor)
        and x.dtype is torch.float32 is values.dtype
        and x.is_cpu
        and values.is_cpu
        and x.ndim > 0
        and x.shape[-1] == shape[1]
        and (bias is None or (isinstance(bias, Tensor) and bias.dtype is torch.float32 and bias.is_cpu
                              and bias.ndim == 1 and bias.shape[0] == shape[0]))
    )  # fmt: skip


def _check(x: Any, packed: PackedMatrix, bias: Any) -> None:
    (M, N), values = packed.shape, packed.values
    if not isinstance(x, Tensor) or not (bias is None or isinstance(bias, Tensor)):
        name, what = ("bias", bias) if isinstance(x, Tensor) else ("x", x)
        raise TypeError(f"{name} must be a torch.Tensor; got {type(what).__name__}: torch.as_tensor would do")
    if x.ndim == 0 or x.shape[-1] != N:
        raise ValueError(f"x must have shape (..., {N}) for a {M} x {N} matrix; got {tuple(x.shape)}")
    if bias is not None and tuple(bias.shape) != (M,):
        raise ValueError(f"bias must have shape ({M},) for a {M} x {N} matrix; got {tuple(bias.shape)}")
    for name, tensor in (("x", x), ("bias", bias)):
        if tensor is not None and tensor.dtype != values.dtype:
            raise TypeError(
                f"{name} must have the type of the weights, {values.dtype}; got {tensor.dtype}: "
                f"{name}.to({values.dtype}) would do"
            )
        if tensor is not None and tensor.device != values.device:
            raise ValueError(
                f"{name} must be on the device of the weights, {values.device}; got {tensor.device}: "
                f"{name}.to({str(values.device)!r}) would do"
            )
