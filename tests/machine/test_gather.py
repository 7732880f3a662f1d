import numpy as np
import pytest

from blockprune_lib.machine import gather
from blockprune_lib.machine.gather import WAYS, gather_costs, row_rate
from blockprune_lib.machine.simd import LANES


@pytest.mark.parametrize("way", WAYS)
def test_each_way_sums_the_same_products(way):
    terms = 4 * 8 * LANES
    generator = np.random.default_rng(0)
    values = generator.standard_normal((terms // 8, 8)).astype(np.float32)
    x = generator.standard_normal(terms).astype(np.float32)
    order = generator.permutation(terms) if way == WAYS[-1] else np.arange(terms)
    out = np.zeros(LANES, np.float32)
    gather._LOOPS[way](values, order.astype(np.uint32).reshape(-1, 8), x, out, 3)
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
    monkeypatch.setattr(gather, "MOST_TERMS", 8 * LANES)
    costs = gather_costs([4096], bursts=2, burst_seconds=1e-5)
    assert costs.sizes_bytes == (4096,)


@pytest.mark.parametrize("sizes", [[], [100], [2**31]])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        gather_costs(sizes)


def test_rows_are_read_once_for_each_index():
    tokens = 16 * LANES
    x = np.random.default_rng(0).standard_normal((3, tokens)).astype(np.float32)
    out = np.zeros(LANES, np.float32)
    gather._read_rows(x, np.array([0, 2, 2]), tokens, out, 2)
    assert out.sum() == pytest.approx(2 * float(x[0].sum() + 2 * x[2].sum()), rel=1e-3, abs=1e-3)


def test_a_row_rate_has_a_spread():
    rate = row_rate(8, 128, bursts=2, burst_seconds=1e-4)
    assert 0 < rate.low <= rate.median <= rate.high


@pytest.mark.parametrize(("rows", "tokens", "named"), [(0, 128, "rows"), (4, 0, "tokens"), (4, 3, "tokens")])
def test_a_table_without_whole_vectors_is_refused(rows, tokens, named):
    with pytest.raises(ValueError, match=named):
        row_rate(rows, tokens)
