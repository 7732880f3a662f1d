"""Which matrices are pruned, spelled out by hand for freshly made models of each architecture."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

import blockprune_lib as bp
from blockprune_lib.pruning.architectures import parameter_name, prunable, prunable_weights
from blockprune_lib.pruning.families import ARCHITECTURES, architecture, layer_paths, part_of
from blockprune_lib.pruning.part_names import part_by_name
from blockprune_lib.pruning.passed_over import PassedOverWarning, computed_by, matrices, plain

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
    with pytest.warns(PassedOverWarning, match="'0' shares its weight with '1': it is pruned for both"):
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
    with pytest.raises(ValueError, match="no encoder matrix of 'bert' was found"):
        prunable(model)


@pytest.mark.parametrize("model", [None, "minilm", torch.ones(2, 2), {"weight": torch.ones(2, 2)}])
def test_what_is_no_module_is_refused(model: object) -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got"):
        prunable(model)  # type: ignore[arg-type]


def test_flags_must_be_flags() -> None:
    with pytest.raises(TypeError, match="classifier must be True or False; got 'yes'"):
        prunable(nn.Linear(2, 2), classifier="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^a flag must be one of .*; got 'pooller': did you mean 'pooler'\?$"):
        prunable(nn.Linear(2, 2), pooller=True)


class Adapted(nn.Module):
    def __init__(self, rank: int, before: int = 32, after: int = 24) -> None:
        super().__init__()
        self.base, self.down = nn.Linear(before, after), nn.Linear(before, rank, bias=False)
        self.up = nn.Linear(rank, after, bias=False)


def test_thin_matrices_beside_one_that_their_product_fits_are_named() -> None:
    with pytest.warns(PassedOverWarning, match=r"2 pairs of thin .* '0.down' and '0.up' of rank 4 beside '0.base'"):
        prunable(nn.Sequential(Adapted(4), nn.ReLU(), Adapted(6)))
    prunable(nn.Sequential(Adapted(20)))
    prunable(nn.Sequential(nn.Linear(32, 4), nn.Linear(4, 24)))


def test_a_packed_model_is_told_the_way_back() -> None:
    packed = bp.sparsify(nn.Sequential(nn.Linear(8, 8)), bp.BlockStructure.row(), keep_dense_above=1.0)
    for again in (prunable, lambda m: bp.prune(m, bp.BlockStructure.row(), 2.0)):
        with pytest.raises(ValueError, match=r"all of it is block-sparse already; densify\(model\) first would do"):
            again(packed)


def test_a_warning_names_the_line_of_the_one_who_called_and_comes_once() -> None:
    """However deep inside the library it was noticed, and whatever of torch's stands between; copies know of it."""
    structure = bp.BlockStructure.row()
    for call in (prunable, lambda m: bp.prune(m, structure, 2.0), lambda m: bp.sparsify(m, structure)):
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[1].weight = model[0].weight
        with pytest.warns((PassedOverWarning, bp.nn.TooDenseWarning)) as said:
            call(model)
        assert {warning.filename for warning in said} == {__file__}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prunable(bp.densify(copy.deepcopy(model)))
    lines = (
        "import torch.nn as nn, blockprune_lib as bp", "m = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))",
        "m[1].weight = m[0].weight", "bp.prunable(m)",
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert "<string>:4: PassedOverWarning" in done.stderr


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
    "deberta-v2": lambda: roberta("DebertaV2", relative_attention=True, embedding_size=4),
    "modernbert": lambda: roberta("ModernBert", pad_token_id=0),
    "albert": lambda: roberta("Albert", embedding_size=4),
}


def test_every_family_has_a_tiny_model_here() -> None:
    types = [model_type for family in ARCHITECTURES for model_type in family.model_types]
    assert sorted(types) == sorted(TINY)
    encoders = [encoder for family in ARCHITECTURES for encoder in family.encoders]
    assert len(set(encoders)) == len(encoders)
    assert all(bool(family.encoders) == (family.layer is not None) for family in ARCHITECTURES)


@pytest.mark.parametrize("model_type", TINY)
def test_an_entry_finds_the_encoder_and_its_parts(model_type: str) -> None:
    model = TINY[model_type]()
    assert architecture(model) == model.config.model_type == model_type
    inside = re.compile(r"\.(layers?|albert_layers)\.\d")
    in_layers = {name for name, part in model.named_modules() if inside.search(name) and isinstance(part, nn.Linear)}
    assert set(prunable(model)) == in_layers
    tables = {name for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    tables |= {
        name for name in dict(model.named_modules()) if name.endswith(("embed_proj", "embedding_hidden_mapping_in"))
    }
    assert set(prunable(model, embeddings=True)) == in_layers | tables
    every = {parameter_name(name) for name in prunable(model, embeddings=True, pooler=True, classifier=True)}
    assert every == {name for name, weight in model.named_parameters() if weight.ndim == 2}


@pytest.mark.parametrize(
    "model_type", [kind for family in ARCHITECTURES if family.layer for kind in family.model_types]
)
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


# --- families that are not in the register

STRANGERS = {
    "ernie": {},
    "roberta-prelayernorm": {},
    "megatron-bert": {},
    "xlm-roberta-xl": {},
    "rembert": {"input_embedding_size": 4},
    "convbert": {"embedding_size": 4},
    "nystromformer": {"num_landmarks": 2, "segment_means_seq_len": 4},
    "layoutlm": {},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_an_unknown_family_keeps_its_embeddings_pooler_and_head(kind: str) -> None:
    config = transformers.AutoConfig.for_model(
        kind, **SMALL, max_position_embeddings=12, **STRANGERS[kind], num_labels=3
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    assert architecture(model) is None
    layer = re.compile(r"encoder\.layers?\.\d")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PassedOverWarning)  # ConvBERT has matrices that are no nn.Linear
        core = set(prunable(model))
        every = set(prunable(model, embeddings=True, pooler=True, classifier=True))
    linears = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert core == {name for name in linears if layer.search(name)}
    assert every >= linears
    assert {name for name in every - linears} == {
        name for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    }


def decoder(kind: str, **sizes: int) -> Any:
    return transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **sizes))


def llama() -> Any:
    return decoder(
        "llama", hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=30,
        tie_word_embeddings=True,
    )  # fmt: skip


def test_a_head_that_is_the_embedding_is_pruned_with_it_or_not_at_all() -> None:
    model = llama()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert all(name.startswith("model.layers.0.") for name in prunable(model))
    with pytest.warns(PassedOverWarning, match=r"'lm_head' is not pruned: .* embedding 'model\.embed_tokens'"):
        assert "lm_head" not in prunable(model, classifier=True)
    with pytest.warns(PassedOverWarning, match=r"'model\.embed_tokens' shares its weight with 'lm_head'"):
        assert "model.embed_tokens" in prunable(model, embeddings=True)


def test_a_tied_layer_of_a_plain_module_is_left_alone() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(9, 4), "up": nn.Linear(4, 4), "out": nn.Linear(4, 9, bias=False)})
    model["out"].weight = model["table"].weight
    with pytest.warns(PassedOverWarning, match="'out' is not pruned: its weight is the embedding 'table', too"):
        assert list(prunable(model)) == ["up"]
    del model["up"]
    with pytest.raises(ValueError, match=r"nothing to prune.*'out' is not pruned: its weight is the embedding"):
        prunable(model)


@pytest.mark.parametrize(("name", "part"), [
    ("layers.0.mlp.up_proj", "encoder"), ("embedder.layers.0.linear1", "encoder"), ("blocks.3.attn.qkv", "encoder"),
    ("embeddings.patch_embeddings.projection", "embeddings"), ("decoder.embed_tokens", "embeddings"),
    ("encoder.embedding_hidden_mapping_in", "embeddings"), ("lm_head", "classifier"),
    ("classifier.dense", "classifier"), ("score", "classifier"), ("heads.head", "classifier"),
    ("multi_head.0.query", "encoder"), ("pooler.dense", "pooler"), ("0", "encoder"), ("", "encoder"),
])  # fmt: skip
def test_names_say_what_part_a_matrix_is(name: str, part: str) -> None:
    assert part_by_name(name) == part


def test_the_encoder_of_a_family_by_itself() -> None:
    assert list(prunable(bert().bert.encoder)) == encoder("", BERT_LAYER)
    assert list(prunable(distilbert().distilbert.transformer)) == encoder("", DISTIL_LAYER)


# --- what is passed over

REPARAMETRISED = {
    "prune.remove": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "parametrize.remove_parametrizations": parametrizations.weight_norm,
    "remove_spectral_norm": torch.nn.utils.spectral_norm,
}


@pytest.mark.parametrize("line", REPARAMETRISED)
@pytest.mark.parametrize("make", [bert, llama, lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))])
def test_a_computed_weight_is_an_error_with_the_line_to_type(line: str, make: Callable[[], Any]) -> None:
    model = make()
    name, layer = list(prunable(model).items())[-1]
    REPARAMETRISED[line](layer)
    with pytest.raises(ValueError, match=rf"1 weights of .* '{re.escape(name)}', are computed .*{re.escape(line)}"):
        prunable(model)


def test_the_line_to_type_makes_it_a_parameter_again() -> None:
    layer = nn.Linear(4, 4)
    prune.l1_unstructured(layer, "weight", 0.5)
    exec(computed_by(layer), {"torch": torch, "module": layer})
    assert computed_by(layer) == ""
    parametrizations.weight_norm(layer)
    exec(computed_by(layer), {"torch": torch, "module": layer})
    assert list(prunable(layer)) == [""]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to drop it
        weight_norm(layer)
    exec(computed_by(layer), {"torch": torch, "module": layer})
    assert computed_by(layer) == ""
    # A reparametrised head is nobody's business while heads are not asked for.
    model = bert()
    parametrizations.weight_norm(model.classifier)
    assert len(prunable(model)) == 12
    with pytest.raises(ValueError, match="computed from others"):
        prunable(model, classifier=True)


def test_what_is_passed_over_is_said_once() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    with pytest.warns(PassedOverWarning, match=r"2 of nn\.MultiheadAttention, .*, the first 'layers\.0\.self_attn'"):
        found = prunable(model)
    assert list(found) == [f"layers.{i}.linear{j}" for i in range(2) for j in (1, 2)]
    assert list(prunable(model)) == list(found)  # a second warning would be an error here
    prunable(copy.deepcopy(model))  # nor does a copy say it again


def test_a_model_of_which_nearly_nothing_can_be_pruned_is_an_error() -> None:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    with pytest.raises(
        ValueError, match=r"has nothing to prune: .* 8 of Conv1D, which is no nn.Linear, the first 'trans"
    ):
        prunable(decoder("gpt2", **sizes))
    config = transformers.AutoConfig.for_model("gpt2", **sizes, num_labels=2, pad_token_id=0)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ValueError, match=r"nearly nothing to prune, 0.* % of its matrices; not pruned: 8 of Conv1D"):
        prunable(model, classifier=True)
    model = nn.Sequential(nn.LSTM(32, 64), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"nearly nothing .* 1 of LSTM, which is no nn.Linear"):
        prunable(model)
    with pytest.raises(ValueError, match=r"nothing to prune: .*nn\.MultiheadAttention"):
        prunable(nn.MultiheadAttention(8, 2))


class Quantised(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.weight = nn.Parameter(torch.ones(outputs, inputs, dtype=torch.int8), requires_grad=False)


def test_quantised_layers_are_named() -> None:
    model = bert()
    inner = "bert.encoder.layer.0.intermediate.dense"
    model.set_submodule(inner, Quantised(8, 16))
    with pytest.warns(PassedOverWarning, match=rf"1 of Quantised \(Parameter: quantised .*, the first '{inner}'"):
        assert len(prunable(model)) == 11
    assert [kind for kind, _ in matrices(nn.LazyLinear(3))] == [
        "LazyLinear (UninitializedParameter: not initialised yet)"
    ]
    assert plain(nn.Linear(2, 2).weight)
    assert not plain(torch.ones(2, 2))


def test_the_matrix_under_an_adapter_is_the_one_to_prune() -> None:
    # What PEFT makes of a Linear, without PEFT.
    adapted = type("Linear", (nn.Module,), {"__module__": "peft.tuners.lora.layer"})

    def adapt(linear: nn.Module) -> nn.Module:
        layer = adapted()
        layer.base_layer, layer.lora_A = linear, nn.ModuleDict({"default": nn.Linear(8, 2)})
        return layer

    model = bert()
    for name in list(prunable(model))[:2]:
        model.set_submodule(name, adapt(model.get_submodule(name)))
    plain_model = nn.ModuleDict({"up": adapt(nn.Linear(8, 8)), "down": nn.Linear(8, 8)})
    with pytest.warns(
        PassedOverWarning, match=r"2 matrices have adapters of PEFT, .* model.merge_and_unload\(\) first"
    ):
        assert [name.endswith("base_layer") for name in prunable(model)] == [True] * 2 + [False] * 10
    with pytest.warns(PassedOverWarning, match="1 matrices have adapters"):
        assert list(prunable(plain_model)) == ["up.base_layer", "down"]
