"""BlockSparseLinear: a linear layer that stores, runs and trains only the groups that pruning kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import FLOATS, positive_int
from ..kernels.arguments import check_activation
from ..kernels.functional import activated, apply, as_autocast
from ..kernels.operator import plan_for, version
from ..kernels.plan import Plan
from ..kernels.traced import traced_linear, watched
from ..pruning.packing import PackedMatrix, pack
from ..pruning.passed_over import more_than_linear
from ..pruning.structure import BlockStructure, check_structure
from .adapters import let_peft_adapt
from .saved_by_transformers import divert_save_pretrained


class BlockSparseLinear(nn.Module):
    """y = x Wᵀ + b, where only some groups of W are stored; like `nn.Linear` otherwise.

    structure    the groups that W is made of
    keep         bool grid (R, C) = `structure.grid((out_features, in_features))`: the groups that are stored; None: all
    activation   None, or "gelu": the layer returns gelu(y), in the same pass where no gradient is asked for

    Parameters: `values` (groups, c, r), the stored weights, and `bias` (out_features,) or None. Buffers: `columns` and
    `offsets`, the indices of a `PackedMatrix`. Any optimiser trains it; what is not stored stays zero. On the CPU, in
    float32, bfloat16 or float16, it runs on the stored groups alone; elsewhere through a dense matrix made for the
    call, as a warning says once.

    >>> layer = BlockSparseLinear.from_linear(nn.Linear(64, 8), BlockStructure.block_row(32))
    >>> layer(torch.ones(3, 64)).shape, layer.density
    (torch.Size([3, 8]), 1.0)
    """

    values: nn.Parameter
    bias: nn.Parameter | None
    columns: Tensor
    offsets: Tensor
    activation: str | None = None
    _ready: Any = (None,) * 7  # what `_prepared` made, and of which tensors

    def __init__(
        self, in_features: int, out_features: int, structure: BlockStructure, bias: bool = True, *,
        keep: Tensor | None = None, activation: str | None = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_structure(structure)
        self.activation = check_activation(activation)
        shape = (positive_int(out_features, "out_features"), positive_int(in_features, "in_features"))
        (R, C), (r, c) = structure.grid(shape), structure.group_shape(shape)
        if keep is None:
            keep = torch.ones(R, C, dtype=torch.bool, device="cpu")
        if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
            got = getattr(keep, "dtype", type(keep))
            raise TypeError(f"keep must be a bool tensor, as select() returns; got {got}")
        if keep.shape != (R, C):
            raise ValueError(
                f"keep must have the grid's shape {(R, C)} for {structure} over {shape}; got {tuple(keep.shape)}"
            )
        if dtype is not None and dtype not in FLOATS:
            raise TypeError(f"dtype must be a float type of torch; got {dtype!r}: torch.float32 would do")
        offsets = torch.nn.functional.pad(keep.cpu().sum(1).cumsum(0), (1, 0))
        columns = keep.cpu().nonzero()[:, 1].to(torch.int32)
        values = torch.empty(len(columns), c, r, device=device, dtype=dtype)
        self._set(structure, shape, columns.to(values.device), offsets.to(values.device))
        self.values = nn.Parameter(values)
        free = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", free)
        self.reset_parameters()

    def _set(self, structure: BlockStructure, shape: tuple[int, int], columns: Tensor, offsets: Tensor) -> None:
        self.structure, (self.out_features, self.in_features) = structure, shape
        self.register_buffer("columns", columns)
        self.register_buffer("offsets", offsets)
        _known_to_others()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw stored weights and bias uniformly from ±1/sqrt(in_features), as `nn.Linear` does."""
        bound = 1 / math.sqrt(self.in_features)
        self.values.uniform_(-bound, bound)
        (r, c), (M, N), (R, C) = self.structure.group_shape(self._shape), self._shape, self.structure.grid(self._shape)
        bottom, right = self.packed._group_rows() == R - 1, self.columns == C - 1
        self.values[:, :, M - (R - 1) * r :].masked_fill_(bottom[:, None, None], 0)  # padding beyond the edge
        self.values[:, N - (C - 1) * c :].masked_fill_(right[:, None, None], 0)
        if self.bias is not None:
            self.bias.uniform_(-bound, bound)

    @classmethod
    def from_linear(cls, linear: nn.Linear, structure: BlockStructure, keep: Tensor | None = None) -> BlockSparseLinear:
        """The layer that computes the same; groups of `linear.weight` that are all zero are not stored.

        `keep` as in `pack`: the groups to store, for a support that is to be trained. Raises TypeError for any other
        module, ValueError for a Linear that does more than multiply, and as `pack` does.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"linear must be a torch.nn.Linear; got {type(linear).__name__}")
        if what := more_than_linear(linear):
            raise ValueError(f"linear must compute x Wᵀ + b and nothing else; got a {what}")
        bias = None if linear.bias is None else linear.bias.detach().clone()
        layer = cls.from_packed(pack(linear.weight, structure, keep), bias)
        layer.values.requires_grad_(linear.weight.requires_grad)
        if layer.bias is not None:
            layer.bias.requires_grad_(linear.bias.requires_grad)
        return layer.train(linear.training)

    @classmethod
    def from_packed(cls, packed: PackedMatrix, bias: Tensor | None = None) -> BlockSparseLinear:
        """The layer of a packed matrix, whose tensors it takes over. Raises ValueError where they are not valid."""
        if not isinstance(packed, PackedMatrix):
            raise TypeError(f"packed must be a PackedMatrix; got {type(packed).__name__}: pack(weight, structure)")
        packed.validate()
        if bias is not None and tuple(bias.shape) != packed.shape[:1]:
            raise ValueError(f"bias must have shape ({packed.shape[0]},); got {tuple(bias.shape)}")
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._set(packed.structure, packed.shape, packed.columns, packed.offsets)
        layer.values = nn.Parameter(packed.values.detach())
        layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach()))
        return layer

    def to_linear(self) -> nn.Linear:
        """The dense `nn.Linear` that computes the same, without the activation."""
        M, N = self._shape
        dense = nn.Linear(N, M, self.bias is not None, device="meta", dtype=self.values.dtype)
        dense.weight = nn.Parameter(self.packed.to_dense().detach(), requires_grad=self.values.requires_grad)
        if self.bias is not None:
            dense.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=self.bias.requires_grad)
        return dense.train(self.training)

    def dense(self) -> nn.Module:
        """`to_linear()`, followed by the activation if there is one."""
        linear = self.to_linear()
        return linear if self.activation is None else nn.Sequential(linear, nn.GELU()).train(self.training)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.out_features, self.in_features

    @property
    def packed(self) -> PackedMatrix:
        """The stored groups as a `PackedMatrix` that shares memory with the layer; its values require gradients."""
        return PackedMatrix(self.structure, self._shape, self.values, self.columns, self.offsets)

    @property
    def weight(self) -> Tensor:
        """W as a dense matrix (M, N), differentiable, for code that looks at weights; made anew at each use.

        Writing to it changes nothing: what is stored, and may be written to, is `values`.
        """
        return self.packed.to_dense()

    @property
    def density(self) -> float:
        """Stored elements ÷ all elements of the matrix."""
        return self.packed.density

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) → (..., out_features), through the activation if there is one.

        Under autocast the result has autocast's type, as an `nn.Linear`'s has; it is computed in the weights' own.
        """
        values: Any = self._parameters["values"]  # where it is: `__getattr__` costs as much as a small layer
        if watched(x, values):
            y = activated(traced_linear(x, self.packed, self.bias), self.activation)
        else:
            packed, plan = self._prepared(values)
            y = apply(x, packed, self._parameters["bias"], plan, self.activation)
        return as_autocast(y, values)

    def _prepared(self, values: Tensor) -> tuple[PackedMatrix, Any]:
        """The packed matrix and its plan; made, and every index checked, when a tensor is another or was written to."""
        columns: Any = self._buffers["columns"]
        offsets: Any = self._buffers["offsets"]
        of_values, of_columns, of_offsets, columns_version, offsets_version, packed, plan = self._ready
        if (
            of_values is not values or of_columns is not columns or of_offsets is not offsets
            or (columns_version >= 0 and columns_version != columns._version)
            or (offsets_version >= 0 and offsets_version != offsets._version)
        ):  # fmt: skip
            packed = self.packed if columns.is_meta else self.packed.validate()
            plan = make_plan(packed) if columns.is_cpu else None
            self._ready = values, columns, offsets, version(columns), version(offsets), packed, plan
        return packed, plan

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # Another pattern has another number of groups: make room for it, keeping the parameter an optimiser holds.
        values, columns = state_dict.get(f"{prefix}values"), state_dict.get(f"{prefix}columns")
        both = isinstance(values, Tensor) and isinstance(columns, Tensor)
        if both and len(values) == len(columns) != len(self.columns) and values.shape[1:] == self.values.shape[1:]:
            self.columns = self.columns.new_empty(columns.shape)
            if len(self.values) != len(values):  # else a layer that shares them made the room
                self.values.data = self.values.data.new_empty(values.shape)
                self.values.grad = None
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._ready = BlockSparseLinear._ready

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse torch.jit.script, which reads the source of a forward: a stand-in would be put into the live model."""
        raise TypeError(
            "torch.jit.script takes no block-sparse layers: torch.jit.trace, torch.export and torch.compile do, and "
            "torch.jit.script(blockprune_lib.densify(copy.deepcopy(model))) would give a dense one"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_ready"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _known_to_others()

    def extra_repr(self) -> str:
        """What `print(layer)` says."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, structure={self.structure}, "
            f"density={self.density:.3g}, bias={self.bias is not None}"
            + (f", activation={self.activation!r}" if self.activation else "")
        )


def make_plan(packed: PackedMatrix) -> Plan:
    """The plan of a layer's matrix, which is also that of the operator that torch sees in the layer's place."""
    return plan_for(packed.columns, packed.offsets, [*packed.shape, *packed.group_shape])


def _known_to_others() -> None:
    """Tell transformers how such layers are saved, and PEFT how they are adapted, where these have been imported."""
    divert_save_pretrained(BlockSparseLinear)
    let_peft_adapt(BlockSparseLinear)
