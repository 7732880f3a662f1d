"""How long the model of a record takes, on the sentences of its own task: measured when the machine is quiet.

Each call runs the same sentences one by one, as a service meets them, without padding. The dense model in float32 takes
turns with what is timed, so that a slow minute hits both; the time of one record and that of another, measured on
another day, are compared by their ratios to it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._common.checks import positive_int
from .._common.provenance import provenance
from ..data import models
from ..data.tasks import Task
from ..kernels.precision import PRECISIONS
from ..machine.passport import hardware
from ..machine.timing import compare
from ..nn.convert import TooDenseWarning, sparsify
from ..nn.plain_model import densify
from ..nn.storage import load
from ..pruning.structure import BlockStructure
from ..training.evaluation import INPUTS
from . import records
from .actions import load_task
from .precisions import int8
from .run_spec import Run
from .serving import Inputs, run_all, serving_of

#: The dense model in float32, by torch: what every time is a ratio to.
BASELINE = "dense"
#: How a dense model is cut for the compiled call: into groups that are all kept.
WHOLE = "block_column:16"


def add_latencies(
    folder: Path, *, sentences: int = 32, repeats: int = 15, threads: int = 2, say: Callable[[str], object] = print
) -> int:
    """Time the model of every record under `folder` that has no time and whose model is kept; returns how many.

    `sentences` of the task's validation rows, evenly over their lengths; `repeats` rounds, at least 3. The record is
    written again with `latency`: milliseconds a sentence, sentences a second in batches, what they were measured on.
    Raises ValueError where `folder` holds no record.
    """
    positive_int(sentences, "sentences")
    done = 0
    for path in sorted(path for path in records.files_under(folder) if path.parent.name == "records"):
        record = records.read(path)
        kept = path.parent.parent / "models" / record["name"]
        if record.get("latency") or not kept.is_dir():
            continue
        record["latency"] = latency_of(record, kept, sentences, repeats, threads)
        records.save(record, path)
        times = record["latency"]["engines"]
        say(f"{record['name']}: " + ", ".join(f"{name} {time['median_ms']:.2f} ms" for name, time in times.items()))
        served = record["latency"]["serving"]
        told = ", ".join(_told(name, engine) for name, engine in served["engines"].items())
        say(f"  in batches of {served['batch']}: {told}")
        done += 1
    if not done:
        records.read_all(folder)  # raises where there is none
    return done


def latency_of(record: Mapping[str, Any], kept: Path, sentences: int, repeats: int, threads: int) -> dict[str, Any]:
    """The times of the model in the folder `kept`, beside the dense model of the record."""
    run = record["run"]
    task = load_task(Run.of(run, "run"))
    whole, tokenizer = models.load(run["model"], task=task)
    max_length = run["stages"]["fine_tune"].get("max_length", 128)
    inputs = sample(task, tokenizer, sentences, max_length)
    small = densify(load(kept))
    compiled = compiled_calls(small, run["structure"] if record["densities"] else WHOLE)
    rounded = {"bfloat16": copy.deepcopy(small).to(torch.bfloat16)}
    rounded |= {"int8": model} if (model := int8(small)) is not None else {}
    engines = {BASELINE: whole} | ({} if record["densities"] else rounded) | compiled
    if not record["densities"] and run["options"].get("layers"):
        engines["float32"] = small
    serving = serving_of(
        {"float32": small} | rounded | compiled, "float32", tokenizer, task,
        max_length=max_length, repeats=max(3, repeats // 3), threads=threads,
    )  # fmt: skip
    calls = {name: partial(run_all, model.eval(), inputs) for name, model in engines.items()}
    found = compare(calls, baseline=BASELINE, repeats=repeats, warmup=2, threads=threads).to_dict()
    times = {
        name: {key: time[key] / sentences for key in ("median_ms", "q1_ms", "q3_ms")} | {"ratio": time["ratio"]}
        for name, time in found["timings"].items()
    }
    tokens = float(np.mean([example["input_ids"].shape[1] for example in inputs]))
    machine = hardware().to_dict()
    return {
        "engines": times, "serving": serving, "sentences": sentences, "tokens": tokens, "rounds": found["rounds"],
        "threads": threads, "cpu": machine["cpu"], "isa": machine["isa"], "provenance": provenance(),
    }  # fmt: skip


def _told(name: str, served: Mapping[str, float]) -> str:
    same = f" ({served['same_answers']:.2%} of the answers)" if "same_answers" in served else ""
    return f"{name} {served['sentences_per_second']:,.0f} sentences/s{same}"


def compiled_calls(model: Any, structure: str) -> dict[str, Any]:
    """The plain `model` as one compiled call, in float32 and, where this machine can, in bfloat16."""
    found = {}
    for name, precision in (("compiled", "float32"), ("compiled bfloat16", "bfloat16")):
        if not PRECISIONS[precision].missing:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TooDenseWarning)
                found[name] = sparsify(copy.deepcopy(model), BlockStructure.parse(structure), precision=precision)
    return found


def sample(task: Task, tokenizer: Any, count: int, max_length: int) -> Inputs:
    """So many of the task's validation rows as token ids (1, length), evenly over their lengths, mixed."""
    rows = list(task.encode(tokenizer, max_length)[1])
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    places = np.linspace(0, len(rows) - 1, count + 2)[1:-1].round().astype(int)
    chosen = np.random.default_rng(0).permutation([order[i] for i in places])
    names = [name for name in INPUTS if name in rows[0]]
    return [{name: torch.tensor([rows[i][name]]) for name in names} for i in chosen.tolist()]
