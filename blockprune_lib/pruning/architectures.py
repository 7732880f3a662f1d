"""Which matrices of a model are pruned: those of the encoder of a family, or what by place and name is one.

A model of no family works too: its `nn.Linear` layers are pruned but for those that by their place or name are
embeddings, a pooler or a head (`part_by_name`), and its activations stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from .._common.checks import unknown_word
from .families import ARCHITECTURES, OF_TYPE, architecture
from .part_names import body_of, part_by_name
from .passed_over import A_COPY, adapters_of_ones_own, computed_by, kinds, matrices, plain, say, shares_otherwise

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
    family = OF_TYPE[model_type] if model_type else None
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
