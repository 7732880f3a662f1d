"""How far outputs move where weights vanish: against the change itself, where the estimate is exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from blockprune_lib import BlockStructure
from blockprune_lib.pruning.sensitivity import OutputChange, outputs_of, sensitivities, weight_change

SMALL = BertConfig(
    vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=16, num_labels=3,
)  # fmt: skip


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 7), st.integers(1, 9), st.integers(2, 12), st.integers(0, 5))
def test_for_one_output_of_linear_layers_the_change_is_the_change_itself(M, N, examples, seed):
    first, last = nn.Linear(N, M), nn.Linear(M, 1)
    model, x = nn.Sequential(first, last), drawn(examples, N, seed=seed)
    mask = drawn(M, N, seed=seed + 1) > 0
    known = sensitivities(model, {"first": first}, [x[:1], x[1:]])["first"]
    with torch.no_grad():
        before = model(x)
        weight = first.weight.clone()
        first.weight *= mask
        moved = (model(x) - before).square().sum(1).mean() / (before - before.mean(0)).square().sum(1).mean()
    torch.testing.assert_close(known.change(weight, mask), float(moved), rtol=1e-3, atol=1e-5)


def test_for_many_outputs_random_directions_meet_the_change_on_average():
    model, x = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), drawn(4000, 6)
    weight, mask = model[0].weight.detach().clone(), drawn(5, 6, seed=3) > 0
    change = sensitivities(model, {"0": model[0]}, [x])["0"].change(weight, mask)
    with torch.no_grad():
        centred = [model(x)]
        model[0].weight *= mask
        centred.append(model(x))
    before, after = (each - each.mean(1, keepdim=True) for each in centred)
    moved = (after - before).square().sum(1).mean() / (before - before.mean(0)).square().sum(1).mean()
    assert change == pytest.approx(float(moved), rel=0.15)


def test_rows_that_the_outputs_do_not_depend_on_count_for_nothing():
    model = BertForSequenceClassification(SMALL).eval()
    layers = {"q": model.bert.encoder.layer[0].attention.self.query}
    ids = torch.randint(1, 40, (4, 6), generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(ids, (0, 5))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    plain = sensitivities(model, layers, [{"input_ids": ids, "attention_mask": mask[:, :6]}])["q"]
    with_padding = sensitivities(model, layers, [{"input_ids": padded, "attention_mask": mask}])["q"]
    torch.testing.assert_close(plain.inputs, with_padding.inputs)
    torch.testing.assert_close(plain.outputs, with_padding.outputs)


def test_the_model_stays_as_it_is_and_the_same_seed_gives_the_same():
    model = BertForSequenceClassification(SMALL).train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layers = {"inner": model.bert.encoder.layer[1].intermediate.dense}
    batch = {"input_ids": torch.arange(1, 13).view(2, 6)}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = (sensitivities(model, layers, [batch], seed=3)["inner"] for _ in range(2))
    assert torch.equal(first.outputs, second.outputs)
    assert float(first.outputs.diagonal().sum()) > 0
    assert model.training
    assert not layers["inner"]._forward_hooks
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_module_that_is_not_called_changes_nothing():
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)})
    model.forward = lambda x: model["used"](x)
    known = sensitivities(model, dict(model.items()), [drawn(4, 3)])
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert known["idle"].change(model["idle"].weight, none) == 0
    assert known["used"].change(model["used"].weight, none) > 0


def test_a_module_that_is_called_twice_counts_both_calls():
    layer = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(layer, layer, nn.Linear(2, 1))
    x = drawn(3, 2)
    known = sensitivities(model, {"layer": layer}, [x])["layer"]
    both = torch.cat([x, layer(x).detach()])
    torch.testing.assert_close(known.inputs, both.T @ both / 6)


def test_scores_are_what_each_group_alone_would_change_by_the_diagonals():
    layer = nn.Linear(5, 3)
    known = sensitivities(layer, {"": layer}, [drawn(20, 5)])[""]
    structure = BlockStructure.tile(2, 2)
    part = known.outputs.diagonal()[:, None] * known.inputs.diagonal() * layer.weight.detach().square()
    wanted = torch.stack([part[:2, c : c + 2].mean() for c in (0, 2, 4)]).sqrt()
    torch.testing.assert_close(known.scores(layer.weight, structure)[0], wanted)


def test_the_measured_change_is_that_of_the_masked_model():
    model = BertForSequenceClassification(SMALL).train()
    batches = [{"input_ids": torch.arange(1, 25).view(4, 6)}, {"input_ids": torch.arange(3, 9).view(2, 3)}]
    weight = "bert.encoder.layer.1.intermediate.dense.weight"
    change = OutputChange(model, batches)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mask = drawn(32, 16) > 0
    moved = change({weight: mask})
    assert change({}) == 0
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        outputs = [torch.cat([model(**batch).logits for batch in batches])]
        model.get_parameter(weight).mul_(mask)
        outputs.append(torch.cat([model(**batch).logits for batch in batches]))
    whole, cut = (each - each.mean(1, keepdim=True) for each in outputs)
    wanted = (cut - whole).square().sum(1).mean() / (whole - whole.mean(0)).square().sum(1).mean()
    assert moved == pytest.approx(float(wanted), rel=1e-4)


def test_the_measured_change_of_a_plain_model_is_what_is_expected_of_one_matrix():
    model, x = nn.Sequential(nn.Linear(6, 1)), drawn(9, 6)
    mask = drawn(1, 6, seed=2) > 0
    expected = sensitivities(model, {"0": model[0]}, [x])["0"].change(model[0].weight, mask)
    assert OutputChange(model, [x])({"0.weight": mask}) == pytest.approx(expected, rel=1e-4)


def test_without_data_the_share_of_the_squared_norm():
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert weight_change(weight, torch.tensor([[True, False], [False, False]])) == pytest.approx(16 / 25)
    assert weight_change(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.bool)) == 0


def test_outputs_of_a_model_that_returns_no_logits():
    class Pair(nn.Module):
        def forward(self, x):
            return x + 1, x

    assert outputs_of(Pair(), torch.zeros(2, 3, 4)).shape == (2, 12)


def test_no_inputs_is_named():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="batches must hold at least one batch; got none"):
        sensitivities(layer, {"": layer}, [])
