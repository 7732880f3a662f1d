"""Every stage by a name, on the tiny model: tests run it in processes of their own, to kill it or to share the work.

python -m tests.helpers.stages_by_name STAGE FOLDER [--kill] [--limit BYTES]
"""

import argparse
import json
import os
import resource
import signal
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from blockprune_lib.training import trainer
from blockprune_lib.training.distillation import Teacher
from blockprune_lib.training.stages import (
    fine_tune,
    prune,
    prune_gradually,
    retrain,
    shrink_gradually,
    train_reweighted,
)

from .tiny_training import DATA, ROWS, TOKENIZER, settings, tiny

DATA_ARGUMENTS = (TOKENIZER, DATA)


def _retrain(model: Any, chosen: Any, **more: Any) -> dict[str, torch.Tensor]:
    masks = prune(model, ROWS, rate=3.0)
    retrain(model, *DATA_ARGUMENTS, masks, chosen, **more)
    return dict(masks)


def _shrink(model: Any, chosen: Any, **more: Any) -> dict[str, torch.Tensor]:
    return dict(shrink_gradually(model, *DATA_ARGUMENTS, ROWS, 3.0, settings=chosen, **more)[1])


def _gradual(model: Any, chosen: Any, score: Any) -> dict[str, torch.Tensor]:
    return dict(prune_gradually(model, *DATA_ARGUMENTS, ROWS, 3.0, score=score, settings=chosen)[1])


STAGES: dict[str, Any] = {
    "fine-tune": lambda m, s: fine_tune(m, *DATA_ARGUMENTS, s) and {},
    "reweight-epoch": lambda m, s: train_reweighted(m, *DATA_ARGUMENTS, ROWS, 1e-2, settings=s) and {},
    "reweight-steps": lambda m, s: (
        train_reweighted(m, *DATA_ARGUMENTS, ROWS, 1e-2, refresh_every=5, lam_schedule="rise", settings=s) and {}
    ),
    "proximal": lambda m, s: (
        train_reweighted(m, *DATA_ARGUMENTS, ROWS, 0.5, method="proximal", refresh_every=4, settings=s) and {}
    ),
    "retrain": _retrain,
    "packed": lambda m, s: _retrain(m, s, support="packed"),
    "taught": lambda m, s: _retrain(m, s, teacher=Teacher(tiny())),
    "taught-hidden": lambda m, s: _retrain(m, s, teacher=Teacher(tiny(), 0.7, hidden=2.0)),
    "shrink": lambda m, s: _shrink(m, s, refresh_every=2, fix=0.9),
    "shrink-held": lambda m, s: _shrink(m, s, refresh_every=None, hold=True, reach=2.0),
    "gradual": lambda m, s: _gradual(m, s, "magnitude"),
    "movement": lambda m, s: _gradual(m, s, "movement"),
    "sensitivity": lambda m, s: _gradual(m, s, "sensitivity"),
}


class Death(TrainerCallback):
    """Kills this process, as the system would, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def run(stage: str, folder: Path, dropout: float = 0.1) -> dict[str, Any]:
    """Do the stage; returns its weights, masks and report."""
    model = tiny(dropout=dropout)
    chosen = settings(
        max_steps=30, batch_size=8, learning_rate=2e-3, weight_decay=0.01, output_dir=folder, checkpoint_every=3
    )
    masks = STAGES[stage](model, chosen)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    report = json.loads(next(folder.glob("*/report.json")).read_text())["report"]
    return {"weights": weights, "masks": masks, "report": report}


def die_in(stage: str, folder: Path, step: int, within: bool) -> None:
    """Begin or resume the stage, to be killed at a step: at its end, or while its checkpoint is half written."""
    if within:
        save = trainer.save_hooks

        def dying(place: Path, *arguments: Any) -> None:
            save(place, *arguments)
            if place.name == f"checkpoint-{step}":
                os.kill(os.getpid(), signal.SIGKILL)

        trainer.save_hooks = dying
    else:
        begin = trainer.PruningTrainer.__init__

        def mortal(self: Any, *arguments: Any, **more: Any) -> None:
            begin(self, *arguments, **more)
            self.add_callback(Death(step))

        trainer.PruningTrainer.__init__ = mortal  # type: ignore[method-assign]
    run(stage, folder)


def in_a_child(act: Any) -> int:
    """Do `act` in a forked process; returns its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def keep(stage: str, folder: Path, target: Path, dropout: float = 0.1) -> None:
    """Do the stage in `folder`, and write what came out to `target`."""
    torch.save(run(stage, folder, dropout), target)


#: Checkpoints are at 3, 6, ...: the last one before 13 is at 12, an epoch's end; the one at 15 is cut short.
DEATHS = ((4, False), (13, False), (15, True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", nargs="+")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill", action="store_true", help="each stage twice: undisturbed, and killed")
    parser.add_argument("--limit", type=int, help="bytes that a file may grow to")
    parser.add_argument("--dropout", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rank, folder = os.environ.get("RANK", "0"), options.folder
    if options.limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))
    for stage in options.stage:
        if not options.kill:
            keep(stage, folder / stage, folder / f"{stage}-{rank}.pt", options.dropout)
            continue
        done = [in_a_child(partial(keep, stage, folder / "whole" / stage, folder / f"{stage}-whole.pt"))]
        done += [in_a_child(partial(die_in, stage, folder / "killed" / stage, *death)) for death in DEATHS]
        done += [in_a_child(partial(keep, stage, folder / "killed" / stage, folder / f"{stage}-killed.pt"))]
        print(stage, done)


if __name__ == "__main__":
    main()
