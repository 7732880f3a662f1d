"""Whole layers removed: which ones stay, and a model that is saved and loaded as one of fewer layers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from blockprune_lib.pruning.depth import keep_layers_

from ..helpers.tiny_training import tiny

INPUTS = {"input_ids": torch.tensor([[1, 5, 9]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}


@pytest.mark.parametrize(
    ("count", "keep", "kept"),
    [(1, "first", (0,)), (2, "first", (0, 1)), (1, "spread", (0,)), (2, "spread", (0, 4)), (3, "spread", (0, 2, 4))],
)
def test_the_layers_that_stay_are_the_ones_it_says(count: int, keep: Any, kept: tuple[int, ...]) -> None:
    config = DistilBertConfig(n_layers=5, dim=8, n_heads=2, hidden_dim=8, vocab_size=20)
    model = DistilBertForSequenceClassification(config)
    before = list(model.distilbert.transformer.layer)
    assert keep_layers_(model, count, keep) == kept
    assert [before.index(layer) for layer in model.distilbert.transformer.layer] == list(kept)
    assert model.config.n_layers == count


def test_what_is_left_is_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny()
    whole = model(**INPUTS, output_hidden_states=True).hidden_states
    keep_layers_(model, 1)
    states = model(**INPUTS, output_hidden_states=True).hidden_states
    assert len(states) == 2
    torch.testing.assert_close(states[1], whole[1])
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(**INPUTS).logits, model(**INPUTS).logits)


@pytest.mark.parametrize(("count", "message"), [(3, "at most the model's 2 layers; got 3"), (0, "count must be")])
def test_counts_that_cannot_be_are_refused(count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        keep_layers_(tiny(), count)


def test_a_model_of_no_known_family_is_refused() -> None:
    with pytest.raises(ValueError, match="has 0 encoders") as refused:
        keep_layers_(nn.Linear(2, 2), 1)
    assert "a BERT, RoBERTa, DistilBERT, ELECTRA or MPNet would do" in str(refused.value)  # not those without paths
