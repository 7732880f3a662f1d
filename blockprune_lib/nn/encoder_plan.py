"""An encoder's layers as records that a compiled call reads, and the call itself.

Left out: when a call may be made (`engine`), and how the kernels compute it (`kernels.encoder`).
"""

from __future__ import annotations

import copy
import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels import parallel
from ..kernels.dense_path import PACKED_TYPES
from ..kernels.encoder import COUNTERS, PHASES
from ..kernels.precision import PRECISIONS, Precision
from ..kernels.product import ACTIVATIONS
from ..kernels.records import CALL, LAYER, MATRIX, NORM, NORMS, PRODUCTS, SEQUENCE, filled
from ..kernels.tile_loop import BYTES, VECTORS, WIDTH
from ..pruning.architectures import LayerPaths, layer_paths, part_of
from ..pruning.packing import pack
from ..pruning.passed_over import more_than_linear
from ..pruning.structure import BlockStructure
from .block_sparse_linear import BlockSparseLinear
from .watched import Watched

#: At most so many tokens per call, unless one sequence has more: enough to fill every tile, and fitting a core's cache.
TOGETHER = 256


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
    position: Any = None  # the function that computes the relative position bias, if there is one
    _position: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, encoder: Any, precision: str = "float32") -> EncoderPlan:
        """The plan of an encoder of a known family. Raises Unfit saying what does not fit."""
        wanted = PRECISIONS[precision]
        if wanted.missing:
            raise Unfit(f"{precision} needs {wanted.missing}")
        names = layer_paths(encoder)
        assert names is not None
        config = getattr(encoder, "config", None)
        if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
            raise Unfit("the model is a decoder")
        modules = list(part_of(encoder, names.layers))
        if not modules:
            raise Unfit("the encoder has no layers")
        heads = int(part_of(modules[0], names.heads))
        width = int(modules[0].get_submodule(names.final).normalized_shape[0])
        if wanted.even_heads and width // heads % 2:
            raise Unfit(f"in {precision} a head must have an even number of features; got {width // heads}")
        dtype = _type_of(encoder)
        for module in encoder.modules():
            if isinstance(module, nn.Linear) and (what := more_than_linear(module)):
                raise Unfit(f"a layer is a {what}")
        layers = np.zeros(len(modules), LAYER)
        kept: list[Any] = [layers]
        watched = Watched(encoder)
        for number, module in enumerate(modules):
            for name in PRODUCTS:
                linear = module.get_submodule(getattr(names, name))
                layers[number][name] = _matrix(linear, wanted, kept, watched)[0]
            for name in NORMS:
                layers[number][name] = _norm(module.get_submodule(getattr(names, name)), width, kept, watched)[0]
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
        return cls(wanted, dtype, layers, heads, width, inner, kept, watched, hollow, position)

    def holds(self) -> bool:
        """Whether every module and tensor is still the one that the plan was made from, and unchanged since."""
        return self.watched.holds()

    def run(self, hidden: Tensor, shown: Tensor, threads: int) -> Tensor:
        """The last hidden states (batch, tokens, width); rows of masked tokens are zero."""
        batch, tokens, width = hidden.shape
        lengths = shown.sum(1).numpy()
        everything = int(lengths.sum()) == batch * tokens
        rows = hidden.reshape(-1, width)
        if not everything:
            index = shown.reshape(-1).nonzero()[:, 0]
            rows = rows.index_select(0, index)
        rows = rows.float().contiguous().resolve_neg()
        found = torch.empty_like(rows)
        for first, sequences in _units(lengths):
            self._call(rows, found, first, sequences, threads)
        found = found.to(hidden.dtype)
        if everything:
            return found.view(batch, tokens, width)
        result = hidden.new_zeros(batch * tokens, width)
        return result.index_copy_(0, index, found).view(batch, tokens, width)

    def _call(self, rows: Tensor, found: Tensor, first: int, sequences: np.ndarray, threads: int) -> None:
        tokens, longest = int(sequences["length"].sum()), int(sequences["length"].max())
        room = tokens + VECTORS * WIDTH + WIDTH
        pitch = (room // WIDTH | 1) * WIDTH  # an odd number of vectors, so that rows do not share a few cache sets
        memory = _memory()
        sizes = self.precision.rows(self.width, self.inner)
        floats = memory.floats(sum(sizes.values()) * pitch)
        places, at = {}, floats
        for name, size in sizes.items():
            places[name], at = at, at + 4 * size * pitch
        counters = memory.counters(COUNTERS * (PHASES * len(self.layers) + 2))
        most = max(self.width, self.inner)
        scratch_bytes = self.precision.scratch_rows(longest, self.width // self.heads, most) * VECTORS * BYTES
        scratch = memory.scratch(threads * scratch_bytes)
        bias = self._position_of(longest) if self.position is not None else None
        where = 4 * first * self.width
        call = filled(
            CALL, layers=self.layers.ctypes.data, count=len(self.layers), heads=self.heads, width=self.width,
            tokens=tokens, pitch=4 * pitch, sequences=sequences.ctypes.data, sequence_count=len(sequences),
            input=rows.data_ptr() + where, result=found.data_ptr() + where, counters=counters, scratch=scratch,
            scratch_bytes=scratch_bytes, position=0 if bias is None else bias.data_ptr(),
            position_pitch=0 if bias is None else 4 * bias.stride(1),
            position_head=0 if bias is None else 4 * bias.stride(0), scale=(self.width // self.heads) ** -0.5, **places,
        )  # fmt: skip
        parallel.run(self.precision.worker, (ctypes.c_int64 * 4)(0, threads, 0, call.ctypes.data), threads)

    def _position_of(self, tokens: int) -> Tensor:
        """The position bias (heads, keys, queries) divided by the scale, with room for a tile beyond the last query."""
        if tokens not in self._position:
            with torch.no_grad():
                bias = self.position(torch.empty(1, tokens, 1, device="cpu"))[0].transpose(1, 2)
                roomy = torch.zeros(*bias.shape[:2], tokens + VECTORS * WIDTH, dtype=torch.float32, device="cpu")
                roomy[:, :, :tokens] = bias * (self.width // self.heads) ** 0.5
            self._position = {tokens: roomy}
        return self._position[tokens]


def _units(lengths: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The sequences of each call: (first token, their starts and lengths); empty sequences are left out."""
    first = 0
    unit: list[tuple[int, int]] = []
    tokens = 0
    for length in lengths.tolist():
        if unit and tokens + length > TOGETHER:
            yield first, np.array(unit, SEQUENCE)
            first, unit, tokens = first + tokens, [], 0
        if length:
            unit.append((tokens, length))
            tokens += length
    if unit:
        yield first, np.array(unit, SEQUENCE)


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
        ones = torch.ones(1, linear.in_features, dtype=torch.bool, device="cpu")
        packed = pack(linear.weight, BlockStructure.column(), ones)
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


def _norm(norm: Any, width: int, kept: list[Any], watched: Watched) -> np.ndarray:
    if type(norm) is not nn.LayerNorm or norm.weight is None or norm.bias is None or norm.normalized_shape != (width,):
        raise Unfit(f"a {type(norm).__name__} is no LayerNorm over the features with weight and bias")
    weight, bias = norm.weight.detach().float().contiguous(), norm.bias.detach().float().contiguous()
    kept += [weight, bias]
    watched.add(norm)
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
    follows = part_of(layer, names.activation)
    name = getattr(part_of(layer, names.inner), "activation", None) or activation_name(follows)
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


class _Memory(threading.local):
    """Memory that a calling thread keeps between calls, so that it is warm; each piece begins on a cache line."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def floats(self, count: int) -> int:
        return self._take("floats", 4 * count)

    def scratch(self, count: int) -> int:
        return self._take("scratch", count)

    def counters(self, count: int) -> int:
        address = self._take("counters", 8 * count)
        ctypes.memset(address, 0, 8 * count)
        return address

    def _take(self, name: str, count: int) -> int:
        held = self._held.get(name)
        if held is None or held.nbytes < count + 64:
            held = self._held[name] = np.zeros(count + 64, np.uint8)
        return int(-(-held.ctypes.data // 64) * 64)


_memories = _Memory()


def _memory() -> _Memory:
    return _memories
