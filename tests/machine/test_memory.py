"""The machine's curves: the timed loops do the work that is counted, each point is there, bad input is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib.machine import memory, peak
from blockprune_lib.machine.memory import memory_curve
from blockprune_lib.machine.peak import roofline_curve


@given(st.integers(1, 5), st.integers(0, 4))
def test_reading_sums_every_element(blocks, times):
    array = np.random.default_rng(0).integers(-9, 9, blocks * memory.READERS * memory.LANES).astype("f")
    out = np.full(memory.LANES, np.nan, "f")
    memory._read(array, out, times)
    np.testing.assert_array_equal(out, times * array.reshape(-1, memory.LANES).sum(0))


@given(st.integers(1, 200))
def test_the_walk_visits_every_line_once_and_returns(lines):
    ring, at, seen = memory._ring(lines), np.zeros(1, np.int64), []
    for _ in range(lines):
        seen.append(int(at[0]))
        memory._chase(ring, at, 1)
    assert sorted(seen) == [memory.LINE // 8 * line for line in range(lines)]
    assert at[0] == 0


@given(st.integers(1, 3), st.integers(0, 6))
def test_the_triad_does_the_counted_multiply_adds(blocks, more):
    size = blocks * peak.AT_ONCE * peak.WIDTH
    x, y = np.random.default_rng(1).normal(size=(2, size + 5)).astype("f")
    out = np.zeros(size + 5, "f")
    peak._triad_with_more(out, x, y, more, size)
    expected = x.astype("d") + 2 * y
    for _ in range(more):
        expected = expected * 0.5 + 0.25
    np.testing.assert_allclose(out[:size], expected[:size], rtol=1e-5, atol=1e-6)
    assert not out[size:].any()


def test_memory_curve_has_a_row_for_each_size():
    curve = memory_curve([4096, 65536], bursts=3)
    assert curve.sizes_bytes == (4096, 65536)
    for spread in (*curve.read_gbs, *curve.wait_ns):
        assert 0 < spread.low <= spread.median <= spread.high
    assert repr(curve).count("\n") == 2


def test_default_sizes_double_and_stay_within_memory(monkeypatch):
    facts = SimpleNamespace(last_level_bytes=2**20, memory_bytes=2**30)
    monkeypatch.setattr(memory, "processor", lambda: facts)
    limits = {"caches": 4, "most": 2**28, "part_of_memory": 8}
    assert memory.sizes_up_to(2, **limits) == [2**power for power in range(12, 23)]
    assert memory.sizes_up_to(4, **limits) == [4**power for power in range(6, 12)]
    facts.last_level_bytes = facts.memory_bytes = None
    assert memory.sizes_up_to(2, **limits)[-1] == 2**26
    facts.memory_bytes = 1
    assert memory.sizes_up_to(2, **limits) == [4096]


@pytest.mark.parametrize("sizes", [[], [100], [2**31]])
def test_memory_curve_refuses_sizes_it_cannot_measure(sizes):
    with pytest.raises(ValueError, match="sizes"):
        memory_curve(sizes)


def test_roofline_curve_counts_two_operations_and_twelve_bytes(monkeypatch):
    small = tuple(peak.aligned(10_000, value) for value in (1, 2, 3))
    monkeypatch.setattr(peak, "triad_arrays", lambda *_: small)
    curve = roofline_curve([1, 6, 60], bursts=3)
    assert curve.intensity == pytest.approx((1 / 6, 1, 10))
    assert all(0 < rate.low <= rate.high for rate in curve.gflops)
    assert repr(curve).count("\n") == 3


@pytest.mark.parametrize("counts", [[], [0], [4, -1]])
def test_roofline_curve_refuses_impossible_work(counts):
    with pytest.raises(ValueError, match="multiply_adds"):
        roofline_curve(counts)
