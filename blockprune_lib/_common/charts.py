"""Charts by seaborn in the book's colours: estimates with their spread, curves, distributions, heat maps.

Each takes the axes that `figure` hands to a drawing function, and *kinds*: the name of a colour of `COLOURS`, such as
"dense", for all of it or for each label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .theme import COLOURS, MAGNITUDE

#: A colour's name for everything, or one for each label; a label without one is "unstructured".
Kinds = str | Mapping[str, str]


def bars(ax: Any, rows: Mapping[str, Sequence[float]], kinds: Kinds = "dense", spread: float = 50) -> None:
    """Level bars at the median of each row of samples, with a line over their middle `spread` per cent.

    50 gives the quartiles. For an estimate with its interval, a row is (low, value, high) and `spread` is 100.
    """
    import seaborn as sns

    labels = list(rows)
    of_samples = np.repeat(labels, [len(row) for row in rows.values()])
    sns.barplot(
        x=np.concatenate([np.asarray(row, float) for row in rows.values()]), y=of_samples, hue=of_samples,
        order=labels, hue_order=labels, palette=_colours(labels, kinds), saturation=1, orient="h", legend=False,
        estimator="median", errorbar=("pi", spread), capsize=0.25, width=0.65, ax=ax,
        err_kws={"color": COLOURS["text"], "linewidth": 1.5},
    )  # fmt: skip
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="", ylabel="")


def curve(
    ax: Any, x: Sequence[float], rows: Sequence[Sequence[float]], kind: str = "dense", spread: float = 50, **line: Any
) -> None:
    """Line through the medians of samples at each x, with a band over their middle `spread` per cent.

    `line` goes to seaborn's lineplot, such as label="CSR", marker="o", linestyle="--".
    """
    import seaborn as sns

    places = np.repeat(np.asarray(x, float), [len(row) for row in rows])
    values = np.concatenate([np.asarray(row, float) for row in rows])
    sns.lineplot(
        x=places, y=values, estimator="median", errorbar=("pi", spread), color=COLOURS[kind], ax=ax,
        err_kws={"alpha": 0.25, "linewidth": 0}, **{"markeredgewidth": 0} | line,
    )  # fmt: skip


def distribution(ax: Any, groups: Mapping[str, Any], kinds: Kinds = "dense", **histogram: Any) -> None:
    """Histograms over each other, one for each label, on the same bins; `histogram` goes to seaborn's histplot.

    Such as bins=60, log_scale=True, stat="percent", binrange=(0, 1).
    """
    import seaborn as sns

    values = {label: np.asarray(group, float).ravel() for label, group in groups.items()}
    labels = list(values)
    sns.histplot(
        x=np.concatenate(list(values.values())), hue=np.repeat(labels, [len(group) for group in values.values()]),
        hue_order=labels, palette=_colours(labels, kinds), element="step", alpha=0.55, linewidth=0.8, legend=False,
        ax=ax, **{"bins": 60, "common_norm": False} | histogram,
    )  # fmt: skip


def heat_map(
    ax: Any, values: Any, *, groups: tuple[int, int] | None = None, signed: bool = False, top: float | None = None,
    label: str | None = None,
) -> None:  # fmt: skip
    """Matrix as colours, outputs down and inputs across; NaN, what was removed, is grey.

    `groups` (r, c) draws the grid of groups where they are large enough to see. The scale runs from 0 to `top`, or from
    -top to top where `signed`; a `label` gives it a scale bar.
    """
    import seaborn as sns

    matrix = np.asarray(values, float)
    top = float(np.nanmax(np.abs(matrix))) if top is None else top
    colours = sns.color_palette("vlag" if signed else MAGNITUDE, as_cmap=True).with_extremes(bad=COLOURS["grid"])
    sns.heatmap(
        matrix, mask=np.isnan(matrix), cmap=colours, vmin=-top if signed else 0, vmax=top,
        cbar=label is not None, cbar_kws={"label": label} if label is not None else None, ax=ax, rasterized=True,
        xticklabels=False, yticklabels=False,
    )  # fmt: skip
    height, width = matrix.shape
    line = {"colors": COLOURS["muted"], "linewidth": 0.8, "clip_on": False}
    if groups is not None and max(height / groups[0], width / groups[1]) <= 64:
        ax.hlines(np.arange(0, height + 1, groups[0]), 0, width, **line)
        ax.vlines(np.arange(0, width + 1, groups[1]), 0, height, **line)
    else:
        ax.hlines([0, height], 0, width, **line)
        ax.vlines([0, width], 0, height, **line)
    ax.grid(visible=False)


def _colours(labels: Sequence[str], kinds: Kinds) -> dict[str, str]:
    named = dict.fromkeys(labels, kinds) if isinstance(kinds, str) else kinds
    return {label: COLOURS[named.get(label, "unstructured")] for label in labels}
