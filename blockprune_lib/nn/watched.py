"""What a plan was made of: whether its modules and tensors are still there, and still hold the same numbers."""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..kernels.samples import sample_places, sampled

_address, _version = Tensor.data_ptr, attrgetter("_version")


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
    `model.half().float()` makes, can come to lie there. Numbers that are no tensors, such as how many heads there are,
    are watched by name.
    """

    def __init__(self) -> None:
        self._holders: list[dict[str, Any]] = []  # where each tensor stands, and under which name
        self._names: list[str] = []
        self._found: list[Tensor | None] = []
        self._held: list[Tensor] = []  # those that are tensors, and where their numbers lie
        self._addresses: list[int] = []
        self._counted: list[Tensor] = []  # those whose writes torch counts, and how many there were
        self._versions: list[int] = []
        self._owners: list[dict[str, Any]] = []  # where each plain value stands, under which name, and what it was
        self._plain: list[str] = []
        self._values: list[Any] = []
        self._memory: list[Tensor] = []
        self._places, self._seen = np.zeros(0, np.int64), 0

    def add(self, module: nn.Module) -> None:
        """Watch the parameters and buffers that a module itself holds."""
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                self._holders.append(holder)
                self._names.append(name)
                self._found.append(tensor)
                if tensor is not None:
                    self._held.append(tensor)
                    self._addresses.append(tensor.data_ptr())
                    self._memory.append(tensor.detach())
                    if not tensor.is_inference():
                        self._counted.append(tensor)
                        self._versions.append(tensor._version)

    def note(self, owner: Any, *names: str) -> None:
        """Watch attributes of a module that hold plain values; one that is not there yet may come."""
        for name in names:
            self._owners.append(vars(owner))
            self._plain.append(name)
            self._values.append(vars(owner).get(name))

    def begin(self) -> None:
        """Remember what the tensors hold now."""
        self._places = np.concatenate([np.zeros(0, np.int64), *map(sample_places, self._memory)])
        self._seen = sampled(self._places)

    def holds(self) -> bool:
        """Whether all is as it was when watching began; in loops of C, as it is asked at every call."""
        return (
            all(map(is_, map(dict.get, self._holders, self._names), self._found))
            and list(map(_address, self._held)) == self._addresses
            and list(map(_version, self._counted)) == self._versions
            and all(map(is_, map(dict.get, self._owners, self._plain), self._values))
            and sampled(self._places) == self._seen
        )
