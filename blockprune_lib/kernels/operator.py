"""The product as an operator of torch, so that whatever looks through a model at operators can look through this one.

    blockprune::linear            x, W, b → x Wᵀ + b          gradients: the two below, and a sum over tokens
    blockprune::input_gradient    g, W    → g W               gradients: linear and values_gradient
    blockprune::values_gradient   x, g    → gᵀ x where W is stored      gradients: input_gradient and linear

Each is linear in each argument, so that the gradients of the three are the three again, to any order. An operator takes
tensors and whole numbers only: values, columns and offsets of a `PackedMatrix`, and sizes = (M, N, r, c). Its plan is
found by the tensors `columns` and `offsets`, and made again when one of them was written to.

float32, bfloat16 and float16 on the CPU run on the packed weights; other types and devices through the dense matrix,
which is said. A program that was exported and saved needs `from blockprune_lib import linear` where it is loaded, which
defines the operators.

Left out: forward-mode derivatives, which `traced` takes through the dense matrix.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level
from torch.library import CustomOpDef, Library, custom_op
from torch.utils.flop_counter import register_flop_formula
from torch.utils.weak import WeakTensorKeyDictionary

from ..pruning.packing import PackedMatrix
from ..pruning.structure import BlockStructure
from .by_plan import dense_values_gradient, product
from .by_plan import values_gradient as values_gradient_by_plan
from .dense_path import dense_weight, runs_packed
from .plan import Plan, make_plan

_REST = "Tensor columns, Tensor offsets, int[] sizes) -> Tensor"


@custom_op("blockprune::linear", mutates_args=(), schema=f"(Tensor x, Tensor values, Tensor? bias, {_REST}")
def linear(
    x: Tensor, values: Tensor, bias: Tensor | None, columns: Tensor, offsets: Tensor, sizes: list[int]
) -> Tensor:
    """x (..., N) → x Wᵀ + b (..., M)."""
    _check(x, sizes[1], values, columns, sizes)
    if runs_packed(x, values, bias):
        return product(plan_for(columns, offsets, sizes).forward, x, values, bias)
    return torch.nn.functional.linear(x, dense_weight(_packed(values, columns, offsets, sizes)), bias)


@custom_op("blockprune::input_gradient", mutates_args=(), schema=f"(Tensor grad, Tensor values, {_REST}")
def input_gradient(grad: Tensor, values: Tensor, columns: Tensor, offsets: Tensor, sizes: list[int]) -> Tensor:
    """grad (..., M) → grad W (..., N)."""
    _check(grad, sizes[0], values, columns, sizes)
    if runs_packed(grad, values):
        return product(plan_for(columns, offsets, sizes).backward, grad, values, None)
    return grad @ dense_weight(_packed(values, columns, offsets, sizes))


@custom_op("blockprune::values_gradient", mutates_args=(), schema=f"(Tensor x, Tensor grad, {_REST}")
def values_gradient(x: Tensor, grad: Tensor, columns: Tensor, offsets: Tensor, sizes: list[int]) -> Tensor:
    """x (..., N), grad (..., M) → the stored places of gradᵀ x, (groups, c, r)."""
    _check(x, sizes[1], None, columns, sizes)
    _check(grad, sizes[0], None, columns, sizes)
    if x.shape[:-1] != grad.shape[:-1]:
        raise ValueError(f"grad must have as many tokens as x; got {tuple(grad.shape)} and {tuple(x.shape)}")
    if runs_packed(x, grad):
        return values_gradient_by_plan(plan_for(columns, offsets, sizes), x, grad)
    packed = _packed(x, columns, offsets, sizes)
    return dense_values_gradient(packed, x.reshape(-1, sizes[1]), grad.reshape(-1, sizes[0]))


def _check(x: Tensor, width: int, values: Tensor | None, columns: Tensor, sizes: list[int]) -> None:
    """Raise ValueError for shapes that a kernel would read out of bounds with."""
    if x.ndim == 0 or x.shape[-1] != width:
        raise ValueError(f"the last side must be {width} for a {sizes[0]} x {sizes[1]} matrix; got {tuple(x.shape)}")
    if values is not None and tuple(values.shape) != (wanted := (columns.shape[0], sizes[3], sizes[2])):
        raise ValueError(f"values must have shape (groups, c, r) = {wanted}; got {tuple(values.shape)}")


# --- the plan of an operator's tensors

_plans: Any = WeakTensorKeyDictionary()


def plan_for(columns: Tensor, offsets: Tensor, sizes: list[int]) -> Plan:
    """The plan of the matrix with these indices; raises ValueError, before a kernel runs, if one cannot be trusted."""
    made_of = offsets, version(columns), version(offsets), tuple(sizes)
    found = _plans.get(columns)
    if found is None or found[0][0] is not offsets or found[0][1:] != made_of[1:]:
        shape = columns.shape[0], sizes[3], sizes[2]
        packed = _packed(torch.empty(shape, dtype=torch.float32, device="meta"), columns, offsets, sizes)
        packed.check_indices()
        found = _plans[columns] = made_of, make_plan(packed)
    plan: Plan = found[1]
    return plan


def version(tensor: Tensor) -> int:
    """How often it was written to; torch does not count it for a tensor of inference mode."""
    return -1 if tensor.is_inference() else tensor._version


def _packed(values: Tensor, columns: Tensor, offsets: Tensor, sizes: list[int]) -> PackedMatrix:
    M, N, r, c = sizes
    return PackedMatrix(_tile(r, c), (M, N), values, columns, offsets)


_tile = lru_cache(BlockStructure.tile)


# --- without numbers: the shapes of what they return


@linear.register_fake
def _(x: Tensor, values: Tensor, bias: Tensor | None, columns: Tensor, offsets: Tensor, sizes: list[int]) -> Tensor:
    _check(x, sizes[1], values, columns, sizes)
    return x.new_empty(*x.shape[:-1], sizes[0])


@input_gradient.register_fake
def _(grad: Tensor, values: Tensor, columns: Tensor, offsets: Tensor, sizes: list[int]) -> Tensor:
    _check(grad, sizes[0], values, columns, sizes)
    return grad.new_empty(*grad.shape[:-1], sizes[1])


@values_gradient.register_fake
def _(x: Tensor, grad: Tensor, columns: Tensor, offsets: Tensor, sizes: list[int]) -> Tensor:
    return x.new_empty(columns.shape[0], sizes[3], sizes[2])


# --- operations, for torch.utils.flop_counter: two for each stored weight and token


@register_flop_formula([torch.ops.blockprune.linear, torch.ops.blockprune.input_gradient])
def _(x_shape: Any, values_shape: Any, *_: Any, **__: Any) -> int:
    return 2 * math.prod(x_shape[:-1]) * math.prod(values_shape)


@register_flop_formula(torch.ops.blockprune.values_gradient)
def _(x_shape: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return 2 * math.prod(x_shape[:-1]) * math.prod(out_shape)


# --- gradients


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep the two factors, each only if the other's gradient is asked for, and the indices."""
    (one, other), (columns, offsets, ctx.sizes) = inputs[:2], inputs[-3:]
    needs_one, needs_other = ctx.needs_input_grad[:2]
    ctx.save_for_backward(one if needs_other else None, other if needs_one else None, columns, offsets)


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, *rest = ctx.saved_tensors
    needs_x, needs_values, needs_bias = ctx.needs_input_grad[:3]
    return (
        call(input_gradient, grad, values, *rest, ctx.sizes) if needs_x else None,
        call(values_gradient, x, grad, *rest, ctx.sizes) if needs_values else None,
        grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None,
        None, None, None,
    )  # fmt: skip


def _input_gradient_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    grad, values, *rest = ctx.saved_tensors
    needs_grad, needs_values = ctx.needs_input_grad[:2]
    return (
        call(linear, upstream, values, None, *rest, ctx.sizes) if needs_grad else None,
        call(values_gradient, upstream, grad, *rest, ctx.sizes) if needs_values else None,
        None, None, None,
    )  # fmt: skip


def _values_gradient_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    x, grad, *rest = ctx.saved_tensors
    needs_x, needs_grad = ctx.needs_input_grad[:2]
    return (
        call(input_gradient, grad, upstream, *rest, ctx.sizes) if needs_x else None,
        call(linear, x, upstream, None, *rest, ctx.sizes) if needs_grad else None,
        None, None, None,
    )  # fmt: skip


# --- one more dimension, which torch.func.vmap adds


def _vmap_of(operator: CustomOpDef, folds: bool) -> Any:
    """The rule: a batch of first arguments alone is only more tokens; anything else is done one by one."""

    def rule(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Tensor, int]:
        batched = [at for at, d in enumerate(in_dims) if isinstance(d, int)]
        if folds and batched == [0]:
            return call(operator, given[0].movedim(in_dims[0], 0), *given[1:]), 0
        examples = [list(given) for _ in range(info.batch_size)]
        for at in batched:
            for number, example in enumerate(examples):
                example[at] = given[at].select(in_dims[at], number)
        return torch.stack([call(operator, *example) for example in examples]), 0

    return rule


# --- torch.func: its gradients look into an autograd.Function, and not into an operator

_functions: dict[Any, Any] = {}


def call(operator: CustomOpDef, *given: Any) -> Tensor:
    """The operator's result, so that a transform of torch.func that is at work sees how it is made."""
    if torch.compiler.is_compiling() or maybe_current_level() is None:
        return operator(*given)  # type: ignore[no-any-return]
    return transformed(operator, *given)


def transformed(operator: CustomOpDef, *given: Any) -> Tensor:
    """The operator's result where a transform of torch.func is at work."""
    return _functions[operator].apply(*given)  # type: ignore[no-any-return]


def _complete(operator: CustomOpDef, backward: Any, folds: bool) -> None:
    """Give an operator its gradients and its rule for one more dimension, and torch.func a function with the same."""
    rule = _vmap_of(operator, folds)
    operator.register_autograd(backward, setup_context=_remember)
    operator.register_vmap(rule)
    parts = {"forward": operator, "setup_context": _remember, "backward": backward, "vmap": rule}
    parts = {name: staticmethod(part) for name, part in parts.items()}
    _functions[operator] = type(operator._name, (torch.autograd.Function,), parts)


_complete(linear, _linear_backward, folds=True)
_complete(input_gradient, _input_gradient_backward, folds=True)
_complete(values_gradient, _values_gradient_backward, folds=False)


# --- autocast: any float comes in, and the weights keep their type

_library = Library("blockprune", "FRAGMENT")


def _in_the_weights_type(
    x: Tensor, values: Tensor, bias: Tensor | None, columns: Tensor, offsets: Tensor, sizes: list[int]
) -> Tensor:
    with torch.autocast(values.device.type, enabled=False):
        bias = None if bias is None else bias.to(values.dtype)
        result: Tensor = linear(x.to(values.dtype), values, bias, columns, offsets, sizes)
        return result


for _key in ("AutocastCPU", "AutocastCUDA"):
    _library.impl("linear", _in_the_weights_type, _key)
