"""The models that the benchmarks run, pruned to a rate, and their useful operations.

`bert-base`, `roberta-base` and `distilbert-base` are freshly drawn weights of those shapes: how long a model takes does
not depend on what it learned, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import models
from ..pruning.architectures import prunable_weights
from ..pruning.masks import Masks, apply_masks_
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure

#: Freshly drawn models: name -> (configuration class of transformers, what differs from its defaults).
FRESH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert-base": ("BertConfig", {}),
    "roberta-base": ("RobertaConfig", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
                                       "layer_norm_eps": 1e-5}),
    "distilbert-base": ("DistilBertConfig", {}),
}  # fmt: skip


class LastHidden(nn.Module):
    """Token ids (batch, tokens), and a padding mask if there is one → the last hidden state (batch, tokens, hidden)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run the encoder."""
        hidden: Tensor = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden


def check_name(name: str) -> None:
    """Raise ValueError unless `fresh` knows the model."""
    if name not in FRESH and name != "minilm" and not Path(name).expanduser().is_dir():
        raise ValueError(f"model must be one of {', '.join(FRESH)}, minilm or a folder; got {name!r}")


def fresh(name: str, seed: int) -> Any:
    """The encoder called `name`, in evaluation mode, without pooler or head; the global random state is not changed.

    Raises ValueError for an unknown name.
    """
    check_name(name)
    if name in FRESH:
        import transformers

        config, differs = FRESH[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = transformers.AutoModel.from_config(getattr(transformers, config)(**differs))
    else:
        model = models.load(name, seed=seed).model.base_model
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # it reads one token of each sequence, and the answer that is compared does not pass it
    return model.eval()


def pruned(model: nn.Module, structure: BlockStructure, rate: float) -> Masks:
    """Zero all but 1 / rate of the groups of each prunable matrix, in place; returns the masks."""
    masks = select_model(model, structure, rate)
    apply_masks_(model, masks)
    return masks


def kept_of(masks: Masks) -> int:
    """Weights that the masks keep."""
    return sum(int(mask.sum()) for mask in masks.values())


def density_of(model: nn.Module, kept: int) -> float:
    """Kept weights ÷ all weights of the matrices that are pruned."""
    return kept / sum(weight.numel() for weight in prunable_weights(model).values())


def operations_of(model: Any, kept: int, lengths: Sequence[int]) -> float:
    """The useful operations of a call: 2 per token and kept weight, and the two products of attention.

    2 K Σ t + 4 L H Σ t² for K kept weights, L layers of H features, and sequences of t tokens.
    """
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    return 2.0 * kept * sum(lengths) + 4.0 * layers * width * sum(length**2 for length in lengths)


def positions_of(model: Any) -> int:
    """The longest sequence that the model takes."""
    # Where the table of positions has a padding index, as RoBERTa's has, positions are counted from after it.
    table = next((part for name, part in model.named_modules() if name.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    return int(model.config.max_position_embeddings) - (0 if padding is None else padding + 1)


def check_tokens(model: Any, tokens: Sequence[int]) -> None:
    """Raise ValueError where a sequence is longer than the model's positions."""
    most = positions_of(model)
    if max(tokens) > most:
        kind = model.config.model_type
        raise ValueError(f"tokens must be at most {most}, the positions of this {kind}; got {max(tokens)}")
