import matplotlib.colors
import numpy as np
import pytest

from blockprune_lib import plots
from blockprune_lib._common import theme


@pytest.fixture
def ax():
    with theme.canvas("light", (6, 3)) as (_, axes):
        yield axes


def colour(kind):
    return matplotlib.colors.to_rgb(plots.COLOURS[kind])


def test_bars_stand_at_the_median_and_lines_span_the_quartiles(ax):
    rng = np.random.default_rng(0)
    rows = {"slow": rng.exponential(2, 21), "quick": rng.exponential(1, 9)}
    plots.bars(ax, rows, {"slow": "dense"})
    for number, (bar, samples) in enumerate(zip(ax.patches, rows.values(), strict=True)):
        assert bar.get_width() == pytest.approx(np.median(samples))
        assert bar.get_y() < number < bar.get_y() + bar.get_height()
    for line, samples in zip(ax.lines, rows.values(), strict=True):
        low, high = np.nanmin(line.get_xdata()), np.nanmax(line.get_xdata())
        assert (low, high) == pytest.approx(tuple(np.quantile(samples, [0.25, 0.75])))
    assert [bar.get_facecolor()[:3] for bar in ax.patches] == [colour("dense"), colour("unstructured")]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["slow", "quick"]


def test_bars_show_an_estimate_with_its_interval(ax):
    plots.bars(ax, {"ratio": (1.2, 1.5, 2.4)}, spread=100)
    assert ax.patches[0].get_width() == 1.5
    assert (np.nanmin(ax.lines[0].get_xdata()), np.nanmax(ax.lines[0].get_xdata())) == (1.2, 2.4)


def test_curve_goes_through_the_medians(ax):
    rows = [[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]]
    plots.curve(ax, [1, 2], rows, "block", label="block", marker="o")
    assert ax.lines[0].get_xydata().tolist() == [[1, 2], [2, 5]]
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (1.5, 5.5)
    assert matplotlib.colors.to_rgb(ax.lines[0].get_color()) == colour("block")


def test_distribution_counts_every_value_once(ax):
    rng = np.random.default_rng(0)
    groups = {"before": rng.normal(size=(8, 9)), "after": rng.normal(size=50)}
    plots.distribution(ax, groups, {"before": "dense", "after": "block"}, bins=10)
    areas = sorted(_area(shape.get_paths()[0].vertices) for shape in ax.collections)
    assert areas[0] / areas[1] == pytest.approx(50 / 72)


def _area(points):
    x, y = points.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_heat_map_shows_what_was_removed_in_grey(ax):
    plots.heat_map(ax, [[1.0, np.nan], [0.0, -4.0]], signed=True, groups=(1, 1))
    mesh = ax.collections[0]
    assert mesh.get_array().mask.ravel().tolist() == [False, True, False, False]
    assert mesh.get_clim() == (-4.0, 4.0)
    assert ax.yaxis_inverted()
    assert tuple(mesh.get_cmap().get_bad()[:3]) == colour("grid")
    plots.heat_map(ax, np.ones((300, 300)), groups=(1, 1), top=2.0)
    assert ax.collections[3].get_clim() == (0.0, 2.0)


def test_a_colour_that_is_none_is_refused(ax):
    with pytest.raises(KeyError, match="purple"):
        plots.bars(ax, {"a": [1.0]}, "purple")
