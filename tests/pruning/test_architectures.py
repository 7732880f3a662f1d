"""Which matrices are pruned, spelled out by hand for freshly made models of each architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from blockprune_lib.pruning.architectures import (
    ARCHITECTURES,
    architecture,
    layer_paths,
    parameter_name,
    part_of,
    prunable,
    prunable_weights,
)

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
BERT_LAYER = [
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
]  # fmt: skip
DISTIL_LAYER = [
    "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2",
]  # fmt: skip


def bert(head: str = "BertForSequenceClassification") -> Any:
    return getattr(transformers, head)(transformers.BertConfig(**SMALL, max_position_embeddings=12))


def roberta(name: str = "Roberta", **more: int) -> Any:
    config = getattr(transformers, f"{name}Config")(**SMALL, max_position_embeddings=12, **more)
    return getattr(transformers, f"{name}ForSequenceClassification")(config)


def distilbert() -> Any:
    config = transformers.DistilBertConfig(
        vocab_size=30, dim=8, n_layers=2, n_heads=2, hidden_dim=16, max_position_embeddings=12
    )
    return transformers.DistilBertForSequenceClassification(config)


def encoder(prefix: str, names: list[str]) -> list[str]:
    return [f"{prefix}layer.{i}.{name}" for i in range(2) for name in names]


def test_bert() -> None:
    model, core = bert(), encoder("bert.encoder.", BERT_LAYER)
    tables = [f"bert.embeddings.{kind}_embeddings" for kind in ("word", "position", "token_type")]
    assert list(prunable(model)) == core
    assert list(prunable(model, embeddings=True)) == tables + core
    assert list(prunable(model, pooler=True, classifier=True)) == [*core, "bert.pooler.dense", "classifier"]
    modules = dict(model.named_modules())
    assert all(modules[name] is part for name, part in prunable(model, embeddings=True).items())


def test_bert_without_a_head_and_with_others() -> None:
    assert list(prunable(bert("BertModel"), classifier=True)) == encoder("encoder.", BERT_LAYER)
    assert list(prunable(bert("BertModel"), pooler=True))[-1] == "pooler.dense"
    assert list(prunable(bert("BertForQuestionAnswering"), classifier=True))[-1] == "qa_outputs"


@pytest.mark.parametrize("name", ["Roberta", "XLMRoberta", "Camembert"])
def test_roberta(name: str) -> None:
    model, core = roberta(name), encoder("roberta.encoder.", BERT_LAYER)
    assert list(prunable(model)) == core
    assert set(prunable(model, classifier=True)) - set(core) == {"classifier.dense", "classifier.out_proj"}
    assert len(prunable(model, embeddings=True)) == len(core) + 3
    assert list(prunable(model, pooler=True)) == core  # it has none


def test_distilbert() -> None:
    model, core = distilbert(), encoder("distilbert.transformer.", DISTIL_LAYER)
    tables = ["distilbert.embeddings.word_embeddings", "distilbert.embeddings.position_embeddings"]
    assert list(prunable(model)) == core
    assert list(prunable(model, embeddings=True, pooler=True, classifier=True)) == [
        *tables, *core, "pre_classifier", "classifier",
    ]  # fmt: skip


def test_masks_are_keyed_by_the_names_of_parameters() -> None:
    for model in (bert(), roberta(), distilbert(), nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))):
        parameters = dict(model.named_parameters())
        weights = prunable_weights(model)
        assert all(parameters[name] is weight for name, weight in weights.items())
    assert list(prunable_weights(nn.Linear(2, 2))) == ["weight"]


def test_a_model_inside_another_is_recognised() -> None:
    class Sentences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = bert("BertModel")
            self.projection = nn.Linear(8, 4)

    model = Sentences()
    assert architecture(model) == "bert"
    assert list(prunable(model)) == encoder("inner.encoder.", BERT_LAYER)
    assert list(prunable(nn.DataParallel(bert("BertModel")))) == encoder("module.encoder.", BERT_LAYER)


def test_any_other_module_gives_every_linear() -> None:
    model = nn.ModuleDict(
        {"table": nn.Embedding(9, 4), "up": nn.Linear(4, 8), "norm": nn.LayerNorm(8), "down": nn.Linear(8, 4)}
    )
    assert list(prunable(model)) == ["up", "down"]
    assert list(prunable(model, embeddings=True)) == ["table", "up", "down"]
    assert list(prunable(model, pooler=True, classifier=True)) == ["up", "down"]
    linear = nn.Linear(3, 3)
    assert prunable(linear) == {"": linear}


def test_an_unknown_architecture_gives_every_linear() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    model.config = type("Config", (), {"model_type": "mamba"})()
    assert (architecture(model), list(prunable(model))) == (None, ["0"])


def test_shared_weights_are_listed_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert list(prunable(nn.Sequential(first, second, first))) == ["0"]


def test_frozen_weights_are_listed() -> None:
    assert list(prunable(nn.Linear(4, 4).requires_grad_(False))) == [""]


@pytest.mark.parametrize("model", [nn.LayerNorm(4), nn.Sequential(), nn.Conv1d(2, 2, 1), nn.Embedding(3, 3)])
def test_nothing_to_prune_is_an_error(model: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=r"nothing to prune: no nn.Linear .* any module with nn.Linear layers, would do"
    ):
        prunable(model)


def test_a_bert_whose_encoder_is_gone_is_an_error() -> None:
    model = bert()
    for name in list(prunable(model)):
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, nn.Identity())
    with pytest.raises(ValueError, match="no encoder matrix of 'bert' that is not block-sparse yet was found"):
        prunable(model)


@pytest.mark.parametrize("model", [None, "minilm", torch.ones(2, 2), {"weight": torch.ones(2, 2)}])
def test_what_is_no_module_is_refused(model: object) -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got"):
        prunable(model)  # type: ignore[arg-type]


def test_flags_must_be_flags() -> None:
    with pytest.raises(TypeError, match="classifier must be True or False; got 'yes'"):
        prunable(nn.Linear(2, 2), classifier="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword"):
        prunable(nn.Linear(2, 2), heads=True)  # type: ignore[call-arg]


# --- the register ---

#: `config.model_type` → a tiny classifier of that type: a new entry of the register needs one here.
TINY = {
    "bert": bert,
    "roberta": lambda: roberta("Roberta"),
    "xlm-roberta": lambda: roberta("XLMRoberta"),
    "camembert": lambda: roberta("Camembert"),
    "distilbert": distilbert,
    "electra": lambda: roberta("Electra", embedding_size=8),
    "mpnet": lambda: roberta("MPNet"),
}


def test_every_family_has_a_tiny_model_here() -> None:
    types = [model_type for family in ARCHITECTURES for model_type in family.model_types]
    assert sorted(types) == sorted(TINY)
    encoders = [encoder for family in ARCHITECTURES for encoder in family.encoders]
    assert len(set(encoders)) == len(encoders)


@pytest.mark.parametrize("model_type", TINY)
def test_an_entry_finds_the_encoder_and_its_parts(model_type: str) -> None:
    model = TINY[model_type]()
    assert architecture(model) == model.config.model_type == model_type
    in_layers = {name for name, part in model.named_modules() if ".layer." in name and isinstance(part, nn.Linear)}
    assert set(prunable(model)) == in_layers
    tables = {name for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    assert set(prunable(model, embeddings=True)) == in_layers | tables
    every = {parameter_name(name) for name in prunable(model, embeddings=True, pooler=True, classifier=True)}
    assert every == {name for name, weight in model.named_parameters() if weight.ndim == 2}


@pytest.mark.parametrize("model_type", TINY)
def test_an_entry_finds_the_parts_of_a_layer(model_type: str) -> None:
    model = TINY[model_type]()
    encoder, paths = next((part, found) for part in model.modules() if (found := layer_paths(part)))
    matrices = ("query", "key", "value", "output", "inner", "outer")
    layers = part_of(encoder, paths.layers)
    found = {id(part_of(layer, getattr(paths, name))) for layer in layers for name in matrices}
    assert found == {id(part) for part in prunable(model).values()}
    for layer in layers:
        assert part_of(layer, paths.heads) == 2
        assert all(isinstance(part_of(layer, name), nn.LayerNorm) for name in (paths.norm, paths.final))
        assert part_of(layer, paths.inner).weight.shape == (16, 8)
        # The activation is called on the very result of that matrix.
        seen: list[torch.Tensor] = []
        part_of(layer, paths.inner).register_forward_hook(lambda *args, seen=seen: seen.append(args[-1]))
        part_of(layer, paths.activation).register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        layer(torch.ones(1, 3, 8))
        result, given = seen
        assert given is result
    assert layer_paths(nn.Linear(2, 2)) is None
