"""The order in which examples are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """A permutation of `count` examples for each epoch; with `lengths`, each batch holds examples of one length.

    It is a function of seed and epoch, and of nothing else, so that a training that resumes in the middle of an epoch,
    or runs on several processes, sees the same batches. `batch`: how many examples an optimiser step sees, over all
    processes. `set_epoch` is called by Accelerate.

    >>> sampler = EpochSampler(4, seed=1, batch=2)
    >>> list(sampler) == list(sampler), sorted(sampler)
    (True, [0, 1, 2, 3])
    """

    def __init__(self, count: int, seed: int, batch: int, lengths: Sequence[int] | None = None) -> None:
        self.count, self.seed, self.batch, self.lengths, self.epoch = count, seed, batch, lengths, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw this epoch's order from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        order = torch.randperm(self.count, generator=generator)
        if self.lengths is not None:
            order = self._by_length(order, torch.tensor(self.lengths), generator)
        return iter(order.tolist())

    def _by_length(self, order: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Sorted by length, equal ones as they are in `order`; cut into batches; the batches shuffled.

        A batch that is not full comes last, as the loader's does; it takes the examples that come first in `order`.
        """
        rest, full = order.split([self.count % self.batch, self.count - self.count % self.batch])
        batches = full[lengths[full].sort(stable=True).indices].view(-1, self.batch)
        shuffled = batches[torch.randperm(len(batches), generator=generator)]
        return torch.cat([shuffled.flatten(), rest])
