"""The product where torch itself looks on: compiling, exporting, tracing, transforming, counting.

    torch.compile, torch.export, torch.jit.trace, torch.fx, torch.func, modes    the operator of `operator`
    forward-mode derivatives (torch.func.jvp), types and devices without kernel  the dense matrix and operators of torch
    torch.onnx.export                                                            the dense matrix, and a warning

An eager call has no need of it: `functional` runs the kernels directly, which saves 15 to 25 µs a call.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch, _get_tracing_state, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.nn import Parameter

from ..pruning.packing import PackedMatrix
from . import operator
from .arguments import check_factors, in_weights_type
from .dense_path import dense_weight, runs_packed

_PLAIN = (Tensor, Parameter)


class DenseExportWarning(UserWarning):
    """Block-sparse layers are written to a file with their zeros, since no operator of its format leaves them out."""


def watched(x: Any, values: Tensor) -> bool:
    """Whether torch must see an operator, rather than what it computes."""
    return (
        torch.compiler.is_compiling()
        or type(x) is not Tensor
        or type(values) not in _PLAIN
        or _get_tracing_state() is not None
        or _functorch.maybe_current_level() is not None
        or _len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


@torch.compiler.assume_constant_result
def _transformed() -> bool:
    """Whether a transform of torch.func is at work; torch.compile asks once, and guards for it by itself."""
    return _functorch.maybe_current_level() is not None


def traced_linear(x: Any, packed: PackedMatrix, bias: Tensor | None) -> Tensor:
    """x (..., N) → x Wᵀ + b (..., M), by operators that torch knows. Raises as `functional.linear` does."""
    values, (M, N), (r, c) = packed.values, packed.shape, packed.group_shape
    if isinstance(x, torch.fx.Proxy):  # stands for a tensor that is not there yet
        return operator.linear(x, values, bias, packed.columns, packed.offsets, [M, N, r, c])
    x = in_weights_type(x, values)
    if _get_tracing_state() is None:  # there a shape is no number yet; the operator checks it when it runs
        check_factors(x, values, bias, packed.shape)
    if torch.onnx.is_in_onnx_export():
        return torch.nn.functional.linear(x, _weight_for_onnx(packed), bias)
    compiling, transformed = torch.compiler.is_compiling(), _transformed()
    if not runs_packed(values):
        return torch.nn.functional.linear(x, dense_weight(packed), bias)
    if forward_ad._current_level >= 0 or (compiling and transformed):  # Dynamo cannot follow what torch.func needs
        return torch.nn.functional.linear(x, packed.to_dense(), bias)
    made_of = x, values, bias, packed.columns, packed.offsets, [M, N, r, c]
    return operator.transformed(operator.linear, *made_of) if transformed else operator.linear(*made_of)


def _weight_for_onnx(packed: PackedMatrix) -> Tensor:
    """The dense weight, from the packed one by operators that both exporters of torch can write.

    The file holds the packed weights; an engine puts them in their places once, when it loads the file.
    """
    warnings.warn(
        "block-sparse layers are written to ONNX with dense weights, zeros included: the file gives the right result, "
        "and runs no faster than the model before pruning; blockprune_lib.densify(model) makes a plain model to export",
        DenseExportWarning,
        stacklevel=3,
    )
    (R, C), (r, c), (M, N), n = packed.grid, packed.group_shape, packed.shape, packed.groups
    ones = packed.offsets.new_ones(R - 1)
    row = packed.offsets.new_zeros(n + 1).scatter_add(0, packed.offsets[1:-1], ones).cumsum(0)[:n]
    cells = packed.values.new_zeros(R * C, c * r)
    cells = cells.index_put((row * C + packed.columns.long(),), packed.values.reshape(n, c * r))
    return cells.view(R, C, c, r).permute(0, 3, 1, 2).reshape(R * r, C * c)[:M, :N]
