"""Put what pruning left into the model: swap its linear layers for block-sparse ones, which do the GELU after them."""

from __future__ import annotations

import warnings
from typing import TypeVar

from torch import nn

from .._common.checks import finite_number
from ..pruning.architectures import part_of, prunable
from ..pruning.structure import BlockStructure, check_structure
from .block_sparse_linear import BlockSparseLinear
from .break_even import break_even_density, usual_break_even
from .encoder_plan import activation_name
from .engine import attach, encoders_of

Model = TypeVar("Model", bound=nn.Module)
#: A density at which even single weights pay in an encoder that runs as one call: tokens in lanes, AVX-512, bert-base.
INSIDE = 0.4


def sparsify(
    model: Model, structure: BlockStructure, *, keep_dense_above: float | str | None = None, fuse: bool = True,
    **which: bool,
) -> Model:  # fmt: skip
    """Swap every prunable Linear of `model` for a `BlockSparseLinear`, in place; returns the model.

    keep_dense_above   the density above which a layer stays dense; "measured": the `break_even_density` of its shape,
                       timed here and now; None: swap all, and warn where the rule of thumb says that a layer is too
                       dense to win
    fuse               let the first feed-forward layer do the exact GELU that follows it, and a whole encoder run as
                       one compiled call in evaluation without gradients (see `engine`)
    which              pooler=True, classifier=True as in `prunable`; embeddings are look-ups and stay dense

    The outputs stay the same up to rounding. Groups that are all zero are not stored, so prune first: a layer of full
    density runs no faster. An optimiser made before holds the old weights: make a new one. Raises ValueError where
    there is nothing to swap, TypeError for wrong types; the model is then as it was.

    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    >>> model = sparsify(model, BlockStructure.block_row(4), keep_dense_above=1.0)
    >>> model[0]
    BlockSparseLinear(in_features=8, out_features=4, structure=block_row:4, density=1, bias=True)
    """
    check_structure(structure)
    limit = _limit(keep_dense_above)
    linears = {name: module for name, module in prunable(model, **which).items() if isinstance(module, nn.Linear)}
    if "" in linears:
        raise ValueError("model must hold Linears; it is itself a Linear: BlockSparseLinear.from_linear would do")
    if not linears:
        raise ValueError(f"model {type(model).__name__} has no prunable nn.Linear to swap; look-ups stay dense")
    _refuse_shared(model, linears)
    layers = {}
    for name, linear in linears.items():
        try:
            layers[name] = BlockSparseLinear.from_linear(linear, structure)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None
    limits = _limits(layers, limit) if limit is not None else {}
    if limit is None:
        inside = {id(part) for encoder, _ in encoders_of(model) if fuse for part in encoder.modules()}
        _warn_of_dense(layers, {name for name, linear in linears.items() if id(linear) in inside})
    for name, layer in layers.items():
        if layer.density <= limits.get(name, 1.0):
            model.set_submodule(name, layer)
    if fuse:
        fuse_gelu(model)
        attach(model)
    return model


class TooDenseWarning(UserWarning):
    """A layer keeps so much that its sparse product is likely to be no faster than the dense one."""


def _limit(asked: float | str | None) -> float | str | None:
    if asked is None or asked == "measured":
        return asked
    limit = finite_number(asked, "keep_dense_above", 0, "a density such as 0.5, 'measured', or None")
    if limit > 1:
        raise ValueError(f"keep_dense_above must be a density from 0 to 1, 'measured', or None; got {asked!r}")
    return limit


def _limits(layers: dict[str, BlockSparseLinear], limit: float | str) -> dict[str, float]:
    """How dense each layer may be; each shape is measured once."""
    if not isinstance(limit, str):
        return dict.fromkeys(layers, limit)
    shapes = {name: (layer.structure, layer.packed.shape) for name, layer in layers.items()}
    measured = {key: break_even_density(*key).density for key in dict.fromkeys(shapes.values())}
    return {name: measured[key] for name, key in shapes.items()}


def _warn_of_dense(layers: dict[str, BlockSparseLinear], inside: set[str]) -> None:
    """Say which layers are likely to be too dense; `inside`: those of an encoder that runs as one call."""
    limits = {name: usual_break_even(layer.structure, layer.packed.shape) for name, layer in layers.items()}
    limits |= {name: max(limits[name], INSIDE) for name in inside}
    dense = [name for name, layer in layers.items() if layer.density > limits[name]]
    if dense:
        name, layer = dense[0], layers[dense[0]]
        message = (
            f"{len(dense)} of {len(layers)} layers may be too dense to be faster: {name!r} keeps {layer.density:.2f} "
            f"of its elements, and {layer.structure} usually breaks even with dense at about {limits[name]:.2f}. "
            'keep_dense_above="measured" measures here and leaves such layers dense'
        )
        warnings.warn(message, TooDenseWarning, stacklevel=3)


def _refuse_shared(model: nn.Module, linears: dict[str, nn.Linear]) -> None:
    """Raise ValueError where a weight to be packed belongs to another module too: packing would part them."""
    mine = {id(linear.weight): name for name, linear in linears.items()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = mine.get(id(parameter))
        if owner is not None and name != f"{owner}.weight":
            raise ValueError(
                f"layer {owner!r} shares its weight with {name!r}, and packing would part them: "
                "give one of them a copy of its own first"
            )


def fuse_gelu(model: nn.Module) -> int:
    """Give each sparse layer that an exact GELU follows that activation, and put `nn.Identity` in its place.

    Returns how many were fused. The model computes the same, up to 1e-6; under autograd the layer calls torch's GELU.
    """
    fused = 0
    for encoder, paths in encoders_of(model):
        for layer in part_of(encoder, paths.layers):
            linear, activation = part_of(layer, paths.inner), part_of(layer, paths.activation)
            if (
                isinstance(linear, BlockSparseLinear)
                and not linear.activation
                and activation_name(activation) == "gelu"
            ):
                linear.activation = "gelu"
                layer.set_submodule(paths.activation, nn.Identity())
                fused += 1
    return fused
