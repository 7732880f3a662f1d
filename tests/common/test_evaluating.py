"""A model in evaluation mode for a while: the modes of its modules, before, within and after an error."""

import pytest
import torch
from torch import nn

from blockprune_lib._common.evaluating import evaluating
from blockprune_lib.pruning.sensitivity import OutputChange, sensitivities


def kept_frozen():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    model[1].eval()  # as a reader does who keeps its statistics
    return model


def modes(model):
    return [module.training for module in model.modules()]


def test_each_module_is_set_back_to_its_own_mode_after_an_error_too():
    model = kept_frozen()
    before = modes(model)
    within = []

    def fails():
        with evaluating(model):
            within.append(any(modes(model)))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert within == [False]
    assert modes(model) == before == [True, True, False, True]


def test_what_is_measured_on_a_model_leaves_a_frozen_module_frozen():
    model, batches = kept_frozen(), [torch.randn(4, 3)]
    before = modes(model)
    sensitivities(model, {"0": model[0]}, batches)
    assert modes(model) == before
    OutputChange(model, batches)({"0.weight": torch.ones(3, 3, dtype=torch.bool)})
    assert modes(model) == before
