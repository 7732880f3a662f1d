"""What has no kernel: float64 and other types, other devices. Such a product takes the dense matrix, and says so."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..pruning.packing import PackedMatrix

#: The float types that run on packed weights, on the CPU. Sums are float32 in each.
PACKED_TYPES = (torch.float32, torch.bfloat16, torch.float16)

_said: set[str] = set()


class DenseProductWarning(UserWarning):
    """A type or a device has no kernel: every call makes the dense matrix, which is slower than the dense model."""


def runs_packed(*tensors: Tensor | None) -> bool:
    """Whether a product of these tensors, all of one type, runs on packed weights; None is left out.

    >>> runs_packed(torch.ones(2)), runs_packed(torch.ones(2).double())
    (True, False)
    """
    first, *rest = [tensor for tensor in tensors if tensor is not None]
    return first.dtype in PACKED_TYPES and all(t.dtype is first.dtype and t.is_cpu for t in (first, *rest))


def dense_weight(packed: PackedMatrix) -> Tensor:
    """The matrix (M, N) for a product without a kernel; the first of its type and device in a process is warned of."""
    _say_once(str(packed.values.dtype).removeprefix("torch."), packed.values.device.type)
    return packed.to_dense()


@torch.compiler.assume_constant_result  # torch.compile runs it once, while it looks on
def _say_once(dtype: str, device: str) -> None:
    if device == "meta" or (where := f"{dtype} on {device}") in _said:
        return
    _said.add(where)
    message = (
        f"block-sparse layers in {where} have no kernel: each call makes the dense matrix anew and takes longer than a "
        "dense layer, most of all with few tokens. "
        "model.float(), .bfloat16() or .half() on the CPU runs on packed weights; "
        f"blockprune_lib.densify(model) keeps {dtype} and makes each matrix once"
    )
    warnings.warn(message, DenseProductWarning, stacklevel=2)
