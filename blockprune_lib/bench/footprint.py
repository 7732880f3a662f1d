"""Bytes of a model in memory, dense and block-sparse, each measured in a process of its own.

A process that held both could tell neither. Each child prunes the model, makes it sparse or leaves it dense, gives
memory back, runs it three times and prints what it saw as JSON. Resident bytes are those above the same process after
it built, ran and dropped the model once, so that libraries and compiled code do not count. Shared pages do not either.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ..nn.convert import sparsify
from ..pruning.architectures import prunable_weights
from ..pruning.structure import BlockStructure
from .model_settings import ModelSettings
from .rivals import SHORT
from .sequences import of_lengths
from .settings import ModelCase
from .workload import LastHidden, fresh, pruned

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CALLS, SECONDS = 3, 900  # runs of the model, and how long a child may take


def footprints(asked: ModelSettings, case: ModelCase) -> dict[str, dict[str, int | None]]:
    """{"torch dense f32": ..., "blockprune tile:32x32 f32": ...}, each with these keys, all in bytes but the last:

    bytes_tensors    parameters and buffers, indices included; shared ones once
    bytes_resident   growth of the process by the model, before it runs (None where it cannot be read)
    bytes_peak       growth of the process at its largest while it runs (None where it cannot be read)
    dense_copies     float matrices alive after the runs that have a pruned matrix's shape, as it is or transposed

    Raises RuntimeError where a child fails.
    """
    given = {"name": asked.model, "case": case, "seed": asked.seed}
    models: dict[str, dict[str, Any]] = {"torch dense f32": {"structure": case.structures[0], "precision": None}}
    for text in case.structures:
        for precision in asked.precisions:
            models[f"blockprune {text} {SHORT[precision]}"] = {"structure": text, "precision": precision}
    return {label: _in_a_child(given | more) for label, more in models.items()}


def measure_here(name: str, case: ModelCase, seed: int, structure: str, precision: str | None) -> dict[str, int | None]:
    """The bytes of one model in this process, dense where `precision` is None; call it in a fresh one."""
    torch.set_num_threads(case.threads)
    groups = BlockStructure.parse(structure)

    def built() -> Any:
        model = fresh(name, seed)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # else one tensor left keeps all pages of a mapped file
        pruned(model, groups, case.rate)
        return model if precision is None else sparsify(model, groups, precision=precision, keep_dense_above=1.0)

    def run(model: Any) -> None:
        with torch.inference_mode():
            for _ in range(CALLS):
                LastHidden(model).eval()(of_lengths(model, (case.tokens,) * case.batch, seed).ids)

    run(built())
    idle = _resident()
    shapes = {tuple(weight.shape) for weight in prunable_weights(fresh(name, seed)).values()}
    model = built()
    resident = _resident()
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")  # forget the largest size so far
    run(model)
    peak = _status("VmHWM")
    memory = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    return {
        "bytes_tensors": sum({storage.data_ptr(): storage.nbytes() for storage in memory}.values()),
        "bytes_resident": None if idle is None or resident is None else resident - idle,
        "bytes_peak": None if idle is None or peak is None else peak - idle,
        "dense_copies": dense_copies(shapes),
    }


def dense_copies(shapes: set[tuple[int, ...]]) -> int:
    """How many float matrices of these `shapes`, as they are or transposed, with memory of their own are alive."""
    gc.collect()
    found = set()
    for thing in gc.get_objects():
        # Asking an arbitrary object whether it is a tensor may run its code; its type does not.
        if not issubclass(type(thing), torch.Tensor) or thing.layout != torch.strided or thing.device.type == "meta":
            continue
        shape = tuple(thing.shape)
        if thing.is_floating_point() and (shape in shapes or shape[::-1] in shapes):
            found.add(thing.untyped_storage().data_ptr())
    return len(found)


def _resident() -> int | None:
    """Resident bytes after everything that is free went back to the system, where the C library knows how."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def _status(field: str) -> int | None:
    """A line of /proc/self/status in bytes."""
    with contextlib.suppress(OSError):
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _in_a_child(arguments: dict[str, Any]) -> dict[str, int | None]:
    command = [sys.executable, "-m", __name__, json.dumps(arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"memory: the measurement did not end within {SECONDS} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"memory: the measurement failed: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(measure_here(**{**asked, "case": ModelCase(*asked["case"])})))
