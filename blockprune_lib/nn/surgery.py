"""Let a block-sparse layer do the GELU that follows it, while its results are still in the first cache.

Left out: activations other than the exact GELU, and models of no family that `pruning.architectures` knows.
"""

from __future__ import annotations

from torch import nn

from ..pruning.architectures import feed_forward
from .block_sparse_linear import BlockSparseLinear


def fuse_gelu(model: nn.Module) -> int:
    """Give each sparse layer that an exact GELU follows that activation, and put `nn.Identity` in its place.

    Returns how many were fused. The model computes the same, up to 1e-6; under autograd the layer calls torch's GELU.
    """
    fused = 0
    for block in model.modules():
        names = feed_forward(block)
        if names is None:
            continue
        linear, activation = (getattr(block, name, None) for name in names)
        if isinstance(linear, BlockSparseLinear) and linear.activation is None and _is_exact_gelu(activation):
            linear.activation = "gelu"
            setattr(block, names[1], nn.Identity())
            fused += 1
    return fused


def _is_exact_gelu(activation: object) -> bool:
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return type(activation).__name__ == "GELUActivation" and getattr(activation, "act", None) is nn.functional.gelu
