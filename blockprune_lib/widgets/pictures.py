"""PNGs of the explorers, for print and wherever no script runs, in the colours of all figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._common.plots import COLOURS, MAGNITUDE, as_png, canvas


def maps(panels: Mapping[str, np.ndarray], shape: tuple[int, int], title: str) -> bytes:
    """Heat maps of group scores side by side; NaN is a removed group."""
    top = max(float(np.nanmax(grid)) for grid in panels.values())
    with canvas("light", (4 * len(panels), 4), columns=len(panels)) as (figure, axes):
        row = np.atleast_1d(axes)
        for each, (name, grid) in zip(row, panels.items(), strict=True):
            each.set_facecolor(COLOURS["grid"])
            each.grid(visible=False)
            style = {"cmap": MAGNITUDE, "vmin": 0, "vmax": top, "aspect": "auto", "interpolation": "nearest"}
            drawn = each.imshow(grid, extent=(0, shape[1], shape[0], 0), **style)
            each.set(title=name, xlabel="input")
        row[0].set_ylabel("output")
        figure.suptitle(title)
        figure.colorbar(drawn, ax=row, label="score of a kept group")
        return as_png(figure)


def times(densities: list[float], sparse: list[float], dense: float, even: float, title: str) -> bytes:
    """Least time against density, dense as a level line, break-even marked."""
    with canvas("light", (6, 3.6)) as (figure, axes):
        axes.plot(densities, sparse, color=COLOURS["block"], label="sparse, by the roofline")
        axes.axhline(dense, color=COLOURS["dense"], linestyle="--", label="dense, by the roofline")
        axes.axvline(even, color=COLOURS["ceiling"], linestyle=":", label="break-even")
        axes.set(xlabel="density", ylabel="ms", title=title, ylim=(0, None))
        axes.legend(loc="lower right")
        return as_png(figure)


def bars(rows: list[str], columns: Mapping[str, list[float | None]], title: str) -> bytes:
    """A panel of bars for each column, a bar a row; what is None was not measured, and says so."""
    with canvas("light", (9, 0.42 * len(rows) + 1.2), columns=len(columns)) as (figure, axes):
        for panel, (name, values) in zip(np.atleast_1d(axes), columns.items(), strict=True):
            colours = [
                COLOURS["block" if "blocks" in row else "accent" if "layers" in row else "dense"] for row in rows
            ]
            panel.barh(range(len(rows)), [value or 0.0 for value in values], color=colours)
            panel.set_yticks(range(len(rows)), rows)  # by place: of two rows of one name each has its bar
            for at, value in enumerate(values):
                panel.text(0, at, " not measured" if value is None else "", va="center", fontsize=8)
            panel.invert_yaxis()
            panel.set(xlabel=name)
            panel.tick_params(labelleft=panel is np.atleast_1d(axes)[0])
        figure.suptitle(title)
        return as_png(figure)


def plane(least: tuple[float, float], rho: float, path: list[list[float]], alpha: list[float], separate: bool) -> bytes:
    """Level lines of the loss, the penalty's level line through the end of the path, and the path."""
    x, y = np.meshgrid(np.linspace(-0.6, 2.6, 161), np.linspace(-0.6, 2.6, 161))
    a, b = x - least[0], y - least[1]
    loss = 0.5 * (a * a + b * b) + rho * a * b
    end = path[-1]
    level = alpha[0] * abs(end[0]) + alpha[1] * abs(end[1]) if separate else alpha[0] * math.hypot(end[0], end[1])
    height = alpha[0] * np.abs(x) + alpha[1] * np.abs(y) if separate else alpha[0] * np.hypot(x, y)
    with canvas("light", (4.5, 4.5)) as (figure, axes):
        axes.contour(x, y, loss, levels=[0.02, 0.1, 0.25, 0.5, 0.9, 1.4], colors=COLOURS["muted"])
        if level > 0:
            axes.contour(x, y, height, levels=[level], colors=COLOURS["block"], linestyles="--")
        axes.plot(*zip(*path, strict=True), color=COLOURS["dense"])
        axes.plot(*end, "o", color=COLOURS["dense"])
        axes.plot(*least, "+", color=COLOURS["text"], markersize=10)
        axes.set(xlabel="first weight", ylabel="second weight", aspect="equal")
        return as_png(figure)


def touched(keep: np.ndarray, weights: list[list[int]], title: str) -> bytes:
    """The small matrix: removed, kept, and touched now."""
    from matplotlib.colors import ListedColormap

    shown = keep.astype(int)
    for i, j in weights:
        shown[i, j] = 2
    with canvas("light", (6, 3.8)) as (figure, axes):
        colours = ListedColormap(["white", COLOURS["grid"], COLOURS["block"]])
        axes.pcolormesh(shown[::-1], cmap=colours, vmin=0, vmax=2, edgecolors=COLOURS["muted"])
        axes.set(xlabel="input", ylabel="output", aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, fontsize=8)
        return as_png(figure)
