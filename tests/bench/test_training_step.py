"""A training step is the same dense and sparse."""

import copy

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib import bench
from blockprune_lib.bench import training_step, workload
from blockprune_lib.bench.sequences import of_lengths


def test_a_training_step_is_the_same_dense_and_sparse(tiny_folder):
    structure = bp.BlockStructure.block_column(4)
    dense = workload.fresh(str(tiny_folder), 0)
    masks = workload.pruned(dense, structure, 2.0)
    sparse = bp.sparsify(copy.deepcopy(dense), structure, keep_dense_above=1.0)
    plain = copy.deepcopy(dense)
    ids = of_lengths(dense, (8, 8), 0).ids
    probe = torch.randn(dense.config.hidden_size, generator=torch.Generator().manual_seed(0))
    (plain(input_ids=ids).last_hidden_state * probe).mean().backward()
    expected = np.concatenate([(plain.get_parameter(n).grad * mask).numpy().ravel() for n, mask in masks.items()])
    for model, held in ((dense, masks), (sparse, None)):
        step = training_step.Step(model, ids, held)
        step.gradients()
        found = training_step.weight_gradients(model, list(masks))
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
        step()
    assert all(bool((dense.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.items())


def test_training_is_measured(tiny_folder):
    found = bench.bench_training(
        model=str(tiny_folder), structures=["block_column:4"], rates=[2.0], tokens=[8], repeats=3, warmup=0
    )
    [case] = found.cases
    assert [engine.key for engine in case.engines] == ["torch-masked", "blockprune"]
    assert case.what.batch == 8
    assert "times as fast as torch, masks held" in " ".join(repr(found).split())
    with pytest.raises(ValueError, match="there is no 'memory'"):
        bench.bench_training(model=str(tiny_folder), memory=True)
