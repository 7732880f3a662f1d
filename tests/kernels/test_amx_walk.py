"""A walk of tiles, followed in NumPy tile by tile as the matrix unit multiplies, is the matrix in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.kernels.amx_walk import BAND, BROUGHT, CHUNK, DIRECT, SCATTERED, TILE, amx_walk_of, modelled_cycles

from ..helpers.references import structure_texts
from .test_walk import pruned

TEXTS = (*structure_texts((5, 2)), "block_column:16", "block_column:64", "block_row:100", "block_row:64", "tile:3x7",
         "tile:32x32", "tile:49x4", "row")  # fmt: skip


def tiles_of(walk, strip):
    """The weights of a strip: (chunks, tiles, 16 outputs, 16 pairs, 2)."""
    words = walk.values[strip["weight"] :][: strip["steps"] * strip["apart"] * TILE * CHUNK]
    halves = np.stack([words << 16, words & 0xFFFF0000], 1).astype(np.uint32).view(np.float32)
    return halves.reshape(strip["steps"], strip["apart"], TILE, CHUNK, 2)


def multiplied(tiles, x):
    """The sums of a strip, (outputs, tokens): `tdpbf16ps` for each chunk of x, (chunks, 16 pairs, 2, tokens)."""
    sums = np.zeros((tiles.shape[1] * TILE, x.shape[-1]))
    for weights, chunk in zip(tiles, x, strict=True):
        sums += np.einsum("aokh,kht->aot", weights, chunk).reshape(sums.shape)
    return sums


def followed(walk, x):
    """y = W x by the tables, x (features, tokens)."""
    pairs = np.concatenate([x, np.zeros((len(x) % 2, x.shape[1]))]).reshape(-1, 2, x.shape[1])
    y = np.zeros((walk.outputs, x.shape[1]))
    for part in range(len(walk.parts) - 1):
        for number in range(walk.parts[part], walk.parts[part + 1]):
            strips = [walk.strips[number]] if walk.kind != SCATTERED else walk.strips[walk.bands[number] :][
                : walk.bands[number + 1] - walk.bands[number]]  # fmt: skip
            for strip in strips:
                begin, count = strip["begin"], strip["steps"] * CHUNK
                if walk.kind == DIRECT:
                    rows = walk.index[begin : begin + strip["steps"]][:, None] + np.arange(CHUNK)
                    chunks = pairs[rows]
                elif walk.kind == BROUGHT:
                    rows = walk.index[begin : begin + 2 * count].reshape(-1, 2)
                    chunks = np.stack([pairs[rows[:, half], half] for half in (0, 1)], 1)
                else:
                    chunks = pairs[begin : begin + count]
                    assert len(chunks) == count  # no row beyond x is read
                sums = multiplied(tiles_of(walk, strip), chunks.reshape(-1, CHUNK, 2, x.shape[1]))
                if walk.kind == SCATTERED:
                    outputs = walk.index[strip["output"] :][: strip["outputs"]] + number * BAND
                else:
                    outputs = np.arange(strip["output"], strip["output"] + strip["outputs"])
                y[outputs] += sums[: len(outputs)]
    return y


@pytest.mark.parametrize("text", TEXTS)
@given(rows=st.integers(1, 300), columns=st.integers(100, 140), rate=st.sampled_from([1.0, 3.0, 50.0]))
def test_a_walk_of_tiles_is_the_matrix(text, rows, columns, rate):
    packed, weight = pruned(text, rows, columns, rate)
    walk, x = amx_walk_of(packed), np.random.default_rng(0).standard_normal((columns, 3))
    assert walk.values.ctypes.data % 64 == 0
    np.testing.assert_allclose(followed(walk, x), weight.bfloat16().float().numpy().astype(float) @ x, atol=1e-4)


@pytest.mark.parametrize(("text", "kind", "height"), [
    ("tile:32x32", DIRECT, 32), ("tile:16x64", DIRECT, 16), ("block_column:32", BROUGHT, 32),
    ("block_column:16", BROUGHT, 16), ("block_row:64", SCATTERED, BAND), ("irregular", DIRECT, 32),
])  # fmt: skip
def test_each_structure_is_cut_as_it_fits(text, kind, height):
    walk = amx_walk_of(pruned(text, 384, 768, 5.0)[0])
    assert (walk.kind, walk.height) == (kind, height)


@pytest.mark.parametrize("columns", [1, 2, 7, 29])
@pytest.mark.parametrize("text", ["block_column:4", "column", "irregular"])
def test_fewer_inputs_than_a_chunk(text, columns):
    packed, weight = pruned(text, 40, columns, 1.0)
    walk, x = amx_walk_of(packed), np.random.default_rng(0).standard_normal((columns, 2))
    assert walk.kind == BROUGHT
    np.testing.assert_allclose(followed(walk, x), weight.bfloat16().float().numpy().astype(float) @ x, atol=1e-4)


def test_what_the_strips_of_one_panel_keep_is_brought_once():
    walk = amx_walk_of(pruned("block_column:64", 256, 768, 5.0)[0])
    assert walk.kind == BROUGHT
    assert len(np.unique(walk.strips["begin"])) == 4 == len(walk.strips) // 2
    cut = walk.parts[(walk.parts > 0) & (walk.parts < len(walk.strips))]
    assert (walk.strips["begin"][cut] != walk.strips["begin"][cut - 1]).all()  # a panel is the work of one thread


def test_what_is_not_kept_is_not_brought():
    walk = amx_walk_of(pruned("block_column:32", 96, 768, 5.0)[0])
    for strip in walk.strips:
        weights = tiles_of(walk, strip).any((1, 2)).reshape(-1, 2)
        rows = walk.index[strip["begin"] :][: weights.size].reshape(-1, 2)
        for half in (0, 1):
            assert set(rows[:, half]) == set(rows[weights[:, half], half])


def test_full_tiles_cost_less_than_empty_ones():
    costs = [modelled_cycles(pruned(text, 384, 768, 5.0)[0]) for text in ("tile:32x32", "block_column:32", "irregular")]
    assert costs == sorted(costs)
