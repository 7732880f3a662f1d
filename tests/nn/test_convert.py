"""BlockSparseLinear, sparsify, save and load, compression: against the dense layer and the dense model."""

import copy
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from blockprune_lib import (
    BlockSparseLinear,
    BlockStructure,
    apply_masks_,
    compression,
    densify,
    expand,
    load,
    pack,
    prunable,
    save,
    select_model,
    sparsify,
)
from blockprune_lib._common import files
from blockprune_lib.nn.convert import TooDenseWarning
from blockprune_lib.pruning import PassedOverWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*too dense to be faster:UserWarning")  # many here are, on purpose

ROW, COLUMN, TILE = BlockStructure.block_row(16), BlockStructure.block_column(8), BlockStructure.tile(16, 16)
SMALL = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip


def bert(**settings: object) -> BertForSequenceClassification:
    return BertForSequenceClassification(BertConfig(**SMALL, **settings)).eval()


def roberta() -> RobertaForSequenceClassification:
    return RobertaForSequenceClassification(RobertaConfig(**SMALL)).eval()


def distilbert() -> DistilBertForSequenceClassification:
    config = DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=40)
    return DistilBertForSequenceClassification(config).eval()


def pruned(model: nn.Module, structure: BlockStructure, rate: float = 3.0, **which: bool) -> nn.Module:
    apply_masks_(model, select_model(model, structure, rate=rate, **which))
    return model


def masked_linear(structure: BlockStructure, shape: tuple[int, int] = (24, 40), bias: bool = True) -> nn.Linear:
    linear = nn.Linear(shape[1], shape[0], bias)
    keep = torch.rand(structure.grid(shape)) < 0.5
    keep[0, 0] = True
    with torch.no_grad():
        linear.weight.mul_(expand(keep, structure, shape))
    return linear


def logits(model: nn.Module, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(ids, attention_mask=mask).logits


IDS = torch.arange(2, 32).view(3, 10)


# --- the layer


@given(
    text=st.sampled_from(["irregular", "block_row:8", "block_column:5", "tile:8x16", "row", "column"]),
    shape=st.tuples(st.integers(1, 40), st.integers(16, 50)),
    bias=st.booleans(),
)
def test_layer_computes_what_the_linear_computes(text: str, shape: tuple[int, int], bias: bool) -> None:
    s = BlockStructure.parse(text)
    linear = masked_linear(s, shape, bias)
    layer = BlockSparseLinear.from_linear(linear, s)
    x = torch.randn(2, 3, shape[1])
    torch.testing.assert_close(layer(x), linear(x), rtol=1e-4, atol=1e-5)
    assert torch.equal(layer.weight, linear.weight)
    assert torch.equal(layer.to_linear().weight, linear.weight)
    assert (layer.to_linear().bias is None) == (not bias)
    assert layer.density == pytest.approx(layer.packed.elements / (shape[0] * shape[1]))


@pytest.mark.parametrize("structure", [ROW, COLUMN, TILE])
def test_training_agrees_with_dense_times_mask(structure: BlockStructure) -> None:
    dense = masked_linear(structure)
    mask = (dense.weight != 0).float()
    layer = BlockSparseLinear.from_linear(dense, structure)
    x, target = torch.randn(20, 40), torch.randn(20, 24)
    ours, theirs = torch.optim.AdamW(layer.parameters(), lr=0.01), torch.optim.AdamW(dense.parameters(), lr=0.01)
    for _ in range(5):
        for model, optimiser in ((layer, ours), (dense, theirs)):
            optimiser.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            if model is dense:
                dense.weight.grad.mul_(mask)
            optimiser.step()
    torch.testing.assert_close(layer.weight, dense.weight.detach() * mask, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.bias, dense.bias, rtol=1e-3, atol=1e-4)
    assert torch.equal(layer.weight.detach() * (1 - mask), torch.zeros(24, 40))


def test_a_new_layer_stores_what_keep_says() -> None:
    keep = torch.tensor([[True, False, True], [False, False, True]])
    layer = BlockSparseLinear(40, 20, TILE, keep=keep)  # ragged below and to the right
    assert torch.equal((layer.weight != 0), expand(keep, TILE, (20, 40)))
    assert layer.packed.validate().groups == 3
    assert 0 < layer.values.abs().max() <= 40**-0.5
    assert BlockSparseLinear(40, 20, TILE, bias=False).density == 1.0


def test_moves_copies_and_types() -> None:
    layer = BlockSparseLinear.from_linear(masked_linear(COLUMN), COLUMN)
    x = torch.randn(4, 40)
    y = layer(x)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.values.zero_()
    assert torch.equal(layer(x), y)
    torch.testing.assert_close(twin(x), layer.bias.expand(4, 24))
    double = copy.deepcopy(layer).double()
    torch.testing.assert_close(double(x.double()).float(), y, rtol=1e-5, atol=1e-5)
    assert double.columns.dtype == torch.int32
    assert double.float()(x).dtype == torch.float32
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    with torch.inference_mode():
        assert copy.deepcopy(twin)(x).shape == (4, 24)


def test_state_dict_round_trip_and_another_pattern() -> None:
    one, other = (BlockSparseLinear.from_linear(masked_linear(ROW), ROW) for _ in range(2))
    parameter, x = other.values, torch.randn(3, 40)
    other(x)
    assert sorted(one.state_dict()) == ["bias", "columns", "offsets", "values"]
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))
    assert other.values is parameter


def test_indices_written_from_outside_are_checked_before_use() -> None:
    layer = BlockSparseLinear.from_linear(masked_linear(ROW), ROW)
    layer(torch.randn(3, 40))
    broken = layer.state_dict()
    broken["columns"] = torch.full_like(broken["columns"], 77)
    layer.load_state_dict(broken)
    with pytest.raises(ValueError, match="columns must lie in 0 to 2"):
        layer(torch.randn(3, 40))


def test_requires_grad_mode_and_text_are_kept() -> None:
    linear = nn.Linear(16, 8).eval()
    linear.weight.requires_grad_(False)
    layer = BlockSparseLinear.from_linear(linear, ROW)
    assert (layer.values.requires_grad, layer.bias.requires_grad, layer.training) == (False, True, False)
    assert repr(layer) == (
        "BlockSparseLinear(in_features=16, out_features=8, structure=block_row:16, density=1, bias=True)"
    )
    assert not layer.to_linear().weight.requires_grad


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BlockSparseLinear(0, 4, ROW), ValueError, "in_features must be a whole number of at least 1"),
        (lambda: BlockSparseLinear(16, 2.0, ROW), TypeError, "out_features must be a whole number of at least 1"),
        (lambda: BlockSparseLinear(16, 4, "block_row:16"), TypeError, "structure must be a BlockStructure"),
        (lambda: BlockSparseLinear(8, 4, ROW), ValueError, "block larger than the matrix"),
        (lambda: BlockSparseLinear(16, 4, ROW, keep=torch.ones(4, 1)), TypeError, "keep must be a bool tensor"),
        (lambda: BlockSparseLinear(16, 4, ROW, keep=torch.ones(1, 4) > 0), ValueError, r"keep must have the grid's"),
        (lambda: BlockSparseLinear.from_linear(nn.Conv1d(3, 3, 1), ROW), TypeError, "linear must be a torch.nn.Linear"),
        (lambda: BlockSparseLinear.from_packed(torch.ones(2, 2)), TypeError, "packed must be a PackedMatrix"),
        (lambda: BlockSparseLinear.from_packed(pack(torch.ones(4, 16), ROW), torch.ones(3)), ValueError, "bias must"),
        (lambda: BlockSparseLinear(16, 4, ROW)(torch.ones(3, 15)), ValueError, r"x must have shape \(\.\.\., 16\)"),
    ],
)
def test_bad_input_of_the_layer(make, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        make()


# --- whole models


@pytest.mark.parametrize("make", [bert, roberta, distilbert])
@pytest.mark.parametrize("structure", [ROW, COLUMN, TILE])
def test_sparsify_keeps_the_outputs_and_trains(make, structure: BlockStructure) -> None:  # type: ignore[no-untyped-def]
    model = pruned(make(), structure)
    mask = torch.ones_like(IDS)
    mask[1, 6:] = 0
    before = logits(model, IDS, mask)
    dense = copy.deepcopy(model)
    assert sparsify(model, structure) is model
    layers = [m for m in model.modules() if isinstance(m, BlockSparseLinear)]
    assert len(layers) == 12
    assert all(layer.density < 0.5 for layer in layers)
    torch.testing.assert_close(logits(model, IDS, mask), before, rtol=1e-4, atol=1e-5)
    for m in (model, dense):
        m(IDS, attention_mask=mask, labels=torch.tensor([0, 1, 0])).loss.backward()
    name = next(name for name, m in model.named_modules() if isinstance(m, BlockSparseLinear))
    kept = model.get_submodule(name).weight.detach() != 0
    ours = model.get_submodule(name)
    full = ours.packed
    grads = type(full)(full.structure, full.shape, ours.values.grad, full.columns, full.offsets).to_dense()
    torch.testing.assert_close(grads[kept], dense.get_submodule(name).weight.grad[kept], rtol=1e-3, atol=1e-6)


def test_sparsify_any_module_and_keep_dense_above() -> None:
    model = nn.Sequential(masked_linear(ROW), nn.ReLU(), nn.Linear(24, 16))
    x = torch.randn(2, 40)
    before = model(x)
    sparsify(model, BlockStructure.block_row(8), keep_dense_above=0.9)
    assert [type(m).__name__ for m in model] == ["BlockSparseLinear", "ReLU", "Linear"]
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)


def test_pooler_and_classifier_on_request() -> None:
    model = pruned(bert(num_labels=2), COLUMN, pooler=True, classifier=True)
    before = logits(model, IDS)
    sparsify(model, COLUMN, pooler=True, classifier=True, embeddings=True)
    assert isinstance(model.classifier, BlockSparseLinear)
    assert isinstance(model.bert.embeddings.word_embeddings, nn.Embedding)
    torch.testing.assert_close(logits(model, IDS), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "structure", "options", "error", "message"),
    [
        (nn.ReLU(), ROW, {}, ValueError, "nothing to prune"),
        ("bert", ROW, {}, TypeError, "model must be a torch.nn.Module"),
        (nn.Linear(16, 16), ROW, {}, ValueError, "itself a Linear"),
        (nn.Sequential(nn.Linear(16, 16)), "tile", {}, TypeError, "structure must be a BlockStructure"),
        (nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 8)), BlockStructure.tile(16, 17), {}, ValueError, "layer '0'"),
        (nn.Sequential(nn.Linear(16, 16)), ROW, {"keep_dense_above": 1.5}, ValueError, "keep_dense_above must be"),
        (nn.Sequential(nn.Linear(16, 16)), ROW, {"keep_dense_above": "all"}, TypeError, "keep_dense_above must be"),
        (nn.Sequential(nn.Linear(16, 16)), ROW, {"pooler": 1}, TypeError, "pooler must be True or False"),
    ],
)
def test_bad_input_of_sparsify(model, structure, options, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        sparsify(model, structure, **options)
    if isinstance(model, nn.Module):
        assert not any(isinstance(m, BlockSparseLinear) for m in model.modules())


def tied(other: nn.Module) -> nn.Module:
    """A layer in two places, a layer that shares its weight, and `other`, which may do so too."""
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16), other)
    model[3].weight = model[0].weight
    model.append(model[1])
    return model


@pytest.mark.filterwarnings("ignore:.*pruned for both:blockprune_lib.pruning.PassedOverWarning")
def test_what_shares_a_weight_shares_what_is_stored() -> None:
    """In training, by a state_dict, in a copy and on the way back it computes what the dense model does."""
    model, x = tied(nn.ReLU()).double(), torch.randn(9, 16).double()
    pruned(model, COLUMN)
    twin = sparsify(copy.deepcopy(model), COLUMN, keep_dense_above=1.0)
    for _ in range(2):
        assert twin[0].values is twin[3].values
        assert twin[0] is not twin[3]
        assert twin[1] is twin[5]
        assert len([*twin.parameters()]) == len([*model.parameters()])
        torch.testing.assert_close(twin(x), model(x))
        fresh = sparsify(tied(nn.ReLU()).double(), COLUMN, keep_dense_above=1.0)  # of another pattern
        fresh.load_state_dict(twin.state_dict())
        torch.testing.assert_close(fresh(x), model(x))
        back = densify(copy.deepcopy(twin))
        assert (back[0].weight is back[3].weight, back[1] is back[5]) == (True, True)
        assert [*back.state_dict()] == [*model.state_dict()]
        torch.testing.assert_close(back(x), model(x))
        masks = {name: weight != 0 for name, weight in model.named_parameters() if weight.ndim == 2}
        for each in (model, twin):
            optimizer = torch.optim.SGD(each.parameters(), 0.1, momentum=0.9)
            each(x).square().sum().backward()
            optimizer.step()
        apply_masks_(model, masks)


@pytest.mark.filterwarnings("ignore:.*pruned for both:blockprune_lib.pruning.PassedOverWarning")
def test_layers_of_a_transformer_that_share_are_saved_and_loaded(tmp_path: Path) -> None:
    model = bert()
    layers = model.bert.encoder.layer
    layers[1].output.dense = layers[0].output.dense
    layers[1].intermediate.dense = layers[0].intermediate.dense  # whose GELU cannot be fused into one of two places
    layers[1].attention.self.key.weight = layers[0].attention.self.query.weight
    pruned(model, COLUMN)
    sparse = sparsify(copy.deepcopy(model), COLUMN, keep_dense_above=1.0)
    assert torch.allclose(logits(sparse, IDS), logits(model, IDS), atol=1e-4)
    for write, name in ((save, "one"), (lambda each, folder: each.save_pretrained(folder), "two")):
        write(sparse, tmp_path / name)
        loaded = load(tmp_path / name)
        assert torch.equal(logits(loaded, IDS), logits(sparse, IDS))
        inside = loaded.bert.encoder.layer
        assert inside[1].attention.self.key.values is inside[0].attention.self.query.values


@pytest.mark.parametrize("what", ["Doubled", "Linear with hooks"])
def test_a_weight_that_does_more_than_a_linears_is_said_at_once_and_refused(what: str) -> None:
    other = Doubled(16, 16) if what == "Doubled" else nn.Linear(16, 16)
    model = tied(other)
    other.weight = model[0].weight
    if what != "Doubled":
        other.register_forward_hook(lambda *_: None)
    remedy = r"clone\(\)\) on one of them first would do"
    with pytest.warns(
        PassedOverWarning, match=rf"'0' shares its weight.*sparsify refuses it, since '4' is a {what}.*{remedy}"
    ):
        prunable(model)
    with pytest.raises(ValueError, match=rf"'0' shares its weight with '4' \({what}.*{remedy}"):
        sparsify(model, ROW)
    assert isinstance(model[0], nn.Linear)


@pytest.mark.filterwarnings("ignore::blockprune_lib.pruning.PassedOverWarning", "ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize("first", [True, False])
def test_torchs_own_encoder_calls_its_sparse_layers_in_evaluation_too(first: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0, norm_first=first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not first).eval()
    x, padding = torch.randn(3, 5, 16), torch.arange(5).expand(3, 5) > torch.tensor([[4], [2], [3]])
    pruned(model, COLUMN)
    with torch.no_grad():
        expected = model(x, src_key_padding_mask=padding)
    sparsify(model, COLUMN)
    layers = [part for part in model.modules() if isinstance(part, BlockSparseLinear)]
    calls = list[nn.Module]()
    for part in layers:
        part.register_forward_hook(lambda part, *_: calls.append(part))
    with torch.no_grad():
        found = model(x, src_key_padding_mask=padding)
    assert len(layers) == 4
    assert set(calls) == set(layers)
    torch.testing.assert_close(found[~padding], expected[~padding], rtol=1e-4, atol=1e-5)


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def replace_forward(layer: nn.Module) -> None:
    own = layer.forward
    layer.forward = lambda x: 3 * own(x)


MORE = {
    "a forward of its own": (lambda layer: Doubled(16, 16), "Doubled, whose forward is its own"),
    "a forward that was replaced": (replace_forward, "Linear whose forward was replaced"),
    "a hook": (lambda layer: layer.register_forward_hook(lambda module, x, y: 4 * y), "Linear with hooks"),
    "a hook before": (lambda layer: layer.register_forward_pre_hook(lambda module, x: (-x[0],)), "Linear with hooks"),
    "a hook on gradients": (lambda layer: layer.register_full_backward_hook(lambda m, i, o: None), "with hooks"),
}


@pytest.mark.parametrize("what", MORE)
def test_a_linear_that_does_more_than_multiply_stays_as_it_is(what: str) -> None:
    change, said = MORE[what]
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    made = change(model[1])
    if isinstance(made, nn.Linear):
        model[1] = made
    x = torch.randn(3, 16)
    wanted = pruned(model, COLUMN)(x)
    with pytest.warns(PassedOverWarning, match=rf"1 of 2 layers stay dense, the first '1': it is a .*{said}"):
        sparsify(model, COLUMN)
    assert [type(layer) is BlockSparseLinear for layer in model] == [True, False]
    torch.testing.assert_close(model(x), wanted)
    with pytest.raises(ValueError, match=rf"linear must compute x Wᵀ \+ b and nothing else; got a .*{said}"):
        BlockSparseLinear.from_linear(model[1], COLUMN)
    with pytest.raises(ValueError, match=rf"has no prunable nn.Linear to swap; 1 of 1 layers stay dense, .*{said}"):
        sparsify(nn.Sequential(model[1]), COLUMN)


def test_a_hook_inside_a_compiled_encoder_is_still_called() -> None:
    model, calls = bert(), list[int]()
    inner = model.bert.encoder.layer[0].intermediate.dense
    inner.register_forward_hook(lambda module, x, y: calls.append(1))
    ids = torch.randint(2, 60, (2, 9))
    wanted = logits(pruned(model, COLUMN), ids)
    with pytest.warns(PassedOverWarning, match="1 of 12 layers stay dense"):
        sparsify(model, COLUMN)
    calls.clear()
    torch.testing.assert_close(logits(model, ids), wanted, rtol=1e-4, atol=1e-5)
    assert calls == [1]
    inner._forward_hooks.clear()
    replace_forward(inner)
    wanted = model(ids).logits  # gradients are on: layer by layer
    torch.testing.assert_close(logits(model, ids), wanted.detach(), rtol=1e-4, atol=1e-5)
    assert model.bert.encoder.forward.last == "the forward of a Linear was replaced"


def test_weights_that_are_still_to_come_are_named() -> None:
    # As accelerate leaves what waits on a disk.
    with pytest.raises(ValueError, match=r"weight must hold numbers; got a tensor on the meta device: load"):
        select_model(nn.Sequential(nn.Linear(16, 16, device="meta")), COLUMN, rate=2.0)


def test_a_layer_under_an_adapter_is_refused() -> None:
    model = nn.ModuleDict({"up": nn.Linear(16, 16)})
    model["up"] = nn.ModuleDict({"base_layer": nn.Linear(16, 16)})
    refused = pytest.raises(
        ValueError, match=r"'up.base_layer' has an adapter of PEFT on it: model = model.merge_and_un"
    )
    with refused, pytest.warns(PassedOverWarning, match="have adapters of PEFT"):
        sparsify(model, ROW)


# --- save and load


@pytest.mark.parametrize("make", [bert, roberta, distilbert])
def test_round_trip(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = sparsify(pruned(make(), TILE), TILE)
    folder = tmp_path / "new" / "model"
    state = torch.get_rng_state()
    save(model, folder)
    loaded = load(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert torch.equal(logits(loaded, IDS), logits(model, IDS))
    assert [n for n, _ in loaded.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert all(p.requires_grad for p in loaded.parameters())
    files = ["blockprune.json", "blockprune.safetensors", "config.json", "model.safetensors.index.json"]
    assert sorted(p.name for p in folder.iterdir()) == files
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]


def test_dense_models_load_here_and_in_transformers(tmp_path: Path) -> None:
    model = bert()
    save(model, tmp_path)
    assert torch.equal(logits(load(tmp_path), IDS), logits(model, IDS))
    assert torch.equal(logits(type(model).from_pretrained(tmp_path), IDS), logits(model, IDS))


def test_a_sparse_folder_is_not_misread_by_transformers(tmp_path: Path) -> None:
    save(sparsify(bert(), TILE), tmp_path)
    with pytest.raises(ValueError, match=r"block-sparse layers, which blockprune_lib.load\(folder\) reads"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = sparsify(BertForMaskedLM(BertConfig(**SMALL)).eval(), COLUMN)
    save(model, tmp_path)
    loaded = load(tmp_path)
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    assert torch.equal(logits(loaded, IDS), logits(model, IDS))


def test_half_precision_stays_half(tmp_path: Path) -> None:
    save(sparsify(bert(), TILE).bfloat16(), tmp_path)
    assert {p.dtype for p in load(tmp_path).parameters()} == {torch.bfloat16}


def test_saving_again_replaces_and_keeps_strangers(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save(sparsify(bert(), TILE), folder)
    save(bert(), folder)
    assert sorted(p.name for p in folder.iterdir()) == ["blockprune.json", "config.json", "model.safetensors"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        save(bert(), folder)
    (folder / "notes.txt").unlink()
    (folder / "blockprune.json").write_text("{")
    with pytest.raises(ValueError, match="holds other things"):
        save(bert(), folder)
    with pytest.raises(ValueError, match="is a file; name a folder"):
        save(bert(), folder / "config.json")


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model = tmp_path / "model", bert()
    save(model, folder)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save(bert(), folder)
    assert torch.equal(logits(load(folder), IDS), logits(model, IDS))
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_was_there_comes_back_where_the_new_folder_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first = tmp_path / "model", bert()
    save(first, folder)
    monkeypatch.setattr(files, "exchanged", lambda *_: False)  # a system that cannot swap two folders in one step
    replace = os.replace

    def stop(source: Path, target: Path) -> None:
        if str(source).endswith(".tmp"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save(bert(), folder)
    assert torch.equal(logits(load(folder), IDS), logits(first, IDS))
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(sparsify(pruned(bert(), TILE), TILE), folder)
    return folder


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_tensors(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors = load_file(folder / "blockprune.safetensors")
    name = next(n for n in tensors if n.endswith(".columns"))
    change(tensors, name.removesuffix(".columns"))
    save_file(tensors, folder / "blockprune.safetensors")


BREAK = {
    "no card": (lambda f: (f / "blockprune.json").unlink(), "blockprune.json.* is missing"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json.* is missing"),
    "no tensors": (lambda f: (f / "blockprune.safetensors").unlink(), "blockprune.safetensors.* is missing"),
    "card is no JSON": (lambda f: (f / "blockprune.json").write_text('{"format'), "blockprune.json.* is damaged"),
    "card is a list": (lambda f: (f / "blockprune.json").write_text("[]"), "must hold a JSON object; got list"),
    "config is binary": (lambda f: (f / "config.json").write_bytes(b"\xff\x00"), "config.json.* is damaged"),
    "another format": (lambda f: _edit(f / "blockprune.json", format="x"), "format must be"),
    "no layers": (lambda f: _edit(f / "blockprune.json", layers=None), "must have 'layers' and 'tied'"),
    "unknown class": (lambda f: _edit(f / "blockprune.json", architecture="os.system"), "architecture must be"),
    "no model class": (lambda f: _edit(f / "blockprune.json", architecture="pipeline"), "architecture must be"),
    "another model": (lambda f: _edit(f / "config.json", model_type="roberta"), "model_type 'roberta' is not that of"),
    "impossible config": (lambda f: _edit(f / "config.json", num_attention_heads=5), "config.json.* does not describe"),
    "another width": (lambda f: _edit(f / "config.json", intermediate_size=48), "must be a Linear of shape"),
    "another vocabulary": (lambda f: _edit(f / "config.json", vocab_size=61), "blockprune.safetensors.* does not fit"),
    "broken layer": (lambda f: _edit(f / "blockprune.json", layers={"bert": 3}), "layer 'bert' is broken"),
    "no such layer": (
        lambda f: _edit(f / "blockprune.json", layers={"x": {"structure": "row", "shape": [1, 1]}}),
        "layer 'x' is broken",
    ),
    "truncated": (
        lambda f: os.truncate(f / "blockprune.safetensors", (f / "blockprune.safetensors").stat().st_size // 2),
        "blockprune.safetensors.* is truncated or corrupt",
    ),
    "empty": (lambda f: os.truncate(f / "blockprune.safetensors", 0), "is truncated or corrupt"),
    "index outside": (
        lambda f: _edit_tensors(f, lambda t, n: t[f"{n}.columns"].fill_(999)),
        "blockprune.safetensors.*columns must lie in",
    ),
    "negative offset": (
        lambda f: _edit_tensors(f, lambda t, n: t[f"{n}.offsets"].fill_(-1)),
        "blockprune.safetensors.*offsets must run from 0",
    ),
    "values missing": (lambda f: _edit_tensors(f, lambda t, n: t.pop(f"{n}.values")), "lacks values"),
    "bias missing": (lambda f: _edit_tensors(f, lambda t, n: t.pop(f"{n}.bias")), "does not fit BertFor"),
    "NaN": (lambda f: _edit_tensors(f, lambda t, n: t[f"{n}.values"].fill_(float("nan"))), "values must be finite"),
}


@pytest.mark.parametrize("name", BREAK)
def test_broken_folders(name: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    damage, message = BREAK[name]
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_bad_input_of_save_and_load(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be an instance of a transformers model class"):
        save(nn.Sequential(nn.Linear(2, 2)), tmp_path)

    class Mine(BertForSequenceClassification):
        pass

    with pytest.raises(TypeError, match="got Mine"):
        save(Mine(BertConfig(**SMALL)), tmp_path)
    with pytest.raises(ValueError, match="there is no such folder"):
        load(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


# --- compression


def test_compression_by_each_definition() -> None:
    model = nn.ModuleDict({"a": nn.Linear(32, 16), "norm": nn.LayerNorm(16), "b": nn.Linear(16, 4, bias=False)})
    with torch.no_grad():
        model["a"].weight[:, 16:] = 0
    dense = compression(model)
    assert (dense.pruned, dense.matrices, dense.parameters) == ((576, 320), (576, 320), (624, 368))
    assert dense.bytes_total == dense.bytes_dense == 4 * 624
    assert "No layer is packed" in str(dense)
    sparse = compression(sparsify(model, ROW))
    assert (sparse.pruned, sparse.parameters) == (dense.pruned, dense.parameters)
    assert sparse.bytes_dense == 4 * 624
    assert sparse.bytes_values == 4 * 368
    assert sparse.bytes_indices == (16 * 4 + 17 * 8) + (4 * 4 + 5 * 8)
    assert sparse.rate_bytes == pytest.approx(4 * 624 / (4 * 368 + sparse.bytes_indices))
    assert sparse.rate_pruned == pytest.approx(1.8)
    assert "2 linear layers are packed." in str(sparse)
    assert json.loads(json.dumps(sparse.to_dict()))["bytes_total"] == sparse.bytes_total
    assert "<table>" in sparse._repr_html_()


def test_compression_of_a_bert() -> None:
    model = sparsify(pruned(bert(), TILE, rate=4.0), TILE)
    record = compression(model)
    encoder = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert record.pruned == (encoder, encoder // 4)
    assert record.rate_pruned == pytest.approx(4.0)
    assert record.rate_parameters < record.rate_matrices < record.rate_pruned
    assert record.parameters[0] == sum(p.numel() for p in bert().parameters())


def test_bad_input_of_compression() -> None:
    with pytest.raises(TypeError, match="model must be"):
        compression("bert")
    with pytest.raises(ValueError, match="nothing to prune"):
        compression(nn.ReLU())


@pytest.mark.parametrize("make", [bert, roberta, distilbert])
def test_the_gelu_after_a_feed_forward_layer_is_fused(make) -> None:  # type: ignore[no-untyped-def]
    dense = pruned(make(), COLUMN)
    tokens = torch.randint(2, 60, (3, 11))
    fused = sparsify(copy.deepcopy(dense), COLUMN)
    apart = sparsify(copy.deepcopy(dense), COLUMN, fuse=False)
    assert sum(getattr(m, "activation", None) == "gelu" for m in fused.modules()) == 2
    assert not any(m.activation for m in apart.modules() if isinstance(m, BlockSparseLinear))
    with torch.no_grad():
        want = dense(tokens).logits
        torch.testing.assert_close(fused(tokens).logits, want, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(apart(tokens).logits, want, rtol=1e-4, atol=1e-5)
    fused(tokens).logits.sum().backward()
    dense(tokens).logits.sum().backward()
    name = next(n for n, m in fused.named_modules() if isinstance(m, BlockSparseLinear))
    got, wanted = fused.get_submodule(name).bias.grad, dense.get_submodule(name).bias.grad
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "gelu_fast"])
def test_other_activations_stay(activation: str) -> None:
    model = pruned(bert(hidden_act=activation), COLUMN)
    tokens = torch.randint(2, 60, (2, 7))
    with torch.no_grad():
        want = model(tokens).logits
        sparse = sparsify(model, COLUMN)
        torch.testing.assert_close(sparse(tokens).logits, want, rtol=1e-4, atol=1e-5)
    assert not any(m.activation for m in sparse.modules() if isinstance(m, BlockSparseLinear))


def test_a_fused_model_comes_back_fused(tmp_path: Path) -> None:
    model = sparsify(pruned(bert(), COLUMN), COLUMN)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    tokens = torch.randint(2, 60, (2, 9))
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, model(tokens).logits)
    assert [m.activation for m in again.modules() if isinstance(m, BlockSparseLinear)] == [
        m.activation for m in model.modules() if isinstance(m, BlockSparseLinear)
    ]


def test_a_layer_that_is_too_dense_is_named() -> None:
    with pytest.warns(TooDenseWarning, match=r"12 of 12 layers .* keeps 1\.00 .* block_row:16 usually breaks even"):
        sparsify(bert(), ROW)


def test_dense_layers_stay_dense_where_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from blockprune_lib.nn import convert

    measured = {(32, 32): 0.9, (64, 32): 0.2, (32, 64): 0.0}
    asked = []

    def measure(structure: BlockStructure, shape: tuple[int, int]) -> Any:
        asked.append((structure, shape))
        return SimpleNamespace(density=measured[shape])

    monkeypatch.setattr(convert, "break_even_density", measure)
    model = sparsify(pruned(bert(), ROW), ROW, keep_dense_above="measured")
    kinds = {n.split(".", 4)[-1]: isinstance(m, BlockSparseLinear) for n, m in model.named_modules()
             if isinstance(m, (nn.Linear, BlockSparseLinear)) and "encoder" in n}  # fmt: skip
    assert kinds["attention.self.query"]
    assert not kinds["intermediate.dense"]
    assert not kinds["output.dense"]
    assert sorted(asked, key=str) == sorted([(ROW, shape) for shape in measured], key=str), "each shape once"


def test_an_activation_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="activation must be 'gelu' or None; got 'relu'"):
        BlockSparseLinear(4, 4, BlockStructure.row(), activation="relu")


def test_where_nothing_is_kept_no_rate_is_printed() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight.zero_()
    assert "none kept" in str(compression(model))
    assert "inf" not in str(compression(model))
