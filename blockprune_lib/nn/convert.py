"""Swap the linear layers of a pruned model for block-sparse ones, which also apply the GELU that follows them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from .._common.callers import users_line
from .._common.checks import finite_number, one_of
from .._common.inference import ordinary_tensors
from ..kernels.precision import PRECISIONS, check_precision, slower_in_tiles
from ..machine.peak import fastest_precision
from ..pruning.architectures import parameter_name, prunable
from ..pruning.families import part_if_there, part_of
from ..pruning.passed_over import A_COPY, more_than_linear, say, shares_otherwise
from ..pruning.structure import BlockStructure, check_structure
from .block_sparse_linear import BlockSparseLinear
from .break_even import break_even_density, usual_break_even
from .encoder_plan import activation_name
from .engine import encoders_of
from .places import places, put_, times_used
from .whole_call import attach

Model = TypeVar("Model", bound=nn.Module)
#: Inside an encoder that runs as one call even single weights are faster up to this density: AVX-512, bert-base.
BREAK_EVEN_IN_ENCODER = 0.4


@ordinary_tensors
def sparsify(
    model: Model, structure: BlockStructure | Mapping[str, BlockStructure], *, precision: str = "float32",
    keep_dense_above: float | str | None = None, fuse: bool = True, **which: bool,
) -> Model:  # fmt: skip
    """Swap every prunable Linear of `model` for a `BlockSparseLinear`, in place; returns the model.

    structure          of every matrix, or {parameter name: structure}, such as the attribute `structures` of `Masks`
                       and of a `Budget`; a matrix that is not named stays dense; none named: nothing is changed
    precision          of the products in the compiled call that `fuse` is about: "float32"; "bfloat16", which rounds
                       weights and what they multiply to 8 significant bits, and adds up in float32, in tiles of AMX
                       where the processor has them, else in vectors; or "auto": what is faster here, as a short
                       measurement finds and, for tiles, a model of how well the groups fill them
    keep_dense_above   the density above which a layer stays dense; "measured": the `break_even_density` of its shape,
                       timed on this machine now; None: swap all, and warn of layers that by a rule of thumb are too
                       dense to run faster
    fuse               let the first feed-forward layer also apply the exact GELU that follows it, and a whole encoder
                       run as one compiled call in evaluation without gradients: those of BERT, RoBERTa, DistilBERT,
                       ELECTRA and MPNet; all others run layer by layer. The call computes nothing where the
                       attention mask hides padding behind a text: the last hidden states are zeros there, so take
                       means over visible tokens only. Padding on the left goes through the layers
    which              pooler=True, classifier=True as in `prunable`; embeddings stay dense

    Layers that share a weight share what is stored of it; a layer used in several places is one layer in all of them.
    The outputs stay the same up to rounding: a Linear that does more than multiply (a forward of its own, hooks) stays
    dense, and a PassedOverWarning says so. Groups that are all zero are not stored, so prune first: a layer of full
    density runs no faster. An optimiser created before the call holds the old weights: create a new one.
    Raises ValueError where there is nothing to swap or an adapter (LoRA) stands on a layer, TypeError
    for wrong types; the model is then as it was.

    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    >>> model = sparsify(model, BlockStructure.block_row(4), keep_dense_above=1.0)
    >>> model[0]
    BlockSparseLinear(in_features=8, out_features=4, structure=block_row:4, density=1, bias=True)
    """
    if not isinstance(structure, Mapping):
        check_structure(structure)
    one_of(precision, "precision", (*PRECISIONS, "auto"))
    _check_threshold(keep_dense_above)
    linears = {name: module for name, module in prunable(model, **which).items() if isinstance(module, nn.Linear)}
    encoders = encoders_of(model) if fuse else []
    automatic = precision == "auto"
    if automatic:
        precision = fastest_precision() if encoders else "float32"
    elif precision != "float32":
        lacks = "an encoder of a known family, since only whole encoders run in it" if fuse else "fuse=True"
        check_precision(precision, "" if encoders else lacks)
    if "" in linears:
        raise ValueError("model must hold Linears; it is itself a Linear: BlockSparseLinear.from_linear would do")
    if not linears:
        raise ValueError(f"model {type(model).__name__} has no prunable nn.Linear to swap; embeddings stay dense")
    structures = _structures(structure, linears)
    linears, left = that_only_multiply({name: linears[name] for name in structures})
    if isinstance(structure, Mapping) and not structure:
        return model
    if not linears:
        raise ValueError(f"model {type(model).__name__} has no prunable nn.Linear to swap; {left}")
    _refuse_shared(model, linears)
    _refuse_adapters(linears)
    layers = {}
    for name, linear in linears.items():
        try:
            layers[name] = BlockSparseLinear.from_linear(linear, structures[name])
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None
    if automatic and precision == "bfloat16" and slower_in_tiles(layer.packed for layer in layers.values()):
        precision = "float32"
    thresholds = _thresholds(layers, keep_dense_above)
    if keep_dense_above is None:
        inside = {id(part) for encoder, _ in encoders for part in encoder.modules()}
        _warn_of_dense(layers, {name for name, linear in linears.items() if id(linear) in inside})
    if left:
        say(model, left)
    for name, layer in layers.items():
        if layer.density <= thresholds[name]:
            round_values_(layer, precision)
            put_(model, linears[name], layer)
    _call_the_layers(model)
    if fuse:
        fuse_gelu(model)
        attach(model, precision)
    return model


def _structures(structure: BlockStructure | Mapping[str, BlockStructure], linears: Any) -> dict[str, BlockStructure]:
    """{name of the Linear: its structure}, of those that are to be swapped."""
    if isinstance(structure, BlockStructure):
        return dict.fromkeys(linears, structure)
    for each in structure.values():
        check_structure(each)
    modules = {parameter_name(name): name for name in linears}
    if unknown := [name for name in structure if name not in modules]:
        raise ValueError(
            f"structure must name prunable weights, such as {next(iter(modules))!r}; {len(unknown)} of "
            f"{len(structure)} are none, the first {unknown[0]!r}"
        )
    return {modules[name]: each for name, each in structure.items()}


def round_values_(layer: BlockSparseLinear, precision: str) -> None:
    """Round weights as a precision multiplies them: every path, and a saved file, has those that the kernel has."""
    if precision == "bfloat16":
        layer.values.data = layer.values.data.to(torch.bfloat16).to(layer.values.dtype)


class TooDenseWarning(UserWarning):
    """A layer so dense that its product is probably no faster than dense; see `keep_dense_above` of `sparsify`."""


def that_only_multiply(linears: dict[str, nn.Linear]) -> tuple[dict[str, nn.Linear], str]:
    """The Linears that a sparse layer can stand for, and what to say of those that do more, which stay dense."""
    more = {name: what for name, linear in linears.items() if (what := more_than_linear(linear))}
    left = ""
    if more:
        name, what = next(iter(more.items()))
        left = f"{len(more)} of {len(linears)} layers stay dense, the first {name!r}: it is a {what}"
    return {name: linear for name, linear in linears.items() if name not in more}, left


def _check_threshold(keep_dense_above: Any) -> None:
    if keep_dense_above is None or keep_dense_above == "measured":
        return
    if finite_number(keep_dense_above, "keep_dense_above", 0, "a density such as 0.5, 'measured', or None") > 1:
        raise ValueError(f"keep_dense_above must be from 0 to 1, 'measured', or None; got {keep_dense_above!r}")


def _thresholds(layers: dict[str, BlockSparseLinear], keep_dense_above: float | str | None) -> dict[str, float]:
    """The highest density at which each layer is swapped; None swaps all. Each shape is measured once."""
    if not isinstance(keep_dense_above, str):
        return dict.fromkeys(layers, 1.0 if keep_dense_above is None else float(keep_dense_above))
    shapes = {name: (layer.structure, layer.packed.shape) for name, layer in layers.items()}
    measured = {key: break_even_density(*key).density for key in dict.fromkeys(shapes.values())}
    return {name: measured[key] for name, key in shapes.items()}


def _warn_of_dense(layers: dict[str, BlockSparseLinear], inside: set[str]) -> None:
    """Warn of layers that are likely to be too dense; `inside`: those of an encoder that runs as one call."""
    break_even = {name: usual_break_even(layer.structure, layer.packed.shape) for name, layer in layers.items()}
    break_even |= {name: max(break_even[name], BREAK_EVEN_IN_ENCODER) for name in inside}
    dense = [name for name, layer in layers.items() if layer.density > break_even[name]]
    if dense:
        name, layer = dense[0], layers[dense[0]]
        message = (
            f"{len(dense)} of {len(layers)} layers may be too dense to be faster: {name!r} keeps {layer.density:.2f} "
            f"of its elements, and {layer.structure} usually breaks even with dense at about {break_even[name]:.2f}. "
            'keep_dense_above="measured" measures here and leaves such layers dense'
        )
        warnings.warn(message, TooDenseWarning, stacklevel=users_line())


def _refuse_shared(model: nn.Module, linears: dict[str, nn.Linear]) -> None:
    """Raise ValueError where a weight also belongs to what no sparse layer can stand for: packing would untie them."""
    for owner, linear in linears.items():
        for name, module in places(model, linear.weight):
            if what := shares_otherwise(module, linear.weight):
                other = repr(name) if name else "the model itself"
                raise ValueError(
                    f"layer {owner!r} shares its weight with {other} ({what}), and packing would untie them: {A_COPY}"
                )


def _refuse_adapters(linears: dict[str, nn.Linear]) -> None:
    """Raise ValueError where an adapter stands on a weight: merged later, it would be added to a matrix made anew."""
    name = next((name for name in linears if name.split(".")[-1] == "base_layer"), None)
    if name is not None:
        raise ValueError(
            f"layer {name!r} has an adapter of PEFT on it: model = model.merge_and_unload() first, then prune and "
            "sparsify, would do"
        )


def _call_the_layers(model: nn.Module) -> None:
    """Make torch's own encoder layers call their block-sparse parts: in evaluation they would read dense weights."""
    for layer in [part for part in model.modules() if isinstance(part, nn.TransformerEncoderLayer)]:
        if isinstance(layer.linear1, BlockSparseLinear) or isinstance(layer.linear2, BlockSparseLinear):
            layer.activation_relu_or_gelu = 0  # what torch asks before it takes its one call for the whole layer
            for encoder in [part for part in model.modules() if isinstance(part, nn.TransformerEncoder)]:
                encoder.use_nested_tensor = False  # which only that call takes


def fuse_gelu(model: nn.Module) -> int:
    """Fuse an exact GELU into the sparse layer before it, and put `nn.Identity` in its place.

    Returns how many were fused. The model computes the same, up to 1e-6; under autograd the layer calls torch's GELU.
    """
    fused, used = 0, times_used(model)
    for encoder, paths in encoders_of(model):
        for layer in part_of(encoder, paths.layers):
            linear, activation = part_if_there(layer, paths.inner), part_if_there(layer, paths.activation)
            if (
                isinstance(linear, BlockSparseLinear)
                and not linear.activation
                and used[id(linear)] == 1
                and activation_name(activation) == "gelu"
            ):
                linear.activation = "gelu"
                layer.set_submodule(paths.activation, nn.Identity())
                fused += 1
    return fused
