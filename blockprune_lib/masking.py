"""Masks that hold while a model trains: what is pruned gets no gradient and stays +0.0 to the last bit.

Two guards, both in place and without a copy of the weights. `mask_gradients_` runs after the backward pass and before
clipping, so the clipping norm sees only weights that live and an optimiser's moments stay zero where nothing lives.
`mask_weights_` runs after the optimiser's step, so no optimiser, old state or weight decay brings a weight back. The
masks are the ones that pruning returned: they are never guessed from which weights happen to be zero.

Left out: choosing the masks (see `selection`) and the training loop (see `pruning_trainer`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .selection import apply_masks_

# Integers of the same width as the floats they are seen as.
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


class HeldMasks:
    """Masks bound to a model's parameters, on their device: one byte for each masked weight.

    `masks`: {parameter name: bool, the parameter's shape}, True where the weight lives. Parameters without a mask are
    free. Bind after the model is on its device; binding sets the pruned weights to +0.0.
    Raises `TypeError` for what is no mapping; `ValueError`, before anything changes, if it is empty, names what is no
    parameter of the model, or a shape differs.

    >>> layer = nn.Linear(2, 1)
    >>> held = HeldMasks(layer, {"weight": torch.tensor([[True, False]])})
    >>> layer.weight[0, 1].item(), held.violations()
    (0.0, {})
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if isinstance(masks, Mapping):
            if not masks:
                raise ValueError("masks is empty: there is nothing to hold; fine_tune trains without masks")
            if unknown := [str(name) for name in masks if name not in parameters]:
                more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
                raise ValueError(
                    f"masks names {len(unknown)} of {len(masks)} that are no parameter of {type(model).__name__}: "
                    f"{', '.join(unknown[:5])}{more}; were they made for another model?"
                )
        apply_masks_(model, masks)
        self._parameters = {name: parameters[name] for name in masks}
        self._kept = {name: _all_bits(mask).to(parameters[name].device) for name, mask in masks.items()}

    @torch.no_grad()
    def mask_gradients_(self) -> None:
        """Zero the gradient of every pruned weight; a parameter without a gradient is passed over."""
        for name, kept in self._kept.items():
            gradient = self._parameters[name].grad
            if gradient is not None:
                _clear_(gradient, kept)

    @torch.no_grad()
    def mask_weights_(self) -> None:
        """Set every pruned weight to +0.0, whatever it was (NaN too)."""
        for name, kept in self._kept.items():
            _clear_(self._parameters[name], kept)

    @torch.no_grad()
    def violations(self) -> dict[str, int]:
        """How many pruned weights of each parameter are not +0.0 (-0.0 counts as one); only parameters with some."""
        found = {}
        for name, kept in self._kept.items():
            weight = self._parameters[name]
            if count := int(((weight.view(_BITS[weight.dtype]) != 0) & (kept == 0)).sum()):
                found[name] = count
        return found


def _all_bits(mask: Tensor) -> Tensor:
    return -mask.to(torch.int8)


def _clear_(values: Tensor, kept: Tensor) -> None:
    # An integer "and" leaves the bits of what lives, gives +0.0 elsewhere, and is some ten times as fast on a CPU as
    # masked_fill_; a product with 0 would leave -0.0 and NaN.
    values.view(_BITS[values.dtype]).bitwise_and_(kept)
