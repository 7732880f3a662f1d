"""Break-even densities: the crossing against NumPy, the measured curve's form, and the rule of thumb."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockprune_lib import BlockStructure, break_even_density
from blockprune_lib.nn.break_even import BreakEven, interpolate_break_even, usual_break_even


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.05, 8))
def test_crossing_of_a_straight_line(fixed: float, slope: float, dense: float) -> None:
    densities = [0.1, 0.4, 0.7, 1.0]
    want = np.clip((dense - fixed) / slope, 0, 1)
    got = interpolate_break_even(densities, [fixed + slope * d for d in densities], dense)
    if want < 0.1:
        assert got == 0.0 or got == pytest.approx(0.1)
    else:
        assert got == pytest.approx(want, abs=1e-3)


def test_crossing_takes_the_first() -> None:
    assert interpolate_break_even([0.1, 0.5, 1.0], [1.0, 3.0, 1.0], 2.0) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("ms", "dense", "wanted"),
    [
        ([1.0, 2.0, 4.0], 3.0, 0.3),
        ([1.0, 2.0, 4.0], 2.0, 0.2),
        ([1.0, 2.0, 4.0], 0.5, 0.0),
        ([1.0, 2.0, 4.0], 9.0, 1.0),
        ([1.0, 5.0, 2.0], 3.0, 0.15),  # the first crossing, going up, counts
    ],
)
def test_break_even_is_where_the_line_crosses(ms: list[float], dense: float, wanted: float) -> None:
    assert interpolate_break_even([0.1, 0.2, 0.4], ms, dense) == pytest.approx(wanted)


def test_break_even_refuses_what_is_no_curve() -> None:
    with pytest.raises(ValueError, match="one time for each"):
        interpolate_break_even([0.1, 0.2], [1.0], 1.0)
    with pytest.raises(ValueError, match="rise"):
        interpolate_break_even([0.2, 0.1], [1.0, 2.0], 1.0)


def test_measured_curve() -> None:
    found = break_even_density(BlockStructure.block_column(8), (24, 40), tokens=5, densities=(1.0, 0.25), repeats=3)
    assert list(found.points) == [0.25, 1.0]
    assert 0 <= found.density <= 1
    assert "block_column:8 at 24 x 40, 5 tokens" in repr(found)
    assert "<table" in found._repr_html_()


def test_each_sample_may_begin_with_calls_that_are_not_timed() -> None:
    found = break_even_density(BlockStructure.row(), (8, 8), densities=(1.0,), repeats=3, lead_in=2)
    assert found.lead_in == 2
    assert "2 untimed call(s) before each sample" in repr(found)
    with pytest.raises(ValueError, match="lead_in"):
        break_even_density(BlockStructure.row(), (8, 8), repeats=3, lead_in=-1)


def test_result_reads_its_points() -> None:
    found = BreakEven(BlockStructure.row(), (8, 8), 4, 2.0, {0.5: 1.0, 1.0: 3.0}, 1)
    assert found.density == 0.75
    assert "up to density 0.75" in repr(found)


def test_flatter_groups_break_even_earlier() -> None:
    limits = [usual_break_even(BlockStructure.block_column(h), (768, 768)) for h in (1, 2, 4, 8, 16)]
    assert limits == sorted(limits)
    assert usual_break_even(BlockStructure.irregular(), (768, 768)) < usual_break_even(BlockStructure.row(), (8, 768))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("row", (8, 8)), TypeError, "structure"),
        ((BlockStructure.row(), (0, 8)), ValueError, r"shape\[0\]"),
    ],
)
def test_bad_input(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        break_even_density(*arguments)


def test_bad_density() -> None:
    with pytest.raises(ValueError, match="densities must lie above 0"):
        break_even_density(BlockStructure.row(), (8, 8), densities=(0.0,))
