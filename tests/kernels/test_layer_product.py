"""Both ways of sharing tokens among threads, few tokens, NaN in one of them, and sizes that would be read wild."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blockprune_lib import BlockStructure, PackedMatrix, expand, group_scores, pack, select
from blockprune_lib.kernels import gradients, layer_product
from blockprune_lib.kernels.plan import MOST_CUTS, make_plan

TEXTS = ("block_column:16", "block_column:32", "block_column:5", "block_row:16", "tile:32x32", "irregular")
M, N = 160, 130


def pruned(text, shape=(M, N)):
    structure = BlockStructure.parse(text)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight[~expand(select(group_scores(weight, structure), 3.0), structure, shape)] = 0
    packed = pack(weight, structure)
    return make_plan(packed), packed.values, weight


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("tokens", [1, 8, 14, 16, 17, 64, 65, 98, 300, 1100])
def test_any_number_of_threads_gives_the_same_bits(text, tokens):
    plan, values, weight = pruned(text)
    x, grad, bias = torch.randn(tokens, N), torch.randn(tokens, M), torch.randn(M)
    wanted = x.double() @ weight.T.double() + bias.double()
    dense = grad.T.double() @ x.double()
    one = None
    for threads in (1, 2, 3, 8):
        found = (
            layer_product.multiply(plan.forward, x, values, bias, threads),
            layer_product.multiply(plan.backward, grad, values, None, threads),
            gradients.values_gradient(plan, x, grad, threads),
        )
        one = one or found
        assert all(torch.equal(ours, first) for ours, first in zip(found, one, strict=True))
    torch.testing.assert_close(one[0].double(), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(one[1].double(), grad.double() @ weight.double(), atol=1e-4, rtol=0)
    stored = pack(weight, BlockStructure.parse(text))
    stored = PackedMatrix(stored.structure, stored.shape, one[2], stored.columns, stored.offsets)
    kept = expand(stored.keep(), stored.structure, stored.shape)
    found = stored.validate().to_dense().double()  # what pads a group at an edge is zero
    torch.testing.assert_close(found, torch.where(kept, dense, 0.0), atol=2e-5 * tokens**0.5 + 1e-5, rtol=0)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("tokens", [9, 40, 200])
def test_a_token_of_nan_stays_alone(text, tokens):
    plan, values, _ = pruned(text)
    x = torch.randn(tokens, N)
    clean = layer_product.multiply(plan.forward, x, values, None, 2)
    x[7] = float("nan")
    x[tokens - 1] = float("inf")
    found = layer_product.multiply(plan.forward, x, values, None, 2)
    assert found[7].isnan().any()
    others = [t for t in range(tokens) if t not in (7, tokens - 1)]
    assert torch.equal(found[others], clean[others])


def test_more_outputs_than_a_band_and_fewer_than_a_vector():
    for text, shape in (("column", (130, 20)), ("row", (3, 200)), ("block_column:100", (210, 9)), ("tile:5x3", (5, 4))):
        plan, values, weight = pruned(text, shape)
        x = torch.randn(70, shape[1])
        found = layer_product.multiply(plan.forward, x, values, None, 2)
        np.testing.assert_allclose(found, x @ weight.T, atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.ones(3, N + 1)}, "x must be float32 rows of 130 neighbouring numbers; got torch.float32 of shape"),
        ({"x": torch.ones(3, N).double()}, "x must be float32 rows of 130"),
        ({"x": torch.ones(N, 3).T}, "x must be float32 rows of 130"),
        ({"x": torch.ones(N)}, "x must be float32 rows of 130"),
        ({"values": torch.ones(5)}, "values must be .* neighbouring float32; got"),
        ({"bias": torch.ones(M - 1)}, "bias must be 160 neighbouring float32"),
        ({"bias": torch.ones(2 * M)[::2]}, "bias must be 160 neighbouring float32"),
    ],
)
def test_wrong_sizes_are_errors_in_python(changed, message):
    plan, values, _ = pruned("block_column:16")
    given = {"x": torch.ones(3, N), "values": values, "bias": torch.ones(M)} | changed
    with pytest.raises(ValueError, match=message):
        layer_product.multiply(plan.forward, given["x"], given["values"], given["bias"], 1)


def test_a_gradient_of_other_tokens_is_an_error_in_python():
    plan, _, _ = pruned("block_row:16")
    with pytest.raises(ValueError, match="x must have as many tokens as the gradient, 4; got 3"):
        gradients.values_gradient(plan, torch.ones(3, N), torch.ones(4, M), 1)
    with pytest.raises(ValueError, match="grad must be float32 rows of 160"):
        gradients.values_gradient(plan, torch.ones(3, N), torch.ones(3, N), 1)


def test_ever_new_lengths_fill_no_memory():
    plan, values, _ = pruned("block_row:16")
    for tokens in range(1, 2 * MOST_CUTS):
        layer_product.multiply(plan.forward, torch.ones(tokens, N), values, None, 1)
    assert len(plan.forward._cuts) <= MOST_CUTS
