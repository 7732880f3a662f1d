"""Put what pruning left into the model: `sparsify` swaps its linear layers for block-sparse ones.

    sparse_linear   the layer itself
    storage         save a model and load it again: safetensors, no pickle
    sizes           how much smaller, by each definition

Their public names stand here too. Left out: pruning (`selection`, `training`) and the products (`kernels`).
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from .checks import finite_number
from .layers import prunable
from .sizes import Compression, compression
from .sparse_linear import BlockSparseLinear
from .storage import load, save
from .structure import BlockStructure, check_structure

__all__ = ["BlockSparseLinear", "Compression", "compression", "load", "save", "sparsify"]

Model = TypeVar("Model", bound=nn.Module)


def sparsify(model: Model, structure: BlockStructure, *, keep_dense_above: float | None = None, **which: bool) -> Model:
    """Swap every prunable Linear of `model` for a `BlockSparseLinear`, in place; returns the model.

    keep_dense_above   leave a layer dense where more than this share of its elements would be stored; None: swap all
    which              pooler=True, classifier=True as in `prunable`; embeddings are look-ups and stay dense

    The outputs stay the same up to rounding. Groups that are all zero are not stored, so prune first: a layer of full
    density runs no faster. An optimiser made before holds the old weights: make a new one. Raises ValueError where
    there is nothing to swap, TypeError for wrong types; the model is then as it was.

    >>> model = sparsify(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), BlockStructure.block_row(4))
    >>> model[0]
    BlockSparseLinear(in_features=8, out_features=4, structure=block_row:4, density=1, bias=True)
    """
    check_structure(structure)
    limit = None
    if keep_dense_above is not None:
        limit = finite_number(keep_dense_above, "keep_dense_above", 0, "a density such as 0.5, or None")
        if limit > 1:
            raise ValueError(f"keep_dense_above must be a density from 0 to 1, or None; got {keep_dense_above!r}")
    linears = {name: module for name, module in prunable(model, **which).items() if isinstance(module, nn.Linear)}
    if "" in linears:
        raise ValueError(
            "model is itself a Linear, which cannot be swapped in place; BlockSparseLinear.from_linear makes one"
        )
    if not linears:
        raise ValueError(f"model {type(model).__name__} has no prunable nn.Linear to swap; look-ups stay dense")
    _refuse_shared(model, linears)
    layers = {name: _layer(name, linear, structure) for name, linear in linears.items()}
    for name, layer in layers.items():
        if limit is None or layer.density <= limit:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer)
    return model


def _layer(name: str, linear: nn.Linear, structure: BlockStructure) -> BlockSparseLinear:
    try:
        return BlockSparseLinear.from_linear(linear, structure)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from None


def _refuse_shared(model: nn.Module, linears: dict[str, nn.Linear]) -> None:
    """Raise ValueError where a weight to be packed belongs to another module too: packing would part them."""
    mine = {id(linear.weight): name for name, linear in linears.items()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = mine.get(id(parameter))
        if owner is not None and name != f"{owner}.weight":
            raise ValueError(
                f"layer {owner!r} shares its weight with {name!r}: packing it would part the two; "
                "give one of them a copy of its own first"
            )
