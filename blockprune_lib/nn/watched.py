"""The modules and tensors that a plan was made of: whether they are still there, and still hold the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from ..kernels.samples import sample_places, sampled


class Tree:
    """All modules inside a model, listed anew only where one was put in, taken out or replaced: a call asks each time.

    The list, a tuple, stays the same object as long as the modules do.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._held: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._modules: tuple[nn.Module, ...] = ()

    def modules(self) -> tuple[nn.Module, ...]:
        """What `tuple(model.modules())` gives, about ten times as fast."""
        for holder, were in self._held:
            if tuple(holder.values()) != were:
                break
        else:
            if self._modules:
                return self._modules
        found = tuple(self._model.modules())
        self._held = [(module._modules, tuple(module._modules.values())) for module in found if module._modules]
        self._modules = found
        return found


class Watched:
    """Notices when a tensor is replaced, moved to another memory or type, or written to.

    torch counts most writes; of those that it does not (`tensor.data.mul_`, NumPy views), a few numbers of each tensor
    tell, so that one in the middle of a matrix may go unseen. The memory is held, so that no other tensor, such as what
    `model.half().float()` makes, can come to lie there.
    """

    def __init__(self) -> None:
        self._tensors: list[tuple[dict[str, Any], str, Tensor, int, int | None]] = []
        self._none: list[tuple[dict[str, Any], str]] = []
        self._memory: list[Tensor] = []
        self._places, self._seen = np.zeros(0, np.int64), 0

    def add(self, module: nn.Module) -> None:
        """Watch the parameters and buffers that a module itself holds."""
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                if tensor is None:
                    self._none.append((holder, name))
                else:
                    version = None if tensor.is_inference() else tensor._version
                    self._tensors.append((holder, name, tensor, tensor.data_ptr(), version))
                    self._memory.append(tensor.detach())

    def begin(self) -> None:
        """Remember what the tensors hold now."""
        self._places = np.concatenate([np.zeros(0, np.int64), *map(sample_places, self._memory)])
        self._seen = sampled(self._places)

    def holds(self) -> bool:
        """Whether all is as it was when watching began."""
        for holder, name, tensor, address, version in self._tensors:  # a loop, as it is run at every call
            if (
                holder.get(name) is not tensor
                or tensor.data_ptr() != address
                or (version is not None and tensor._version != version)
            ):
                return False
        return all(holder.get(name) is None for holder, name in self._none) and sampled(self._places) == self._seen
