"""The models that the benchmarks run, pruned to a rate, and what they are fed.

`bert-base`, `roberta-base` and `distilbert-base` are freshly drawn weights of those shapes: how long a model takes does
not depend on what it learned, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import models
from ..pruning.architectures import prunable_weights
from ..pruning.masks import Masks, apply_masks_
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure
from .case import What
from .settings import ModelCase, ModelSettings

#: Freshly drawn models: name -> (configuration class of transformers, what differs from its defaults).
FRESH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert-base": ("BertConfig", {}),
    "roberta-base": ("RobertaConfig", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
                                       "layer_norm_eps": 1e-5}),
    "distilbert-base": ("DistilBertConfig", {}),
}  # fmt: skip


class LastHidden(nn.Module):
    """Token ids (batch, tokens) → the encoder's last hidden state (batch, tokens, hidden)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> Tensor:
        """Run the encoder without a padding mask."""
        hidden: Tensor = self.encoder(input_ids=ids).last_hidden_state
        return hidden


@dataclass(frozen=True)
class Workload:
    """A pruned encoder, dense with zeros, and the (batch, tokens) ids that it is run on.

    `operations` are the useful ones of a call: 2 per token and kept weight, and the two products of attention,
    4 L B T² H for L layers, B sequences of T tokens and H features.
    """

    model: Any
    structure: BlockStructure
    masks: Masks
    ids: Tensor
    what: What
    operations: float

    @classmethod
    def of(cls, case: ModelCase, settings: ModelSettings) -> Workload:
        """The workload of a case. Raises ValueError where the model has too few positions for any of the settings."""
        model, structure = fresh(settings.model, settings.seed), BlockStructure.parse(case.structure)
        check_tokens(model, settings.tokens)
        masks = pruned(model, structure, case.rate)
        kept = sum(int(mask.sum()) for mask in masks.values())
        density = kept / sum(weight.numel() for weight in prunable_weights(model).values())
        layers, width = model.config.num_hidden_layers, model.config.hidden_size
        operations = 2.0 * case.batch * case.tokens * kept + 4.0 * layers * case.batch * case.tokens**2 * width
        ids = token_ids(model, case.batch, case.tokens, settings.seed)
        return cls(model, structure, masks, ids, What(kept=kept, density=density, **case._asdict()), operations)


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


def token_ids(model: Any, batch: int, tokens: int, seed: int) -> Tensor:
    """(batch, tokens) random ids without the padding token, which RoBERTa counts positions by."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary, padding = int(model.config.vocab_size), getattr(model.config, "pad_token_id", None)
    ids = torch.randint(0, vocabulary, (batch, tokens), generator=generator)
    return ids if padding is None else torch.where(ids == padding, (padding + 1) % vocabulary, ids)


def check_tokens(model: Any, tokens: tuple[int, ...]) -> None:
    """Raise ValueError where a sequence is longer than the model's positions."""
    config = model.config
    # Where the table of positions has a padding index, as RoBERTa's has, positions are counted from after it.
    table = next((part for name, part in model.named_modules() if name.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    most = config.max_position_embeddings - (0 if padding is None else padding + 1)
    if max(tokens) > most:
        raise ValueError(f"tokens must be at most {most}, the positions of this {config.model_type}; got {max(tokens)}")
