"""A training so small that it takes milliseconds a step: model, data and settings, for tests in other processes too."""

import random
from types import SimpleNamespace
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification

from blockprune_lib.pruning.structure import BlockStructure
from blockprune_lib.training.settings import TrainingSettings

SIZES = {"vocab_size": 64, "max_position_embeddings": 24}
ROWS = BlockStructure.block_row(8)
TOKENIZER = SimpleNamespace(
    pad_token_id=0,
    model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    save_pretrained=lambda folder: None,
)


def tiny(labels: int = 2, dropout: float = 0.1) -> Any:
    """A two-layer BERT with weights drawn from seed 0."""
    torch.manual_seed(0)
    config = BertConfig(
        **SIZES,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        num_labels=labels,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config).eval()


def examples(count: int, seed: int = 0, length: int | None = None, labels: int = 2) -> list[dict[str, Any]]:
    """Token lists whose third token is the label, plus noise: easy to learn."""
    dice = random.Random(seed)
    rows = []
    for i in range(count):
        ids = [1, *(dice.randrange(10, 60) for _ in range(length or dice.randrange(3, 12)))]
        ids[2] = 60 + i % labels
        rows.append({"input_ids": ids, "label": i % labels})
    return rows


DATA = (examples(96), examples(32, seed=1))


def settings(**changes: Any) -> TrainingSettings:
    """Four steps of eight examples, unless told otherwise."""
    return TrainingSettings(**({"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "seed": 1} | changes))
