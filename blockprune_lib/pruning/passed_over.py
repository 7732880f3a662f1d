"""Matrices that look like ones to prune and are not: what they are, and what a user can do about it.

Only the plain weight of an `nn.Linear` (or `nn.Embedding`) is pruned: a parameter that the layer's forward multiplies
with, and nothing else. Where a matrix is something else, it is said rather than passed over in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from .._common.callers import users_line


class PassedOverWarning(UserWarning):
    """Some matrices stay dense though others like them do not, or share a weight with others: see the message."""


#: What unties a weight that two modules share.
A_COPY = "module.weight = nn.Parameter(module.weight.detach().clone()) on one of them first would do"


def say(model: nn.Module, message: str) -> None:
    """Warn of something about `model`, once, at the line that called the library; a copy of it knows what was said."""
    said: set[str] = vars(model).setdefault("_blockprune_said", set())
    if message not in said:
        said.add(message)
        warnings.warn(message, PassedOverWarning, stacklevel=users_line())


def computed_by(linear: nn.Module) -> str:
    """How to make the weight of a Linear a plain parameter again, a line to type; "" where it is one, or is no tensor.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> computed_by(layer)
    "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"
    """
    if not isinstance(linear, nn.Linear | nn.Embedding) or isinstance(linear._parameters.get("weight"), Tensor):
        return ""
    if "parametrizations" in linear._modules:
        return "torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')"
    if hasattr(linear, "weight_mask"):
        return "torch.nn.utils.prune.remove(module, 'weight')"
    if "weight_g" in linear._parameters:
        return "torch.nn.utils.remove_weight_norm(module)"
    return "torch.nn.utils.remove_spectral_norm(module)" if "weight_orig" in linear._parameters else ""


def more_than_linear(linear: nn.Linear) -> str:
    """What a Linear does besides x Wᵀ + b, in a few words, so that no other can stand in its place; "" if nothing.

    >>> more_than_linear(nn.Linear(2, 2))
    ''
    """
    if type(linear).forward is not nn.Linear.forward:
        return f"{type(linear).__name__}, whose forward is its own"
    if "forward" in vars(linear):
        return f"{type(linear).__name__} whose forward was replaced"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return f"{type(linear).__name__} with hooks" if any(getattr(linear, name, None) for name in hooks) else ""


def shares_otherwise(module: nn.Module, weight: object) -> str:
    """What a module that holds `weight` is, where it does more with it than an `nn.Linear` does; "" if nothing.

    >>> table = nn.Embedding(3, 2)
    >>> shares_otherwise(table, table.weight)
    'Embedding'
    """
    alone = [name for name, parameter in module._parameters.items() if parameter is weight] == ["weight"]
    if not isinstance(module, nn.Linear) or not alone:
        return type(module).__name__
    return more_than_linear(module)


def adapters_of_ones_own(model: nn.Module, found: dict[str, nn.Module]) -> list[str]:
    """What to say of two thin Linears beside a third one whose shape theirs, multiplied, have: low-rank adapters."""
    names = {id(module): name for name, module in found.items() if isinstance(module, nn.Linear)}
    pairs = list[tuple[str, str, str, int]]()
    for parent in model.modules():
        beside = [child for child in parent.children() if isinstance(child, nn.Linear) and id(child) in names]
        for one, other, third in permutations(beside if len(beside) <= 9 else [], 3):
            (rank, inputs), (outputs, again) = one.weight.shape, other.weight.shape
            if rank == again and 4 * rank <= min(inputs, outputs) and third.weight.shape == (outputs, inputs):
                pairs.append((names[id(one)], names[id(other)], names[id(third)], rank))
    if not pairs:
        return []
    down, up, whole, rank = pairs[0]
    return [
        f"{len(pairs)} pairs of thin matrices are pruned like any other, the first {down!r} and {up!r} of rank {rank} "
        f"beside {whole!r}: if they are adapters, adding their product to that weight first would do"
    ]


def plain(weight: object) -> bool:
    """Whether a weight is a parameter of floats: not quantised, not sharded into a type of its own, not yet to come."""
    return (
        isinstance(weight, nn.Parameter)
        and not isinstance(weight, UninitializedParameter)
        and weight.is_floating_point()
        and type(weight).__module__.split(".")[0] == "torch"
    )


def matrices(module: Any) -> Iterator[tuple[str, int]]:
    """(what it is, how many weights) of the matrices that a module itself holds, and that cannot be pruned."""
    kind, weight = type(module), module._parameters.get("weight")
    if isinstance(module, nn.MultiheadAttention):
        total = sum(parameter.numel() for parameter in module.parameters() if parameter.ndim == 2)
        yield "nn.MultiheadAttention, whose projections torch computes in one call", total
    elif isinstance(module, nn.Linear):
        if weight is not None and not plain(weight):
            what = "not initialised yet" if isinstance(weight, UninitializedParameter) else "quantised or sharded"
            yield f"{kind.__name__} ({type(weight).__name__}: {what})", module.in_features * module.out_features
    elif kind.__module__.startswith(("torch.ao.", "torchao.")) and hasattr(module, "in_features"):
        yield f"{kind.__name__} (quantised)", module.in_features * module.out_features
    elif not isinstance(module, nn.Embedding | nn.EmbeddingBag):
        total = sum(parameter.numel() for parameter in module._parameters.values() if _is_matrix(parameter))
        if total:
            yield f"{kind.__name__}, which is no nn.Linear", total


def kinds(passed_over: dict[str, tuple[str, int]]) -> str:
    """What was passed over, each kind once, with its first name."""
    found: dict[str, list[str]] = {}
    for name, (kind, _) in passed_over.items():
        found.setdefault(kind, []).append(name)
    return "; ".join(f"{len(names)} of {kind}, the first {names[0]!r}" for kind, names in found.items())


def _is_matrix(parameter: Tensor | None) -> bool:
    """Whether a parameter is as large as what a layer multiplies with, and no table of a few rows or columns."""
    return not (parameter is None or isinstance(parameter, UninitializedParameter)) and (
        parameter.ndim == 2 and min(parameter.shape) >= 8
    )
