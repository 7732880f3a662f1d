"""Where the lines of times against density meet, and times that chance made too short."""

import numpy as np
import pytest

from blockprune_lib import BlockStructure
from blockprune_lib.machine.comparison import Timing
from blockprune_lib.nn import Cut
from blockprune_lib.nn.cost_line import at_no_group, rising, standard_error

COLUMN, TILE = BlockStructure.block_column(8), BlockStructure.tile(4, 4)
CUTS = tuple(Cut(*pair) for pair in [(None, 1.0), (COLUMN, 2.0), (COLUMN, 4.0), (TILE, 2.0), (TILE, 4.0)])


def line(cuts, rest, slopes):
    """Densities of cuts and times on a line for each structure."""
    densities = [1 / cut.rate for cut in cuts]
    times = [rest + slopes[cut.structure] * density for cut, density in zip(cuts, densities, strict=True)]
    return densities, np.array(times)


def test_no_group_is_where_the_lines_of_all_structures_meet():
    densities, times = line(CUTS, 0.7, {None: 9.0, COLUMN: 3.0, TILE: 0.5})
    assert at_no_group(densities, times, CUTS) == pytest.approx(0.7)
    for cuts in (CUTS[:2], (CUTS[0], CUTS[1], CUTS[4])):  # too few for a line each: one, with the dense matrix
        densities, times = line(cuts, 0.7, {None: 2.0, COLUMN: 2.0, TILE: 2.0})
        assert at_no_group(densities, times, cuts) == pytest.approx(0.7)
    assert at_no_group([0.5], np.array([3.0]), CUTS[1:2]) == 3.0  # nothing to tell the rest by


@pytest.mark.parametrize("low", [1, 2, 3, 4])
def test_no_cut_is_free_because_it_was_timed_too_short(low):
    densities, times = line(CUTS, 0.7, {None: 3.0, COLUMN: 3.0, TILE: 2.5})
    times[low] -= 1.4
    cost = times - at_no_group(densities, times, CUTS)
    assert (cost[1:] > 0.1).all()


def test_of_one_structure_a_denser_cut_is_never_the_quicker_one():
    densities = [1 / cut.rate for cut in CUTS]
    found = rising(CUTS, densities, np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert found.tolist() == [5.0, 1.5, 1.5, 4.0, 3.0]


def test_the_error_of_a_ratio_is_that_of_the_rounds():
    still = Timing("", (2.0,) * 15, 1)
    assert standard_error(still, still) == 0
    generator = np.random.default_rng(0)
    few, many = (Timing("", tuple(generator.normal(2.0, 0.1, n)), 1) for n in (10, 160))
    errors = [standard_error(one, Timing("", (2.0,) * len(one.samples_ms), 1)) for one in (few, many)]
    assert 0 < errors[1] < errors[0] < 0.1
    asymptotic = 0.05 * np.sqrt(0.25 * 0.75 / 160) / 0.3178  # of a quartile: sqrt(p (1 - p) / n) over the density there
    assert errors[1] == pytest.approx(asymptotic, rel=0.5)
