"""A stage on disk: where it stands, so that one that is killed at any progress goes on to the same result.

    FOLDER/stage.json                 what this stage is: written before the first step
    FOLDER/checkpoints/checkpoint-N/  the Trainer's state after N steps, our hooks' state, whole.json
    FOLDER/model.safetensors, ...     the trained model and tokenizer
    FOLDER/report.json                what the stage did, with the size and CRC-32 of every file: written last

A checkpoint counts only with its whole.json, which names the size and CRC-32 of each file; one that was cut short is
passed over for the one before it. A stage is finished when report.json is there and its files are as it says.

Nothing here is unpickled freely: weights and our own state are safetensors and JSON, and the Trainer's optimiser state
is read by torch.load(weights_only=True), which builds tensors and plain containers only. Left out: the training.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .._common.files import read_json, write_json
from .hooks import Hook, HookState

STAGE, REPORT, WHOLE, RULES = "stage.json", "report.json", "whole.json", "rules"


class StageFolder:
    """The folder of one stage. `what` says what the stage is, JSON-able: another stage's folder is refused.

    Raises ValueError where `folder` holds a stage that differs from `what`, naming the first differences, and where a
    finished stage's files are damaged.
    """

    def __init__(self, folder: Path, what: Mapping[str, Any]) -> None:
        self.folder, self.what = folder, json.loads(json.dumps(what))
        self.checkpoints = folder / "checkpoints"
        if (folder / STAGE).exists():
            check_same(read_json(folder / STAGE), self.what, f"{str(folder)!r} holds another stage")
        else:
            refuse_strangers(folder)

    def begin(self) -> None:
        """Say on disk what this stage is."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STAGE, self.what)

    def report(self) -> dict[str, Any] | None:
        """The report of a finished stage, None where it is not finished; raises ValueError for damaged files."""
        if not (self.folder / REPORT).exists():
            return None
        content = read_json(self.folder / REPORT)
        if wrong := wrong_files(self.folder, content["files"]):
            raise ValueError(
                f"{str(self.folder)!r} is damaged: {wrong}; delete this folder and run again to redo the stage"
            )
        report: dict[str, Any] = content["report"]
        return report

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report over the files that are there; the checkpoints have done their work."""
        names = [path for path in self.folder.iterdir() if path.is_file() and path.name not in (STAGE, REPORT)]
        write_json(self.folder / REPORT, {"files": listed(names), "report": report})
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def newest(self) -> Path | None:
        """The newest whole checkpoint, or None; warns of those passed over."""
        found = {}
        for path in self.checkpoints.glob("checkpoint-*"):
            if match := re.fullmatch(r"checkpoint-(\d+)", path.name):
                found[int(match[1])] = path
        for step in sorted(found, reverse=True):
            if not (found[step] / WHOLE).exists():
                wrong = f"{WHOLE} is missing"
            else:
                try:
                    wrong = wrong_files(found[step], read_json(found[step] / WHOLE))
                except ValueError as error:
                    wrong = str(error)
            if not wrong:
                return found[step]
            warnings.warn(f"passing over {found[step].name}, which was cut short: {wrong}", stacklevel=2)
            shutil.rmtree(found[step], ignore_errors=True)
        return None


def save_hooks(folder: Path, hooks: Sequence[Hook], values: dict[str, Any]) -> None:
    """Write the hooks' state, and `values`, into a folder."""
    states = {hook.name: hook.state() for hook in hooks}
    tensors = {
        f"{name}:{key}": t.detach().cpu().contiguous() for name, s in states.items() for key, t in s.tensors.items()
    }
    save_file(tensors, folder / f"{RULES}.safetensors")
    write_json(folder / f"{RULES}.json", {"stage": values, "rules": {name: s.values for name, s in states.items()}})


def make_whole(folder: Path) -> None:
    """Write the list of a checkpoint's files, which makes it count."""
    write_json(folder / WHOLE, listed([path for path in folder.iterdir() if path.is_file() and path.name != WHOLE]))


def load_hooks(folder: Path, hooks: Sequence[Hook]) -> dict[str, Any]:
    """Give the hooks their state back; returns what `save_hooks` took as `values`."""
    tensors: dict[str, dict[str, Any]] = {hook.name: {} for hook in hooks}
    for key, value in load_file(folder / f"{RULES}.safetensors").items():
        name, _, rest = key.partition(":")
        tensors[name][rest] = value
    plain = read_json(folder / f"{RULES}.json")
    for hook in hooks:
        hook.load(HookState(tensors[hook.name], plain["rules"][hook.name]))
    values: dict[str, Any] = plain["stage"]
    return values


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What fails while `folder` is written becomes an OSError that says what is kept and what would do."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        raise OSError(
            f"{str(folder)!r} could not be written: {error}; the disk has {free / 1e6:,.0f} MB free. What was whole "
            "before is kept: make room and run the same again to go on from there"
        ) from error


def refuse_strangers(folder: Path) -> None:
    """Raise ValueError where a folder that nobody has claimed holds files; what a killed run left half is no file."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if strangers := [name for name in found if not name.endswith(".tmp")]:
        shown = ", ".join(strangers[:4])
        raise ValueError(f"{str(folder)!r} holds files of something else ({shown}); name another folder")


def listed(paths: Sequence[Path]) -> dict[str, list[int]]:
    """{file name: [bytes, CRC-32]}."""
    return {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(paths)}


def wrong_files(folder: Path, files: Mapping[str, Sequence[int]]) -> str:
    """What differs from `listed`, in words; empty where nothing does."""
    for name, (size, checksum) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
        if _checksum(path) != checksum:
            return f"{name} has the right size but other content"
    return ""


def check_same(there: Any, asked: Any, problem: str) -> None:
    """Raise ValueError naming up to four values in which two JSON objects differ."""
    found, wanted = _flat(there), _flat(asked)
    differ = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if differ:
        shown = "; ".join(f"{key} is {found.get(key)!r:.50} there, {wanted.get(key)!r:.50} here" for key in differ[:4])
        more = f" (and {len(differ) - 4} more)" if len(differ) > 4 else ""
        raise ValueError(f"{problem}: {shown}{more}; name another folder, or delete that one to start anew")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix or "content": value}
    return {
        key: entry for name, part in value.items() for key, entry in _flat(part, f"{prefix}.{name}".strip(".")).items()
    }


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
