"""How far a model's outputs move where weights of one matrix vanish: estimated from a few inputs, without labels.

A matrix W takes x to W x. Without some of its weights, D of them, it gives D x less, and the model's outputs o move by

    Δo = J D x,     J = ∂o / ∂(W x)

to first order. Averaged over inputs, and with x and J taken to be independent (K-FAC's assumption),

    E ||Δo||² ≈ n · tr(G D A Dᵀ),     A = E[x xᵀ] (N x N),   G = E[Jᵀ J] (M x M),   n rows x an example

Rows on which the outputs do not depend, such as padding, count in none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .._common.evaluating import evaluating
from .groups import group_scores
from .structure import BlockStructure

Batch = Mapping[str, Tensor] | Tensor


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What one matrix's inputs are like, and what its outputs do to the model's.

    inputs    A (N, N), the mean of x xᵀ
    outputs   G (M, M), the mean of Jᵀ J, times the rows of an example, over the variance of the model's outputs; J is
              the derivative of the model's outputs by this layer's
    """

    inputs: Tensor
    outputs: Tensor

    def change(self, weight: Tensor, mask: Tensor) -> float:
        """tr(G D A Dᵀ) for D = the weights that `mask` (M, N) prunes: E ||Δo||² as a share of the outputs' variance."""
        gone = weight.detach() * ~mask
        return float((self.outputs @ gone * (gone @ self.inputs)).sum().clamp(min=0))

    def scores(self, weight: Tensor, structure: BlockStructure) -> Tensor:
        """The root mean of G_ii A_jj w_ij² over each group, (R, C): what pruning it alone would change."""
        return group_scores(self.scales.of(weight), structure)

    @property
    def scales(self) -> Scales:
        """What each row and column of the weight is multiplied by for `scores`."""
        rows, columns = (matrix.diagonal().clamp(min=0).sqrt() for matrix in (self.outputs, self.inputs))
        return Scales(rows, columns)


class Scales(NamedTuple):
    """sqrt(G_ii) of each row (M,) and sqrt(A_jj) of each column (N,) of a weight: what makes it matter to outputs."""

    rows: Tensor
    columns: Tensor

    def of(self, weight: Tensor) -> Tensor:
        """sqrt(G_ii) · w_ij · sqrt(A_jj), (M, N), without gradient."""
        rows, columns = (scale.to(weight.device, weight.dtype) for scale in self)
        return rows[:, None] * weight.detach() * columns


class OutputChange:
    """How far a model's outputs move under masks: E ||Δo||² as a share of their variance, by running the masked model.

    `batches` as in `sensitivities`; the model stays as it is.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Batch]) -> None:
        self.model, self.batches = model, list(batches)
        self._whole = self._outputs({})
        self._variance = _variance(self._whole)

    def __call__(self, masks: Mapping[str, Tensor]) -> float:
        """The change under `masks`, {parameter name: which weights stay}."""
        return float((self._outputs(masks) - self._whole).square().sum(1).mean()) / self._variance

    def _outputs(self, masks: Mapping[str, Tensor]) -> Tensor:
        weights = {name: self.model.get_parameter(name).detach() * mask for name, mask in masks.items()}

        def masked(*arguments: Any, **more: Any) -> Any:
            return functional_call(self.model, weights, arguments, more)

        with evaluating(self.model), torch.no_grad():
            return torch.cat([_centred(outputs_of(masked, batch)) for batch in self.batches])


def weight_change(weight: Tensor, mask: Tensor) -> float:
    """||D||² / ||W||² for D = the weights that `mask` prunes: the share of the squared norm that goes, without data."""
    squares = weight.detach().double().square()
    return float(squares[~mask].sum() / squares.sum().clamp(min=torch.finfo(torch.float64).tiny))


def sensitivities(
    model: nn.Module, modules: Mapping[str, nn.Module], batches: Iterable[Batch], seed: int = 0
) -> dict[str, Sensitivity]:
    """The `Sensitivity` of each module's weight, {name of the module: it}, from example inputs.

    `batches`: what the model is called with, a tensor or {argument: tensor}; labels are not needed. J is estimated from
    random directions of the outputs (logits without their mean, which softmax does not see). The model runs in
    evaluation mode, and nothing of it changes. Raises ValueError where there is no batch.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> found = sensitivities(layer, {"": layer}, [torch.tensor([[1.0, 0.0], [3.0, 0.0]])])[""]
    >>> found.inputs.tolist(), found.outputs.shape
    ([[5.0, 0.0], [0.0, 0.0]], torch.Size([1, 1]))

    Source: Martens and Grosse 2015 (K-FAC); Hassibi and Stork 1993 (second-order pruning).
    """
    given = list(batches)
    if not given:
        raise ValueError("batches must hold at least one batch; got none: [tokenizer(texts, return_tensors='pt')]")
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, Any] = dict.fromkeys(modules, (0.0, 0.0, 0))
    seen = list[Tensor]()
    with evaluating(model):
        for batch in given:
            outputs, rows = _differentiated(model, modules, batch, generator)
            seen.append(outputs)
            for name, (x, jacobian) in rows.items():
                a, g, count = sums[name]
                sums[name] = a + x.T @ x, g + jacobian.T @ jacobian, count + len(x)
    everything = torch.cat(seen)
    variance = _variance(everything)
    found = {}
    for name, (a, g, count) in sums.items():
        M, N = modules[name].weight.shape  # type: ignore[union-attr, misc]
        if not count:  # a module that no output depends on
            a, g, count = everything.new_zeros(N, N), everything.new_zeros(M, M), 1
        found[name] = Sensitivity(a / count, g / (len(everything) * variance))
    return found


def _differentiated(
    model: nn.Module, modules: Mapping[str, nn.Module], batch: Batch, generator: torch.Generator
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """The model's outputs (examples, outputs), and {name: (x (rows, N), J of a random direction (rows, M))}."""
    called: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}
    with ExitStack() as hooks, torch.enable_grad():
        for name, module in modules.items():

            def keep(_: Any, given: Any, result: Tensor, name: str = name) -> Tensor:
                result = result if result.requires_grad else result.requires_grad_()
                called[name].append((given[0].detach(), result))
                return result

            handle = module.register_forward_hook(keep)
            hooks.callback(handle.remove)
        outputs = outputs_of(model, batch)
        centred = _centred(outputs)
        pairs = [(name, *pair) for name, calls in called.items() for pair in calls]
        along = (centred * _directions(outputs, generator)).sum()
        slopes = torch.autograd.grad(along, [result for _, _, result in pairs], allow_unused=True)
    rows = dict[str, Any]()
    for (name, x, _), slope in zip(pairs, slopes, strict=True):
        if slope is None:
            continue
        flat, jacobian = x.flatten(0, -2), slope.flatten(0, -2)
        matter = (jacobian != 0).any(1)
        pair = flat[matter], jacobian[matter]
        rows[name] = tuple(map(torch.cat, zip(rows[name], pair, strict=True))) if name in rows else pair
    return centred.detach(), rows


def outputs_of(model: Callable[..., Any], batch: Batch) -> Tensor:
    """What a model returns for a batch, its logits if it has any, as (examples, outputs)."""
    result = model(batch) if isinstance(batch, Tensor) else model(**batch)
    if not isinstance(result, Tensor):
        result = result.logits if hasattr(result, "logits") else result[0]
    return result.reshape(len(result), -1)


def _centred(outputs: Tensor) -> Tensor:
    """Without the mean of an example's outputs, which softmax does not see."""
    return outputs - outputs.mean(1, keepdim=True) if outputs.shape[1] > 1 else outputs


def _variance(outputs: Tensor) -> float:
    return float((outputs - outputs.mean(0)).square().sum(1).mean()) or 1.0


def _directions(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction for each example, E[u uᵀ] = I, or what is left of I where the mean is taken away."""
    drawn = torch.randn(outputs.shape, generator=generator, dtype=torch.float32, device="cpu").to(outputs)
    count = outputs.shape[1]
    if count == 1:
        return drawn.sign()
    drawn = drawn - drawn.mean(1, keepdim=True)
    return drawn * ((count - 1) ** 0.5 / drawn.norm(dim=1, keepdim=True))
