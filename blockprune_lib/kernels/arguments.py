"""What may be handed to a product, and one sentence for each thing that may not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pruning.packing import PackedMatrix


def check_packed(packed: Any) -> None:
    """Raise TypeError unless it is a PackedMatrix."""
    if not isinstance(packed, PackedMatrix):
        raise TypeError(
            f"packed must be a PackedMatrix; got {type(packed).__name__}: pack(weight, structure) makes one"
        )


def check_activation(activation: str | None) -> str | None:
    """Return it if a product can be followed by it. Raises ValueError."""
    if activation not in (None, "gelu"):
        raise ValueError(f"activation must be 'gelu' or None; got {activation!r}: apply another to the result")
    return activation


def in_weights_type(x: Any, values: Tensor) -> Any:
    """x, cast to the type of the weights where autocast is on: any float comes in then, and the weights stay."""
    device = values.device.type
    if isinstance(x, Tensor) and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return x.to(values.dtype)
    return x


def check_factors(x: Any, values: Tensor, bias: Any, shape: tuple[int, int]) -> None:
    """Raise TypeError or ValueError unless x, the weights and the bias of an M × N matrix fit each other."""
    M, N = shape
    if not isinstance(x, Tensor) or not (bias is None or isinstance(bias, Tensor)):
        name, what = ("bias", bias) if isinstance(x, Tensor) else ("x", x)
        raise TypeError(f"{name} must be a torch.Tensor; got {type(what).__name__}: torch.as_tensor would do")
    if x.ndim == 0 or x.shape[-1] != N:
        raise ValueError(f"x must have shape (..., {N}) for a {M} x {N} matrix; got {tuple(x.shape)}")
    if bias is not None and tuple(bias.shape) != (M,):
        raise ValueError(f"bias must have shape ({M},) for a {M} x {N} matrix; got {tuple(bias.shape)}")
    for name, tensor in (("x", x), ("bias", bias)):
        if tensor is not None and tensor.dtype != values.dtype:
            raise TypeError(
                f"{name} must have the type of the weights, {values.dtype}; got {tensor.dtype}: "
                f"{name}.to({values.dtype}) would do"
            )
        if tensor is not None and tensor.device != values.device:
            raise ValueError(
                f"{name} must be on the device of the weights, {values.device}; got {tensor.device}: "
                f"{name}.to({str(values.device)!r}) would do"
            )
