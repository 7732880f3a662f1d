"""Every stage by a name, on the tiny model: what tests run in processes of their own, to be killed or to share the work.

python -m tests.stages_by_name STAGE FOLDER [--die-at STEP] [--within] [--limit BYTES]
"""

import argparse
import contextlib
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from blockprune_lib import pruning_trainer
from blockprune_lib.training import Teacher, fine_tune, prune, prune_gradually, retrain, train_reweighted

from .tiny_training import DATA, ROWS, TOKENIZER, settings, tiny

DATA_ARGUMENTS = (TOKENIZER, DATA)


def _retrain(model: Any, chosen: Any, **more: Any) -> dict[str, torch.Tensor]:
    masks = prune(model, ROWS, rate=3.0)
    retrain(model, *DATA_ARGUMENTS, masks, chosen, **more)
    return dict(masks)


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
    "gradual": lambda m, s: _gradual(m, s, "magnitude"),
    "movement": lambda m, s: _gradual(m, s, "movement"),
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", nargs="+")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--within", action="store_true", help="die while that step's checkpoint is being written")
    parser.add_argument("--limit", type=int, help="bytes that a file may grow to")
    parser.add_argument("--dropout", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    if options.limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))
    if options.die_at:
        if options.within:
            save = pruning_trainer.save_rules

            def dying(folder: Path, *arguments: Any) -> None:
                save(folder, *arguments)
                if folder.name == f"checkpoint-{options.die_at}":
                    os.kill(os.getpid(), signal.SIGKILL)

            pruning_trainer.save_rules = dying
        else:
            begin = pruning_trainer.PruningTrainer.__init__

            def mortal(self: Any, *arguments: Any, **more: Any) -> None:
                begin(self, *arguments, **more)
                self.add_callback(Death(options.die_at))

            pruning_trainer.PruningTrainer.__init__ = mortal  # type: ignore[method-assign]
    for stage in options.stage:
        with contextlib.nullcontext():
            result = run(stage, options.folder / stage, options.dropout)
        torch.save({k: result[k] for k in ("weights", "masks")}, options.folder / f"{stage}-{rank}.pt")


if __name__ == "__main__":
    main()
