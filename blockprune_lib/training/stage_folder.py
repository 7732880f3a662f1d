"""A stage on disk: where it stands, so that one that is killed at any moment goes on to the same result.

    FOLDER/stage.json                 which stage this is: written before the first step
    FOLDER/checkpoints/checkpoint-N/  the Trainer's state after N steps, our hooks' state, whole.json
    FOLDER/model.safetensors, ...     the trained model and tokenizer
    FOLDER/report.json                what the stage did, with the size and CRC-32 of every file: written last

A checkpoint counts only with its whole.json, which names the size and CRC-32 of each file; one that was cut short is
passed over for the one before it. A stage is finished when report.json is there and its files are as it says.

Nothing here is unpickled freely: weights and our own state are safetensors and JSON, and the Trainer's optimiser state
is read by torch.load(weights_only=True), which builds tensors and plain containers only.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from .._common.files import read_json, write_json, write_tensors
from .._common.folders import damage, inventory, refuse_another, refuse_foreign_files
from .hooks import Hook, HookState

# What belongs to the hooks is called "rules" on disk, so that folders are read which were written under that name.
STAGE, REPORT, WHOLE, HOOKS = "stage.json", "report.json", "whole.json", "rules"


class StageFolder:
    """The folder of one stage. `identity` says which stage it is, JSON-able: another stage's folder is refused.

    Raises ValueError where `folder` holds a stage of another identity, naming the first differences, and where a
    finished stage's files are damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, json.loads(json.dumps(identity))
        self.checkpoints = folder / "checkpoints"
        if (folder / STAGE).exists():
            refuse_another(read_json(folder / STAGE), self.identity, f"{str(folder)!r} holds another stage")
        else:
            refuse_foreign_files(folder)

    def begin(self) -> None:
        """Say on disk which stage this is."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STAGE, self.identity)

    def report(self) -> dict[str, Any] | None:
        """The report of a finished stage, None where it is not finished; raises ValueError for damaged files."""
        if not (self.folder / REPORT).exists():
            return None
        content = read_json(self.folder / REPORT)
        if wrong := damage(self.folder, content["files"]):
            raise ValueError(f"{str(self.folder)!r} is damaged: {wrong}; delete this folder and run the stage again")
        return content["report"]

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report beside the files that are there; the checkpoints have done their work."""
        files = [path for path in self.folder.iterdir() if path.is_file() and path.name not in (STAGE, REPORT)]
        write_json(self.folder / REPORT, {"files": inventory(files), "report": report})
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def newest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint, or None; those that were cut short are warned of and deleted."""
        from transformers.trainer_utils import get_last_checkpoint

        while (last := get_last_checkpoint(str(self.checkpoints))) is not None:
            path = Path(last)
            try:
                wrong = damage(path, read_json(path / WHOLE)) if (path / WHOLE).exists() else f"{WHOLE} is missing"
            except ValueError as error:
                wrong = str(error)
            if not wrong:
                return path
            warnings.warn(f"passing over {path.name}, which was cut short: {wrong}", stacklevel=2)
            shutil.rmtree(path)
        return None


def save_hooks(folder: Path, hooks: Sequence[Hook], values: dict[str, Any]) -> None:
    """Write the hooks' state, and `values`, into a folder."""
    states = {hook.name: hook.state() for hook in hooks}
    tensors = {f"{name}:{key}": tensor for name, state in states.items() for key, tensor in state.tensors.items()}
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    write_tensors(folder / f"{HOOKS}.safetensors", plain)
    write_json(folder / f"{HOOKS}.json", {"stage": values, HOOKS: {name: s.values for name, s in states.items()}})


def load_hooks(folder: Path, hooks: Sequence[Hook]) -> dict[str, Any]:
    """Give the hooks their state back; returns what `save_hooks` took as `values`."""
    tensors: dict[str, dict[str, Any]] = {hook.name: {} for hook in hooks}
    for key, value in load_file(folder / f"{HOOKS}.safetensors").items():
        name, _, rest = key.partition(":")
        tensors[name][rest] = value
    plain = read_json(folder / f"{HOOKS}.json")
    for hook in hooks:
        hook.load(HookState(tensors[hook.name], plain[HOOKS][hook.name]))
    return plain["stage"]


def mark_whole(folder: Path) -> None:
    """Write the list of a checkpoint's files, which makes it count."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != WHOLE]
    write_json(folder / WHOLE, inventory(files))
