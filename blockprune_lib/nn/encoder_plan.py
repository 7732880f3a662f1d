"""An encoder's layers as records that a compiled call reads.

Left out: the call itself (`encoder_call`), when it may be made (`engine`), how the kernels compute it
(`kernels.encoder`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.dense_path import PACKED_TYPES
from ..kernels.precision import PRECISIONS, Precision
from ..kernels.product import ACTIVATIONS
from ..kernels.records import LAYER, MATRIX, NORM, NORMS, PRODUCTS, filled
from ..pruning.families import LayerPaths, layer_paths, part_if_there, part_of
from ..pruning.packing import pack
from ..pruning.passed_over import more_than_linear
from ..pruning.structure import BlockStructure
from .block_sparse_linear import BlockSparseLinear
from .replaced import replaced
from .watched import Watched

#: How the matrix of a plain Linear is packed. Groups as high as the matrix hold the same numbers, but there the weights
#: that a strip multiplies lie a whole column apart, and in float32 such a product can take more than twice as long.
DENSE = BlockStructure.block_column(16)


class Unfit(Exception):  # noqa: N818 - its message says what does not fit
    """Why an encoder has no compiled call."""


@dataclass(eq=False)
class EncoderPlan:
    """An encoder's layers as records that a kernel reads, and the tensors and arrays that they point to."""

    precision: Precision
    dtype: torch.dtype  # of the encoder's weights, and of what goes in and comes out
    layers: np.ndarray
    heads: int
    width: int
    inner: int
    kept: list[Any]  # keeps alive what the addresses point to
    watched: Watched  # what it was made from
    hollow: Any  # the encoder without layers: its forward turns a result into what the class returns
    modules: tuple[nn.Module, ...]  # all of the encoder's, when it was made
    position: Any = None  # the function that computes the relative position bias, if there is one
    template: np.ndarray | None = None  # of the record of a call
    biases: dict[int, Tensor] = field(default_factory=dict)  # what that gave, by the number of tokens

    @classmethod
    def of(cls, encoder: Any, precision: str = "float32") -> EncoderPlan:
        """The plan of an encoder of a known family. Raises Unfit saying what does not fit."""
        wanted = PRECISIONS[precision]
        if wanted.missing:
            raise Unfit(f"{precision} needs {wanted.missing}")
        names = layer_paths(encoder)
        assert names is not None
        config, watched = getattr(encoder, "config", None), Watched()
        if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
            raise Unfit("the model is a decoder")
        modules = list(part_of(encoder, names.layers))
        if not modules:
            raise Unfit("the encoder has no layers")
        if what := replaced(encoder.modules()):
            raise Unfit(f"a module is a {what}")
        heads, width = _heads(modules, names, watched), int(_part(modules[0], names.query).in_features)
        if wanted.even_heads and width // heads % 2:
            raise Unfit(f"in {precision} a head must have an even number of features; got {width // heads}")
        dtype = _type_of(encoder)
        for module in encoder.modules():
            if isinstance(module, nn.Linear) and (what := more_than_linear(module)):
                raise Unfit(f"a layer is a {what}")
        layers = np.zeros(len(modules), LAYER)
        kept: list[Any] = [layers]
        if config is not None:
            watched.note(config, "is_decoder", "add_cross_attention")
        for number, module in enumerate(modules):
            for name in PRODUCTS:
                linear = _part(module, getattr(names, name))
                layers[number][name] = _matrix(linear, wanted, kept, watched)[0]
            for name in NORMS:
                layers[number][name] = norm_of(_part(module, getattr(names, name)), width, kept, watched)[0]
            layers[number]["activation"] = _activation(module, names)
        _check(layers, width, heads)
        hollow = copy.copy(encoder)
        hollow.__dict__ = {key: value for key, value in encoder.__dict__.items() if key != "forward"}
        hollow._modules = {**encoder._modules, names.layers: nn.ModuleList()}
        position = getattr(encoder, "compute_position_bias", None)
        if position is not None:
            hollow.compute_position_bias = lambda *_, **__: None
            watched.add(encoder.relative_attention_bias)
        inner = int(layers[0]["inner"]["outputs"])
        watched.begin()
        return cls(
            wanted, dtype, layers, heads, width, inner, kept, watched, hollow, tuple(encoder.modules()), position
        )

    def holds(self, modules: tuple[nn.Module, ...]) -> bool:
        """Whether `modules`, the encoder's now, and every tensor are what the plan was made from, unchanged since."""
        return self.modules == modules and self.watched.holds()


def _part(layer: nn.Module, path: str) -> Any:
    """A part of a layer. Raises Unfit where another module stands in its way."""
    part = part_if_there(layer, path)
    if part is None:
        raise Unfit(f"a layer has no {path}")
    return part


def _heads(layers: list[nn.Module], names: LayerPaths, watched: Watched) -> int:
    """How many heads every layer has, whose scores are divided by the root of a head's width. Raises Unfit."""
    found = {int(_part(layer, names.heads)) for layer in layers}
    if len(found) > 1:
        raise Unfit(f"layers have different numbers of heads: {sorted(found)}")
    if (heads := found.pop()) < 1:
        raise Unfit(f"attention has {heads} heads")
    path, _, name = names.heads.rpartition(".")
    for layer in layers:
        attention, width = _part(layer, path), _part(layer, names.query).out_features
        watched.note(attention, name, "attention_head_size", "all_head_size", "scaling", "is_causal")
        if (size := getattr(attention, "attention_head_size", width // heads)) * heads != width:
            raise Unfit(f"{heads} heads of {size} features are not the {width} of a layer")
        scale = getattr(attention, "scaling", None)
        if scale is not None and not (isinstance(scale, float) and math.isclose(scale, size**-0.5, rel_tol=1e-6)):
            raise Unfit(f"attention multiplies scores by {scale}")
        if getattr(attention, "is_causal", False):
            raise Unfit("attention is causal")
    return heads


def _type_of(encoder: nn.Module) -> torch.dtype:
    """The one float type of an encoder's weights, which must lie on the CPU. Raises Unfit."""
    found = {(parameter.dtype, parameter.device.type) for parameter in encoder.parameters()}
    (dtype, device), *more = found or {(torch.float32, "cpu")}
    if more or dtype not in PACKED_TYPES or device != "cpu":
        said = ", ".join(sorted(f"{str(dtype).removeprefix('torch.')} on {device}" for dtype, device in found))
        raise Unfit(f"the weights must all be float32, bfloat16 or float16 on the CPU; got {said}")
    return dtype


def _matrix(linear: Any, precision: Precision, kept: list[Any], watched: Watched) -> np.ndarray:
    if isinstance(linear, BlockSparseLinear):
        packed = linear.packed.validate()
    elif type(linear) is nn.Linear and not hasattr(linear, "parametrizations"):
        ones = torch.ones(DENSE.grid(linear.weight.shape), dtype=torch.bool, device="cpu")
        packed = pack(linear.weight, DENSE, ones)
    else:
        raise Unfit(f"a {type(linear).__name__} is neither block-sparse nor a plain nn.Linear")
    walk = precision.walk(replace(packed, values=packed.values.detach().float()))
    bias = None if linear.bias is None else linear.bias.detach().float().contiguous()
    kept += [walk, bias]
    watched.add(linear)
    arrays = {
        name: getattr(walk, name).ctypes.data
        for name in ("values", "index", "strips", "bands", "blocks", "sets", "parts")
    }
    return filled(
        MATRIX, kind=walk.kind, outputs=walk.outputs, inputs=walk.inputs, bias=0 if bias is None else bias.data_ptr(),
        height=walk.height, runs=len(walk.parts) - 1, **arrays,
    )  # fmt: skip


def norm_of(norm: Any, width: int, kept: list[Any], watched: Watched) -> np.ndarray:
    """The record of a LayerNorm over so many features. Raises Unfit."""
    if type(norm) is not nn.LayerNorm or norm.weight is None or norm.bias is None or norm.normalized_shape != (width,):
        raise Unfit(f"a {type(norm).__name__} is no LayerNorm over the features with weight and bias")
    weight, bias = norm.weight.detach().float().contiguous(), norm.bias.detach().float().contiguous()
    kept += [weight, bias]
    watched.add(norm)
    watched.note(norm, "eps", "normalized_shape")
    return filled(NORM, weight=weight.data_ptr(), bias=bias.data_ptr(), epsilon=norm.eps)


def activation_name(function: Any) -> str | None:
    """The name in `ACTIVATIONS` of a module or function, or None; only the exact form of GELU has one."""
    if isinstance(function, nn.GELU):
        return "gelu" if function.approximate == "none" else None
    if type(function).__name__ == "GELUActivation":
        return "gelu" if getattr(function, "act", None) is nn.functional.gelu else None
    if isinstance(function, nn.ReLU):
        return "relu"
    return "silu" if isinstance(function, nn.SiLU) or type(function).__name__ == "SiLUActivation" else None


def _activation(layer: Any, names: LayerPaths) -> int:
    """The number of the activation after the first feed-forward matrix, whose layer may apply it itself."""
    follows = _part(layer, names.activation)
    name = getattr(_part(layer, names.inner), "activation", None) or activation_name(follows)
    if name is None:
        raise Unfit(f"the activation {type(follows).__name__} is not exact GELU, ReLU or SiLU")
    return ACTIVATIONS[name]


def _check(layers: np.ndarray, width: int, heads: int) -> None:
    """Raise Unfit unless the shapes of the matrices chain: a kernel reads and writes by these sizes."""
    if width % heads:
        raise Unfit(f"{width} features are no multiple of {heads} heads")
    for layer in layers:
        sides = {name: (int(layer[name]["outputs"]), int(layer[name]["inputs"])) for name in PRODUCTS}
        inner = sides["inner"][0]
        wanted = {name: (width, width) for name in PRODUCTS} | {"inner": (inner, width), "outer": (width, inner)}
        if sides != wanted or inner != int(layers[0]["inner"]["outputs"]):
            raise Unfit(f"the matrices of a layer do not follow each other: {sides}")
