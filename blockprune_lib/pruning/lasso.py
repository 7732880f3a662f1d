"""Reweighted group Lasso: the penalty that drives whole groups to zero, and the step that sets them there.

Two ways to use it: add `pen()` to the loss (the paper's way; groups become small, hard pruning zeroes
them), or call `pen.proximal_(step)` after each optimiser step (groups become exactly zero). After a backward pass of
the loss alone, `pen.add_gradient_()` adds the penalty's gradient in place, several times as fast as a backward pass
through `pen()`. To change how strongly a group is pulled, change `concave_penalty` and its slope, `reweighted_alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import finite_number, same_names
from .._common.tables import Printed
from .architectures import prunable_weights
from .groups import block_norms, check_norms, chunks, group_norms, pull, result_dtype, shrink_block, spread
from .structure import BlockStructure, check_weight

_SETTINGS = ("lam", "eps", "scale_by_size", "reweighted")


def reweighted_alpha(norms: Tensor, eps: float, out: Tensor) -> None:
    r"""Write α_g = 1 / (||W_g|| + ε) to `out`, shaped as `norms`, which are used up: the pull on each group.

    It is the slope of log(||W_g|| + ε): but for a constant, the penalty is the tangent of the sum of these logs at the
    last refresh, and lies above it. For another penalty, a sum of f(||W_g||) with f concave, write f'(||W_g||), which
    must be positive and finite, and f in `concave_penalty`. The explorer on the page "Reweighting" has copies of both,
    `alpha` and `penalty` in widgets/reweighting_explorer.js.
    """
    torch.reciprocal(norms.add_(eps), out=out)


def concave_penalty(norms: Tensor, eps: float) -> Tensor:
    """f(||W_g||) = log(||W_g|| + ε), shaped as `norms`: what the rounds lower, whose slope is `reweighted_alpha`.

    Only the explorer computes it; training needs the slope alone.
    """
    return (norms + eps).log()


class ReweightedGroupLasso(Printed):
    r"""The penalty sum over matrices n and groups g of λ_n · α_g · ||W_g||_2, with α_g = 1 / (||W_g|| + ε).

    α is computed from the weights at construction and at each `reweight()`, and is a constant in between: it
    carries no gradient (the group form of Candès, Wakin and Boyd 2008). At a refresh every group that is not zero
    costs about λ; a small group is pulled as hard as λ/ε, a large one hardly at all.

    `model_or_params`: a model (its prunable matrices; the flags of `prunable` may follow), a dict {name: tensor},
    an iterable of tensors, or one tensor. Frozen parameters are penalised, and moved by `proximal_`, like any other.
    `lam`: λ, one number or a dict {name: number} covering every matrix. `eps`: ε > 0, in units of a norm.
    `scale_by_size`: multiply each term by sqrt(size of the group), as Yuan and Lin 2006 do.
    `reweighted=False`: plain group Lasso, α = 1 for good, and `reweight()` does nothing.

    `pen()`, the penalty of the weights as they are now, is a differentiable scalar to add to the loss; `pen.alpha` has
    α, {name: (R, C)}. Raises as `group_norms` does for a weight, here and in every method.

    >>> weight = torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    >>> pen = ReweightedGroupLasso(weight, BlockStructure.block_row(2), lam=0.1, eps=5.0)
    >>> pen.alpha["weight"], pen()
    (tensor([[0.1000, 0.2000]]), tensor(0.0500))
    """

    _classes, _caption_first = "", True

    def __init__(
        self, model_or_params: nn.Module | Tensor | Mapping[str, Tensor] | Iterable[Tensor], structure: BlockStructure,
        lam: float | Mapping[str, float] = 1e-4, eps: float = 1e-3, scale_by_size: bool = False,
        *, reweighted: bool = True, **which: bool,
    ) -> None:  # fmt: skip
        self.structure = structure
        self.weights = _named_weights(model_or_params, which)
        for name, weight in self.weights.items():
            check_weight(weight, structure, name)
        self._set(lam, eps, scale_by_size, reweighted)
        self.alpha: dict[str, Tensor] = {}
        self.reweight()

    def __call__(self) -> Tensor:
        """The penalty of the weights as they are now: a differentiable scalar to add to the loss."""
        return _sum(self.parts().values())

    def parts(self) -> dict[str, Tensor]:
        """The penalty of each matrix, {name: differentiable scalar}; they add up to `pen()`."""
        return {name: self._part(name, weight) for name, weight in self.weights.items()}

    @torch.no_grad()
    def reweight(self) -> None:
        """Refresh α = 1 / (||W_g|| + ε) from the weights as they are now, in place. `reweighted=False`: α stays 1."""
        if self.alpha and not self.reweighted:
            return
        self._check_weights()
        for name, weight in self.weights.items():
            alpha, dtype = self.alpha.get(name), result_dtype(weight)
            if alpha is None or (alpha.device, alpha.dtype) != (weight.device, dtype):
                alpha = torch.ones(self.structure.grid(weight.shape), dtype=dtype, device=weight.device)
            self.alpha[name] = alpha
            if self.reweighted:
                for cells, (block,) in chunks(self.structure, weight):
                    reweighted_alpha(block_norms(block, dtype), self.eps, out=alpha[cells])

    @torch.no_grad()
    def add_gradient_(self, scale: float = 1.0) -> Tensor:
        r"""Add the penalty's gradient, scale · λ · α_g (· sqrt(size)) · W_g / ||W_g||, to each weight's `.grad`.

        The same as `(scale * pen()).backward()`, in place and without a temporary as large as a weight: 0 at a group
        of zeros; a `.grad` of None is made; frozen weights count in the value and get no gradient. Returns the value,
        scale · `pen()`, detached. Raises ValueError, before any gradient changes, for weights that `pen()` refuses and
        for a weight that is computed from others (it has no `.grad`); `scale` is at least 0.

        >>> weight = torch.tensor([[3.0, 4.0, 0.0, 0.0]], requires_grad=True)
        >>> pen = ReweightedGroupLasso(weight, BlockStructure.block_row(2), lam=1.0, reweighted=False)
        >>> pen.add_gradient_(), weight.grad
        (tensor(5.), tensor([[0.6000, 0.8000, 0.0000, 0.0000]]))
        """
        scale = finite_number(scale, "scale", 0, "1 adds all of it")
        for name, weight in self.weights.items():
            if weight.requires_grad and not weight.is_leaf:
                raise ValueError(f"{name} is computed from other tensors; pen().backward() would reach them")
        self._check_weights()
        values = []
        for name, weight in self.weights.items():
            values.append(torch.zeros((), dtype=result_dtype(weight), device=weight.device))
            for cells, (block, *gradient) in chunks(self.structure, weight, *_gradients(weight)):
                norms, strength = block_norms(block, result_dtype(weight)), self._strength(name, cells, block, scale)
                values[-1] += (strength * norms).sum()
                for target in gradient:
                    target.addcmul_(block, spread(pull(strength, norms)))
        return _sum(values)

    @torch.no_grad()
    def proximal_(self, step: float) -> None:
        """Shrink every group in place by `step` · λ · α_g (· sqrt(size)), to exactly zero if its norm is no larger.

        This minimises ||V - W||² / (2 · step) + penalty(V) over V; `step` ≥ 0 is the learning rate.
        """
        step = finite_number(step, "step", 0, "the learning rate would do")
        self._check_weights()
        for name, weight in self.weights.items():
            for cells, (block,) in chunks(self.structure, weight):
                shrink_block(block, self._strength(name, cells, block, step), out=block)

    def state_dict(self) -> dict[str, Any]:
        """α and the settings, for a checkpoint; the weights are the model's to save."""
        alpha = {name: value.detach().clone() for name, value in self.alpha.items()}
        settings = {key: getattr(self, key) for key in _SETTINGS} | {"lam": dict(self.lam)}
        return {"structure": str(self.structure), "alpha": alpha} | settings

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take α and the settings from `state_dict()`; raises ValueError if it is of other matrices."""
        if missing := [key for key in ("structure", "alpha", *_SETTINGS) if key not in state]:
            raise ValueError(f"state lacks {', '.join(missing)}; a penalty's state_dict() has them")
        if state["structure"] != str(self.structure):
            raise ValueError(f"state is of structure {state['structure']}, this penalty's is {self.structure}")
        same_names(state["alpha"], self.weights, "state['alpha']")
        for name, alpha in state["alpha"].items():
            grid = self.structure.grid(self.weights[name].shape)
            if not (isinstance(alpha, Tensor) and alpha.shape == grid and ((alpha > 0) & alpha.isfinite()).all()):
                raise ValueError(f"state['alpha'][{name!r}] must be a tensor of positive finite values, shape {grid}")
        self._set(*(state[key] for key in _SETTINGS))
        self.alpha = {n: state["alpha"][n].to(w.device, result_dtype(w), copy=True) for n, w in self.weights.items()}

    def _set(self, lam: float | Mapping[str, float], eps: float, scale_by_size: bool, reweighted: bool) -> None:
        each, eps = _per_matrix(lam, self.weights), finite_number(eps, "eps", 0, "1e-3 is the paper's", above=True)
        self.lam, self.eps = each, eps  # both, or neither where one raises
        self.scale_by_size, self.reweighted = bool(scale_by_size), bool(reweighted)

    def _check_weights(self) -> None:
        """Raise what `pen()` would, before anything changes."""
        for name, weight in self.weights.items():
            check_norms(weight, self.structure, name)

    def _part(self, name: str, weight: Tensor) -> Tensor:
        norms = group_norms(weight, self.structure, name=name)
        strength = torch.empty_like(norms)
        for cells, block in self.structure.regions(weight):
            strength[cells] = self._strength(name, cells, block)
        return (strength * norms).sum()

    def _strength(self, name: str, cells: tuple[slice, slice], block: Tensor, scale: float = 1.0) -> Tensor:
        """scale · λ · α_g (· sqrt(size)) of the groups (R, r, C, c) at `cells` of the grid, which are of one size."""
        size = math.sqrt(block.shape[1] * block.shape[3]) if self.scale_by_size else 1.0
        alpha = self.alpha[name] = self.alpha[name].to(block.device)  # the model may have moved since
        return alpha[cells] * (scale * self.lam[name] * size)

    @torch.no_grad()
    def _table(self) -> list[list[str]]:
        table = [["matrix", "groups", "zero", "norm", "alpha", "lambda", "penalty"]]
        parts = {name: float(part) for name, part in self.parts().items()}
        for name, weight in self.weights.items():
            norms, alpha = group_norms(weight, self.structure), self.alpha[name]
            counts = f"{norms.numel():,}", f"{int((norms == 0).sum()):,}"
            table.append([name, *counts, _span(norms), _span(alpha), f"{self.lam[name]:.3g}", f"{parts[name]:.4g}"])
        return [*table, ["sum", "", "", "", "", "", f"{sum(parts.values()):.4g}"]]

    def _caption(self) -> str:
        name = "reweighted group Lasso" if self.reweighted else "group Lasso"
        return f"{name} over {self.structure}, eps {self.eps:g}{', sqrt(size)' if self.scale_by_size else ''}"


def _sum(parts: Iterable[Tensor]) -> Tensor:
    first, *others = parts
    return torch.stack([first, *(part.to(first.device, first.dtype) for part in others)]).sum()


def _gradients(weight: Tensor) -> list[Tensor]:
    """[The weight's dense gradient], made where there is none; [] for a frozen weight."""
    if not weight.requires_grad:
        return []
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    elif weight.grad.is_sparse:  # of an embedding table with sparse=True
        weight.grad = weight.grad.to_dense()
    return [weight.grad]


def _named_weights(source: Any, which: dict[str, bool]) -> dict[str, Tensor]:
    if isinstance(source, nn.Module):
        return dict(prunable_weights(source, **which))
    if which:
        raise TypeError(f"{', '.join(which)} would choose matrices of a model; got {type(source).__name__}")
    if isinstance(source, Tensor):
        return {"weight": source}
    if not isinstance(source, Iterable) or isinstance(source, str):
        raise TypeError(f"model_or_params must be a model, a dict of tensors or tensors; got {type(source).__name__}")
    named = dict(source) if isinstance(source, Mapping) else {str(i): weight for i, weight in enumerate(source)}
    if not named:
        raise ValueError("model_or_params is empty: there is no matrix to penalise")
    return named


def _per_matrix(lam: Any, weights: Mapping[str, Tensor]) -> dict[str, float]:
    if isinstance(lam, Mapping):
        same_names(lam, weights, "lam")
        return {name: finite_number(lam[name], f"lam[{name!r}]", 0, "1e-4 is the paper's") for name in weights}
    return dict.fromkeys(weights, finite_number(lam, "lam", 0, "1e-4 is the paper's"))


def _span(values: Tensor) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"
