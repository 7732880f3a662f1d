"""Records as a picture: score against compression rate, a panel for each task, model and structure, a line a method.

matplotlib is imported only here. Left out: the book's figures, which its chapters draw from the same records.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._common.files import write_whole
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
    shown = {(line.task, line.model, line.structure, line.method, line.rate) for line in found}
    if len(shown) < len(found):
        raise ValueError("plot: some runs differ in nothing but their settings; draw their folders one by one")
    rows, structures = _unique((line.task, line.model) for line in found), _unique(line.structure for line in found)
    methods, many_models = _unique(line.method for line in found), len({line.model for line in found}) > 1
    figure = Figure(figsize=(1 + 3.2 * len(structures), 0.6 + 2.6 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(structures), squeeze=False, sharex=True, sharey="row")
    handles: dict[str, Any] = {}
    for across, (task, model) in zip(grid, rows, strict=True):
        of_row = [line for line in found if (line.task, line.model) == (task, model)]
        across[0].set_ylabel(of_row[0].metric)
        for axes, structure in zip(across, structures, strict=True):
            draw(axes, [line for line in of_row if line.structure == structure], methods)
            axes.set_title(f"{task}, {structure}" + f"\n{Path(model).name}" * many_models, fontsize=9)
            handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)), fontsize=8)
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


def _unique(values: Any) -> list[Any]:
    return sorted(set(values))
