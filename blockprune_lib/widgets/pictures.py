"""PNGs of the explorers, for print and wherever no script runs. matplotlib is imported only here."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def png(figure: Any) -> bytes:
    """A matplotlib figure as PNG bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, facecolor="white")
    return content.getvalue()


def maps(panels: Mapping[str, np.ndarray], shape: tuple[int, int], title: str) -> bytes:
    """Heat maps of group scores side by side; NaN is a removed group."""
    from matplotlib.figure import Figure

    from .._common.plots import MAGNITUDE

    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    top = max(float(np.nanmax(grid)) for grid in panels.values())
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, grid) in zip(row, panels.items(), strict=True):
        axes.set_facecolor("#E9EBEE")
        drawn = axes.imshow(
            grid,
            aspect="auto",
            cmap=MAGNITUDE,
            vmin=0,
            vmax=top,
            interpolation="nearest",
            extent=(0, shape[1], shape[0], 0),
        )
        axes.set(title=name, xlabel="input")
    row[0].set_ylabel("output")
    figure.suptitle(title)
    figure.colorbar(drawn, ax=row, label="score of a kept group")
    return png(figure)


def times(densities: list[float], sparse: list[float], dense: float, even: float, title: str) -> bytes:
    """Least time against density, dense as a level line, break-even marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(densities, sparse, color="#C44E00", label="sparse, by the roofline")
    axes.axhline(dense, color="#0072B2", linestyle="--", label="dense, by the roofline")
    axes.axvline(even, color="#555555", linestyle=":", label="break-even")
    axes.set(xlabel="density", ylabel="ms", title=title, ylim=(0, None))
    axes.legend(frameon=False)
    return png(figure)


def plane(least: tuple[float, float], rho: float, path: list[list[float]], alpha: list[float], separate: bool) -> bytes:
    """Level lines of the loss, the penalty's level line through the end of the path, and the path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(-0.6, 2.6, 161), np.linspace(-0.6, 2.6, 161))
    a, b = x - least[0], y - least[1]
    axes.contour(x, y, 0.5 * (a * a + b * b) + rho * a * b, levels=[0.02, 0.1, 0.25, 0.5, 0.9, 1.4], colors="#999999")
    end = path[-1]
    level = alpha[0] * abs(end[0]) + alpha[1] * abs(end[1]) if separate else alpha[0] * math.hypot(end[0], end[1])
    height = alpha[0] * np.abs(x) + alpha[1] * np.abs(y) if separate else alpha[0] * np.hypot(x, y)
    if level > 0:
        axes.contour(x, y, height, levels=[level], colors="#C44E00", linestyles="--")
    axes.plot(*zip(*path, strict=True), color="#0072B2")
    axes.plot(*end, "o", color="#0072B2")
    axes.plot(*least, "+", color="black", markersize=10)
    axes.set(xlabel="first weight", ylabel="second weight", aspect="equal")
    return png(figure)


def touched(keep: np.ndarray, weights: list[list[int]], title: str) -> bytes:
    """The small matrix: removed, kept, and touched now."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    shown = keep.astype(int)
    for i, j in weights:
        shown[i, j] = 2
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(
        shown[::-1], cmap=ListedColormap(["white", "#C9CDD2", "#C44E00"]), vmin=0, vmax=2, edgecolors="#666666"
    )
    axes.set(xlabel="input", ylabel="output", aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    return png(figure)
