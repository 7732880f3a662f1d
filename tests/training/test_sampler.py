"""The order of examples is a function of the seed and the epoch, and of nothing else."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.training.sampler import EpochSampler


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(1, 16), st.booleans())
def test_each_epoch_is_a_permutation_of_its_own(count: int, seed: int, epoch: int, batch: int, grouped: bool) -> None:
    dice = random.Random(0)
    lengths = [dice.randrange(3, 40) for _ in range(count)] if grouped else None
    sampler = EpochSampler(count, seed, batch, lengths)
    sampler.set_epoch(epoch)
    first = list(sampler)
    assert sorted(first) == list(range(count))
    assert len(sampler) == count
    torch.manual_seed(123)  # the global state is neither used nor changed
    before = torch.get_rng_state()
    other = EpochSampler(count, seed, batch, lengths)
    other.set_epoch(epoch)
    assert list(other) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_epochs_and_seeds_differ() -> None:
    orders = set()
    for seed in (1, 2):
        sampler = EpochSampler(50, seed, 8)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 6


def test_examples_of_similar_length_come_together() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 400)
    spread = {}
    for name, given_lengths in (("grouped", lengths.tolist()), ("plain", None)):
        order = list(EpochSampler(400, 1, 8, given_lengths))
        spread[name] = np.ptp(lengths[order].reshape(-1, 8), axis=1).mean()
    assert spread["grouped"] < 0.05 * spread["plain"]


@given(st.integers(1, 200), st.integers(1, 32), st.integers(0, 9))
def test_hardly_anything_is_padded_and_batches_come_in_no_order_of_length(count: int, batch: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 60, count)
    order = np.array(list(EpochSampler(count, seed, batch, lengths.tolist())))
    full = lengths[order][: count - count % batch].reshape(-1, batch)
    assert (full.max(1) - full.min(1)).sum() <= 60  # the batches divide the range of lengths among them
    if len(full) > 20:
        assert (np.diff(full.max(1)) < 0).any()
        assert (np.diff(full.max(1)) > 0).any()
