"""What a model is fed: token ids, padded where the sequences of a batch differ in length.

A rival that cannot skip padding computes it. `sorted_apart` is what practitioners do about it: sort the sequences by
length and run small batches, each padded for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ..data import models, tasks

#: Sequences of a sorted batch: smaller ones have less padding, larger ones better kernels.
TOGETHER = 8


@dataclass(frozen=True)
class Sequences:
    """ids (batch, tokens) int64, and a mask of that shape: 1 where a token is real, 0 where it is padding."""

    ids: Tensor
    mask: Tensor

    @classmethod
    def padded(cls, rows: Sequence[Tensor], padding: int) -> Self:
        """Rows of ids as one batch.

        >>> Sequences.padded([torch.tensor([5, 6]), torch.tensor([7])], 0).ids.tolist()
        [[5, 6], [7, 0]]
        """
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), padding, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        return cls(ids, mask)

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each sequence."""
        return [int(length) for length in self.mask.sum(1)]

    @property
    def mixed(self) -> bool:
        """Whether there is any padding."""
        return not bool(self.mask.all())

    def sorted_apart(self) -> list[tuple[list[int], Sequences]]:
        """(numbers of the sequences, they alone), `TOGETHER` at a time, from the shortest on."""
        order = sorted(range(len(self.ids)), key=self.lengths.__getitem__)
        parts = [order[first : first + TOGETHER] for first in range(0, len(order), TOGETHER)]
        return [(part, self._only(part)) for part in parts]

    def _only(self, numbers: list[int]) -> Sequences:
        longest = max(self.lengths[number] for number in numbers)
        return Sequences(self.ids[numbers, :longest].contiguous(), self.mask[numbers, :longest].contiguous())


def of_lengths(model: Any, lengths: Sequence[int], seed: int) -> Sequences:
    """Random ids, none of them the padding token, which RoBERTa counts positions by."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary, padding = int(model.config.vocab_size), getattr(model.config, "pad_token_id", None)
    ids = torch.randint(0, vocabulary, (len(lengths), max(lengths)), generator=generator)
    if padding is not None:
        ids = torch.where(ids == padding, (padding + 1) % vocabulary, ids)
    return Sequences.padded([row[:length] for row, length in zip(ids, lengths, strict=True)], padding or 0)


def of_task(model: Any, name: str, task: str, count: int, longest: int, seed: int) -> Sequences:
    """Sentences, or pairs of them, drawn from a task's validation rows, cut to `longest` tokens.

    `name`: whose tokenizer; models drawn anew have none and take MiniLM's, which is BERT's vocabulary.
    """
    tokenizer = models.load(name).tokenizer
    found = tasks.load(task, train=1, validation=count, seed=seed, verbose=False)
    rows = tokenizer(*(list(found.validation[column]) for column in found.text), truncation=True, max_length=longest)
    padding = getattr(model.config, "pad_token_id", None) or 0
    return Sequences.padded([torch.tensor(ids) for ids in rows["input_ids"]], padding)
