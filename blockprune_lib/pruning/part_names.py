"""Which part of a model a matrix belongs to, in a model of no family that the library knows: by its name and place."""

from __future__ import annotations

import re

from torch import nn

# What the last three parts of a name say that a matrix is.
_NAMED = {
    "pooler": r"pooler|pooling_layer",
    "embeddings": r"(.*_)?embed(ding)?s?(_.*)?|.*embeddings?",
    "classifier": r"(pre_|.*_)?classifier|(lm_|mlm_|cls_|classification_|prediction_)?heads?|score|qa_outputs|cls",
}


def part_by_name(name: str) -> str:
    """The part that a matrix belongs to by its name, in a model of no family here.

    >>> part_by_name("model.layers.0.mlp.up_proj"), part_by_name("lm_head"), part_by_name("pooler.dense")
    ('encoder', 'classifier', 'pooler')
    """
    last = name.split(".")[-3:]
    named = (part for part, pattern in _NAMED.items() if any(re.fullmatch(pattern, word) for word in last))
    return next(named, "encoder")


def body_of(model: nn.Module) -> str | None:
    """The name of the transformers model without a head inside `model`: what stands beside it is a head."""
    for module in model.modules():
        if isinstance(getattr(getattr(module, "config", None), "model_type", None), str):
            prefix = getattr(module, "base_model_prefix", "")
            body = getattr(module, prefix, module) if isinstance(prefix, str) and prefix else module
            return next((n.replace(".base_layer", "") for n, part in model.named_modules() if part is body), None)
    return None
