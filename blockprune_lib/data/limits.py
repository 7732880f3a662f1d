"""How many tokens a model takes: what its configuration says, less the positions that are for padding.

RoBERTa and its kin count positions from the one after the padding token's: of 514, with padding 1, texts get 512. Such
a model is told from BERT by its table of positions, which has a row for padding.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def most_tokens(model: Any) -> int | None:
    """Tokens of the longest text that `model` takes; None where its configuration sets no limit.

    >>> from transformers import BertConfig, BertModel
    >>> most_tokens(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)))
    512
    """
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:  # -1: any number
        return None
    reserved = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if "position" in name.rpartition(".")[2]
        and isinstance(module, nn.Embedding)
        and module.padding_idx is not None
        and module.num_embeddings == positions
    ]
    return max(1, positions - max(reserved, default=0))


def shorten(max_length: int, model: Any, tokenizer: Any) -> int:
    """The least of `max_length`, the model's limit and the tokenizer's."""
    limits = (most_tokens(model), getattr(tokenizer, "model_max_length", None))
    return min([max_length, *(int(limit) for limit in limits if limit)])
