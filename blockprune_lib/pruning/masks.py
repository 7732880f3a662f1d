"""Masks that hold while a model trains: what is pruned gets no gradient and stays +0.0 to the last bit.

Two guards, both in place and without a copy of the weights. `mask_gradients_` runs after the backward pass and before
clipping, so the clipping norm sees only weights that live and an optimiser's moments stay zero where nothing lives.
`mask_weights_` runs after the optimiser's step, so no optimiser, old state or weight decay brings a weight back. The
masks are the ones that pruning returned: they are never guessed from which weights happen to be zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._common.checks import same_names
from .._common.tables import Printed
from .structure import BlockStructure, check_structure

# Integers as wide as a float of so many bytes, to work on its bits.
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Masks(Printed, dict[str, Tensor]):
    """{parameter name: bool mask of the weight's shape}, which prints what it keeps of each matrix.

    `structure` is the tiling the masks were made under, or {parameter name: the tiling of that matrix}, as a latency
    budget makes them; `structures` says it of each. `squared_norm_kept` {parameter name: the part of the weight's
    squared norm that the mask keeps, 0 to 1} where it was measured.
    """

    _classes, _caption_first = "", True

    def __init__(
        self,
        masks: Mapping[str, Tensor],
        structure: BlockStructure | Mapping[str, BlockStructure],
        squared_norm_kept: Mapping[str, float] | None = None,
    ) -> None:
        if isinstance(structure, Mapping):
            same_names(structure, masks, "structure")
        self.structures = dict(structure) if isinstance(structure, Mapping) else dict.fromkeys(masks, structure)
        for each in self.structures.values() if isinstance(structure, Mapping) else (structure,):
            check_structure(each)
        super().__init__(masks)
        self.structure, self.squared_norm_kept = structure, dict(squared_norm_kept or {})

    def keep(self, name: str) -> Tensor:
        """The kept groups of one matrix: bool, (R, C)."""
        r, c = self.structures[name].group_shape(self[name].shape)
        return self[name][::r, ::c]

    @property
    def density(self) -> float:
        """Kept elements ÷ all elements of the masked matrices, 0 to 1."""
        return sum(int(mask.sum()) for mask in self.values()) / max(1, sum(mask.numel() for mask in self.values()))

    def rows(self) -> list[dict[str, Any]]:
        """One record for each matrix: matrix, shape, kept and all groups, density, part of the squared norm kept."""
        return [
            {
                "matrix": name, "shape": f"{mask.shape[0]} x {mask.shape[1]}",
                "kept": int(self.keep(name).sum()), "groups": self.keep(name).numel(),
                "density": int(mask.sum()) / mask.numel(), "squared norm": self.squared_norm_kept.get(name),
            }
            for name, mask in self.items()
        ]  # fmt: skip

    def _table(self) -> list[list[str]]:
        rows = [tuple(row.values()) for row in self.rows()]
        kept, groups = (sum(row[column] for row in rows) for column in (2, 3))
        table = [["matrix", "shape", "kept", "groups", "density", "squared norm"]]
        for name, shape, part, whole, density, norm in [*rows, ("all", "", kept, groups, self.density, None)]:
            kept_norm = "" if norm is None else f"{norm:.1%}"
            table.append([name, shape, f"{part:,}", f"{whole:,}", f"{density:.1%}", kept_norm])
        return table

    def _caption(self) -> str:
        over = dict.fromkeys(map(str, self.structures.values())) or [str(self.structure)]
        return f"masks over {', '.join(over)}, {len(self)} {'matrix' if len(self) == 1 else 'matrices'}"


@torch.no_grad()
def apply_masks_(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights of `model` to +0.0 in place wherever a mask is False.

    `masks` {parameter name: bool, the weight's shape}. Raises TypeError for a non-module or a non-mapping, and
    ValueError for a name the model does not have or a shape that differs, before anything changes.

    >>> linear = nn.Linear(2, 1)
    >>> apply_masks_(linear, {"weight": torch.tensor([[True, False]])})
    >>> int(linear.weight.count_nonzero())
    1
    """
    for name, parameter in _masked(model, masks).items():
        parameter.masked_fill_(~masks[name].to(parameter.device), 0.0)


class HeldMasks:
    """Masks bound to a model's parameters, on their device: one byte for each masked weight.

    `masks`: {parameter name: bool, the parameter's shape}, True where the weight lives. Parameters without a mask are
    free. Binding sets the pruned weights to +0.0; the masks follow a model that moves to another device. Raises as
    `apply_masks_`, and ValueError where `masks` is empty.

    In a loop of one's own, `mask_gradients_()` after the backward pass, before clipping, and `mask_weights_()` after
    the optimiser's step; in a Trainer, `training.MaskCallback` calls both. `parameters`: the masked ones by name.

    >>> layer = nn.Linear(2, 1)
    >>> held = HeldMasks(layer, {"weight": torch.tensor([[True, False]])})
    >>> layer.weight[0, 1].item(), held.violations()
    (0.0, {})
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.parameters = _masked(model, masks)
        if not masks:
            raise ValueError("masks is empty: there is nothing to hold; fine_tune trains without masks")
        self._kept = {name: -mask.to(torch.int8) for name, mask in masks.items()}  # all bits, or none
        self.mask_weights_()

    @torch.no_grad()
    def mask_gradients_(self, *names: str) -> None:
        """Zero the gradient of every pruned weight, or those of the parameters named; one without is passed over."""
        for name in names or self.parameters:
            parameter = self.parameters[name]
            if parameter.grad is not None:
                _clear_(parameter.grad, self._kept_on_device(name))

    @torch.no_grad()
    def mask_weights_(self) -> None:
        """Set every pruned weight to +0.0, whatever it was (NaN too)."""
        for name, parameter in self.parameters.items():
            _clear_(parameter, self._kept_on_device(name))

    @torch.no_grad()
    def violations(self) -> dict[str, int]:
        """How many pruned weights of each parameter are not +0.0 (-0.0 counts as one); only parameters with some."""
        found = {}
        for name, weight in self.parameters.items():
            if count := int(((weight.view(_BITS[weight.itemsize]) != 0) & (self._kept_on_device(name) == 0)).sum()):
                found[name] = count
        return found

    def _kept_on_device(self, name: str) -> Tensor:
        """The bits that a parameter keeps, where the parameter is now: a Trainer moves the model after binding."""
        kept = self._kept[name] = self._kept[name].to(self.parameters[name].device)
        return kept


def _masked(model: Any, masks: Any) -> dict[str, nn.Parameter]:
    """{name: the model's parameter} of each mask; raises unless every mask fits one."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(masks, Mapping):
        raise TypeError(f"masks must be a dict {{parameter name: bool tensor}}; got {type(masks).__name__}")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if unknown := [str(name) for name in masks if name not in parameters]:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(
            f"masks must name parameters of {type(model).__name__}; {len(unknown)} of {len(masks)} are none: "
            f"{', '.join(unknown[:5])}{more}; were they made for another model?"
        )
    for name, mask in masks.items():
        shape = tuple(parameters[name].shape)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
            got = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"masks[{name!r}] must be bool of shape {shape}; got {got}")
    return {name: parameters[name] for name in masks}


def _clear_(values: Tensor, kept: Tensor) -> None:
    # An integer "and" leaves the bits of what lives, gives +0.0 elsewhere, and is some ten times as fast on a CPU as
    # masked_fill_; a product with 0 would leave -0.0 and NaN.
    values.view(_BITS[values.itemsize]).bitwise_and_(kept)
