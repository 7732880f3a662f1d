"""The pooler of a compiled call against the class's own; and where its own must run."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers.models.bert.modeling_bert import BertConfig, BertPooler
from transformers.models.mpnet.modeling_mpnet import MPNetConfig, MPNetPooler

import blockprune_lib as bp
from blockprune_lib.kernels.first_token import FEW
from blockprune_lib.machine.simd import WIDTH
from blockprune_lib.nn.pooling import pooled


def pooler(features, kind=BertPooler, config=BertConfig):
    torch.manual_seed(0)
    return kind(config(hidden_size=features, num_attention_heads=1))


@pytest.mark.parametrize("features", [WIDTH, WIDTH + 1, 3 * WIDTH, 384, 40])
@pytest.mark.parametrize("texts", [1, FEW, FEW + 1])
def test_any_width_and_any_number_of_texts(features, texts):
    model, states = pooler(features), torch.randn(texts, 5, features)
    with torch.inference_mode():
        found = pooled(model, states)
        exact = copy.deepcopy(model).double()(states.double())
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


def test_rows_that_are_not_neighbours():
    model, states = pooler(48), torch.randn(4, 7, 48)[::2]
    with torch.inference_mode():
        torch.testing.assert_close(pooled(model, states), model(states), rtol=1e-5, atol=1e-6)


class Other(BertPooler):
    """A user's own."""

    def forward(self, hidden_states):
        return hidden_states[:, -1]


CHANGES = {
    "another activation": lambda m: setattr(m, "activation", torch.nn.ReLU()),
    "block-sparse": lambda m: bp.sparsify(m, bp.BlockStructure.block_column(4), keep_dense_above=1.0, pooler=True),
    "another forward": lambda m: setattr(m, "forward", lambda states: states[:, 1]),
    "another class": lambda m: setattr(m, "__class__", Other),
    "one more part": lambda m: m.add_module("more", torch.nn.Identity()),
    "its matrix does more": lambda m: setattr(m.dense, "forward", lambda x: 2 * x),
    "without bias": lambda m: setattr(m, "dense", torch.nn.Linear(48, 48, bias=False)),
    "another shape": lambda m: setattr(m, "dense", torch.nn.Linear(48, 5)),
}


@pytest.mark.parametrize("way", CHANGES)
def test_what_was_changed_runs_as_it_is(way):
    model, states = pooler(48), torch.randn(1, 7, 48)
    CHANGES[way](model)
    with torch.inference_mode():
        assert torch.equal(pooled(model, states), model(states))


def test_of_another_family():
    model, states = pooler(48, MPNetPooler, MPNetConfig), torch.randn(2, 7, 48)
    with torch.inference_mode():
        torch.testing.assert_close(pooled(model, states), model(states), rtol=1e-5, atol=1e-6)
