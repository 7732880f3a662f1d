"""One run through its stages: each kept on disk under a name made from everything that decides its result.

    FOLDER/recipe.json                   what was asked for
    FOLDER/stages/NAME/                  one stage (see `resuming`), shared by every run that begins the same way
    FOLDER/records/NAME.json             one run's record (see `records`), written last
    FOLDER/models/NAME/                  the pruned model, block-sparse layers packed (see `storage`)

A run that is killed goes on where it was; a finished one is read, never done twice. Several processes may work in one
folder: a lock, which the system releases when a process dies, keeps each stage to one of them. Left out: which runs
there are (see `recipe`) and who does which (see `sweep`).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState
from filelock import FileLock

from .._common.provenance import provenance
from ..data import models, own_data, tasks
from ..machine.passport import hardware
from ..nn import convert
from ..pruning.masks import Masks
from ..pruning.selection import select_model
from ..pruning.structure import BlockStructure
from ..training import stages
from ..training.distillation import Teacher
from ..training.evaluation import evaluate
from ..training.settings import StageReport
from . import records
from .recipe import Run
from .stage_checks import SECOND_STAGE, WITHOUT_SECOND_STAGE, with_budget_of_both

Say = Callable[[str], None]


def run_one(run: Run, folder: Path, say: Say = lambda line: None, progress: bool = False) -> dict[str, Any]:
    """Do one run, or what is left of it, and return its record.

    Raises ValueError for what the model or the data cannot do, naming the matrix or the column, and OSError where
    `folder` cannot be written to; what is whole by then stays for the next try.
    """
    path = folder / "records" / f"{run.name}.json"
    if path.exists():
        record = records.read(path)
        check_run(record, run, path)
        return record
    work = _Work(run, folder, say, progress)
    record = work.record(work.train())
    if PartialState().is_main_process:
        records.save(record, path)
    PartialState().wait_for_everyone()
    say(f"{run.name}: {record['metric']} {record['dense'][record['metric']]:.3f} dense, {_final(record)} at the end")
    return record


def check_run(record: dict[str, Any], run: Run, path: Path) -> None:
    """Raise ValueError where a record is of another run than its name says."""
    from ..training.stage_folder import check_same

    check_same(record["run"], json.loads(json.dumps(run.to_dict())), f"{str(path)!r} is the record of another run")


class _Work:
    """The model of one run, on its way through the stages."""

    def __init__(self, run: Run, folder: Path, say: Say, progress: bool) -> None:
        self.run, self.folder, self.say, self.progress = run, folder, say, progress
        self.structure = BlockStructure.parse(run.structure)
        rows = {"train": run.options["train_rows"], "validation": run.options["validation_rows"]}
        seed = run.options["data_seed"]
        if run.description is not None:
            self.task = own_data.load(run.description, rows["train"], rows["validation"], seed)
        else:
            self.task = tasks.load(run.task, **rows, seed=seed, verbose=False)
        self.loaded = models.load(run.model, task=self.task, seed=run.seed)
        self.model, self.tokenizer = self.loaded
        self.reports: list[StageReport] = []
        flags: dict[str, Any] = dict(run.which)
        select_model(self.model, self.structure, run.rate, **flags)  # names the matrix it cannot cut
        # What decides a stage's result grows with each stage.
        self.key: list[Any] = [run.model, self.loaded.sha256, self.task.fingerprint, run.seed]

    def train(self) -> Masks:
        """All stages; returns the masks."""
        run, method = self.run, self.run.method
        flags: dict[str, Any] = dict(run.which)
        self._stage("fine_tune", lambda settings: stages.fine_tune(**self._what, settings=settings))
        extra = run.extra("retrain")
        teacher = None
        if extra.get("distil"):
            teacher = Teacher(copy.deepcopy(self.model), extra["distil"], extra.get("temperature", 2.0))
        if method in SECOND_STAGE:
            second = run.extra("reweight") | SECOND_STAGE[method]
            self._stage(
                "reweight",
                lambda settings: stages.train_reweighted(
                    **self._what, structure=self.structure, settings=settings, **second, **flags
                ),
                str(self.structure), second, run.which,
            )  # fmt: skip
        elif method == "magnitude":
            # As many steps as the second stage, without its penalty: what the penalty changes is all that differs.
            self._stage("reweight", lambda settings: stages.fine_tune(**self._what, settings=settings), "no penalty")
        how = run.extra("prune")
        choice = {key: how[key] for key in ("scope", "balanced") if key in how}
        gradual = method in WITHOUT_SECOND_STAGE or how.get("schedule") == "gradual"
        key = (str(self.structure), run.rate, how, extra, run.which)
        if method != "one-shot" and gradual:
            shares: dict[str, Any] = {name: how[name] for name in ("begin", "end") if name in how}
            score: Any = "movement" if method == "movement" else "magnitude"
            kept: list[Masks] = []

            def shrink(settings: Any) -> StageReport:
                report, masks = stages.prune_gradually(
                    **self._what, structure=self.structure, rate=run.rate, score=score, settings=settings,
                    teacher=teacher, **choice, **shares, **flags,
                )  # fmt: skip
                kept.append(masks)
                return report

            self._stage("retrain", shrink, score, *key)
            return kept[0]
        masks = stages.prune(self.model, self.structure, run.rate, **choice, **flags)
        if method != "one-shot":
            support = extra.get("support", "masks")
            self._stage(
                "retrain",
                lambda settings: stages.retrain(
                    **self._what, masks=masks, settings=settings, teacher=teacher, support=support
                ),
                *key,
            )
        return masks

    @property
    def _what(self) -> dict[str, Any]:
        return {"model": self.model, "tokenizer": self.tokenizer, "data": self.task}

    def _stage(self, stage: str, train: Callable[[Any], StageReport], *decides: Any) -> None:
        """Do one stage under its lock, in the folder that everything so far names."""
        run = self.run
        settings = run.settings(stage, None, self.progress)
        if stage == "retrain" and run.method in WITHOUT_SECOND_STAGE:
            settings = with_budget_of_both(settings, run.settings("reweight", None, False))
        self.key = [*self.key, stage, settings.what(), *decides]
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:12]
        place = self.folder / "stages" / f"{run.task}-{stage.replace('_', '-')}-{digest}"
        main = PartialState().is_main_process
        if main:
            place.parent.mkdir(parents=True, exist_ok=True)
        # Processes of one training are one worker: the first holds the lock for all.
        with FileLock(f"{place}.lock") if main else nullcontext():
            PartialState().wait_for_everyone()
            self.say(f"{run.name}: {stage.replace('_', '-')}")
            report = train(dataclasses.replace(settings, output_dir=place))
        self.reports.append(report)

    def record(self, masks: Masks) -> dict[str, Any]:
        """The run's record; the pruned model is kept first."""
        run = self.run
        final = self.reports[-1].after
        if run.method == "one-shot":
            final = evaluate(**self._what, max_length=run.settings("fine_tune", None, False).max_length)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", convert.TooDenseWarning)
            packed = convert.sparsify(copy.deepcopy(self.model).cpu(), self.structure, **_linear_only(run.which))
        if run.options["keep_model"] and PartialState().is_main_process:
            (self.folder / "models").mkdir(exist_ok=True)
            convert.save(packed, self.folder / "models" / run.name, self.tokenizer)
        record = {
            "format": records.FORMAT,
            "name": run.name,
            "run": run.to_dict(),
            "provenance": provenance(),
            "hardware": hardware().to_dict(),
            "model": self.loaded.to_dict(),
            "data": self.task.to_dict(),
            "metric": self.task.primary,
            "examples": len(self.task.validation),
            "majority": self.task.majority,
            "dense": self.reports[0].after,
            "final": final,
            "stages": [_without_paths(report.to_dict()) for report in self.reports],
            "compression": convert.compression(packed, **_linear_only(run.which)).to_dict(),
            "densities": {row["matrix"]: row["density"] for row in masks.rows()},
        }
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain


def _linear_only(which: dict[str, bool]) -> dict[str, bool]:
    return {part: flag for part, flag in which.items() if part != "embeddings"}


def _without_paths(report: dict[str, Any]) -> dict[str, Any]:
    # A record goes to other machines: no path of this one.
    return report | {"settings": {key: value for key, value in report["settings"].items() if key != "output_dir"}}


def _final(record: dict[str, Any]) -> str:
    return f"{record['final'][record['metric']]:.3f}"
