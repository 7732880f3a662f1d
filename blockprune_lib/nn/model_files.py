"""The files of a saved model, and how they are written; `storage` reads them.

    config.json                    the model's configuration; where layers are sparse, its `transformers_weights` is a
                                   sentence, at which transformers' `from_pretrained` stops
    blockprune.json                which layers are sparse, their structure and shape
    blockprune.safetensors         every tensor once; `model.safetensors` where no layer is sparse
    model.safetensors.index.json   where a Trainer that resumes finds them

A sparse layer has no dense weight, so transformers would fill one with random numbers, and say so in a log at most.
Nothing reads these files that way: `from_pretrained` stops at the sentence, or, given a configuration of its own, at an
index without "metadata"; and whatever reads the tensors meets an empty `weight` for each sparse layer, whose shape fits
no dense one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._common.files import write_json, write_tensors, write_whole
from ..data.weights import SPARSE_WEIGHTS

FORMAT = "blockprune model, version 1"
CARD, CONFIG, SPARSE, DENSE = "blockprune.json", "config.json", SPARSE_WEIGHTS, "model.safetensors"
INDEX = f"{DENSE}.index.json"
#: The key of config.json that names the file of weights, which transformers reads before it looks for one.
WEIGHTS = "transformers_weights"
SENTENCE = "this model has block-sparse layers, which blockprune_lib.load(folder) reads"


def write_model(model: Any, folder: Path, layers: dict[str, Any], state: dict[str, Tensor] | None = None) -> None:
    """Write a transformers model to an existing folder, each file whole; the card comes last but for the index.

    `layers`: its block-sparse layers by name. `state`: its state_dict where that is not `model.state_dict()`. Raises
    ValueError naming a layer whose indices are not valid; nothing is then written.
    """
    for name, layer in layers.items():
        try:
            layer.packed.validate()
        except ValueError as error:
            raise ValueError(f"layer {name!r} cannot be saved: {error}") from None
    tensors, tied = _tensors(model.state_dict() if state is None else state)
    precision = precision_of(model)
    if precision != "float32":  # half the bytes, wherever the precision holds every number exactly
        for name in (name for layer in layers if (name := f"{layer}.values") in tensors):
            tensors[name] = tensors[name].to(dtype_on_disk(tensors[name], precision))
    card = {
        "format": FORMAT,
        "precision": precision,
        "architecture": type(model).__name__,
        "layers": {name: _entry(layer) for name, layer in layers.items()},
        "tied": tied,
        "files": [CONFIG, SPARSE, INDEX] if layers else [CONFIG, DENSE],
    }
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    config.pop("auto_map", None)
    config.pop(WEIGHTS, None)
    if layers:
        config[WEIGHTS] = SENTENCE
    plain = json.dumps(config, indent=2, sort_keys=True, default=str)
    write_whole(folder / CONFIG, (plain + "\n").encode())
    weights = folder / (SPARSE if layers else DENSE)
    if layers:
        index = {name: SPARSE for name in tensors}
        write_tensors(
            weights, tensors | {f"{name}.weight": torch.empty(0, dtype=torch.float32, device="cpu") for name in layers}
        )
        write_json(folder / INDEX, {"weight_map": index})
    else:
        write_tensors(weights, tensors)
    write_card(folder, card)


def dtype_on_disk(values: Tensor, precision: str) -> torch.dtype:
    """The type in which a sparse layer's weights are written: that of the precision where it holds each of them."""
    if precision == "float32":
        return values.dtype
    asked: torch.dtype = getattr(torch, precision)
    return asked if torch.equal(values.to(asked).to(values.dtype), values) else values.dtype


def _entry(layer: Any) -> dict[str, Any]:
    """What the card says of a layer; "dtype": its values' type in memory, where that is not float32."""
    entry = {"structure": str(layer.structure), "shape": list(layer._shape)}
    if layer.values.dtype != torch.float32:
        entry["dtype"] = str(layer.values.dtype).removeprefix("torch.")
    return entry


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write blockprune.json."""
    write_whole(folder / CARD, (json.dumps(card, indent=2) + "\n").encode())


def precision_of(model: nn.Module) -> str:
    """The precision that an encoder inside `model` was made for by `engine.attach`."""
    forwards = (vars(module).get("forward") for module in model.modules())
    return next((p for forward in forwards if isinstance(p := getattr(forward, "precision", None), str)), "float32")


def _tensors(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The model's tensors, each once, and {name: name under which the same tensor is stored}."""
    tensors, tied, seen = dict[str, Tensor](), dict[str, str](), dict[Any, str]()
    for name, tensor in state.items():
        key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and key in seen:
            tied[name] = seen[key]
        else:
            seen[key], tensors[name] = name, tensor.detach().cpu().contiguous().clone()
    return tensors, tied
