"""A pruned copy of a model for a trial: what a choice of structure and rate for each matrix would be like.

The copy shares every tensor that does not change; the model stays as it is.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import finite_number
from ..pruning.architectures import parameter_name, prunable
from ..pruning.groups import group_scores
from ..pruning.passed_over import say
from ..pruning.selection import select
from ..pruning.sensitivity import Sensitivity, weight_change
from ..pruning.structure import BlockStructure, check_structure, expand
from .convert import TooDenseWarning, sparsify, that_only_multiply
from .places import linear_of, put_


@dataclass(frozen=True)
class Cut:
    """What may be done to a matrix: keep 1 / `rate` of the groups of a `structure`; structure None leaves it dense."""

    structure: BlockStructure | None = None
    rate: float = 1.0

    def __post_init__(self) -> None:
        finite_number(self.rate, "rate", 1, "rate 5.0 keeps one group in five, rate 1.0 keeps all")
        if self.structure is not None:
            check_structure(self.structure)

    def mask(self, weight: Tensor, scores: Tensor | None = None) -> Tensor:
        """Which weights of a matrix (M, N) stay, bool; `scores` (R, C) replaces the root mean squares."""
        if self.structure is None:
            return torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
        grid = group_scores(weight, self.structure) if scores is None else scores
        return expand(select(grid, self.rate), self.structure, weight.shape)

    def __str__(self) -> str:
        return "dense" if self.structure is None else f"{self.structure} at {self.rate:g}"


class Ranking:
    """Masks of a model's matrices under any cut; what a matrix keeps under a cut is worked out once.

    `known`: the matrices' sensitivities, whose scores rank the groups; None: their root mean squares do.
    """

    def __init__(self, linears: Mapping[str, nn.Linear], known: Mapping[str, Sensitivity] | None = None) -> None:
        self.weights = {name: linear.weight.detach() for name, linear in linears.items()}
        self.known = known
        self._scores: dict[tuple[str, BlockStructure], Tensor] = {}
        self._kept: dict[tuple[str, Cut], Tensor] = {}

    def mask(self, name: str, cut: Cut) -> Tensor:
        """Which weights of a matrix stay."""
        weight, structure = self.weights[name], cut.structure
        if structure is None:
            return cut.mask(weight)
        if (name, structure) not in self._scores:
            scores = (
                group_scores(weight, structure) if self.known is None else self.known[name].scores(weight, structure)
            )
            self._scores[name, structure] = scores
        if (name, cut) not in self._kept:
            self._kept[name, cut] = select(self._scores[name, structure], cut.rate)
        return expand(self._kept[name, cut], structure, weight.shape)

    def loss(self, name: str, mask: Tensor) -> float:
        """What the matrix loses: its share of the outputs' variance, or of its squared norm."""
        weight = self.weights[name]
        return weight_change(weight, mask) if self.known is None else self.known[name].change(weight, mask)


#: Structures from fine to coarse: groups that lose least, and groups that run fastest.
STRUCTURES = ("block_column:4", "block_column:16")
RATES = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)


def candidates(
    structures: Sequence[BlockStructure | str] = STRUCTURES, rates: Sequence[float] = RATES
) -> tuple[Cut, ...]:
    """Every structure at every rate, after the matrix as it is.

    >>> [str(cut) for cut in candidates(["row"], [2.0])]
    ['dense', 'row at 2']
    """
    if isinstance(structures, str | BlockStructure) or isinstance(rates, int | float):
        raise TypeError("structures and rates must be lists; [structure] and [rate] would do")
    made = [BlockStructure.parse(one) if isinstance(one, str) else one for one in structures]
    return (Cut(), *(Cut(structure, rate) for structure in made for rate in rates if rate != 1))


def linears_of(model: nn.Module, **which: bool) -> dict[str, nn.Linear]:
    """The Linears that are pruned and that a sparse layer can stand for, {parameter name of the weight: module}.

    One that does more than multiply, by a hook or by a forward of its own, is passed over, with a warning: `sparsify`
    would leave it dense.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}: models.load() gives one")
    found = {name: m for name, m in prunable(model, **which).items() if isinstance(m, nn.Linear)}
    linears, left = that_only_multiply(found)
    if not linears or "" in linears:
        but = f"; {left}" if left else ""
        raise ValueError(
            f"model {type(model).__name__} must hold prunable nn.Linear layers; got {len(linears)} inside it{but}"
        )
    if left:
        say(model, left)
    return {parameter_name(name): m for name, m in linears.items()}


def shared_copy(model: Any) -> Any:
    """A copy of the modules, in evaluation mode, whose parameters and buffers are those of `model` itself."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def sparse_trial(
    model: Any, masks: Mapping[str, Tensor], cuts: Mapping[str, Cut], precision: str, **which: bool
) -> Any:
    """A copy of `model` whose weights are masked and packed as `cuts` say, run as `sparsify` makes it run."""
    trial, structures = shared_copy(model), dict[str, BlockStructure]()
    for name, cut in cuts.items():
        if (structure := cut.structure) is not None:
            linear = trial.get_submodule(name.removesuffix(".weight"))
            masked = nn.Parameter(linear.weight.detach() * masks[name], requires_grad=False)
            put_(trial, linear, linear_of(masked, linear.bias).train(linear.training))
            structures[name] = structure
    if not structures:
        return trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooDenseWarning)  # how long it takes is what a trial finds out
        return sparsify(trial, structures, precision=precision, **which)
