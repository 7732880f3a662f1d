"""Whole layers instead of groups: keep k layers of an encoder, the plainest way to a smaller model."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn

from .._common.checks import one_of, whole_number
from .families import ARCHITECTURES, layer_paths

#: Which layers stay: the first ones, or ones spread evenly, the first and the last among them.
Keep = Literal["first", "spread"]
#: How configurations call the number of layers.
_COUNTS = ("num_hidden_layers", "n_layers")


def keep_layers_(model: Any, count: int, keep: Keep = "first") -> tuple[int, ...]:
    """Remove all but `count` layers of the model's encoder in place; returns the numbers of those kept, from 0.

    `keep="first"`: layers 0 to count - 1; "spread": evenly from the first to the last. The configuration follows, so
    that the model can be saved and loaded. Raises ValueError for a model of a family that the library does not
    know (`pruning.families`), and for more layers than there are.

    >>> from transformers import BertConfig, BertModel
    >>> small = {"hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4, "vocab_size": 9}
    >>> model = BertModel(BertConfig(**small, num_hidden_layers=4))
    >>> keep_layers_(model, 2, "spread"), len(model.encoder.layer), model.config.num_hidden_layers
    ((0, 3), 2, 2)
    """
    whole_number(count, "count", at_least=1, example=2)
    one_of(keep, "keep", get_args(Keep))
    found = [(module, paths) for module in model.modules() if (paths := layer_paths(module)) is not None]
    if len(found) != 1:
        *names, last = (family.name for family in ARCHITECTURES)
        has = f"model {type(model).__name__} has {len(found)} encoders whose layers are known"
        raise ValueError(f"{has}; a {', '.join(names)} or {last} would do")
    encoder, paths = found[0]
    layers: nn.ModuleList = getattr(encoder, paths.layers)
    if count > len(layers):
        raise ValueError(f"count must be at most the model's {len(layers)} layers; got {count}")
    kept = tuple(range(count)) if keep == "first" or count == 1 else _spread(count, len(layers))
    setattr(encoder, paths.layers, nn.ModuleList([layers[i] for i in kept]))
    for config in [module.config for module in model.modules() if hasattr(module, "config")]:
        for name in _COUNTS:
            if hasattr(config, name):
                setattr(config, name, count)
    return kept


def _spread(count: int, layers: int) -> tuple[int, ...]:
    return tuple(round(i * (layers - 1) / (count - 1)) for i in range(count))
