"""The model of a run, and what each stage of the register does to it: one function for each name in `Stage.action`.

A function takes the state of the run and the stage, and leaves the state as the next stage needs it: by
`RunState.train`, or by changing the model and saying so with `RunState.changed`. Both are told what decides the result,
which names the folders of this stage and of those after it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from filelock import FileLock

from ..data import models, own_data, tasks
from ..pruning.masks import Masks
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure
from ..training import stages
from ..training.distillation import Teacher
from ..training.evaluation import evaluate
from ..training.report import StageReport
from .methods import FINE_TUNE, Stage
from .run_spec import Run

#: Is told a line at each step of the work; print is one.
Reporter = Callable[[str], object]


class RunState:
    """A run's data and model as they are now, with the masks so far and a report for each trained stage.

    Raises ValueError naming the matrix or the column that cannot be used.
    """

    def __init__(self, run: Run, folder: Path, report: Reporter, progress: bool) -> None:
        self.run, self.folder, self.report, self.progress = run, folder, report, progress
        self.structure = BlockStructure.parse(run.structure)
        own, options = run.description, run.options
        rows = {"train": options["train_rows"], "validation": options["validation_rows"], "seed": options["data_seed"]}
        self.task = own_data.load(own, **rows) if own is not None else tasks.load(run.task, **rows, verbose=False)
        self.loaded = models.load(run.model, task=self.task, seed=run.seed)
        self.model, self.tokenizer = self.loaded
        select_model(self.model, self.structure, run.rate, **run.which)  # names the matrix it cannot cut
        self.masks: Masks | None = None
        self.teacher: Teacher | None = None
        self.reports: list[StageReport] = []
        self._scores: dict[str, float] | None = None
        # What decides a stage's result grows with each stage.
        self._identity: list[Any] = [run.model, self.loaded.sha256, self.task.fingerprint, run.seed]

    def train(self, stage: Stage, train: Callable[..., StageReport], *decides: Any) -> None:
        """Train one stage under its lock, in a folder named by all that decided the model so far and by `decides`.

        `train` takes model, tokenizer, data and settings, as the functions of `training.stages` do.
        """
        settings = self.run.budget(stage)
        self._identity = [*self._identity, stage.key, settings.identity(), *decides]
        digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:12]
        name = stage.key.replace("_", "-")
        place = self.folder / "stages" / f"{self.run.task}-{name}-{digest}"
        settings = settings.replace(output_dir=place, progress=self.progress)
        main = PartialState().is_main_process
        if main:
            place.parent.mkdir(parents=True, exist_ok=True)
        # Processes of one training are one worker: the first holds the lock for all.
        with FileLock(f"{place}.lock") if main else nullcontext():
            PartialState().wait_for_everyone()
            self.report(f"{self.run.name}: {name}")
            report = train(model=self.model, tokenizer=self.tokenizer, data=self.task, settings=settings)
        self.reports.append(report)
        self._scores = report.after

    def changed(self, *decides: Any) -> None:
        """Note that the model was changed without training, as `decides` says."""
        self._identity, self._scores = [*self._identity, *decides], None

    def scores(self) -> dict[str, float]:
        """The scores of the model as it is now."""
        max_length = self.run.settings("fine_tune").max_length
        return self._scores or evaluate(self.model, self.tokenizer, self.task, max_length=max_length)


def fine_tune(state: RunState, stage: Stage) -> None:
    """Train on the task's loss alone; the first time the model becomes the teacher of later stages, if there is one."""
    # In place of a stage with a penalty it takes as many steps: the penalty is all that differs.
    state.train(stage, stages.fine_tune, *([] if stage == FINE_TUNE else ["no penalty"]))
    extra = state.run.extra("retrain")
    if stage == FINE_TUNE and extra.get("distil"):
        state.teacher = Teacher(copy.deepcopy(state.model), extra["distil"], extra.get("temperature", 2.0))


def train_reweighted(state: RunState, stage: Stage) -> None:
    """Train with the penalty."""
    run, extra = state.run, {**state.run.extra(stage.key), **stage.changes}
    train = partial(stages.train_reweighted, structure=state.structure, **extra, **run.which)
    state.train(stage, train, run.structure, extra, run.which)


def prune(state: RunState, stage: Stage) -> None:
    """Cut to the rate at once."""
    run = state.run
    choice = {name: run.extra("prune")[name] for name in ("scope", "balanced") if name in run.extra("prune")}
    state.masks = stages.prune(state.model, state.structure, run.rate, **choice, **run.which)
    state.changed()  # a later stage names what decided the cut, by `_cut`


def retrain(state: RunState, stage: Stage) -> None:
    """Train under the masks."""
    support = state.run.extra(stage.key).get("support", "masks")
    assert state.masks is not None, "the register prunes before it retrains"
    train = partial(stages.retrain, masks=state.masks, teacher=state.teacher, support=support)
    state.train(stage, train, *_cut(state.run))


def prune_gradually(state: RunState, stage: Stage) -> None:
    """Cut to the rate while training."""
    run = state.run
    told = {name: value for name, value in run.extra("prune").items() if name != "schedule"}
    told |= {"structure": state.structure, "rate": run.rate, "teacher": state.teacher, **stage.changes, **run.which}

    def train(**inputs: Any) -> StageReport:
        report, state.masks = stages.prune_gradually(**inputs, **told)
        return report

    state.train(stage, train, stage.changes["score"], *_cut(run))


#: What `Stage.action` may name.
ACTIONS: Mapping[str, Callable[[RunState, Stage], None]] = {
    action.__name__: action for action in (fine_tune, train_reweighted, prune, retrain, prune_gradually)
}


def _cut(run: Run) -> tuple[Any, ...]:
    """What decides where a last stage leaves the weights, beside its training."""
    return run.structure, run.rate, run.extra("prune"), run.extra("retrain"), run.which
