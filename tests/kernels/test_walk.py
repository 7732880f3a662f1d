"""A walk, followed by loops in NumPy, gives the product of the matrix, for every structure and any sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import BlockStructure, expand, group_scores, pack, select
from blockprune_lib.kernels.records import SEQUENCE, filled
from blockprune_lib.kernels.walk import LISTED, ROWS, walk_of

from ..helpers.references import structure_texts

TEXTS = (*structure_texts((5, 2)), "block_column:16", "block_row:100")


def followed(walk, x):
    """y = W x by the strips, or by the bands, blocks and sets, as the kernels walk them."""
    y = np.zeros((walk.outputs, x.shape[1]))
    for part in range(len(walk.parts) - 1):
        for number in range(walk.parts[part], walk.parts[part + 1]):
            if walk.kind == LISTED:
                strip = walk.strips[number]
                for k in range(strip["steps"]):
                    for i in range(strip["outputs"]):
                        weight = walk.values[strip["weight"] + k * strip["apart"] + i]
                        y[strip["output"] + i] += weight * x[walk.index[strip["begin"] + k]]
            else:
                for block in walk.blocks[walk.bands[number] : walk.bands[number + 1]]:
                    for one in walk.sets[block["begin"] : block["end"]]:
                        weights = walk.values[one["weight"] :][: block["inputs"] * one["rows"]].reshape(-1, one["rows"])
                        for row, column in zip(one["numbers"], weights.T, strict=False):
                            assert number * walk.height <= row < (number + 1) * walk.height
                            y[row] += column @ x[block["input"] : block["input"] + block["inputs"]]
    return y


def pruned(text, rows, columns, rate, seed=0):
    structure = BlockStructure.parse(text)
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    weight[~expand(select(group_scores(weight, structure), rate), structure, weight.shape)] = 0
    return pack(weight, structure), weight


@pytest.mark.parametrize("text", TEXTS)
@given(rows=st.integers(1, 70), columns=st.integers(100, 140), rate=st.sampled_from([1.0, 3.0, 50.0]))
def test_a_walk_is_the_matrix(text, rows, columns, rate):
    packed, weight = pruned(text, rows, columns, rate)
    walk, x = walk_of(packed), np.random.default_rng(0).standard_normal((columns, 3))
    assert rows == 1 or walk.kind == (ROWS if text.startswith(("block_row", "row")) else LISTED)
    np.testing.assert_allclose(followed(walk, x), weight.numpy().astype(float) @ x, atol=1e-4)
    assert (walk.parts[0], sorted(walk.parts) == list(walk.parts)) == (0, True)


@pytest.mark.parametrize("text", TEXTS)
def test_a_matrix_of_zeros_has_nothing_to_walk(text):
    packed = pack(torch.zeros(40, 120), BlockStructure.parse(text))
    assert (followed(walk_of(packed), np.ones((120, 2))) == 0).all()


def test_a_record_with_a_wrong_field_is_an_error_in_python():
    with pytest.raises(TypeError, match="must have the fields start, length"):
        filled(SEQUENCE, start=0, lenght=3)
    with pytest.raises(TypeError, match="start"):
        filled(SEQUENCE, length=3)
