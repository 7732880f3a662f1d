"""A walk of pairs, followed by loops in NumPy as the instruction multiplies, is the matrix in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.kernels.pair_walk import PICKED, pair_walk_of
from blockprune_lib.kernels.walk import LISTED, ROWS, walk_of

from ..helpers.references import structure_texts
from .test_walk import pruned

TEXTS = (*structure_texts((5, 2)), "block_column:16", "block_row:100", "block_row:7", "tile:3x7", "tile:49x4", "row")


def followed(walk, x):
    """y = W x by the tables, x (features, tokens) with rows beyond the last feature allowed to be read, times zero."""
    x = np.concatenate([x, np.full((len(x) % 2, x.shape[1]), 1e9)])
    halves = np.stack([walk.values << 16, walk.values & 0xFFFF0000], 1).astype(np.uint32).view(np.float32)
    y = np.zeros((walk.outputs, x.shape[1]))
    for part in range(len(walk.parts) - 1):
        for number in range(walk.parts[part], walk.parts[part + 1]):
            if walk.kind != ROWS:
                strip = walk.strips[number]
                assert number != walk.parts[part] or strip["output"] % 2 == 0
                for k in range(strip["steps"]):
                    at = strip["begin"] + k
                    rows = walk.index[2 * at :][:2] if walk.kind == PICKED else walk.index[[at, at]]
                    for i in range(strip["outputs"]):
                        weights = halves[strip["weight"] + k * strip["apart"] + i]
                        y[strip["output"] + i] += weights @ x[2 * rows + [0, 1]]
            else:
                assert walk.height % 2 == 0
                for block in walk.blocks[walk.bands[number] : walk.bands[number + 1]]:
                    pairs = np.arange(2 * block["input"], 2 * (block["input"] + block["inputs"]))
                    for one in walk.sets[block["begin"] : block["end"]]:
                        weights = halves[one["weight"] :][: block["inputs"] * one["rows"]]
                        weights = weights.reshape(-1, one["rows"], 2).transpose(1, 0, 2).reshape(one["rows"], -1)
                        for row, numbers in zip(one["numbers"], weights, strict=False):
                            y[row] += numbers @ x[pairs]
    return y


@pytest.mark.parametrize("text", TEXTS)
@given(rows=st.integers(1, 110), columns=st.integers(100, 140), rate=st.sampled_from([1.0, 3.0, 50.0]))
def test_a_walk_of_pairs_is_the_matrix(text, rows, columns, rate):
    packed, weight = pruned(text, rows, columns, rate)
    walk, x = pair_walk_of(walk_of(packed)), np.random.default_rng(0).standard_normal((columns, 3))
    np.testing.assert_allclose(followed(walk, x), weight.bfloat16().float().numpy().astype(float) @ x, atol=1e-4)


@pytest.mark.parametrize(("text", "kind"), [("tile:32x32", LISTED), ("tile:3x4", LISTED), ("block_column:4", PICKED),
                                             ("tile:4x3", PICKED), ("irregular", PICKED), ("block_row:16", ROWS),
                                             ("column", PICKED)])  # fmt: skip
def test_neighbours_at_even_places_are_read_as_they_are(text, kind):
    assert pair_walk_of(walk_of(pruned(text, 96, 128, 3.0)[0])).kind == kind


def test_what_is_not_kept_is_not_read():
    """Beside a kept input, a half that no group keeps is read only where its weight is zero and a kept one is read."""
    walk = pair_walk_of(walk_of(pruned("block_column:4", 64, 129, 5.0)[0]))
    halves = np.stack([walk.values & 0xFFFF, walk.values >> 16], 1).reshape(-1, walk.height, 2).any(1)
    inputs = walk.index[: 2 * len(halves)].reshape(-1, 2) * 2 + [0, 1]
    for strip in walk.strips:
        own = slice(strip["begin"], strip["begin"] + strip["steps"])
        read, kept = set(inputs[own].reshape(-1).tolist()), set(inputs[own][halves[own]].tolist())
        assert read - {129} == kept  # 129: padding
        assert len(kept) > strip["steps"]


def test_weights_are_half_the_bytes():
    walk = walk_of(pruned("tile:32x32", 96, 128, 3.0)[0])
    assert 2 * pair_walk_of(walk).values.nbytes == walk.values.nbytes


def test_a_column_of_all_inputs_pairs_up():
    walk = pair_walk_of(walk_of(pruned("column", 31, 65, 1.0)[0]))
    assert (walk.kind, walk.strips["steps"].tolist()) == (LISTED, [33])
    assert torch.from_numpy(walk.index[:33]).tolist() == list(range(33))
