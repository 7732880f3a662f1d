"""The three things that a plan does on the CPU: the product, its input gradient, the gradient of the weights.

    product(plan.forward, x, values, bias)            x (..., N) to y = x Wᵀ + b (..., M)
    product(plan.backward, grad, values, None)        grad (..., M) to grad W (..., N)
    values_gradient(plan, x, grad)                    gradᵀ x, at the places that are stored

What runs on packed weights goes through here. The caller has checked types and shapes. bfloat16 and float16 come in
and go out: numbers are multiplied and added up in float32, and rounded once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..pruning.packing import PackedMatrix
from . import gradients, layer_product
from .plan import Plan, Side


def product(side: Side, x: Tensor, values: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """x (..., inputs) → (..., outputs) of a plan's side; `gelu`: with GELU applied. Any strides of x."""
    if x.dtype is not torch.float32:
        return product(side, x.float(), values.float(), None if bias is None else bias.float(), gelu).to(x.dtype)
    flat, workers = _flat(x), torch.get_num_threads()
    values, bias = values.contiguous(), None if bias is None else bias.contiguous()
    y = layer_product.multiply(side, flat, values, bias, workers, gelu)
    return y if x.ndim == 2 else y.view(*x.shape[:-1], y.shape[-1])


def values_gradient(plan: Plan, x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of the stored weights: those places of gradᵀ x, padding at the edges zero."""
    if x.dtype is not torch.float32:
        return values_gradient(plan, x.float(), grad.float()).to(x.dtype)
    return gradients.values_gradient(plan, _flat(x), _flat(grad), torch.get_num_threads())


def dense_values_gradient(packed: PackedMatrix, x: Tensor, grad: Tensor) -> Tensor:
    """`values_gradient` by the dense product, in any float type and on any device; x (T, N), grad (T, M)."""
    (R, C), (r, c), (M, N) = packed.grid, packed.group_shape, packed.shape
    dense = x.new_zeros(R * r, C * c)
    dense[:M, :N] = grad.t() @ x
    cells = dense.view(R, r, C, c)
    return cells.permute(0, 2, 3, 1)[packed._group_rows(), packed.columns.long()].contiguous()


def _flat(x: Tensor) -> Tensor:
    """x as (tokens, features) with neighbouring features; a copy only where its strides ask for one."""
    if x.is_neg():  # a view of numbers of the other sign, such as z.conj().imag
        x = x.resolve_neg()
    if x.ndim == 2 and x.is_contiguous():
        return x
    flat = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    if flat.stride(1) != 1 or (flat.shape[0] > 1 and flat.stride(0) < flat.shape[1]):
        flat = flat.contiguous()
    return flat
