"""Where a weight stands in a model: one module may be used in several places, one parameter by several modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from .block_sparse_linear import BlockSparseLinear


def places(model: nn.Module, weight: Tensor) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of every place in `model` where a module holds `weight`; a module used twice comes twice."""
    for name, module in model.named_modules(remove_duplicate=False):
        if any(parameter is weight for parameter in module._parameters.values()):
            yield name, module


def put_(model: nn.Module, old: Any, layer: nn.Module) -> None:
    """Put `layer` wherever `old` stands; a module that shares its weight gets a twin of `layer`, with its own bias.

    `old` and the modules that share its weight are all Linears, or all block-sparse. `layer` shares its weight with
    its twins: `values` of a sparse layer, `weight` of a Linear.
    """
    put = {id(old): layer}
    weight = old.values if isinstance(old, BlockSparseLinear) else old.weight
    for name, module in list(places(model, weight)):
        if id(module) not in put:
            put[id(module)] = _twin(layer, module)
        model.set_submodule(name, put[id(module)])


def named_sparse_layers(model: nn.Module) -> dict[str, BlockSparseLinear]:
    """The block-sparse layers of `model` by name; one that is used in several places by each of its names."""
    found = model.named_modules(remove_duplicate=False)
    return {name: module for name, module in found if isinstance(module, BlockSparseLinear)}


def times_used(model: nn.Module) -> Counter[int]:
    """{id of a module: how many parents hold it, or hold it how often}."""
    return Counter(id(child) for parent in model.modules() for child in parent._modules.values())


def linear_of(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """A Linear that holds these very parameters; no memory is taken, and no number drawn."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = weight
    linear.register_parameter("bias", bias)
    return linear


def _twin(layer: Any, module: Any) -> nn.Module:
    """What computes as `layer` does and shares its weight, with the bias and the mode of `module`."""
    bias = None if module.bias is None else nn.Parameter(module.bias.detach().clone(), module.bias.requires_grad)
    if not isinstance(layer, BlockSparseLinear):
        return linear_of(layer.weight, bias).train(module.training)
    twin: Any = BlockSparseLinear.from_packed(layer.packed)
    twin.values, twin.activation = layer.values, getattr(module, "activation", None)
    twin.register_parameter("bias", bias)
    return twin.train(module.training)
