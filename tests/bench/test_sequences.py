"""Batches of mixed lengths: ids that are never padding, masks, and sorted batches that hold every sequence once."""

import pytest
import torch

from blockprune_lib.bench.sequences import TOGETHER, Sequences, of_lengths


class Model:
    class config:  # noqa: N801
        vocab_size, pad_token_id = 3, 1


def test_ids_never_are_padding_but_where_the_mask_says_so():
    found = of_lengths(Model, (50, 7, 33), 0)
    assert found.lengths == [50, 7, 33]
    assert found.mixed
    assert set(found.ids[found.mask == 1].tolist()) == {0, 2}
    assert set(found.ids[found.mask == 0].tolist()) == {1}
    assert not of_lengths(Model, (5, 5), 0).mixed


@pytest.mark.parametrize("count", [1, TOGETHER, TOGETHER + 3, 4 * TOGETHER])
def test_sorted_batches_hold_every_sequence_once(count):
    lengths = [(5 * number) % 23 + 1 for number in range(count)]
    rows = [torch.arange(1, length + 1) for length in lengths]
    parts = Sequences.padded(rows, 0).sorted_apart()
    assert sorted(number for numbers, _ in parts for number in numbers) == list(range(count))
    seen = [length for _, part in parts for length in part.lengths]
    assert seen == sorted(lengths)
    for numbers, part in parts:
        assert part.ids.shape == (len(numbers), max(part.lengths))
        for number, ids, length in zip(numbers, part.ids, part.lengths, strict=True):
            assert torch.equal(ids[:length], rows[number])
