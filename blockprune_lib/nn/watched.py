"""The modules and tensors that a plan was made of: whether they are still there, and still hold the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from ..kernels.samples import sample_places, sampled


class Watched:
    """Notices when a tensor is replaced, moved to another memory or type, or written to.

    torch counts most writes; of those that it does not (`tensor.data.mul_`, NumPy views), a few numbers of each tensor
    tell, so that one in the middle of a matrix may go unseen. The memory is held, so that no other tensor, such as what
    `model.half().float()` makes, can come to lie there. `model`: whose modules must stay, each in its place.
    """

    def __init__(self, model: nn.Module) -> None:
        held = [module._modules for module in model.modules() if module._modules]
        self._modules = [(modules, tuple(modules.values())) for modules in held]
        self._tensors: list[tuple[dict[str, Any], str, Tensor | None, Any, Tensor | None]] = []
        self._places, self._seen = np.zeros(0, np.int64), 0

    def add(self, module: nn.Module) -> None:
        """Watch the parameters and buffers that a module itself holds."""
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                memory = None if tensor is None else tensor.detach()
                self._tensors.append((holder, name, tensor, _state(tensor), memory))

    def begin(self) -> None:
        """Remember what the tensors hold now."""
        held = [memory for *_, memory in self._tensors if memory is not None]
        self._places = np.concatenate([np.zeros(0, np.int64), *map(sample_places, held)])
        self._seen = sampled(self._places)

    def holds(self) -> bool:
        """Whether all is as it was when watching began."""
        here = all(holder.get(name) is tensor and _state(tensor) == state
                   for holder, name, tensor, state, _ in self._tensors)  # fmt: skip
        here = here and all(tuple(modules.values()) == were for modules, were in self._modules)
        return here and sampled(self._places) == self._seen


def _state(tensor: Tensor | None) -> tuple[int, int] | None:
    """Where a tensor's numbers lie, and how often they were written to."""
    if tensor is None:
        return None
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version
