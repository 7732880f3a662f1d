"""Which matrices of a model are pruned: one table, an entry per architecture.

By default the matrices of the transformer's encoder: query, key, value, attention output and the two of
the feed-forward. Embeddings, pooler and classifier come only where asked for; biases and layer
normalisation never do. How a matrix is cut into groups is `structure`'s business, not this module's.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

_BERT = {
    "encoder": r"encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|attention\.output\.dense|"
    r"intermediate\.dense|output\.dense)",
    "embeddings": r"embeddings\.(word|position|token_type)_embeddings",
    "pooler": r"pooler\.dense",
    "classifier": r"(classifier|qa_outputs)",
}
_ROBERTA = _BERT | {"classifier": r"(classifier|classifier\.(dense|out_proj)|qa_outputs)"}
_DISTILBERT = {
    "encoder": r"transformer\.layer\.\d+\.(attention\.[qkv]_lin|attention\.out_lin|ffn\.lin[12])",
    "embeddings": r"embeddings\.(word|position)_embeddings",
    "pooler": r"(?!)",  # it has none
    "classifier": r"(pre_classifier|classifier|qa_outputs)",
}

#: `config.model_type` → {part of the model: pattern that the end of a module's name matches}.
ARCHITECTURES: dict[str, dict[str, str]] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
}


def prunable(
    model: nn.Module, *, embeddings: bool = False, pooler: bool = False, classifier: bool = False
) -> dict[str, nn.Module]:
    """The modules whose `.weight` (M, N) is pruned, {module name: module}, in the order of `named_modules()`.

    For BERT, RoBERTa and DistilBERT the encoder's matrices, and what the flags add. In any other model every
    `nn.Linear`, and with `embeddings=True` every `nn.Embedding`. A weight shared by two modules is listed
    once, under the first name; layers that are block-sparse already are not listed. Raises TypeError for
    what is no module, ValueError where nothing is found.

    >>> list(prunable(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))))
    ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}: models.load() gives one")
    kind = architecture(model)
    wanted = {"encoder": True, "embeddings": embeddings, "pooler": pooler, "classifier": classifier}
    for flag, value in wanted.items():
        if not isinstance(value, bool):
            raise TypeError(f"{flag} must be True or False; got {value!r}")
    if kind is None:
        types: tuple[type[nn.Module], ...] = (nn.Linear, nn.Embedding) if embeddings else (nn.Linear,)
        pattern = re.compile("")
    else:
        types = (nn.Linear, nn.Embedding)
        parts = [ARCHITECTURES[kind][part] for part, asked in wanted.items() if asked]
        pattern = re.compile(rf"(^|.*\.)({'|'.join(parts)})$")
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, types) and isinstance(weight, nn.Parameter) and pattern.match(name):
            if id(weight) not in seen:
                found[name] = module
            seen.add(id(weight))
    if not found:
        looked = "nn.Linear" if kind is None else f"encoder matrix of {kind!r}"
        raise ValueError(
            f"model {type(model).__name__} has nothing to prune: no {looked} that is not block-sparse yet was found; "
            "a BERT, RoBERTa or DistilBERT model, or any module with nn.Linear layers, would do"
        )
    return found


def parameter_name(module_name: str) -> str:
    """The name of a module's weight, the key of masks and penalties.

    >>> parameter_name("encoder.0"), parameter_name("")
    ('encoder.0.weight', 'weight')
    """
    return f"{module_name}.weight" if module_name else "weight"


def prunable_weights(model: nn.Module, **which: bool) -> dict[str, nn.Parameter]:
    """The prunable weights themselves, {parameter name: parameter}; `which` as in `prunable`."""
    modules: dict[str, Any] = dict(prunable(model, **which))
    return {parameter_name(name): module.weight for name, module in modules.items()}


def architecture(model: nn.Module) -> str | None:
    """The entry of `ARCHITECTURES` that `model`, or the first model inside it, belongs to; None if there is none."""
    for module in model.modules():
        kind = getattr(getattr(module, "config", None), "model_type", None)
        if isinstance(kind, str):
            return kind if kind in ARCHITECTURES else None
    return None
