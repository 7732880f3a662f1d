"""Save a Hugging Face model with block-sparse layers, and load it again: safetensors and JSON, no pickle.

`model_files` says what a folder holds. Weights of a model made for bfloat16 are stored in it, half the bytes; a machine
without it loads and runs them too. What transformers' own `save_pretrained` keeps of such a model, and so a Trainer,
`push_to_hub` and sentence-transformers, is the same and read by the same `load` (see `saved_by_transformers`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import check_present, one_of
from .._common.files import read_json, usual_modes, whole_folder
from .._common.folders import as_path, explain_write_errors, is_folder, nearest
from .._common.inference import ordinary_tensors
from ..data import hub
from ..kernels.precision import PRECISIONS
from ..pruning.packing import PackedMatrix
from ..pruning.structure import BlockStructure
from .block_sparse_linear import BlockSparseLinear
from .convert import fuse_gelu
from .model_files import CARD, CONFIG, DENSE, FORMAT, SPARSE, WEIGHTS, write_card, write_model
from .places import named_sparse_layers
from .whole_call import attach


def save(model: nn.Module, folder: str | os.PathLike[str], tokenizer: Any = None) -> None:
    """Write a transformers model, its sparse layers packed, and its tokenizer if given, to `folder`.

    A model without sparse layers is saved as well, and `load` reads it. An earlier save is replaced; a folder that
    holds anything else is not touched. Raises TypeError for a model that is no class of transformers itself, ValueError
    for a folder that cannot be used and for weights on the meta device, OSError where it cannot be written, as on a
    full disk; nothing is half-written.
    """
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel) or not type(model).__module__.startswith("transformers."):
        raise TypeError(
            f"model must be an instance of a transformers model class, such as BertModel; got {type(model).__name__}: "
            "for other modules, torch.save(model.state_dict(), path) would do"
        )
    target = as_path(folder).absolute()
    for name, tensor in model.state_dict().items():
        check_present(tensor, name)
    _check_target(target)
    layers = named_sparse_layers(model)
    with explain_write_errors(target), whole_folder(target) as scratch:
        write_model(model, scratch, layers)
        if tokenizer is not None:
            tokenizer.save_pretrained(scratch)
            usual_modes(scratch)
        files = sorted(entry.name for entry in scratch.iterdir() if entry.name != CARD)
        write_card(scratch, read_json(scratch / CARD) | {"files": files})


@ordinary_tensors
def load(folder: str | os.PathLike[str]) -> Any:
    """The model that `save` wrote, or `save_pretrained` of a sparse one, in evaluation mode, its layers sparse again.

    `folder`: a folder, or a repository on the Hub, "owner/name". Every index is checked, and the class comes from
    transformers by its name, never from code in the folder. Raises ValueError naming the file that is missing,
    truncated or does not fit; `data.hub.HubError` (an `OSError`) where a repository is not available.
    """
    source = _folder_of(folder)
    if (source / CONFIG).is_file() and not any((source / name).is_file() for name in (CARD, SPARSE)):
        raise ValueError(
            f"folder {str(source)!r} must hold what save() wrote; got a model without block-sparse layers, as "
            f"transformers keeps it: its class's from_pretrained({str(source)!r}) would do"
        )
    card = _json(source / CARD)
    if card.get("format") != FORMAT:
        raise ValueError(f"{str(source / CARD)!r}: format must be {FORMAT!r}; got {card.get('format')!r}")
    model = _empty_model(source, card)
    layers, tied = card.get("layers"), card.get("tied")
    if not isinstance(layers, dict) or not isinstance(tied, dict):
        raise ValueError(f"{str(source / CARD)!r} must have 'layers' and 'tied', each an object; save the model again")
    file = _weights_of(source, card)
    tensors = _read_tensors(file, layers)
    tensors |= {name: tensors[kept] for name, kept in tied.items() if kept in tensors}
    precision = one_of(card.get("precision", "float32"), "precision", tuple(PRECISIONS), "save the model again")
    for name, entry in layers.items():
        if precision != "float32" and isinstance(values := tensors.get(f"{name}.values"), Tensor):
            tensors[f"{name}.values"] = values.to(_dtype_of(entry, name, source / CARD))
        _swap(model, name, entry, tensors, file, source / CARD)
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{str(file)!r} does not fit {card['architecture']}: {error}") from None
    model.tie_weights()
    for name, kept in ((name.removesuffix(".values"), kept.removesuffix(".values")) for name, kept in tied.items()):
        if name in layers and kept in layers:
            model.get_submodule(name).values = model.get_submodule(kept).values
    fuse_gelu(model)
    attach(model, precision if not PRECISIONS[precision].missing else "float32")
    return model.eval()


def holds_sparse_layers(folder: Path) -> bool:
    """Whether a folder holds a model with block-sparse layers, written by this library."""
    return (folder / CARD).is_file() and bool(_json(folder / CARD).get("layers"))


def state_of(folder: Path) -> dict[str, Tensor]:
    """The state_dict of the model in a folder, for a model of the same layers; raises ValueError as `load` does."""
    card = _json(folder / CARD)
    tensors = _read_tensors(_weights_of(folder, card), card["layers"])
    return tensors | {name: tensors[kept] for name, kept in card["tied"].items()}


def _folder_of(folder: str | os.PathLike[str]) -> Path:
    source, name = as_path(folder), os.fspath(folder)
    if source.is_dir():
        return source
    owner, _, rest = name.partition("/")
    if rest and "/" not in rest and owner not in ("", ".", "..", "~"):
        try:
            return hub.snapshot(name, required=(CARD, CONFIG))
        except hub.HubError as error:  # most often a folder's path that was mistyped
            said = f"folder {name!r}: there is no such folder here, and no such repository: {error}"
            raise hub.HubError(said) from None
    said = "a file, name the folder" if is_folder(source) is False else "there is no such folder"
    raise ValueError(f"folder {str(source)!r}: {said}; save(model, folder) writes one")


def _weights_of(source: Path, card: dict[str, Any]) -> Path:
    if not card["layers"]:
        return source / DENSE
    found = [path.name for pattern in ("model*.safetensors", "pytorch_model*.bin") for path in source.glob(pattern)]
    if found:
        raise ValueError(f"{str(source)!r} holds two models, {SPARSE} and {min(found)}: delete one of these files")
    return source / SPARSE


def _check_target(target: Path) -> None:
    if is_folder(target) is False:
        raise ValueError(f"folder {str(target)!r} is a file; name a folder")
    nearest(target)
    try:
        here = os.path.samefile(target, os.curdir)
    except FileNotFoundError:
        here = False
    if here or target.is_mount():
        what, would = "the working directory" if here else "a mount", str(target / "model")
        raise ValueError(f"folder must be one to replace; got {str(target)!r}, {what}: {would!r} would do")
    foreign = _foreign(target)
    if foreign and _foreign(target) == foreign:  # else another process was saving there in this moment
        shown = ", ".join(foreign[:3])
        raise ValueError(f"folder {str(target)!r} holds other things ({shown}); name another or empty it")


def _foreign(target: Path) -> list[str]:
    """What a folder holds that no `save` put there."""
    try:
        found = [entry.name for entry in target.iterdir()]
        ours = {CARD, *_json(target / CARD)["files"]}
    except FileNotFoundError:  # so far
        return []
    except (ValueError, KeyError, TypeError):
        ours = set()
    return sorted(name for name in found if name not in ours)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{str(path)!r} is missing; save(model, folder) writes it") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; save the model again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold a JSON object; got {type(content).__name__}; save the model again")
    return content


def _empty_model(source: Path, card: dict[str, Any]) -> Any:
    import transformers

    settings, name = _json(source / CONFIG), card.get("architecture")
    settings.pop(WEIGHTS, None)
    model_class: Any = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    if not (isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel)):
        raise ValueError(f"{str(source / CARD)!r}: architecture must be a transformers model class; got {name!r}")
    config_class: Any = getattr(model_class, "config_class", None)
    if config_class is None or settings.get("model_type") != config_class.model_type:
        raise ValueError(f"{str(source / CONFIG)!r}: model_type {settings.get('model_type')!r} is not that of {name}")
    try:
        config = config_class.from_dict(settings)
        with torch.random.fork_rng(devices=[]):  # building draws weights that are replaced at once
            return model_class(config)
    except Exception as error:  # a broken configuration fails anywhere in transformers
        said = f"{str(source / CONFIG)!r} does not describe a {name}: {error}; save the model again"
        raise ValueError(said) from error


def _read_tensors(file: Path, layers: Any) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ValueError(f"{str(file)!r} is missing; save(model, folder) writes it")
    empty = {f"{layer}.weight" for layer in layers}  # what keeps others from reading the file as a dense model
    try:
        return {name: tensor.clone() for name, tensor in load_file(file).items() if name not in empty}
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{str(file)!r} is truncated or corrupt: {error}; save the model again") from None


def _dtype_of(entry: Any, name: str, card: Path) -> torch.dtype:
    """The type of a layer's values in memory, where the file may hold them in half the bytes."""
    dtype = getattr(torch, str(entry.get("dtype", "float32")), None) if isinstance(entry, dict) else torch.float32
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        said = f"dtype must be a float type of torch; got {entry['dtype']!r}; save the model again"
        raise ValueError(f"{str(card)!r}: layer {name!r}: {said}")
    return dtype


def _swap(model: Any, name: str, entry: Any, tensors: dict[str, Tensor], file: Path, card: Path) -> None:
    """Put the sparse layer `name` in the place of the Linear that the class made."""
    at, again = f"{str(card)!r}: layer {name!r}", "save the model again"
    try:
        structure, shape = BlockStructure.parse(entry["structure"]), (int(entry["shape"][0]), int(entry["shape"][1]))
        linear = model.get_submodule(name)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{at} is broken: {error}; {again}") from None
    if not isinstance(linear, nn.Linear) or tuple(linear.weight.shape) != shape:
        raise ValueError(f"{at} must be a Linear of shape {shape} in {type(model).__name__}; {again}")
    names = {part: f"{name}.{part}" for part in ("values", "columns", "offsets")}
    if missing := [part for part, full in names.items() if full not in tensors]:
        raise ValueError(f"{str(file)!r}: layer {name!r} lacks {', '.join(missing)}; {again}")
    try:
        packed = PackedMatrix(structure, shape, *(tensors[full] for full in names.values()))
        model.set_submodule(name, BlockSparseLinear.from_packed(packed, linear.bias))
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: layer {name!r}: {error}; {again}") from None
