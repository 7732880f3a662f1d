"""The explorer's twin for a live kernel: controls that cut, score and time the reader's own model."""

import copy

import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.data import own_data
from blockprune_lib.training.evaluation import evaluate
from blockprune_lib.widgets import own_model

from ..helpers.small_runs import recipe


@pytest.fixture(scope="module")
def mine(material):
    task = own_data.load(recipe(material)["task"], None, None, 0)
    model, tokenizer = bp.models.load(str(material / "tiny"), task=task)
    return model, tokenizer, task


@pytest.mark.parametrize("structure", ["block_row:8", "column", "irregular"])
def test_the_outcome_is_that_of_cutting_by_hand(structure, mine):
    model, tokenizer, task = mine
    before = copy.deepcopy(model.state_dict())
    found = own_model.outcome(model, tokenizer, task, structure, 4.0)
    victim = copy.deepcopy(model)
    bp.prune(victim, bp.BlockStructure.parse(structure), 4.0)
    assert found["score"] == evaluate(victim, tokenizer, task)[task.primary]
    dense = sum(weight.numel() * 4 for weight in model.parameters()) / 1e6
    assert 0 < found["megabytes"] < dense * (1.1 if structure == "irregular" else 1)
    assert found["times as fast"] > 0
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_the_controls_drive_it(mine):
    said = []
    controls = own_model.interact(*mine, structures=("block_row:8", "row"), show=said.append)
    slider, menu = controls.children[:2]
    controls.update()
    assert controls.result["score"] is not None
    slider.value = 4.0
    menu.value = "row"
    assert "row at 4.00" in said[-1]
    assert controls.result == pytest.approx(controls.result)
    assert len(said) >= 3
    assert not slider.continuous_update


def test_what_cannot_be_is_refused(mine):
    with pytest.raises(ValueError, match="block larger than the matrix"):
        own_model.outcome(*mine, "tile:64x64", 2.0)
    with pytest.raises(ValueError, match="rate must be"):
        own_model.outcome(*mine, "row", 0.5)
