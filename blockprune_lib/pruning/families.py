"""The model families the library knows: which matrices are pruned, and whatever else differs between families.

To add a family, add one `Architecture` to `ARCHITECTURES` and one tiny model to tests/pruning/test_architectures.py:
nothing else asks what family a model is of. A model of none works too (`architectures.prunable`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn


@dataclass(frozen=True)
class LayerPaths:
    """Where the parts of one encoder layer stand, as paths from the layer: what fuses and what compiles read these.

    In every family here a LayerNorm follows each of the two blocks, attention (`norm`) and feed-forward (`final`).
    """

    layers: str  # the attribute of the encoder that holds its layers
    query: str
    key: str
    value: str
    output: str
    norm: str
    inner: str  # the first matrix of the feed-forward block
    activation: str  # called on the result of `inner`, and on nothing else
    outer: str
    final: str
    heads: str  # how many heads attention has


@dataclass(frozen=True)
class TextPaths:
    """Where a model of a family turns token numbers into vectors: what runs it from them on in one call reads this.

    The vectors of a token, its place and its type are added up, and a LayerNorm follows (`norm`).
    """

    models: tuple[str, ...]  # transformers' classes that embed the text and run the encoder on it
    encoder: str = "encoder"
    embeddings: str = "embeddings"  # with a word_embeddings, and what follows, inside
    words: str = "word_embeddings"
    positions: str = "position_embeddings"
    types: str = "token_type_embeddings"  # empty: the family has none
    norm: str = "LayerNorm"
    padding: str = ""  # whose number places are counted from, padding left out; empty: all are counted, from 0


@dataclass(frozen=True)
class Architecture:
    """A family of models; its parts are patterns that the end of a module's name must match."""

    name: str  # as its authors write it
    model_types: tuple[str, ...]  # every `config.model_type` of the family
    encoders: tuple[str, ...]  # transformers' classes that run all layers; none: they run layer by layer, not in a call
    layer: LayerPaths | None
    text: TextPaths | None
    encoder: str  # query, key, value, attention output, the two of the feed-forward: what is pruned by default
    embeddings: str  # pruned where asked for, as are the next two
    pooler: str
    classifier: str


_NONE = r"(?!)"  # matches nothing
_BERT_LAYER = LayerPaths(
    layers="layer", query="attention.self.query", key="attention.self.key", value="attention.self.value",
    output="attention.output.dense", norm="attention.output.LayerNorm", inner="intermediate.dense",
    activation="intermediate.intermediate_act_fn", outer="output.dense", final="output.LayerNorm",
    heads="attention.self.num_attention_heads",
)  # fmt: skip
_BERT = Architecture(
    name="BERT", model_types=("bert",), encoders=("BertEncoder",),
    layer=_BERT_LAYER, text=TextPaths(models=("BertModel",)),
    encoder=r"encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense)",
    embeddings=r"embeddings\.(word|position|token_type)_embeddings", pooler=r"pooler\.dense",
    classifier=r"(classifier|qa_outputs)",
)  # fmt: skip
_ROBERTA = replace(
    _BERT, name="RoBERTa", model_types=("roberta", "xlm-roberta", "camembert"),
    encoders=("RobertaEncoder", "XLMRobertaEncoder", "CamembertEncoder"),
    text=TextPaths(models=("RobertaModel", "XLMRobertaModel", "CamembertModel"), padding="padding_idx"),
    classifier=r"(classifier|classifier\.(dense|out_proj)|qa_outputs)",
)  # fmt: skip
_ELECTRA = replace(
    _ROBERTA, name="ELECTRA", model_types=("electra",), encoders=("ElectraEncoder",), pooler=_NONE,
    text=TextPaths(models=("ElectraModel",)),
    embeddings=rf"({_BERT.embeddings}|embeddings_project)",
)  # fmt: skip
_MPNET = replace(
    _ROBERTA, name="MPNet", model_types=("mpnet",), encoders=("MPNetEncoder",),
    text=TextPaths(models=("MPNetModel",), types="", padding="padding_idx"),
    layer=replace(
        _BERT_LAYER, query="attention.attn.q", key="attention.attn.k", value="attention.attn.v",
        output="attention.attn.o", norm="attention.LayerNorm", heads="attention.attn.num_attention_heads",
    ),
    encoder=r"encoder\.layer\.\d+\.(attention\.attn\.[qkvo]|(intermediate|output)\.dense)",
    embeddings=r"(embeddings\.(word|position)_embeddings|encoder\.relative_attention_bias)",
)  # fmt: skip
_DISTILBERT = Architecture(
    name="DistilBERT", model_types=("distilbert",), encoders=("Transformer",),
    layer=LayerPaths(
        layers="layer", query="attention.q_lin", key="attention.k_lin", value="attention.v_lin",
        output="attention.out_lin", norm="sa_layer_norm", inner="ffn.lin1", activation="ffn.activation",
        outer="ffn.lin2", final="output_layer_norm", heads="attention.n_heads",
    ),
    text=TextPaths(models=("DistilBertModel",), encoder="transformer", types=""),
    encoder=r"transformer\.layer\.\d+\.(attention\.[qkv]_lin|attention\.out_lin|ffn\.lin[12])",
    embeddings=r"embeddings\.(word|position)_embeddings", pooler=_NONE,
    classifier=r"(pre_classifier|classifier|qa_outputs)",
)  # fmt: skip
_DEBERTA = replace(
    _BERT, name="DeBERTa-v2", model_types=("deberta-v2",), encoders=(), layer=None, text=None,
    encoder=r"encoder\.layer\.\d+\.(attention\.self\.(pos_)?(query|key|value)_proj"
    r"|(attention\.output|intermediate|output)\.dense)",
    embeddings=rf"({_BERT.embeddings}|embeddings\.embed_proj|encoder\.rel_embeddings)",
)  # fmt: skip
_MODERNBERT = Architecture(
    name="ModernBERT", model_types=("modernbert",), encoders=(), layer=None, text=None,
    encoder=r"layers\.\d+\.(attn\.W(qkv|o)|mlp\.W[io])", embeddings=r"embeddings\.tok_embeddings", pooler=_NONE,
    classifier=r"(head\.dense|classifier)",
)  # fmt: skip
_ALBERT = Architecture(
    name="ALBERT", model_types=("albert",), encoders=(), layer=None, text=None,
    encoder=r"albert_layers\.\d+\.(attention\.(query|key|value|dense)|ffn|ffn_output)",
    embeddings=rf"({_BERT.embeddings}|encoder\.embedding_hidden_mapping_in)", pooler=r"pooler",
    classifier=_BERT.classifier,
)  # fmt: skip

#: The register. Biases and layer normalisation are never pruned, so no entry names them.
ARCHITECTURES = (_BERT, _ROBERTA, _DISTILBERT, _ELECTRA, _MPNET, _DEBERTA, _MODERNBERT, _ALBERT)

OF_TYPE = {model_type: family for family in ARCHITECTURES for model_type in family.model_types}
_OF_ENCODER = {encoder: family.layer for family in ARCHITECTURES for encoder in family.encoders if family.layer}
_OF_MODEL = {model: family.text for family in ARCHITECTURES if family.text for model in family.text.models}


def architecture(model: nn.Module) -> str | None:
    """The `config.model_type` of `model`, or of the first model inside it; None if no family here has it."""
    for module in model.modules():
        model_type = getattr(getattr(module, "config", None), "model_type", None)
        if isinstance(model_type, str):
            return model_type if model_type in OF_TYPE else None
    return None


def layer_paths(module: nn.Module) -> LayerPaths | None:
    """Where the parts of a layer stand if `module` is the encoder of a family here, else None."""
    return _OF_ENCODER.get(type(module).__name__) if type(module).__module__.startswith("transformers.") else None


def text_paths(module: nn.Module) -> TextPaths | None:
    """Where the embeddings stand if `module` is a model of a family here that runs its encoder on them, else None."""
    return _OF_MODEL.get(type(module).__name__) if type(module).__module__.startswith("transformers.") else None


def part_of(module: Any, path: str) -> Any:
    """The attribute at the end of a path with dots, a module or not."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def part_if_there(module: Any, path: str) -> Any:
    """`part_of`, or None where a module that has no such part stands in the way: a wrapper around a layer, say."""
    try:
        return part_of(module, path)
    except AttributeError:
        return None
