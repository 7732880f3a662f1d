"""The model families the library knows: which matrices are pruned, and whatever else differs between families.

To add a family, add one `Architecture` to `ARCHITECTURES` and one tiny model to tests/pruning/test_architectures.py:
nothing else asks what family a model is of. A model of none works too: its `nn.Linear` layers are pruned but for those
that by their place or name are embeddings, a pooler or a head (`part_by_name`), and its activations stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .._common.checks import unknown_word
from .part_names import body_of, part_by_name
from .passed_over import A_COPY, adapters_of_ones_own, computed_by, kinds, matrices, plain, say, shares_otherwise


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
    encoders: tuple[str, ...]  # transformers' classes that run all layers; none: they run layer by layer, not in a call
    layer: LayerPaths | None
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
    layer=_BERT_LAYER,
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
    encoder=r"transformer\.layer\.\d+\.(attention\.[qkv]_lin|attention\.out_lin|ffn\.lin[12])",
    embeddings=r"embeddings\.(word|position)_embeddings", pooler=_NONE,
    classifier=r"(pre_classifier|classifier|qa_outputs)",
)  # fmt: skip
_DEBERTA = replace(
    _BERT, name="DeBERTa-v2", model_types=("deberta-v2",), encoders=(), layer=None,
    encoder=r"encoder\.layer\.\d+\.(attention\.self\.(pos_)?(query|key|value)_proj"
    r"|(attention\.output|intermediate|output)\.dense)",
    embeddings=rf"({_BERT.embeddings}|embeddings\.embed_proj|encoder\.rel_embeddings)",
)  # fmt: skip
_MODERNBERT = Architecture(
    name="ModernBERT", model_types=("modernbert",), encoders=(), layer=None,
    encoder=r"layers\.\d+\.(attn\.W(qkv|o)|mlp\.W[io])", embeddings=r"embeddings\.tok_embeddings", pooler=_NONE,
    classifier=r"(head\.dense|classifier)",
)  # fmt: skip
_ALBERT = Architecture(
    name="ALBERT", model_types=("albert",), encoders=(), layer=None,
    encoder=r"albert_layers\.\d+\.(attention\.(query|key|value|dense)|ffn|ffn_output)",
    embeddings=rf"({_BERT.embeddings}|encoder\.embedding_hidden_mapping_in)", pooler=r"pooler",
    classifier=_BERT.classifier,
)  # fmt: skip

#: The register. Biases and layer normalisation are never pruned, so no entry names them.
ARCHITECTURES = (_BERT, _ROBERTA, _DISTILBERT, _ELECTRA, _MPNET, _DEBERTA, _MODERNBERT, _ALBERT)

_OF_TYPE = {model_type: family for family in ARCHITECTURES for model_type in family.model_types}
_OF_ENCODER = {encoder: family.layer for family in ARCHITECTURES for encoder in family.encoders if family.layer}

#: Less than this share of a model's matrices is no success to report.
ENOUGH = 0.05


def prunable(
    model: nn.Module, *, embeddings: bool = False, pooler: bool = False, classifier: bool = False, **unknown: bool
) -> dict[str, nn.Module]:
    """The modules whose `.weight` (M, N) is pruned, {module name: module}, in the order of `named_modules()`.

    For the families of `ARCHITECTURES` the encoder's matrices, and what the flags add. In any other model every
    `nn.Linear` that is no embedding, pooler or head, and these by the same flags. A weight shared by two modules is
    listed once, under the first name, and warned of; one that an embedding has too is listed with `embeddings=True`
    only. Layers that are block-sparse already are not listed; of adapters (LoRA) the matrix below is.

    What is passed over, such as a fused `in_proj_weight` or a quantised layer, is named in a `PassedOverWarning`, once
    a model. Raises TypeError for a non-module or a flag that is not a bool, ValueError where nothing or nearly nothing
    is found, and where a weight is computed from others (weight_norm, torch.nn.utils.prune), with the line to type.

    >>> list(prunable(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))))
    ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}: models.load() gives one")
    wanted = {"encoder": True, "embeddings": embeddings, "pooler": pooler, "classifier": classifier}
    for flag in unknown:
        raise TypeError(unknown_word(flag, [*wanted][1:], "a flag"))
    for flag, value in wanted.items():
        if not isinstance(value, bool):
            raise TypeError(f"{flag} must be True or False; got {value!r}")
    found, passed_over, computed = dict[str, nn.Module](), dict[str, tuple[str, int]](), dict[str, str]()
    packed, known = False, architecture(model) is not None
    of_attention = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    for name, part, module in _parts(model):
        if not wanted.get(part) or id(module) in of_attention:
            continue
        packed = packed or hasattr(type(module), "packed")
        if line := computed_by(module):
            computed[name] = line
        elif isinstance(module, nn.Linear | nn.Embedding) and plain(module.weight):
            if known or part == "embeddings" or isinstance(module, nn.Linear):
                found[name] = module
        else:
            passed_over.update((name, entry) for entry in matrices(module))
    if computed:
        name, line = next(iter(computed.items()))
        raise ValueError(
            f"{len(computed)} weights of {type(model).__name__}, the first that of {name!r}, are computed from others "
            f"by a reparametrisation: {line} would make each a parameter again"
        )
    tied = _leave_tied(model, found, embeddings)
    _refuse_nothing(model, found, passed_over, packed, tied)
    if passed_over:
        say(model, f"not pruned in {type(model).__name__}: {kinds(passed_over)}")
    for message in [*tied, *adapters_of_ones_own(model, found)]:
        say(model, message)
    if under := [name for name in found if name.split(".")[-1] == "base_layer"]:
        line = "model = model.merge_and_unload() first would do"
        say(
            model,
            f"{len(under)} matrices have adapters of PEFT, which fill what is pruned when they are merged: {line}",
        )
    return found


def _parts(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """(name, the part of the model it belongs to, module) of every module; "" for a part that is never pruned."""
    model_type = architecture(model)
    family = _OF_TYPE[model_type] if model_type else None
    body = None if family else body_of(model)
    adapters = set[int]()  # what PEFT puts beside a layer
    for name, module in model.named_modules():
        if type(module).__module__.startswith("peft.") and isinstance(
            base := getattr(module, "base_layer", None), nn.Module
        ):
            kept = {id(part) for part in base.modules()}
            adapters |= {id(part) for part in module.modules()} - kept
        if id(module) in adapters:
            continue
        bare = name.replace(".base_layer", "")
        if family:
            parts = ("encoder", "embeddings", "pooler", "classifier")
            names = (bare, f"encoder.{bare}", f"transformer.{bare}")  # the latter where `model` is the encoder itself
            patterns = {part: re.compile(rf"(.*\.)?({getattr(family, part)})") for part in parts}
            matching = (part for part, pattern in patterns.items() if any(map(pattern.fullmatch, names)))
            yield name, next(matching, ""), module
            continue
        part = "embeddings" if isinstance(module, nn.Embedding) else part_by_name(bare)
        inside = body is None or bare == body or bare.startswith(f"{body}." if body else "")
        yield name, "classifier" if part == "encoder" and not inside else part, module


def _leave_tied(model: nn.Module, found: dict[str, nn.Module], embeddings: bool) -> list[str]:
    """Take out of `found` what is listed twice, and what an embedding shares unless that is asked for; what to say."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((name, module))
    messages, seen = list[str](), set[int]()
    for name, module in list(found.items()):
        weight: Any = module.weight
        others = [repr(other) for other, owner in owners[id(weight)] if owner is not module]
        tables = [repr(other) for other, owner in owners[id(weight)] if isinstance(owner, nn.Embedding)]
        if id(weight) in seen:
            del found[name]
        elif tables and not embeddings:
            del found[name]
            messages.append(f"{name!r} is not pruned: its weight is the embedding {tables[0]}, too (embeddings=True)")
        elif others:
            message = f"{name!r} shares its weight with {', '.join(others)}: it is pruned for both"
            more = [(owner, what) for owner, one in owners[id(weight)] if (what := shares_otherwise(one, weight))]
            if more and isinstance(module, nn.Linear):
                message += f", but sparsify refuses it, since {more[0][0]!r} is a {more[0][1]}: {A_COPY}"
            messages.append(message)
        seen.add(id(weight))
    return messages


def _refuse_nothing(
    model: nn.Module,
    found: dict[str, nn.Module],
    passed_over: dict[str, tuple[str, int]],
    packed: bool,
    tied: list[str],
) -> None:
    weights: list[Any] = [module.weight for module in found.values()]
    here, beyond = sum(weight.numel() for weight in weights), sum(count for _, count in passed_over.values())
    why = "".join(f"; {reason}" for reason in ([f"not pruned: {kinds(passed_over)}"] if passed_over else []) + tied)
    if found and not packed and here < ENOUGH * (here + beyond):
        share = f"{100 * here / (here + beyond):.2g} % of its matrices"
        raise ValueError(f"model {type(model).__name__} has nearly nothing to prune, {share}{why}")
    if not found and packed:
        raise ValueError(
            f"model {type(model).__name__} has nothing to prune: all of it is block-sparse already{why}; "
            "densify(model) first would do"
        )
    if not found:
        model_type = architecture(model)
        looked = f"encoder matrix of {model_type!r}" if model_type else "nn.Linear"
        *names, last = (family.name for family in ARCHITECTURES)
        raise ValueError(
            f"model {type(model).__name__} has nothing to prune: no {looked} was "
            f"found{why}; a {', '.join(names)} or {last} model, or any module with nn.Linear layers, would do"
        )


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
