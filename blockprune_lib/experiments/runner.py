"""One run through the stages of its method, to a record.

    FOLDER/recipe.json                   what was asked for (see `claim`)
    FOLDER/stages/NAME/                  one stage (see `training.stage_folder`), shared by runs that begin the same way
    FOLDER/records/NAME.json             one run's record (see `records`), written last
    FOLDER/models/NAME/                  the pruned model, block-sparse layers packed (see `nn.storage`)

A run that is killed goes on with the stage it was in; a finished one is read, never done twice. Several processes may
work in one folder: a lock, which the system releases when a process dies, keeps each stage to one of them.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from .._common.folders import refuse_another
from .._common.provenance import provenance
from ..machine.passport import hardware
from ..nn.convert import TooDenseWarning, sparsify
from ..nn.model_size import compression
from ..nn.storage import save
from ..training.report import StageReport
from . import records
from .actions import ACTIONS, Reporter, RunState
from .flags import flags
from .precisions import precision_scores
from .run_spec import Run

#: What the Trainer logs that no reader asks for.
_UNTOLD = ("grad_norm", "epoch", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


def run_one(run: Run, folder: Path, report: Reporter = lambda line: None, progress: bool = False) -> dict[str, Any]:
    """Do one run, or what is left of it, and return its record.

    Raises ValueError for what the model or the data cannot do, naming the matrix or the column, and OSError where
    `folder` cannot be written to; what is whole by then stays for the next try.
    """
    path = folder / "records" / f"{run.name}.json"
    if path.exists():
        record = records.read(path)
        refuse_another(record["run"], run.to_dict(), f"{str(path)!r} is the record of another run")
        return record
    record = record_of(run_stages(run, folder, report, progress))
    if PartialState().is_main_process:
        records.save(record, path)
    PartialState().wait_for_everyone()
    dense, final = record["dense"][record["metric"]], record["final"][record["metric"]]
    report(f"{run.name}: {record['metric']} {dense:.3f} dense, {final:.3f} at the end")
    for flag in record["flags"]:
        report(f"{run.name}: WARNING: {flag}")
    return record


def run_stages(run: Run, folder: Path, report: Reporter = lambda line: None, progress: bool = False) -> RunState:
    """Every stage of the run's method, in order."""
    state = RunState(run, folder, report, progress)
    for stage in run.method_stages:
        ACTIONS[stage.action](state, stage)
    return state


def record_of(state: RunState) -> dict[str, Any]:
    """The record of a run whose stages are done; the pruned model is kept first."""
    run, final, task = state.run, state.scores(), state.task
    linear_only = {part: flag for part, flag in run.which.items() if part != "embeddings"}
    packed = copy.deepcopy(state.model).cpu()
    if state.masks is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TooDenseWarning)
            packed = sparsify(packed, state.structure, **linear_only)
    if run.options["keep_model"] and state.reports and PartialState().is_main_process:
        (state.folder / "models").mkdir(exist_ok=True)
        save(packed, state.folder / "models" / run.name, state.tokenizer)
    record = {
        "format": records.FORMAT, "name": run.name, "run": run.to_dict(),
        "provenance": provenance(), "hardware": hardware().to_dict() | _accelerator(state.reports),
        "model": state.loaded.to_dict() | {"parameters": state.whole[1]}, "data": task.to_dict(),
        "metric": task.primary, "examples": len(task.validation), "majority": task.majority,
        "dense": state.reports[0].after if state.reports else final, "final": final,
        "flags": flags(task.primary, task.majority, final, state.reports),
        "precisions": _precisions(state) if state.reports else {}, "predictions": state.predictions(),
        # A record goes to other machines: no path of this one.
        "stages": [_compact(report) for report in state.reports],
        "compression": _compression(state, packed, linear_only),
        "densities": {row["matrix"]: row["density"] for row in state.masks.rows()} if state.masks else {},
    }  # fmt: skip
    return json.loads(json.dumps(record))  # as a file has it: lists for tuples


def _accelerator(reports: list[StageReport]) -> dict[str, str]:
    """The name of the GPU that trained, where one did: the rest of `hardware` is of the processor."""
    return {"accelerator": torch.cuda.get_device_name()} if any(one.device == "cuda" for one in reports) else {}


def _compact(report: StageReport) -> dict[str, Any]:
    """A report without what the optimiser logged of itself, in six digits."""
    told = report.model_dump(exclude={"settings": {"output_dir"}})
    kept = [{key: value for key, value in entry.items() if key not in _UNTOLD} for entry in report.history]
    short = [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in e.items()} for e in kept
    ]
    return told | {"history": short}


def _precisions(state: RunState) -> dict[str, dict[str, float]]:
    length = state.run.settings("fine_tune").max_length
    return precision_scores(state.model, state.tokenizer, state.task, length, dense=state.masks is None)


def _compression(state: RunState, packed: Any, which: Mapping[str, bool]) -> dict[str, Any]:
    """What `nn.compression` says; where layers were removed, the rates are those of the whole model."""
    found = compression(packed, **which).to_dict()
    if state.run.layers:
        prunable, parameters = state.whole
        found["rate_pruned"] *= prunable / found["pruned"][0]
        found["rate_parameters"] *= parameters / found["parameters"][0]
    return found
