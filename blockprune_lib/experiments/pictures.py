"""Records as a picture: score against compression rate, one panel a task and structure, one line a method.

matplotlib is imported only here. Left out: the book's figures, which its chapters draw from the same records.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._files import write_whole
from .report import Line, lines

KINDS = (".svg", ".png")
MARKERS = "osD^vPX"


def save_plot(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw the records into an .svg or .png file; raises ValueError for another ending, or where there is no record."""
    target = Path(path)
    if target.suffix not in KINDS:
        raise ValueError(f"plot: the file must end in {' or '.join(KINDS)}; got {target.name!r}")
    if not records:
        raise ValueError("plot: there is no record to draw")
    from matplotlib.figure import Figure

    found = lines(records)
    tasks, structures = _unique(line.task for line in found), _unique(line.structure for line in found)
    figure = Figure(figsize=(1 + 3.2 * len(structures), 0.6 + 2.6 * len(tasks)), layout="constrained")
    grid = figure.subplots(len(tasks), len(structures), squeeze=False, sharex=True, sharey="row")
    methods = _unique(line.method for line in found)
    for row, task in zip(grid, tasks, strict=True):
        for axes, structure in zip(row, structures, strict=True):
            panel = [line for line in found if line.task == task and line.structure == structure]
            draw(axes, panel, methods)
            axes.set_title(f"{task}, {structure}", fontsize=9)
        row[0].set_ylabel(found[0].metric if len(tasks) == 1 else next(x.metric for x in found if x.task == task))
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format=target.suffix[1:], dpi=150)
    write_whole(target, content.getvalue())


def draw(axes: Any, panel: Sequence[Line], methods: Sequence[str]) -> None:
    """One panel: a line a method over the rate, the interval over seeds as bars, dense and majority as level lines."""
    for number, method in enumerate(methods):
        points = sorted((line for line in panel if line.method == method), key=lambda line: line.rate)
        if not points:
            continue
        bars = [line.interval or (line.mean, line.mean) for line in points]
        below = [line.mean - low for line, (low, _) in zip(points, bars, strict=True)]
        above = [high - line.mean for line, (_, high) in zip(points, bars, strict=True)]
        axes.errorbar(
            [line.rate_pruned for line in points], [line.mean for line in points], yerr=[below, above],
            marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2, capsize=2, label=method,
        )  # fmt: skip
    if panel:
        axes.axhline(panel[0].dense, linestyle="--", linewidth=1, color="0.4", label="dense")
        axes.axhline(panel[0].majority, linestyle=":", linewidth=1, color="0.4", label="majority class")
        axes.set_xlabel("compression rate of the pruned matrices")


def _unique(values: Any) -> list[str]:
    return sorted(set(values))
