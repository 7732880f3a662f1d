"""The model families the library knows: which matrices are pruned, and whatever else differs between families.

To add a family, add one `Architecture` to `ARCHITECTURES` and one tiny model to tests/pruning/test_architectures.py:
nothing else asks what family a model is of. A model of none works too: its `nn.Linear` layers are pruned, and its
activations stay as they are.
"""

from __future__ import annotations

import re
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
class Architecture:
    """A family of models; its parts are patterns that the end of a module's name must match."""

    name: str  # as its authors write it
    model_types: tuple[str, ...]  # every `config.model_type` of the family
    encoders: tuple[str, ...]  # transformers' classes that run all layers
    layer: LayerPaths
    encoder: str  # query, key, value, attention output, the two of the feed-forward: what is pruned by default
    embeddings: str  # pruned where asked for, as are the next two
    pooler: str
    classifier: str


_NONE = r"(?!)"  # matches nothing
_BERT = Architecture(
    name="BERT", model_types=("bert",), encoders=("BertEncoder",),
    layer=LayerPaths(
        layers="layer", query="attention.self.query", key="attention.self.key", value="attention.self.value",
        output="attention.output.dense", norm="attention.output.LayerNorm", inner="intermediate.dense",
        activation="intermediate.intermediate_act_fn", outer="output.dense", final="output.LayerNorm",
        heads="attention.self.num_attention_heads",
    ),
    encoder=r"encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense)",
    embeddings=r"embeddings\.(word|position|token_type)_embeddings", pooler=r"pooler\.dense",
    classifier=r"(classifier|qa_outputs)",
)  # fmt: skip
_ROBERTA = replace(
    _BERT, name="RoBERTa", model_types=("roberta", "xlm-roberta", "camembert"),
    encoders=("RobertaEncoder", "XLMRobertaEncoder", "CamembertEncoder"),
    classifier=r"(classifier|classifier\.(dense|out_proj)|qa_outputs)",
)  # fmt: skip
_ELECTRA = replace(
    _ROBERTA, name="ELECTRA", model_types=("electra",), encoders=("ElectraEncoder",), pooler=_NONE,
    embeddings=rf"({_BERT.embeddings}|embeddings_project)",
)  # fmt: skip
_MPNET = replace(
    _ROBERTA, name="MPNet", model_types=("mpnet",), encoders=("MPNetEncoder",),
    layer=replace(
        _BERT.layer, query="attention.attn.q", key="attention.attn.k", value="attention.attn.v",
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
    encoder=r"transformer\.layer\.\d+\.(attention\.[qkv]_lin|attention\.out_lin|ffn\.lin[12])",
    embeddings=r"embeddings\.(word|position)_embeddings", pooler=_NONE,
    classifier=r"(pre_classifier|classifier|qa_outputs)",
)  # fmt: skip

#: The register. Biases and layer normalisation are never pruned, so no entry names them.
ARCHITECTURES = (_BERT, _ROBERTA, _DISTILBERT, _ELECTRA, _MPNET)

_OF_TYPE = {model_type: family for family in ARCHITECTURES for model_type in family.model_types}
_OF_ENCODER = {encoder: family.layer for family in ARCHITECTURES for encoder in family.encoders}


def prunable(
    model: nn.Module, *, embeddings: bool = False, pooler: bool = False, classifier: bool = False
) -> dict[str, nn.Module]:
    """The modules whose `.weight` (M, N) is pruned, {module name: module}, in the order of `named_modules()`.

    For the families of `ARCHITECTURES` the encoder's matrices, and what the flags add. In any other model every
    `nn.Linear`, and with `embeddings=True` every `nn.Embedding`. A weight shared by two modules is listed
    once, under the first name; layers that are block-sparse already are not listed. Raises TypeError for a
    non-module or a flag that is not a bool, ValueError where nothing is found.

    >>> list(prunable(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))))
    ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}: models.load() gives one")
    model_type = architecture(model)
    wanted = {"encoder": True, "embeddings": embeddings, "pooler": pooler, "classifier": classifier}
    for flag, value in wanted.items():
        if not isinstance(value, bool):
            raise TypeError(f"{flag} must be True or False; got {value!r}")
    types: tuple[type[nn.Module], ...] = (nn.Linear, nn.Embedding) if embeddings or model_type else (nn.Linear,)
    parts = [getattr(_OF_TYPE[model_type], part) for part in wanted if wanted[part]] if model_type else [".*"]
    pattern = rf"(.*\.)?({'|'.join(parts)})"
    found: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, types) and isinstance(weight, nn.Parameter) and re.fullmatch(pattern, name):
            found.setdefault(id(weight), (name, module))
    if not found:
        looked = f"encoder matrix of {model_type!r}" if model_type else "nn.Linear"
        *names, last = (family.name for family in ARCHITECTURES)
        raise ValueError(
            f"model {type(model).__name__} has nothing to prune: no {looked} that is not block-sparse yet was found; "
            f"a {', '.join(names)} or {last} model, or any module with nn.Linear layers, would do"
        )
    return dict(found.values())


def parameter_name(module_name: str) -> str:
    """The name of a module's weight, the key of masks and penalties; of a model that is one layer, "weight"."""
    return f"{module_name}.weight" if module_name else "weight"


def prunable_weights(model: nn.Module, **which: bool) -> dict[str, nn.Parameter]:
    """The prunable weights themselves, {parameter name: parameter}; `which` as in `prunable`."""
    modules: dict[str, Any] = dict(prunable(model, **which))
    return {parameter_name(name): module.weight for name, module in modules.items()}


def architecture(model: nn.Module) -> str | None:
    """The `config.model_type` of `model`, or of the first model inside it; None if no family here has it."""
    for module in model.modules():
        model_type = getattr(getattr(module, "config", None), "model_type", None)
        if isinstance(model_type, str):
            return model_type if model_type in _OF_TYPE else None
    return None


def layer_paths(module: nn.Module) -> LayerPaths | None:
    """Where the parts of a layer stand if `module` is the encoder of a family here, else None."""
    return _OF_ENCODER.get(type(module).__name__) if type(module).__module__.startswith("transformers.") else None


def part_of(module: Any, path: str) -> Any:
    """The attribute at the end of a path with dots, a module or not."""
    for name in path.split("."):
        module = getattr(module, name)
    return module
