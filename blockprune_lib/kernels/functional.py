"""`linear` and its gradients: which path a product takes.

float32, bfloat16 and float16 on the CPU run on the packed weights, forwards and backwards. Other float types and
devices take a plain torch path through the dense matrix, so that nothing fails; it is slower than dense, and says so
once. Where torch looks on, `traced` gives it operators; an eager call goes straight to the kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from ..pruning.packing import PackedMatrix
from . import operator
from .arguments import check_activation, check_factors, check_packed, in_weights_type
from .by_plan import product as _product
from .by_plan import values_gradient
from .dense_path import dense_weight, runs_packed
from .plan import Plan, plan_of
from .traced import traced_linear, watched


def linear(x: Tensor, packed: PackedMatrix, bias: Tensor | None = None, *, activation: str | None = None) -> Tensor:
    """y = x Wᵀ + b with the groups of `packed` that are stored, like `torch.nn.functional.linear`.

    x        (..., N) float; any strides, any number of leading dimensions, zero tokens too
    packed   an M × N `PackedMatrix`; gradients flow to `packed.values` where it requires them
    bias     (M,) or None
    activation   "gelu" returns gelu(y), the exact form of `torch.nn.functional.gelu`, off by at most 1e-6 + 2e-7 |y|

    Returns (..., M), under autocast in its type. x, the weights and the bias have one float type and one device.
    float32, bfloat16 and float16 on the CPU run on the packed weights, and are added up in float32; anything else goes
    through `packed.to_dense()`, and a DenseProductWarning says so once. An element of x that no stored group reads
    cannot change y, not even NaN.
    Gradients of any order, `torch.compile(fullgraph=True)`, `torch.export`, `torch.func`, `torch.jit.trace` and
    `torch.fx` work; `torch.onnx.export` writes dense weights, and warns. A program that was exported or traced and
    saved needs `from blockprune_lib import linear` where it is loaded.

    Raises TypeError for non-tensors and for mixed types, ValueError for a shape or a device that does not fit and for
    indices that point outside the matrix.

    >>> import torch
    >>> from blockprune_lib import BlockStructure, pack
    >>> packed = pack(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), BlockStructure.block_row(2))
    >>> linear(torch.tensor([1.0, 2.0, 3.0, 4.0]), packed)
    tensor([10.])
    """
    if type(packed) is not PackedMatrix or activation is not None:
        check_packed(packed)
        check_activation(activation)
    if watched(x, packed.values):
        return as_autocast(activated(traced_linear(x, packed, bias), activation), packed.values)
    plan = plan_of(packed) if packed.columns.is_cpu else None
    return as_autocast(apply(x, packed, bias, plan, activation), packed.values)


def apply(
    x: Tensor, packed: PackedMatrix, bias: Tensor | None, plan: Plan | None, activation: str | None = None
) -> Tensor:
    """`linear` at once, for a plan that is known already (None: the dense path)."""
    values = packed.values
    if plan is None or not _fits(x, values, bias, packed.shape):
        x = in_weights_type(x, values)
        check_factors(x, values, bias, packed.shape)
        if plan is None or not runs_packed(values):
            return activated(torch.nn.functional.linear(x, dense_weight(packed), bias), activation)
    if values.shape != plan.values_shape:
        raise ValueError(
            f"packed.values must keep its shape {tuple(plan.values_shape)}; got {tuple(values.shape)}: "
            "pack(weight, structure) makes another"
        )
    if torch.is_grad_enabled() and (
        x.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return activated(_Linear.apply(x, values, bias, packed, plan), activation)
    return _product(plan.forward, x, values, bias, activation is not None)


def as_autocast(y: Tensor, values: Tensor) -> Tensor:
    """A result in the type that autocast gives what `torch.nn.functional.linear` returns, where that is on."""
    kind = "cpu" if values.is_cpu else "cuda" if values.is_cuda else ""
    if kind and torch.is_autocast_enabled(kind) and values.dtype is not torch.float64:
        return y.to(torch.get_autocast_dtype(kind))
    return y


def activated(y: Tensor, activation: str | None) -> Tensor:
    """What follows the product."""
    return y if activation is None else torch.nn.functional.gelu(y)


class _Linear(torch.autograd.Function):
    """The product in eager mode; a gradient that is itself differentiated or transformed is made of operators."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, packed: PackedMatrix, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, values)
        ctx.packed, ctx.plan = packed, plan
        return _product(plan.forward, x, values, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values = ctx.saved_tensors
        needs_x, needs_values, needs_bias = ctx.needs_input_grad[:3]
        packed, plan = ctx.packed, ctx.plan
        grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None
        if torch.is_grad_enabled() or watched(grad, values) or is_legacy_batchedtensor(grad):
            rest = packed.columns, packed.offsets, [*packed.shape, *packed.group_shape]
            grad_x = operator.call(operator.input_gradient, grad, values, *rest) if needs_x else None
            grad_values = operator.call(operator.values_gradient, x, grad, *rest) if needs_values else None
        else:
            grad_x = _product(plan.backward, grad, values, None) if needs_x else None
            grad_values = values_gradient(plan, x, grad) if needs_values else None
        return grad_x, grad_values, grad_bias, None, None


def _fits(x: Tensor, values: Tensor, bias: Any, shape: tuple[int, int]) -> bool:
    """Whether all is as it should be and of float32 on the CPU: one quick look instead of many messages."""
    return (
        x.dtype is torch.float32 is values.dtype
        and x.is_cpu
        and values.is_cpu
        and x.ndim > 0
        and x.shape[-1] == shape[1]
        and (bias is None or (isinstance(bias, Tensor) and bias.dtype is torch.float32 and bias.is_cpu
                              and bias.shape == shape[:1]))
    )  # fmt: skip
