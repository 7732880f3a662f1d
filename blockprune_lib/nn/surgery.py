"""Let a block-sparse layer do the GELU that follows it, while its results are still in the first cache.

Left out: activations other than the exact GELU, and models whose feed-forward block is not in the table.
"""

from __future__ import annotations

from torch import nn

from .block_sparse_linear import BlockSparseLinear

#: Class of transformers -> (first layer of its feed-forward block, the activation that follows it and nothing else).
FEED_FORWARD = {
    "BertIntermediate": ("dense", "intermediate_act_fn"),
    "RobertaIntermediate": ("dense", "intermediate_act_fn"),
    "FFN": ("lin1", "activation"),  # DistilBERT
}


def fuse_gelu(model: nn.Module) -> int:
    """Give each sparse layer that an exact GELU follows that activation, and put `nn.Identity` in its place.

    Returns how many were fused. The model computes the same, up to 1e-6; under autograd the layer calls torch's GELU.
    """
    fused = 0
    for block in model.modules():
        kind = type(block)
        if kind.__name__ not in FEED_FORWARD or not kind.__module__.startswith("transformers."):
            continue
        layer, follows = FEED_FORWARD[kind.__name__]
        linear, activation = getattr(block, layer, None), getattr(block, follows, None)
        if isinstance(linear, BlockSparseLinear) and linear.activation is None and _is_exact_gelu(activation):
            linear.activation = "gelu"
            setattr(block, follows, nn.Identity())
            fused += 1
    return fused


def _is_exact_gelu(activation: object) -> bool:
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return type(activation).__name__ == "GELUActivation" and getattr(activation, "act", None) is nn.functional.gelu
