"""METHODS: which stages each method runs, with which overrides and step budget.

The recipe and its checks, the runner, plots, the command's help and the page on experiments all read `METHODS`. To add
a baseline, add an entry here, and its stages to `STAGES` in tests/experiments/test_runner.py. If a stage does what
no method did before, write that as a function in `actions`, add it to `ACTIONS`, and name it in `Stage.action`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One stage of a method.

    `key`: where the recipe has its settings. `action`: what is done, a name in `actions.ACTIONS`. `changes`:
    settings that override the recipe's. `budget`: the keys whose steps it trains for, together; () means its own.
    """

    key: str
    action: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    budget: tuple[str, ...] = ()


FINE_TUNE = Stage("fine_tune", "fine_tune")
PRUNE = Stage("prune", "prune")
RETRAIN = Stage("retrain", "retrain")
KEEP_LAYERS = Stage("prune", "keep_layers")
GRADUAL_RETRAIN = Stage("retrain", "prune_gradually", {"score": "magnitude"})
#: Without a second stage the last one trains for the steps of both, so that no method gets fewer steps.
BOTH = ("reweight", "retrain")


@dataclass(frozen=True)
class Method:
    """A way to choose the groups to keep: its name in a recipe, its stages in order, what it does in one line."""

    name: str
    stages: tuple[Stage, ...]
    meaning: str

    def stages_with(self, schedule: str, auto: bool = False) -> tuple[Stage, ...]:
        """The stages; for "gradual", pruning and retraining become one stage (a method without both stays as it is).

        `auto`: where λ follows the share of zero groups, the penalty's stage is one with them too.
        """
        penalised = [stage for stage in self.stages if stage.action == "train_reweighted"]
        if auto and penalised and self.stages[-2:] == (PRUNE, RETRAIN):
            before = self.stages[: self.stages.index(penalised[0])]
            return (*before, Stage("retrain", "shrink_gradually", penalised[0].changes, budget=BOTH))
        if schedule == "gradual" and self.stages[-2:] == (PRUNE, RETRAIN):
            return (*self.stages[:-2], GRADUAL_RETRAIN)
        return self.stages


def _penalised(**changes: Any) -> tuple[Stage, ...]:
    return FINE_TUNE, Stage("reweight", "train_reweighted", changes), PRUNE, RETRAIN


def _gradual(score: str) -> tuple[Stage, ...]:
    return FINE_TUNE, Stage("retrain", "prune_gradually", {"score": score}, budget=BOTH)


# fmt: off
#: Every method by its name, in the order of the help and the tables.
METHODS: Mapping[str, Method] = {method.name: method for method in (
    Method("reweighted", _penalised(),
           "fine-tune, train with the reweighted group Lasso, prune, retrain: the method of the book"),
    Method("no-refresh", _penalised(refresh_every=None),
           "the same, with alpha computed once: what the authors' scripts in effect ran, since their trainings end "
           "before the first refresh"),
    Method("group-lasso", _penalised(reweighted=False), "the same with alpha = 1: group Lasso without reweighting"),
    Method("magnitude", (FINE_TUNE, Stage("reweight", "fine_tune"), PRUNE, RETRAIN),
           "fine-tune, then train as long again without any penalty, prune, retrain"),
    Method("gradual", _gradual("magnitude"),
           "fine-tune, then prune by magnitude on the cubic schedule, for as many steps as reweight and retrain have"),
    Method("sensitivity", _gradual("sensitivity"),
           "like gradual, but groups are ranked by how far the fine-tuned model's outputs would move without them, "
           "estimated on 512 training examples"),
    Method("movement", _gradual("movement"),
           "fine-tune, then prune by movement (Sanh et al. 2020) on the cubic schedule, for as many steps"),
    Method("one-shot", (FINE_TUNE, PRUNE), "fine-tune and prune; nothing is retrained"),
    Method("dense", (FINE_TUNE, Stage("retrain", "fine_tune", budget=BOTH)),
           "the control: the same steps and teacher, nothing cut; with `layers`, a model of so many layers"),
    Method("bag-of-words", (Stage("fine_tune", "bag_of_words"),),
           "no transformer at all: logistic regression on TF-IDF of words and pairs of words, the floor"),
)}
# fmt: on
