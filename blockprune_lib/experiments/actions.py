"""The model of a run, and what each stage of METHODS does to it: one function for each name in `Stage.action`.

A function takes the state of the run and the stage, and leaves the state as the next stage needs it: by
`RunState.train`, or by changing the model and calling `RunState.changed`. Pass both everything the result depends on,
besides the stage itself: it is hashed into the folder names of this stage and of those after it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from filelock import FileLock, Timeout

from ..data import models, own_data, tasks
from ..data.tasks import Task
from ..pruning.architectures import prunable_weights
from ..pruning.depth import keep_layers_
from ..pruning.masks import Masks
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure
from ..training import stages
from ..training.distillation import Teacher
from ..training.evaluation import evaluate, predict
from ..training.report import StageReport
from .bag_of_words import bag_of_words_scores
from .held_out import hold_out
from .methods import BOTH, FINE_TUNE, Stage
from .run_spec import Run

#: Called with one line per stage, e.g. print.
Reporter = Callable[[str], object]

#: Classes that a sign of `predictions` can tell.
_SIGNS = 16
#: Settings of a stage that say what its teacher is.
TEACHING = ("distil", "temperature", "hidden")
#: Settings of the penalty that only `lam: auto` reads.
_WITH_AUTO = ("reach", "hold")
#: For these sequences of actions, folders exist from before names hashed the actions; they must still be found.
_HASHED_WITHOUT_ACTIONS = (
    ("fine_tune", "train_reweighted", "prune", "retrain"), ("fine_tune", "train_reweighted", "prune_gradually"),
    ("fine_tune", "fine_tune", "prune", "retrain"), ("fine_tune", "fine_tune", "prune_gradually"),
    ("fine_tune", "prune_gradually"), ("fine_tune", "prune"),
)  # fmt: skip


class RunState:
    """A run's data and model as they are now, with the masks so far and a report for each trained stage.

    Raises ValueError naming the matrix or the column that cannot be used.
    """

    def __init__(self, run: Run, folder: Path, report: Reporter, progress: bool) -> None:
        self.run, self.folder, self.report, self.progress = run, folder, report, progress
        self.structure = BlockStructure.parse(run.structure)
        self.task = load_task(run)
        if run.description is not None and (self.task.regression or self.task.notes):  # what the files were taken for
            report(self.task.describe())
        self.loaded = load_model(run, self.task)
        self.model, self.tokenizer = self.loaded
        select_model(self.model, self.structure, run.rate, **run.which)  # dry run: raises for a matrix it cannot cut
        self.whole = _weights_of(self.model, run.which)
        self.masks: Masks | None = None
        self.dense: Any = None
        self.reports: list[StageReport] = []
        self._scores: dict[str, float] | None = None
        self._outputs: Any = None
        self._done: list[tuple[Stage, tuple[Any, ...]]] = []  # the stages so far, each with its identity

    def teacher(self, key: str) -> Teacher | None:
        """The fine-tuned dense model as the teacher that a stage's settings ask for; None where they ask for none."""
        told = {name: value for name, value in self.run.extra(key).items() if name in TEACHING}
        if not (told.get("distil") or told.get("hidden")) or self.dense is None:
            return None
        return Teacher(self.dense, told.get("distil", 0.0), told.get("temperature", 2.0), told.get("hidden", 0.0))

    def train(self, stage: Stage, function: Callable[..., StageReport], *identity: Any) -> None:
        """Train one stage under its lock, in a folder whose name hashes this stage and all before it.

        `function` takes model, tokenizer, data and settings, as those of `training.stages` do. `identity`: what else
        its result depends on, JSON-able; the stage and its training settings are always hashed.
        """
        settings = self.run.budget(stage)
        self._done.append((stage, (settings.identity(), *identity)))
        name = stage.key.replace("_", "-")
        place = self.folder / "stages" / f"{self.run.task}-{name}-{self._digest()}"
        settings = settings.replace(output_dir=place, progress=self.progress)
        main = PartialState().is_main_process
        if main:
            place.parent.mkdir(parents=True, exist_ok=True)
        # Processes of one training are one worker: the first holds the lock for all.
        with self._lock(f"{place}.lock", name) if main else nullcontext():
            PartialState().wait_for_everyone()
            self.report(f"{self.run.name}: {name}")
            report = function(model=self.model, tokenizer=self.tokenizer, data=self.task, settings=settings)
        self.reports.append(report)
        self._scores = report.after

    @contextmanager
    def _lock(self, path: str, name: str) -> Iterator[None]:
        """Hold the lock of a stage, `name`; whom it keeps waiting is told so."""
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.report(f"{self.run.name}: {name}: waiting for another process, which is at it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def changed(self, stage: Stage, *identity: Any) -> None:
        """Note that a stage changed the model without training; `identity` as in `train`."""
        self._done.append((stage, identity))
        self._scores = None

    def scores(self) -> dict[str, float]:
        """The scores of the model as it is now."""
        max_length = self.run.settings("fine_tune").max_length
        return self._scores or evaluate(self.model, self.tokenizer, self.task, max_length=max_length)

    def scored(self, scores: dict[str, float], outputs: Any) -> None:
        """Note the scores and the outputs (rows, classes) of what was trained without the Trainer."""
        self._scores, self._outputs = scores, outputs

    def predictions(self) -> str:
        """What the model says of each validation row: a digit for its class, or numbers and commas."""
        outputs = self._outputs
        if outputs is None:
            length = self.run.settings("fine_tune").max_length
            outputs = predict(self.model, self.tokenizer, self.task, max_length=length).numpy()
        if self.task.regression:
            return ",".join(f"{value:.3f}" for value in outputs[:, 0])
        return "".join(f"{int(best):x}" if best < _SIGNS else "?" for best in outputs.argmax(1))

    def _digest(self) -> str:
        """Twelve hex digits that tell a model after these stages from every other."""
        actions = tuple(stage.action for stage, _ in self._done)
        if any(path[: len(actions)] == actions for path in _HASHED_WITHOUT_ACTIONS):
            # `retrain` repeats in its own identity what `prune` did.
            trained = [(stage, identity) for stage, identity in self._done if stage.action != "prune"]
            parts = [part for stage, identity in trained for part in (stage.key, *identity)]
        else:
            parts = [[stage.key, stage.action, dict(stage.changes), *identity] for stage, identity in self._done]
        origin = [self.run.model, self.loaded.sha256, self.task.fingerprint, self.run.seed]
        return hashlib.sha256(json.dumps([*origin, *parts], sort_keys=True).encode()).hexdigest()[:12]


def load_model(run: Run, task: Task) -> models.LoadedModel:
    """The model of a run, with a head for its task; an error names the recipe's key."""
    try:
        return models.load(run.model, task=task, seed=run.seed)
    except ValueError as error:
        raise ValueError(re.sub(r"^name\b", "recipe: model", str(error))) from None


def load_task(run: Run) -> Task:
    """The text of a run: what it trains on and is scored on."""
    own, options = run.description, run.options
    rows = {"train": options["train_rows"], "validation": options["validation_rows"], "seed": options["data_seed"]}
    task = own_data.load(own, **rows) if own is not None else tasks.load(run.task, **rows, verbose=False)
    part = options.get("held_out")
    return hold_out(task, part, options["data_seed"]) if part else task


def fine_tune(state: RunState, stage: Stage) -> None:
    """Train without any pruning; after the first time the model may be the teacher of what follows."""
    if stage == FINE_TUNE:
        state.train(stage, stages.fine_tune)
        if any(state.run.extra(key).get(name) for key in BOTH for name in ("distil", "hidden")):
            state.dense = copy.deepcopy(state.model)
        return
    # As a stand-in for the penalty stage it trains equally long: the penalty is all that differs.
    teacher = state.teacher(stage.key)
    told = _told(state.run.extra(stage.key), TEACHING)
    state.train(stage, partial(stages.fine_tune, teacher=teacher), "no penalty", *([told] if teacher else []))


def train_reweighted(state: RunState, stage: Stage) -> None:
    """Train with the penalty."""
    run, extra = state.run, {**state.run.extra(stage.key), **stage.changes}
    ours = {name: value for name, value in extra.items() if name not in (*TEACHING, *_WITH_AUTO)}
    more = {"structure": state.structure, "teacher": state.teacher(stage.key), **ours, **run.which}
    state.train(stage, partial(stages.train_reweighted, **more), run.structure, extra, run.which)


def shrink_gradually(state: RunState, stage: Stage) -> None:
    """Prune to the rate by a penalty whose strength follows the share of zero groups."""
    run = state.run
    penalty = {**_told(run.extra("reweight"), ("eps", "refresh_every", *_WITH_AUTO)), **stage.changes}
    options = {**penalty, **_told(run.extra("prune"), ("scope", "balanced", "begin", "end", "fix")), **run.which}
    options |= {"structure": state.structure, "rate": run.rate, "teacher": state.teacher(stage.key)}

    def train(**inputs: Any) -> StageReport:
        report, state.masks = stages.shrink_gradually(**inputs, **options)
        return report

    state.train(stage, train, penalty, *_pruning(run))


def keep_layers(state: RunState, stage: Stage) -> None:
    """Remove all layers but so many."""
    assert state.run.layers is not None
    kept = keep_layers_(state.model, state.run.layers, state.run.extra("prune").get("keep", "first"))
    select_model(state.model, state.structure, state.run.rate, **state.run.which)
    state.changed(stage, kept)


def bag_of_words(state: RunState, stage: Stage) -> None:
    """Score logistic regression on TF-IDF; the model stays as it is."""
    state.changed(stage)
    state.scored(*bag_of_words_scores(state.task))


def prune(state: RunState, stage: Stage) -> None:
    """Prune to the rate at once."""
    run = state.run
    options = {name: value for name, value in run.extra("prune").items() if name in ("scope", "balanced")}
    state.masks = stages.prune(state.model, state.structure, run.rate, **options, **run.which)
    state.changed(stage, run.structure, run.rate, options, run.which)


def retrain(state: RunState, stage: Stage) -> None:
    """Train under the masks."""
    support = state.run.extra(stage.key).get("support", "masks")
    assert state.masks is not None, "no masks: METHODS must prune first"
    train = partial(stages.retrain, masks=state.masks, teacher=state.teacher(stage.key), support=support)
    state.train(stage, train, *_pruning(state.run))


def prune_gradually(state: RunState, stage: Stage) -> None:
    """Prune to the rate while training."""
    run = state.run
    options = _told(run.extra("prune"), ("scope", "balanced", "begin", "end"))
    options |= {"structure": state.structure, "rate": run.rate, **stage.changes, **run.which}
    options["teacher"] = state.teacher(stage.key)

    def train(**inputs: Any) -> StageReport:
        report, state.masks = stages.prune_gradually(**inputs, **options)
        return report

    others = {name: value for name, value in stage.changes.items() if name != "score"}
    state.train(stage, train, stage.changes["score"], *_pruning(run), *([others] if others else []))


#: What `Stage.action` may name.
ACTIONS: Mapping[str, Callable[[RunState, Stage], None]] = {
    action.__name__: action for action in (
        fine_tune, train_reweighted, shrink_gradually, prune, retrain, prune_gradually, keep_layers, bag_of_words,
    )
}  # fmt: skip


def _told(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the settings that have one of the names."""
    return {name: value for name, value in settings.items() if name in (*names,)}


def _weights_of(model: Any, which: Mapping[str, bool]) -> tuple[int, int]:
    """How many weights can be pruned, and how many parameters there are."""
    prunable = sum(weight.numel() for weight in prunable_weights(model, **which).values())
    return prunable, sum(parameter.numel() for parameter in model.parameters())


def _pruning(run: Run) -> tuple[Any, ...]:
    """What the result of the last stage depends on besides its training settings."""
    return run.structure, run.rate, run.extra("prune"), run.extra("retrain"), run.which
