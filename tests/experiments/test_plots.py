"""The picture of records: a panel for each task and structure, a line for each method, written whole or not at all."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from blockprune_lib.experiments import plots, report

from ..helpers.record_of import record_of

RECORDS = [
    record_of(task=task, structure=structure, method=method, rate=rate, seed=seed, score=0.6 + 0.01 * seed)
    for task in ("rte", "mrpc")
    for structure in ("block_row:64", "tile:32x32")
    for method in ("reweighted", "magnitude")
    for rate in (1.79, 5.0)
    for seed in (1, 2)
]


def test_an_svg_names_every_panel_and_method(tmp_path):
    with mpl.rc_context({"svg.fonttype": "none"}):
        plots.save_plot(RECORDS, tmp_path / "study.svg")
    text = "".join(ElementTree.parse(tmp_path / "study.svg").getroot().itertext())
    for task in ("rte", "mrpc"):
        for structure in ("block_row:64", "tile:32x32"):
            assert f"{task}, {structure}" in text
    for name in ("reweighted", "magnitude", "dense", "majority class", "compression rate of the pruned matrices"):
        assert name in text
    assert [path.name for path in tmp_path.iterdir()] == ["study.svg"]


def test_a_png_is_one(tmp_path):
    plots.save_plot(RECORDS[:4], tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


def test_a_panel_draws_means_intervals_and_both_level_lines():
    axes = Figure().subplots()
    lines = [line for line in report.lines(RECORDS) if (line.task, line.structure) == ("rte", "block_row:64")]
    plots.draw_panel(axes, lines)
    (curve, *_), *_ = [container for container in axes.containers if container.get_label() == "reweighted"]
    assert curve.get_xdata().tolist() == [1.79, 5.0]
    assert curve.get_ydata().tolist() == pytest.approx([0.615, 0.615])
    assert axes.get_legend_handles_labels()[1][-2:] == ["reweighted", "magnitude"], "in the order of the register"
    bars = [container[2][0].get_segments()[0] for container in axes.containers]
    low, high = report.interval([0.61, 0.62])
    assert bars[0][:, 1].tolist() == pytest.approx([low, high])
    levels = {
        line.get_label(): line.get_ydata()[0]
        for line in axes.get_lines()
        if line.get_label() in ("dense", "majority class")
    }
    assert levels == {"dense": 0.9, "majority class": 0.5}


@pytest.mark.parametrize(
    ("records", "name", "says"),
    [
        (RECORDS, "study.pdf", r"must end in \.svg or \.png; got .*study\.pdf"),
        ([], "study.svg", "no record to draw"),
        ([record_of(), record_of(lam=1.0)], "study.svg", "differ in nothing but their settings"),
        (RECORDS, "none/study.svg", "does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_nothing_written(records, name, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        plots.save_plot(records, tmp_path / name)
    assert not list(tmp_path.iterdir())
