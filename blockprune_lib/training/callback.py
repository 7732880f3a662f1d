"""Masks that hold in a Hugging Face Trainer of one's own; `retrain` needs none of this."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from ..pruning.masks import HeldMasks


class MaskCallback(TrainerCallback):
    """Keeps what `masks` prunes at +0.0 in any `transformers.Trainer`: `Trainer(..., callbacks=[callback])`.

    `model`: the one that the Trainer trains, with its weights dense; `masks` as `prune` returns them, {parameter name:
    bool, the parameter's shape}, True where the weight lives. Gradients of pruned weights are zeroed as each backward
    pass adds them up, so the norm that is clipped is that of kept weights; the weights are zeroed after every step of
    the optimiser, whatever momentum and weight decay did. In a loop of one's own `pruning.HeldMasks` does the same.
    Raises as `HeldMasks` does, and ValueError where a training begins on another model (`model_init` makes one).

    >>> masks = prune(model, structure, rate=5.0)  # doctest: +SKIP
    >>> Trainer(model, arguments, train_dataset=data, callbacks=[MaskCallback(model, masks)]).train()  # doctest: +SKIP
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.held = HeldMasks(model, masks)
        self._handles: list[Any] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Zero the pruned weights, which a checkpoint may have brought back, and mask gradients from now on."""
        trained = kwargs.get("model")
        present = {id(parameter) for parameter in trained.parameters()} if isinstance(trained, nn.Module) else set()
        if missing := [name for name, parameter in self.held.parameters.items() if id(parameter) not in present]:
            raise ValueError(
                f"model must be the one that the Trainer trains; {len(missing)} of {len(self.held.parameters)} masked "
                f"parameters, the first {missing[0]!r}, are none of its: MaskCallback(trainer.model, masks) would do"
            )
        self._remove()
        self._handles = [
            parameter.register_post_accumulate_grad_hook(partial(self._gradient_added, name))
            for name, parameter in self.held.parameters.items()
            if parameter.requires_grad
        ]
        self.held.mask_weights_()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Zero the gradients of pruned weights again: several processes have added up theirs."""
        self.held.mask_gradients_()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Zero the pruned weights."""
        self.held.mask_weights_()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Zero the pruned weights of the best checkpoint, where that was loaded, and leave gradients alone."""
        self._remove()
        self.held.mask_weights_()

    def _gradient_added(self, name: str, _: Tensor) -> None:
        self.held.mask_gradients_(name)

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()
