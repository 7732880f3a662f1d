"""A plan's tables, followed by loops in NumPy, give W x and Wᵀ y, for every structure and any sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import BlockStructure, expand, group_scores, pack, select
from blockprune_lib.kernels.plan import make_plan
from blockprune_lib.kernels.walk import BAND_OUTPUTS, LISTED, ROWS

from ..helpers.references import structure_texts

TEXTS = (*structure_texts((5, 2)), "block_column:16", "block_column:100", "block_row:100", "tile:3x70")


def followed(side, values, x):
    """The product by the strips, or by the blocks and sets, of each band, as the kernel walks them."""
    if side.order is not None:
        values = values[side.order.numpy()]
    values, y = values.reshape(-1), np.zeros((side.outputs, x.shape[1]))
    for band in range(len(side.tops) - 1):
        top, end = side.tops[band], side.tops[band + 1]
        for number in range(side.bands[band], side.bands[band + 1]):
            if side.kind == LISTED:
                strip = side.strips[number]
                assert top <= strip["output"]
                assert strip["output"] + strip["outputs"] <= end
                for k in range(strip["steps"]):
                    weights = values[strip["weight"] + k * strip["apart"] :][: strip["outputs"]]
                    rows = slice(strip["output"], strip["output"] + strip["outputs"])
                    y[rows] += weights[:, None] * x[side.index[strip["begin"] + k]]
            else:
                block = side.blocks[number]
                for one in side.sets[block["begin"] : block["end"]]:
                    for row, place in zip(one["numbers"][: one["rows"]], one["places"], strict=False):
                        assert top <= row < end
                        kept = x[block["input"] : block["input"] + block["inputs"]]
                        y[row] += values[place : place + block["inputs"]] @ kept
    return y


def pruned(text, rows, columns, rate):
    structure = BlockStructure.parse(text)
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    weight[~expand(select(group_scores(weight, structure), rate), structure, weight.shape)] = 0
    return pack(weight, structure), weight.numpy().astype(float)


@pytest.mark.parametrize("text", TEXTS)
@given(rows=st.integers(100, 140), columns=st.integers(100, 140), rate=st.sampled_from([1.0, 3.0, 50.0]))
def test_both_ways_are_the_matrix(text, rows, columns, rate):
    packed, weight = pruned(text, rows, columns, rate)
    plan, values = make_plan(packed), packed.values.numpy().astype(float)
    x = np.random.default_rng(0).standard_normal((columns, 3))
    y = np.random.default_rng(1).standard_normal((rows, 3))
    np.testing.assert_allclose(followed(plan.forward, values, x), weight @ x, atol=1e-9)
    np.testing.assert_allclose(followed(plan.backward, values, y), weight.T @ y, atol=1e-9)
    for side in (plan.forward, plan.backward):
        assert (side.tops[0], side.tops[-1]) == (0, side.outputs)
        assert side.highest < 2 * BAND_OUTPUTS
        for count in (1, 2, len(side.work)):
            parts = side.parts(count)
            assert (parts[0], parts[-1], sorted(parts) == list(parts)) == (0, len(side.work), True)


def test_one_way_is_listed_and_the_other_in_rows():
    kinds = {}
    for text in ("block_column:16", "tile:32x32", "column", "block_row:16", "row", "irregular"):
        plan = make_plan(pack(torch.ones(64, 64), BlockStructure.parse(text)))
        kinds[text] = (plan.forward.kind, plan.backward.kind)
    columns, rows = (LISTED, ROWS), (ROWS, LISTED)
    assert list(kinds.values()) == [columns, columns, columns, rows, rows, (LISTED, LISTED)]


@pytest.mark.parametrize("text", TEXTS)
def test_places_say_where_packing_left_a_weight(text):
    packed, weight = pruned(text, 101, 103, 3.0)
    plan = make_plan(packed)
    side, dense = (plan.forward, weight) if plan.forward.kind == LISTED else (plan.backward, weight.T)
    values = packed.values.numpy().reshape(-1)
    for strip in side.strips:
        first = strip["weight"] - strip["begin"] * strip["apart"]
        for k in range(strip["begin"], strip["begin"] + strip["steps"]):
            found = values[side.places[k] + first :][: strip["outputs"]]
            wanted = dense[strip["output"] : strip["output"] + strip["outputs"], side.index[k]]
            assert np.array_equal(found, wanted.astype(np.float32))


@pytest.mark.parametrize("text", TEXTS)
def test_a_matrix_of_zeros_has_nothing_to_walk(text):
    plan = make_plan(pack(torch.zeros(110, 120), BlockStructure.parse(text)))
    values = np.zeros((0, 1, 1))
    assert (followed(plan.forward, values, np.ones((120, 2))) == 0).all()
    assert (followed(plan.backward, values, np.ones((110, 2))) == 0).all()
