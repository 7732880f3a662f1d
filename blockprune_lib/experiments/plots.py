"""Records as a picture: score against compression rate, a panel per task, model and structure, a curve per method."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._common.plots import COLOURS, figure
from .methods import METHODS
from .report import Line, lines

_MARKERS = "osD^vPX"


def save_plot(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw the records into an .svg or .png file, whole or not at all.

    Raises ValueError where there is no record, or some cannot be told apart, and as `check_picture` does.
    """
    if not records:
        raise ValueError("there is no record to draw: a folder that blockprune run wrote would do")
    found = lines(records)
    if len({line.shown for line in found}) < len(found):
        raise ValueError("some runs differ in nothing but their settings; draw their folders one by one")
    rows, columns = sorted({line.shown[:2] for line in found}), sorted({line.structure for line in found})
    many_models = len({line.model for line in found}) > 1

    def draw(drawn: Any) -> None:
        grid = np.reshape(drawn, (len(rows), len(columns)))
        labels: dict[str, Any] = {}
        for across, (task, model) in zip(grid, rows, strict=True):
            for axes, structure in zip(across, columns, strict=True):
                axes.sharex(grid[0, 0])
                axes.sharey(across[0])
                draw_panel(axes, [line for line in found if line.shown[:3] == (task, model, structure)])
                axes.set_title(f"{task}, {structure}" + f"\n{Path(model).name}" * many_models, fontsize=9)
                labels |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            across[0].set_ylabel(next(line.metric for line in found if line.shown[:2] == (task, model)), fontsize=9)
        for axes in grid[-1]:
            axes.set_xlabel("compression rate of the pruned matrices", fontsize=8)
        where = {"loc": "outside lower center", "ncols": min(4, len(labels)), "fontsize": 8}
        grid[0, 0].figure.legend(labels.values(), labels.keys(), **where)

    alt = "Score against compression rate: a curve with intervals for each method, levels for dense and majority."
    caption = "Mean over seeds with its 95 % interval; levels: the dense model, and the commonest class."
    size = (1 + 3.2 * len(columns), 0.6 + 2.6 * len(rows))
    figure(draw, alt=alt, caption=caption, size=size, rows=len(rows), columns=len(columns)).save(path)


def draw_panel(axes: Any, panel: Sequence[Line]) -> None:
    """A curve for each method, styled by its place in the register; dense and majority as level lines."""
    # A method that is not in the register, of another version's record, stands last.
    places = {line.method: [*METHODS, line.method].index(line.method) for line in panel}
    for method, place in sorted(places.items(), key=operator.itemgetter(1)):
        points = sorted((line for line in panel if line.method == method), key=lambda line: line.rate)
        ends = [line.interval or (line.mean, line.mean) for line in points]
        bars = [[line.mean - low, high - line.mean] for line, (low, high) in zip(points, ends, strict=True)]
        axes.errorbar(
            [line.rate_pruned for line in points], [line.mean for line in points], yerr=np.transpose(bars),
            marker=_MARKERS[place % len(_MARKERS)], color=f"C{place}", linestyle=("-", "-.")[place // 5 % 2],
            markersize=4, linewidth=1.2, capsize=2, label=method,
        )  # fmt: skip
    if panel:
        for level, style, label in ((panel[0].dense, "--", "dense"), (panel[0].majority, ":", "majority class")):
            axes.axhline(level, linestyle=style, linewidth=1, color=COLOURS["ceiling"], label=label)
    axes.tick_params(labelsize=8)
