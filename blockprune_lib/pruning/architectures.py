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
class Architecture:
    """A family of models; its parts are patterns that the end of a module's name must match.

    The feed-forward block is described because a sparse layer can compute the activation that follows it.
    """

    name: str  # as its authors write it
    model_types: tuple[str, ...]  # every `config.model_type` of the family
    encoder: str  # query, key, value, attention output, the two of the feed-forward: what is pruned by default
    embeddings: str  # pruned where asked for, as are the next two
    pooler: str
    classifier: str
    blocks: tuple[str, ...]  # transformers' classes that hold the first feed-forward layer and the activation
    first_layer: str  # the attribute of such a block that is the layer
    activation: str  # the attribute that is called on that layer's result, and on nothing else


_BERT = Architecture(
    name="BERT", model_types=("bert",),
    encoder=r"encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense)",
    embeddings=r"embeddings\.(word|position|token_type)_embeddings", pooler=r"pooler\.dense",
    classifier=r"(classifier|qa_outputs)",
    blocks=("BertIntermediate",), first_layer="dense", activation="intermediate_act_fn",
)  # fmt: skip
_ROBERTA = replace(
    _BERT, name="RoBERTa", model_types=("roberta", "xlm-roberta", "camembert"),
    classifier=r"(classifier|classifier\.(dense|out_proj)|qa_outputs)",
    blocks=("RobertaIntermediate", "XLMRobertaIntermediate", "CamembertIntermediate"),
)  # fmt: skip
_DISTILBERT = Architecture(
    name="DistilBERT", model_types=("distilbert",),
    encoder=r"transformer\.layer\.\d+\.(attention\.[qkv]_lin|attention\.out_lin|ffn\.lin[12])",
    embeddings=r"embeddings\.(word|position)_embeddings", pooler=r"(?!)",  # matches nothing: it has none
    classifier=r"(pre_classifier|classifier|qa_outputs)",
    blocks=("FFN",), first_layer="lin1", activation="activation",
)  # fmt: skip

#: The register. Biases and layer normalisation are never pruned, so no entry names them.
ARCHITECTURES = (_BERT, _ROBERTA, _DISTILBERT)

_OF_TYPE = {model_type: family for family in ARCHITECTURES for model_type in family.model_types}
_OF_BLOCK = {block: family for family in ARCHITECTURES for block in family.blocks}


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


def feed_forward(block: nn.Module) -> tuple[str, str] | None:
    """The attributes (first layer, activation) of `block` where it is the feed-forward block of a family here."""
    family = _OF_BLOCK.get(type(block).__name__) if type(block).__module__.startswith("transformers.") else None
    return (family.first_layer, family.activation) if family else None
