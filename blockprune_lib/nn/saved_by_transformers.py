"""transformers' own `save_pretrained` of a model that has block-sparse layers: it writes what `storage.save` writes.

A Trainer's checkpoints, `push_to_hub`, pipelines and sentence-transformers all call that method. Left to itself it
would write a model that `from_pretrained` fills with random numbers, so the first sparse layer that is made puts
`PreTrainedModel.save_pretrained` into a wrapper; a model without sparse layers goes through it to the method itself.

Such a folder is read by `bp.load`, and by a Trainer that resumes with a model of the same layers. `from_pretrained`
refuses it (see `model_files`).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from torch import nn

from .._common.files import read_json
from .model_files import CARD, DENSE, INDEX, SPARSE, write_model

#: Weights of an earlier save, which a Trainer would prefer.
_EARLIER = (DENSE, "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.*")


def divert_save_pretrained(layer: type[nn.Module]) -> None:
    """See to it that `save_pretrained` keeps models with modules of the type `layer` in this library's format."""
    base: Any = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
    if base is None or hasattr(base.save_pretrained, "of_block_sparse"):
        return
    own = base.save_pretrained
    signature = inspect.signature(own)

    @functools.wraps(own)
    def save_pretrained(self: Any, save_directory: Any, *arguments: Any, **more: Any) -> Any:
        named = self.named_modules(remove_duplicate=False)
        layers = {name: module for name, module in named if isinstance(module, layer)}
        if layers and not getattr(self, "_hf_peft_config_loaded", False):  # with an adapter, it alone is kept
            given = signature.bind(self, save_directory, *arguments, **more)
            return _save(self, Path(save_directory), layers, given.arguments)
        result = own(self, save_directory, *arguments, **more)
        _forget_sparse(Path(save_directory))
        return result

    save_pretrained.of_block_sparse = layer  # type: ignore[attr-defined]
    base.save_pretrained = save_pretrained


def _save(model: Any, folder: Path, layers: dict[str, Any], given: dict[str, Any]) -> None:
    more = given.get("kwargs", {})
    if given.get("distributed_checkpoint") or more.get("distributed_checkpoint"):
        raise ValueError("distributed_checkpoint must be False for a model with block-sparse layers: one file holds it")
    if not given.get("is_main_process", True):
        return
    if folder.is_file():
        raise ValueError(f"save_directory {str(folder)!r} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    state = given.get("state_dict")
    if state is not None and state.keys() != model.state_dict().keys():
        state = None  # of the model in a wrapper, as torch.compile makes one
    write_model(model, folder, layers, state)
    for path in (path for pattern in _EARLIER for path in folder.glob(pattern)):
        path.unlink()
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    if given.get("push_to_hub"):
        allowed = inspect.signature(model.push_to_hub).parameters
        more = {"repo_id": folder.name, "token": given.get("token"), **more}
        model.push_to_hub(**{name: value for name, value in more.items() if name in allowed})


def _forget_sparse(folder: Path) -> None:
    """Delete the sparse model that a folder held before a dense one was written to it."""
    if not (folder / CARD).is_file() or not (folder / SPARSE).is_file():
        return
    index = folder / INDEX
    if index.is_file() and SPARSE in read_json(index).get("weight_map", {}).values():
        index.unlink()
    for name in (CARD, SPARSE):
        os.unlink(folder / name)
