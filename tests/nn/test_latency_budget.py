"""A latency budget: what it chooses from a table of times, what is measured once, and what its masks do elsewhere."""

import copy
import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from blockprune_lib import (
    BlockSparseLinear,
    BlockStructure,
    TrainingSettings,
    apply_masks_,
    budget,
    compression,
    prunable,
    retrain,
    select_model,
    sparsify,
)
from blockprune_lib.machine.comparison import Timing
from blockprune_lib.nn import Cut, LayerCosts, layer_costs
from blockprune_lib.nn.latency_budget import calibrated
from blockprune_lib.nn.trial import Ranking, sparse_trial
from blockprune_lib.pruning.passed_over import PassedOverWarning
from blockprune_lib.pruning.sensitivity import OutputChange, sensitivities

from ..helpers.tiny import tiny_folder  # noqa: F401

COLUMN, TILE = BlockStructure.block_column(8), BlockStructure.tile(4, 4)
CUTS = tuple(Cut(*pair) for pair in [(None, 1.0), (COLUMN, 2.0), (COLUMN, 4.0), (TILE, 2.0), (TILE, 4.0)])
pytestmark = pytest.mark.filterwarnings("ignore:.*too dense to be faster:UserWarning")


def bert(layers=2, **sizes):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 40, "max_position_embeddings": 24}
    config = BertConfig(vocab_size=60, num_hidden_layers=layers, **small | sizes)
    return BertForSequenceClassification(config).eval()


def example(count=2):
    return {"input_ids": torch.arange(1, 1 + 6 * count).view(count, 6)}


def table(model, cuts=CUTS, rest=1.0):
    """Times that anyone can work out: a weight takes a microsecond, in a tile a tenth less."""
    shapes = {f"{name}.weight": tuple(module.weight.shape) for name, module in prunable(model).items()}
    ms = {
        (M, N): tuple(M * N / 1000 / cut.rate * (0.9 if cut.structure == TILE else 1.0) for cut in cuts)
        for M, N in shapes.values()
    }
    return LayerCosts(cuts, ms, rest, 9.9, shapes, example(), "float32", 1)


def between(costs, part):
    return costs.least_ms + part * (costs.dense_ms - costs.least_ms)


@pytest.fixture
def timed(monkeypatch):
    """Timing replaced by a count of kept weights: a microsecond each. Keeps the names of what took turns."""
    turns = []

    def ms_of(call):
        model = next(value for value in call.args if isinstance(value, nn.Module))
        sparse = sum(m.packed.elements for m in model.modules() if isinstance(m, BlockSparseLinear))
        dense = sum(m.weight.numel() for m in model.bert.encoder.modules() if isinstance(m, nn.Linear))
        return 1.0 + (sparse + dense) / 1000

    def compare(calls, repeats, threads, clock):
        turns.append(list(calls))
        return {name: Timing(name, (ms_of(call),) * 3, 1) for name, call in calls.items()}

    monkeypatch.setattr("blockprune_lib.nn.cost_table.in_turns", compare)
    return turns


@pytest.mark.parametrize("with_data", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 1.0])
def test_no_other_choice_loses_less_in_the_same_time(part, with_data):
    model = bert(layers=1)
    costs = table(model, cuts := CUTS[:3])
    ms = between(costs, part)
    inputs = [example(3)] if with_data else None
    chosen = budget(model, ms, costs=costs, inputs=inputs, verify=False, trials=0)
    known = sensitivities(model, modules(model), inputs) if inputs else None
    losses = {}
    for name, module in modules(model).items():
        weight = module.weight.detach()
        scores = [known and c.structure and known[name].scores(weight, c.structure) for c in cuts]
        masks = [cut.mask(weight, grid) for cut, grid in zip(cuts, scores, strict=True)]
        gone = [weight * ~mask for mask in masks]
        if known:
            G, A = known[name].outputs, known[name].inputs
            losses[name] = [float(torch.trace(G @ D @ A @ D.T)) for D in gone]
        else:
            losses[name] = [float(D.square().sum() / weight.square().sum()) for D in gone]
    every = [dict(zip(losses, picked, strict=True)) for picked in itertools.product(range(3), repeat=len(losses))]

    def best(limit):
        return min(sum(map(list.__getitem__, losses.values(), p.values())) for p in every if costs.total_ms(p) <= limit)

    wasted = len(losses) * (ms - costs.least_ms) / 10_000  # a step of time for each matrix
    said = sum(losses[name][cuts.index(one.cut)] for name, one in chosen.choices.items())
    assert chosen.predicted_ms <= ms + 1e-9
    assert chosen.loss == pytest.approx(said, rel=1e-3, abs=1e-6)
    assert best(ms + 1e-9) - 1e-6 <= said <= best(ms + 1e-9 - wasted) + 1e-6


def modules(model):
    return {f"{name}.weight": module for name, module in prunable(model).items()}


def test_more_time_never_loses_more():
    model = bert()
    costs = table(model)
    losses = [budget(model, between(costs, part / 10), costs=costs, verify=False).loss for part in range(11)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0 < losses[0]


def test_the_masks_train_and_the_structures_run(tiny_folder, offline):  # noqa: F811
    from blockprune_lib import models, tasks

    task = tasks.load("sst2", train=24, validation=8)
    model, tokenizer = models.load(tiny_folder, task=task)
    costs = table(model, CUTS)
    chosen = budget(model, between(costs, 0.3), costs=costs, verify=False)
    assert len(set(map(str, chosen.structures.values()))) > 1 or len(chosen.structures) < len(chosen.choices)
    assert list(chosen.masks) == list(chosen.structures)
    for name, mask in chosen.masks.items():
        assert float(mask.float().mean()) == pytest.approx(chosen.choices[name].density)
    apply_masks_(model, chosen.masks)
    settings = TrainingSettings(max_steps=2, evaluate_first=False)
    for support in ("masks", "packed"):
        retrain(model, tokenizer, task, chosen.masks, settings, support=support)
        for name, mask in chosen.masks.items():
            assert not model.get_parameter(name)[~mask].any()
    batch = {"input_ids": torch.arange(1, 11).view(2, 5)}
    with torch.inference_mode():
        before = model.eval()(**batch).logits
        sparsify(model, chosen.structures)
        after = model(**batch).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert model.base_model.encoder.forward.last == "compiled"
    for name, structure in chosen.structures.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        assert layer.structure == structure
        assert layer.density == pytest.approx(chosen.choices[name].density)
    dense = {f"{name}.weight" for name, m in model.named_modules() if type(m) is nn.Linear and ".layer." in name}
    assert dense == set(chosen.choices) - set(chosen.structures)
    assert compression(model).sparse_layers == len(chosen.structures)


def test_equal_shapes_are_measured_once_and_additive_times_are_found(timed):
    model = bert(layers=3)
    costs = layer_costs(model, CUTS, example=example())
    assert set(costs.ms) == {(16, 16), (40, 16), (16, 40)}
    assert timed[0] == ["start", "plain"]
    assert [sorted(turn) for turn in timed[1:]] == [sorted(["start", *(str(c) for c in CUTS if c != CUTS[3])])] * 3
    for (M, N), times in costs.ms.items():
        kept = [int(cut.mask(torch.randn(M, N)).sum()) for cut in CUTS]
        assert times == pytest.approx([count / 1000 for count in kept], abs=1e-6)
    assert costs.rest_ms == pytest.approx(1.0)
    assert costs.dense_ms == pytest.approx(1.0 + 3 * (4 * 256 + 2 * 640) / 1000)


def test_few_trial_models_are_held_at_a_time(timed, monkeypatch):
    monkeypatch.setattr("blockprune_lib.nn.cost_table.TOGETHER", 2)
    whole = layer_costs(bert(), CUTS, example=example())
    assert max(map(len, timed)) == 3
    assert whole.dense_ms == pytest.approx(1.0 + 2 * (4 * 256 + 2 * 640) / 1000)


def test_a_choice_is_verified_and_corrected_by_what_was_measured(monkeypatch):
    model = bert(hidden_size=32, intermediate_size=64)
    costs = table(model, rest=1.0)
    asked = between(costs, 0.4)
    seen = []

    def measure(costs, trial, base, expected, threads):
        seen.append(expected)
        return Timing("call", (expected + 1.5,) * 3, 1)  # what the sum of the parts does not know of

    monkeypatch.setattr("blockprune_lib.nn.latency_budget.beside", measure)
    monkeypatch.setattr("blockprune_lib.nn.latency_budget.calibrated", lambda model, costs, *_, **__: costs)
    chosen = budget(model, asked, costs=costs)
    assert len(seen) > 1
    assert chosen.measured_ms == pytest.approx(asked, rel=0.05)
    assert chosen.predicted_ms == pytest.approx(asked - 1.5, rel=0.1)


def test_what_is_possible_is_what_is_possible_now(monkeypatch):
    model = bert()
    costs = table(model)
    monkeypatch.setattr("blockprune_lib.nn.latency_budget.calibrated", lambda model, costs, *_, **__: costs.scaled(3.0))
    with pytest.raises(ValueError, match=f"ms must be from {3 * costs.least_ms:.4g} to {3 * costs.dense_ms:.4g}"):
        budget(model, costs.least_ms, costs=costs)


def test_costs_of_another_hour_are_scaled_by_one_call(monkeypatch):
    model = bert()
    costs = table(model)
    slow = {"call": Timing("call", (2 * costs.total_ms(dict.fromkeys(costs.shapes, 0)),) * 3, 1)}
    monkeypatch.setattr(LayerCosts, "time_call", lambda *_, **__: slow["call"])
    now = calibrated(model, costs, Ranking(modules(model)), None)
    assert now.dense_ms == pytest.approx(2 * costs.dense_ms)
    assert now.least_ms == pytest.approx(2 * costs.least_ms)
    assert now.of(next(iter(costs.shapes))) == pytest.approx([2 * ms for ms in costs.of(next(iter(costs.shapes)))])


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_machine_that_slows_down_meanwhile_changes_no_choice(part, monkeypatch):
    """Whenever something is timed the machine has another speed; a call takes 1.3 times the sum of its parts."""
    model, speeds = bert(hidden_size=32, intermediate_size=64), itertools.cycle([1.0, 3.0, 0.4])
    costs = table(model, CUTS[:3])
    monkeypatch.setattr("blockprune_lib.nn.latency_budget.calibrated", lambda model, costs, *_, **__: costs)
    base = costs.total_ms(dict.fromkeys(costs.shapes, costs.start))

    def ms_of(call):
        sparse = [m.packed.elements for m in call.args[0].modules() if isinstance(m, BlockSparseLinear)]
        dense = [m.weight.numel() for m in call.args[0].bert.encoder.modules() if isinstance(m, nn.Linear)]
        return 1.0 + sum(sparse + dense) / 1000

    def compared(calls, *_):
        slow = next(speeds)
        return {name: Timing(name, (slow * ms_of(call) * (1.0 if name == "base" else 1.3),) * 3, 1)
                for name, call in calls.items()}  # fmt: skip

    monkeypatch.setattr("blockprune_lib.nn.latency_budget.in_turns", compared)
    asked = between(costs, part)
    chosen = budget(model, asked, costs=costs)
    assert chosen.measured_ms == pytest.approx(asked, rel=0.05)
    assert chosen.predicted_ms == pytest.approx(asked / 1.3, rel=0.05)
    trial = sparse_trial(model, chosen.masks, {n: c.cut for n, c in chosen.choices.items()}, "float32")
    assert chosen.measured_ms == pytest.approx(1.3 * ms_of(partial(id, trial)) * base / ms_of(partial(id, model)))


def test_what_is_not_told_from_nothing_is_not_printed_as_a_time():
    times = {(16, 16): (0.4, 0.2, 0.04, 0.2, 0.01), (40, 16): (1.0,) * 5, (16, 40): (1.0,) * 5}
    costs = replace(table(bert()), ms=times, noise={(16, 16): 0.05})
    rows = repr(costs).splitlines()
    assert [row.count("< 0.05") for row in rows[1:6]] == [0, 0, 1, 0, 1]
    assert costs.scaled(2.0).noise == {(16, 16): 0.1}


def test_the_model_stays_as_it_is(timed, monkeypatch):
    model = bert().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    costs = layer_costs(model, CUTS, example=example())
    monkeypatch.setattr("blockprune_lib.nn.latency_budget.calibrated", lambda model, costs, *_, **__: costs)
    chosen = budget(model, between(costs, 0.5), costs=costs, inputs=[example()])
    assert chosen.measured_ms > 0
    assert model.training
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_it_measures_a_model_of_no_family_too(monkeypatch):
    monkeypatch.setattr("blockprune_lib.nn.latency_budget.calibrated", lambda model, costs, *_, **__: costs)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 24), nn.Linear(24, 2))
    costs = layer_costs(model, CUTS[:2], example=torch.randn(4, 24), repeats=3)
    assert set(costs.ms) == {(40, 24), (24, 40), (2, 24)}
    assert costs.plain_ms > 0
    chosen = budget(model, costs.dense_ms, costs=costs, inputs=[torch.randn(8, 24)])
    assert chosen.measured_ms > 0
    sparsify(copy.deepcopy(model), {name: COLUMN for name in costs.shapes})


@pytest.mark.parametrize("part", [0.2, 0.6])
def test_trying_choices_on_the_whole_model_never_moves_its_outputs_more(part):
    model, batches = bert(), [example(4)]
    costs = table(model)
    ms, change = between(costs, part), OutputChange(model, batches)
    added, tried = (budget(model, ms, costs=costs, inputs=batches, verify=False, trials=n) for n in (0, 25))
    assert added.moved is None
    assert tried.moved == pytest.approx(change(tried.masks))
    assert tried.moved <= change(added.masks)
    assert tried.predicted_ms <= ms + 1e-9
    for name, one in tried.choices.items():  # what is said of a matrix is what was estimated, not what it was scaled to
        at = CUTS.index(one.cut)
        known = sensitivities(model, modules(model), batches)[name]
        cut = Ranking({name: modules(model)[name]}, {name: known}).mask(name, CUTS[at])
        assert one.loss == pytest.approx(known.change(model.get_parameter(name), cut), abs=1e-7)
    again = budget(model, ms, costs=costs, inputs=batches, verify=False, trials=25)
    assert {n: str(c.cut) for n, c in again.choices.items()} == {n: str(c.cut) for n, c in tried.choices.items()}


def all_cut(model, names, cut):
    ranking = Ranking({name: modules(model)[name] for name in names})
    return {name: ranking.mask(name, cut) for name in names}, dict.fromkeys(names, cut)


def replaced(layer):
    own = layer.forward
    layer.forward = lambda x: 2 * own(x)


@pytest.mark.parametrize("change", [lambda layer: layer.register_forward_hook(lambda *_: None), replaced])
def test_a_layer_that_sparsify_would_leave_dense_is_no_part_of_a_budget(change):
    model = bert()
    change(model.bert.encoder.layer[1].intermediate.dense)
    named = set(modules(model)) - {"bert.encoder.layer.1.intermediate.dense.weight"}
    with pytest.warns(PassedOverWarning, match="1 of 12 layers stay dense, the first 'bert.encoder.layer.1.inter"):
        costs = layer_costs(model, CUTS[:3], example=example(), repeats=3)
    assert set(costs.shapes) == named  # and the warning comes once for a model
    chosen = budget(model, costs.least_ms, costs=costs, inputs=[example()], verify=False)
    assert set(chosen.choices) == named >= set(chosen.masks)
    trial = sparse_trial(model, *all_cut(model, named, CUTS[1]), "float32")
    assert type(trial.bert.encoder.layer[1].intermediate.dense) is nn.Linear
    assert sum(isinstance(module, BlockSparseLinear) for module in trial.modules()) == 11


def test_a_model_of_such_layers_only_says_so():
    model = nn.Sequential(nn.Linear(8, 8))
    replaced(model[0])
    said = r"must hold prunable nn.Linear layers; got 0 inside it; 1 of 1 layers stay dense, the first '0'"
    with pytest.raises(ValueError, match=said):
        layer_costs(model, example=torch.randn(2, 8))


def test_results_print_themselves():
    model = bert()
    costs = table(model)
    chosen = budget(model, between(costs, 0.2), costs=costs, verify=False)
    text, rows = repr(chosen), repr(chosen).splitlines()
    assert rows[0].split() == ["matrix", "cut", "ms", "loss"]
    assert rows[1].split()[0] == "0.attention.self.query"
    assert "all matrices are in bert.encoder.layer" in text
    assert len(rows) == 1 + 12 + 1 + 1
    assert "asked" in text
    assert f"possible {costs.least_ms:.3g} to {costs.dense_ms:.3g} ms" in text
    assert "block_column:8 at 2" in repr(costs)
    assert "8 of 16 x 16" in repr(costs)
    with_data = budget(model, between(costs, 0.5), costs=costs, inputs=[example()], verify=False, trials=2)
    assert "as shares of their variance" in repr(with_data)
    assert f"measured on the pruned model, {with_data.moved:.1%}" in repr(with_data)
    plain = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    shapes = {"0.weight": (8, 8), "1.weight": (4, 8)}
    times = {(8, 8): (2.0, 1.0), (4, 8): (1.0, 0.5)}
    costs = LayerCosts(CUTS[:2], times, 1.0, 9.9, shapes, torch.randn(2, 8), "float32", 1)
    rows = repr(budget(plain, 3.0, costs=costs, verify=False)).splitlines()
    assert [row.split()[0] for row in rows[1:3]] == ["0", "1"]


@pytest.mark.parametrize(("part", "side"), [(-0.1, "the least that these"), (1.1, "what it takes dense")])
def test_an_impossible_budget_says_what_is_possible(part, side):
    model = bert()
    costs = table(model)
    said = f"ms must be from {costs.least_ms:.4g} to {costs.dense_ms:.4g} for this model on this machine; got .*{side}"
    with pytest.raises(ValueError, match=said):
        budget(model, between(costs, part), costs=costs, verify=False)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"ms": 0}, ValueError, "ms must be a finite number above 0"),
        ({"ms": "fast"}, TypeError, "ms must be a number"),
        ({"ms": 3.0, "rates": [0.5]}, ValueError, "rate must be a finite number at least 1"),
        ({"ms": 3.0, "rates": 5.0}, TypeError, "structures and rates must be lists"),
        ({"ms": 3.0, "structures": "tile:4x4"}, TypeError, "structures and rates must be lists"),
        ({"ms": 3.0, "structures": ["tile:4"]}, ValueError, "text must name a structure"),
        ({"ms": 3.0, "structures": []}, ValueError, "cuts must hold one that prunes"),
        ({"ms": 3.0, "tokens": 99}, ValueError, "tokens must be at most 24, what the model takes; got 99"),
        ({"ms": 3.0, "batch": 0}, ValueError, "batch must be a whole number of at least 1"),
        ({"ms": 3.0, "example": [1]}, TypeError, "example must be a tensor or"),
        ({"ms": 3.0, "repeats": 1}, ValueError, "repeats must be a whole number of at least 3"),
        ({"ms": 3.0, "inputs": [], "costs": True}, ValueError, r"inputs must hold at least one batch; got none: \[tok"),
        ({"ms": 3.0, "trials": -1}, ValueError, "trials must be a whole number of at least 0; got -1: 60 would do"),
        ({"ms": 3.0, "seed": -1}, ValueError, "seed must be a whole number of at least 0"),
    ],
)
def test_bad_input_is_named(arguments, error, said):
    model = bert()
    if "costs" in arguments:
        costs = table(model)
        arguments = arguments | {"costs": costs, "ms": costs.dense_ms, "verify": False}
    with pytest.raises(error, match=said):
        budget(model, **arguments)


def test_what_is_no_model_and_what_has_no_vocabulary():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module; got str"):
        budget("minilm", 3.0)
    with pytest.raises(ValueError, match="example is needed for a Sequential, which has no vocabulary"):
        budget(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), 3.0)
    with pytest.raises(ValueError, match=r"must hold prunable nn\.Linear layers"):
        budget(nn.Linear(8, 8), 3.0, example=torch.randn(1, 8))


def test_times_of_another_model_are_refused():
    with pytest.raises(ValueError, match="costs must be of this model's 12 matrices; they are of 18 others"):
        budget(bert(), 3.0, costs=table(bert(layers=3)))


def test_sparsify_takes_a_structure_for_each_matrix():
    model = bert()
    names = list(modules(model))
    masks = select_model(model, TILE, rate=2.0)
    apply_masks_(model, masks)
    batch = example()
    with torch.inference_mode():
        before = model(**batch).logits
        sparsify(model, {names[0]: TILE, names[5]: BlockStructure.irregular()})
        torch.testing.assert_close(model(**batch).logits, before, rtol=1e-4, atol=1e-5)
    found = {name: m.structure for name, m in model.named_modules() if isinstance(m, BlockSparseLinear)}
    assert list(map(str, found.values())) == ["tile:4x4", "irregular"]
    with pytest.raises(ValueError, match=r"structure must name prunable weights, such as .*; 1 of 1 are none"):
        sparsify(bert(), {"classifier.weight": TILE})
    with pytest.raises(TypeError, match="structure must be a BlockStructure"):
        sparsify(bert(), {names[0]: "tile:4x4"})
