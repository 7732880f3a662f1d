"""The plain model comes back: the same outputs, the same modules, files that transformers and ONNX Runtime read."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

import blockprune_lib as bp

from .test_engine import FAMILIES, both, family

IDS = torch.arange(3, 33).view(3, 10)
MASK = torch.ones_like(IDS)
MASK[1, 6:] = 0


def close(found: Tensor, wanted: Tensor) -> None:
    assert float((found.double() - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def hidden(model: Any, ids: Tensor = IDS, mask: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        return model(ids, attention_mask=mask).last_hidden_state


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_as_transformers_made_it(name: str, tmp_path: Path) -> None:
    exact, sparse = both(name, "block_column:4")
    hidden(sparse)
    training = sparse.training
    plain = bp.densify(sparse)
    assert plain is sparse
    fresh = family(name)
    assert [(at, type(part)) for at, part in plain.named_modules()] == [
        (at, type(part)) for at, part in fresh.named_modules()
    ]
    assert list(plain.state_dict()) == list(fresh.state_dict())
    assert not any("forward" in module.__dict__ for module in plain.modules())
    assert plain.training == training
    for one, other in zip(plain.parameters(), exact.parameters(), strict=True):
        assert torch.equal(one.double(), other)
    close(hidden(plain, mask=MASK) * MASK[..., None], hidden(exact, mask=MASK) * MASK[..., None])
    plain.save_pretrained(tmp_path)
    loaded, told = type(plain).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    assert torch.equal(hidden(loaded.eval()), hidden(plain))


class Encoder(nn.Module):
    """Two inputs and one output by position, as exporters like it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model(ids, attention_mask=mask).last_hidden_state


@pytest.mark.parametrize(("text", "dynamo"), [("block_row:16", True), ("tile:8x4", False)])
def test_onnx_runtime_gives_the_same(text: str, dynamo: bool, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, sparse = both("Bert", text)
    plain, path = Encoder(bp.densify(copy.deepcopy(sparse))), tmp_path / "model.onnx"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.onnx.export(
            plain, (IDS, MASK), str(path), input_names=["ids", "mask"], output_names=["hidden"], dynamo=dynamo,
            verbose=False,
        )  # fmt: skip
    assert not any("block-sparse" in str(warning.message) for warning in said)
    session = onnxruntime.InferenceSession(path)
    for ids in (IDS, IDS.flip(0, 1)):
        found = torch.from_numpy(session.run(["hidden"], {"ids": ids.numpy(), "mask": MASK.numpy()})[0])
        close(found * MASK[..., None], hidden(sparse, ids, MASK) * MASK[..., None])


def test_a_layer_in_several_places_stays_one() -> None:
    config = AlbertConfig(
        vocab_size=60, embedding_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=40,
    )  # fmt: skip
    model, structure = AlbertModel(config).eval(), bp.BlockStructure.block_column(4)
    shared = nn.Linear(8, 8)
    bp.prune(model, structure, 2.0)
    wanted = hidden(model)
    sparse = bp.sparsify(model, structure, keep_dense_above=1.0)
    close(hidden(bp.densify(sparse)), wanted)
    twice = nn.Sequential(bp.BlockSparseLinear.from_linear(shared, structure), nn.ReLU())
    twice.append(twice[0])
    plain = bp.densify(twice)
    assert plain[0] is plain[2]
    assert type(plain[0]) is nn.Linear


def test_modes_and_frozen_weights_stay() -> None:
    _, sparse = both("Bert", "block_row:16")
    sparse.train()
    frozen = sparse.encoder.layer[0].attention.self.query
    frozen.values.requires_grad_(False)
    plain = bp.densify(sparse)
    assert plain.encoder.layer[0].attention.self.query.weight.requires_grad is False
    assert plain.encoder.layer[0].output.dense.weight.requires_grad is True
    assert plain.encoder.layer[1].intermediate.intermediate_act_fn.training
    assert plain.encoder.layer[1].intermediate.dense.training


def test_an_activation_outside_an_encoder_follows_its_layer() -> None:
    structure = bp.BlockStructure.block_row(4)
    layer = bp.BlockSparseLinear(8, 6, structure, activation="gelu")
    model, x = nn.Sequential(layer), torch.randn(3, 8)
    with torch.inference_mode():
        wanted = model(x)
        torch.testing.assert_close(bp.densify(model)(x), wanted, rtol=1e-5, atol=2e-6)
    assert [type(part) for part in model[0]] == [nn.Linear, nn.GELU]


def test_back_and_forth() -> None:
    _, sparse = both("DistilBert", "block_row:16")
    wanted = hidden(sparse)
    again = bp.sparsify(bp.densify(sparse), bp.BlockStructure.block_column(4), keep_dense_above=1.0)
    close(hidden(again), wanted)
    assert again.transformer.forward.last == "compiled"


def test_a_plain_model_is_left_alone_and_the_rest_refused() -> None:
    plain = nn.Sequential(nn.Linear(4, 4))
    kept = plain[0]
    assert bp.densify(plain)[0] is kept
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got Tensor"):
        bp.densify(torch.ones(2))  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"it is itself one: model.to_linear\(\) would do"):
        bp.densify(bp.BlockSparseLinear(8, 6, bp.BlockStructure.block_row(4)))
