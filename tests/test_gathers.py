import numpy as np
import pytest

from blockprune_lib import gathers
from blockprune_lib._peak import Spread
from blockprune_lib.gathers import WAYS, CsrMatrix, GatherCosts, gather_costs
from blockprune_lib.vectors import LANES


def matrix(rows, columns, density, seed=0):
    generator = np.random.default_rng(seed)
    dense = generator.standard_normal((rows, columns)).astype(np.float32)
    return dense * (generator.random((rows, columns)) < density)


def csr(dense):
    rows, columns = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return dense[rows, columns], columns, offsets


@pytest.mark.parametrize("keep_sums", [True, False])
@pytest.mark.parametrize("tokens", [1, 3, LANES, 8 * LANES, 8 * LANES + 5, 16 * LANES + LANES])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_a_csr_product_is_the_dense_one(keep_sums, tokens, density):
    dense = matrix(11, 13, density)
    x = np.random.default_rng(1).standard_normal((13, tokens)).astype(np.float32)
    got = CsrMatrix(*csr(dense), inputs=13).product(x, keep_sums=keep_sums)
    assert got.shape == (11, tokens)
    np.testing.assert_allclose(got, dense.astype(np.float64) @ x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "columns", "offsets", "named"),
    [
        ([1.0], [0, 1], [0, 1], "columns: expected one"),
        ([1.0], [1], [0, 1], "columns: expected 0 to 0"),
        ([1.0], [-1], [0, 1], "columns: expected 0 to 0"),
        ([1.0], [0], [0, 2], "offsets"),
        ([1.0], [0], [1, 1], "offsets"),
        ([1.0, 1.0], [0, 0], [0, 2, 1, 2], "offsets"),
        ([1.0], [0], [], "offsets"),
        ([[1.0]], [0], [0, 1], "values: expected 1"),
    ],
)
def test_indices_that_a_loop_must_not_follow_are_refused(values, columns, offsets, named):
    with pytest.raises(ValueError, match=named):
        CsrMatrix(values, columns, offsets, inputs=1)


@pytest.mark.parametrize("x", [[1.0], [[1.0], [2.0]]], ids=["1-D", "too long"])
def test_an_x_that_does_not_fit_is_refused(x):
    with pytest.raises(ValueError, match="x: expected shape"):
        CsrMatrix([1.0], [0], [0, 1], inputs=1).product(x)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_sums_the_same_products(way):
    terms = 4 * 8 * LANES
    generator = np.random.default_rng(0)
    values = generator.standard_normal((terms // 8, 8)).astype(np.float32)
    x = generator.standard_normal(terms).astype(np.float32)
    order = generator.permutation(terms) if way == WAYS[-1] else np.arange(terms)
    out = np.zeros(LANES, np.float32)
    gathers._LOOPS[way](values, order.astype(np.uint32).reshape(-1, 8), x, out, 3)
    assert out.sum() == pytest.approx(3 * float(values.ravel().astype(np.float64) @ x[order]), rel=1e-3, abs=1e-3)


def test_costs_have_a_spread_for_each_way_and_size_and_print():
    costs = gather_costs([4096, 65536], bursts=2, burst_seconds=1e-4)
    assert tuple(costs.ns) == WAYS
    for spreads in costs.ns.values():
        assert len(spreads) == 2
        assert all(0 < spread.low <= spread.median <= spread.high for spread in spreads)
    assert "by index, at random" in repr(costs)
    assert costs._repr_html_().count("<tr>") == 3


def test_long_arrays_are_read_whole_in_pieces(monkeypatch):
    monkeypatch.setattr(gathers, "MOST_TERMS", 8 * LANES)
    costs = gather_costs([4096], bursts=2, burst_seconds=1e-5)
    assert costs.sizes_bytes == (4096,)


def test_the_nearest_size_is_nearest_by_ratio():
    one, two = Spread(1.0, 1.0, 1.0), Spread(2.0, 2.0, 2.0)
    costs = GatherCosts((4096, 65536), {WAYS[0]: (one, two)})
    assert costs.at(WAYS[0], 15_000) is one
    assert costs.at(WAYS[0], 17_000) is two


@pytest.mark.parametrize("sizes", [[], [100], [2**31]])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        gather_costs(sizes)


def test_default_sizes_grow_and_stay_within_memory():
    sizes = gathers._default_sizes()
    assert sizes[0] == 4096
    assert sizes == sorted(sizes)
    assert sizes[-1] <= 2**26
