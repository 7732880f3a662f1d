"""Prune to a latency: which structure and rate each matrix gets so that a call takes so many ms and loses least."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from .._common.checks import finite_number, whole_number
from .._common.tables import Printed
from ..machine.comparison import Timing
from ..pruning.allocation import cheapest_choice
from ..pruning.masks import Masks
from ..pruning.sensitivity import Batch, OutputChange, sensitivities
from ..pruning.structure import BlockStructure
from .choice_search import Losses, scaled_to_the_whole
from .cost_table import Call, Clock, Example, LayerCosts, in_turns, layer_costs, run
from .trial import RATES, STRUCTURES, Cut, Ranking, candidates, linears_of, sparse_trial

#: A choice is solved again with what its measurement taught, until it is so near to what was asked.
NEAR, ROUNDS = 0.02, 4
#: The sum of the parts is trusted this far: a call that takes longer still was disturbed.
FAR = 0.25
#: A pruned model is timed for so many ms of calls, at least and at most so many of them: a few calls in a row say more
#: about what the machine did in that moment than about the model.
LONG, FEWEST, MOST = 400.0, 15, 100
#: Choices that are tried on the whole model.
TRIALS = 60


@dataclass(frozen=True, eq=False)
class Chosen:
    """What one matrix gets: its cut, the density that it leaves, ms in a call, and the loss that is expected of it."""

    cut: Cut
    density: float
    ms: float
    loss: float


@dataclass(frozen=True, eq=False, repr=False)
class Budget(Printed):
    """A choice of structure and rate for each matrix; `print` shows a table.

    ms            what was asked for a call
    choices       {parameter name: Chosen}
    masks         of every matrix that is pruned: for `apply_masks_` and `retrain`
    costs         the times that the choice was made from
    measured      times of a call of the pruned model; retraining does not change them. None: not measured. Where the
                  machine has become slower or quicker since `costs` were measured, they are scaled to its speed then:
                  a model that was timed then took turns with this one
    with_data     True: losses are of the model's outputs on example inputs; False: of the weights' squared norm
    moved         by how much the outputs changed when the pruned model ran on those inputs; None: it did not run
    """

    ms: float
    choices: Mapping[str, Chosen]
    masks: Masks
    costs: LayerCosts
    measured: Timing | None
    with_data: bool
    moved: float | None = None

    @property
    def structures(self) -> dict[str, BlockStructure]:
        """The structure of every matrix that is pruned, {parameter name: structure}, as `sparsify` takes it."""
        return self.masks.structures

    @property
    def predicted_ms(self) -> float:
        """A call, by the sum of its parts."""
        return self.costs.rest_ms + sum(chosen.ms for chosen in self.choices.values())

    @property
    def measured_ms(self) -> float | None:
        """A call of the pruned model, median."""
        return None if self.measured is None else self.measured.median

    @property
    def density(self) -> float:
        """Weights kept ÷ all weights of the prunable matrices."""
        shapes = self.costs.shapes
        sizes = {name: shapes[name][0] * shapes[name][1] for name in self.choices}
        return sum(chosen.density * sizes[name] for name, chosen in self.choices.items()) / sum(sizes.values())

    @property
    def loss(self) -> float:
        """The sum of the matrices' losses."""
        return sum(chosen.loss for chosen in self.choices.values())

    def measure(self, model: nn.Module, *, repeats: int = 15, threads: int | None = None) -> Timing:
        """Time a call of `model`, such as the one that was retrained and sparsified, as the budget was measured."""
        return self.costs.time_call(model, repeats=repeats, threads=threads)

    def _table(self) -> list[tuple[str, ...]]:
        above = _common_parent([*self.choices])
        rows = [
            (name.removeprefix(above).removesuffix(".weight"), str(chosen.cut), f"{chosen.ms:.3f}",
             f"{100 * chosen.loss:.2g} %")
            for name, chosen in self.choices.items()
        ]  # fmt: skip
        kept, ms = f"{self.density:.0%} kept", self.predicted_ms - self.costs.rest_ms
        return [("matrix", "cut", "ms", "loss"), *rows, ("all", kept, f"{ms:.3f}", f"{100 * self.loss:.2g} %")]

    def _caption(self) -> str:
        of = (
            "squared changes of the model's outputs, as shares of their variance" if self.with_data
            else "shares of the squared norm of the weights"
        )  # fmt: skip
        timed, above = self.measured, _common_parent([*self.choices]).removesuffix(".")
        measured = (
            "" if timed is None else f", measured {timed.median:.3g} ms (quartiles {timed.q1:.3g} and {timed.q3:.3g})"
        )
        moved = "" if self.moved is None else f"; measured on the pruned model, {self.moved:.1%}"
        return (
            f"asked for {self.ms:.3g} ms a call, predicted {self.predicted_ms:.3g} ms with {self.costs.rest_ms:.3g} ms "
            f"for everything else{measured}; possible {self.costs.least_ms:.3g} to {self.costs.dense_ms:.3g} ms; "
            f"losses are expected {of}{moved}{f'; all matrices are in {above}' if above else ''}"
        )


def _common_parent(names: list[str]) -> str:
    """The modules that hold all of the matrices, with a dot at the end; "" where they share none."""
    levels = zip(*(name.split(".")[:-2] for name in names), strict=False)
    shared = takewhile(lambda level: len(set(level)) == 1, levels)
    return "".join(f"{level[0]}." for level in shared)


def budget(
    model: nn.Module, ms: float, *, inputs: Iterable[Batch] | None = None, costs: LayerCosts | None = None,
    structures: Sequence[BlockStructure | str] = STRUCTURES, rates: Sequence[float] = RATES,
    example: Example | None = None, batch: int = 1, tokens: int | None = None, precision: str = "float32",
    repeats: int = 15, threads: int | None = None, clock: Clock = time.perf_counter, verify: bool = True, seed: int = 0,
    trials: int = TRIALS, **which: bool,
) -> Budget:  # fmt: skip
    """Choose a structure and a rate for each matrix so that a call of `model` takes `ms` and its outputs change least.

    inputs              example batches without labels, a tensor or {argument: tensor} each: what a cut would lose is
                        then the change of the model's outputs, to second order; None: the share of the squared norm
    costs               a `layer_costs` measured before, for another budget of the same model
    structures, rates   the candidates, beside leaving a matrix dense
    example, batch, tokens, precision, repeats, threads, clock, which   as in `layer_costs`: `ms` is of a call with
                        `example`, or with random tokens where it is None; `inputs` are not timed
    verify              True: scale the costs to what a call takes now, time the pruned model, correct the limit by what
                        was missed and choose again, until it is within 2 %, four times at most
    trials              with `inputs`: so many choices are tried on the whole model, the losses of each matrix scaled at
                        random, and the one whose outputs change least is taken; 0: none

    Minimises the sum of losses over all choices whose times sum to at most `ms`, exactly over time in 10,000 steps. The
    model stays as it is:

        chosen = bp.budget(model, ms=5.0, inputs=batches)
        bp.apply_masks_(model, chosen.masks)
        bp.retrain(model, tokenizer, task, chosen.masks)
        bp.sparsify(model, chosen.structures)

    Raises ValueError, with what is possible, for a budget below the least or above the dense model's time; TypeError
    and ValueError for arguments that do not fit.

    Source: Frantar and Alistarh 2022 (SPDY); Kwon et al. 2022.
    """
    finite_number(ms, "ms", 0, "milliseconds that a call may take, such as 5.0", above=True)
    whole_number(seed, "seed")
    whole_number(trials, "trials", example=TRIALS)
    linears = linears_of(model, **which)
    if costs is None:
        costs = layer_costs(
            model, candidates(structures, rates), example=example, batch=batch, tokens=tokens, precision=precision,
            repeats=repeats, threads=threads, clock=clock, **which,
        )  # fmt: skip
    elif list(costs.shapes.items()) != [(name, tuple(m.weight.shape)) for name, m in linears.items()]:
        others = f"they are of {len(costs.shapes)} others"
        raise ValueError(f"costs must be of this model's {len(linears)} matrices; {others}")
    if verify:
        costs = calibrated(model, costs, Ranking(linears), threads, **which)
    if not costs.least_ms <= ms <= costs.dense_ms:
        side = "the least that these structures and rates allow" if ms < costs.least_ms else "what it takes dense"
        raise ValueError(
            f"ms must be from {costs.least_ms:.4g} to {costs.dense_ms:.4g} for this model on this machine; got {ms:g}: "
            f"{costs.least_ms if ms < costs.least_ms else costs.dense_ms:.4g} is {side}"
        )
    examples = None if inputs is None else list(inputs)
    if examples == []:
        raise ValueError("inputs must hold at least one batch; got none: [tokenizer(texts, return_tensors='pt')]")
    known = None if examples is None else sensitivities(model, linears, examples, seed)
    ranking = Ranking(linears, known)
    losses = {name: [ranking.loss(name, ranking.mask(name, cut)) for cut in costs.cuts] for name in linears}
    if not (examples and trials):
        return choose(model, ms, costs, losses, losses, ranking, verify=verify, threads=threads, **which)
    change = OutputChange(model, examples)
    scaled = searched(ms, costs, losses, ranking, change, trials, seed)
    chosen = choose(model, ms, costs, losses, scaled, ranking, verify=verify, threads=threads, **which)
    return replace(chosen, moved=change(chosen.masks))


def searched(
    ms: float, costs: LayerCosts, losses: Losses, ranking: Ranking, change: OutputChange, trials: int, seed: int
) -> dict[str, list[float]]:
    """The losses times the factors at which the choice that takes `ms` moves the outputs of the whole model least."""

    def moved(choice: tuple[int, ...]) -> float:
        return change({name: ranking.mask(name, costs.cuts[at]) for name, at in zip(losses, choice, strict=True)})

    return scaled_to_the_whole(losses, partial(_picked, costs, ms), moved, trials, seed)


def choose(
    model: nn.Module, ms: float, costs: LayerCosts, losses: Losses, scaled: Losses, ranking: Ranking, *,
    verify: bool = True, threads: int | None = None, **which: bool,
) -> Budget:  # fmt: skip
    """The budget of known times and losses: solved, measured, and solved again with what the measurement taught.

    `scaled`: the losses that the choice goes by, as `searched` gives them; `losses` are what the budget tells.
    """
    found, limit = list[Budget](), ms
    base = _at_start(model, costs, ranking, **which) if verify else None
    for _ in range(ROUNDS):
        chosen = _solve(ms, limit, costs, losses, scaled, ranking)
        if not verify:
            found.append(chosen)
            break
        cuts = {name: one.cut for name, one in chosen.choices.items()}
        trial = sparse_trial(model, chosen.masks, cuts, costs.precision, **which)
        found.append(replace(chosen, measured=beside(costs, trial, base, chosen.predicted_ms, threads)))
        off = _miss(found[-1])
        if abs(off) <= NEAR * ms or (len(found) > 1 and cuts == {n: c.cut for n, c in found[-2].choices.items()}):
            break
        limit = min(max(limit - off, (1 - FAR) * ms), (1 + FAR) * ms)
    return min(found, key=lambda one: abs(_miss(one)))


def calibrated(model: nn.Module, costs: LayerCosts, ranking: Ranking, threads: int | None, **which: bool) -> LayerCosts:
    """The costs of now: a machine is not as fast at every hour. One model is timed again, and all scale with it."""
    known = costs.total_ms(dict.fromkeys(costs.shapes, costs.start))
    base = _at_start(model, costs, ranking, **which)
    return costs.scaled(costs.time_call(base, repeats=_often(known), threads=threads).median / known)


def beside(costs: LayerCosts, trial: nn.Module, base: Any, expected: float, threads: int | None) -> Timing:
    """Time a call of `trial` in turns with one of `base`, and give it in the ms in which `costs` knows `base`."""
    calls: dict[str, Call] = {"call": partial(run, trial, costs.example), "base": partial(run, base, costs.example)}
    found = in_turns(calls, _often(expected), costs.threads if threads is None else threads, costs.clock)
    factor = costs.total_ms(dict.fromkeys(costs.shapes, costs.start)) / found["base"].median
    return replace(found["call"], samples_ms=tuple(factor * ms for ms in found["call"].samples_ms))


def _at_start(model: nn.Module, costs: LayerCosts, ranking: Ranking, **which: bool) -> Any:
    """The model with every matrix under the cut with which all others were compared."""
    cuts = dict.fromkeys(costs.shapes, costs.cuts[costs.start])
    masks = {name: ranking.mask(name, cut) for name, cut in cuts.items()}
    return sparse_trial(model, masks, cuts, costs.precision, **which)


def _often(ms: float) -> int:
    """How many calls of so many ms tell how long one takes."""
    return max(FEWEST, min(MOST, math.ceil(LONG / ms)))


def _picked(costs: LayerCosts, limit: float, losses: Losses) -> tuple[int, ...]:
    """The candidate of each matrix; a limit beyond what is possible is the nearest that is."""
    room = min(max(limit, costs.least_ms), costs.dense_ms) - costs.rest_ms
    return tuple(cheapest_choice([costs.of(name) for name in losses], list(losses.values()), room))


def _solve(
    asked: float, limit: float, costs: LayerCosts, losses: Losses, scaled: Losses, ranking: Ranking
) -> Budget:  # fmt: skip
    choices, masks, structures = dict[str, Chosen](), dict[str, Tensor](), dict[str, BlockStructure]()
    for name, at in zip(losses, _picked(costs, limit, scaled), strict=True):
        cut = costs.cuts[at]
        mask = ranking.mask(name, cut)
        choices[name] = Chosen(cut, float(mask.float().mean()), costs.of(name)[at], losses[name][at])
        if cut.structure is not None:
            masks[name], structures[name] = mask, cut.structure
    return Budget(asked, choices, Masks(masks, structures), costs, None, ranking.known is not None)


def _miss(found: Budget) -> float:
    """By how many ms a budget was missed; 0 where it was not measured."""
    return 0.0 if found.measured is None else found.measured.median - found.ms
