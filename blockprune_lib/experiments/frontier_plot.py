"""The frontier as a picture: score against measured speed, every seed a dot, levels for what needs no transformer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._common.plots import COLOURS, figure
from .alike import Records
from .standing import Standing, Standings, standings

#: {kind: (marker, colour, filled)}; blocks are told apart by how their groups were chosen.
KINDS: Mapping[str, tuple[str, str, bool]] = {
    "dense, by torch": ("o", "dense", True),
    "dense, compiled": ("o", "dense", False),
    "fewer layers": ("s", "accent", True),
    "gradual blocks": ("^", "unstructured", True),
    "reweighted blocks": ("D", "block", True),
    "other blocks": ("v", "muted", True),
    "no transformer": ("P", "ceiling", True),
}


def save_frontier(records: Records, path: str | os.PathLike[str]) -> None:
    """Draw a panel for each task and model into an .svg or .png file, whole or not at all.

    Raises ValueError where no record has a latency or some cannot be compared, and as `check_picture` does.
    """
    studies = [study for study in standings(records) if any(line.points for line in study.lines)]
    if not studies:
        raise ValueError("no record has a latency: blockprune report --time measures it where models are kept")

    def draw(drawn: Any) -> None:
        for axes, study in zip(np.atleast_1d(drawn), studies, strict=True):
            draw_frontier(axes, study)
            axes.set_title(f"{study.task}, {study.model}", fontsize=11)

    alt = "Score against measured speed: a marker for each setting and engine, and the frontier as a dashed line."
    caption = "Markers: means over seeds, which are the dots; dashed: the frontier; dotted: what needs no transformer."
    figure(draw, alt=alt, caption=caption, size=(6, 4.6 * len(studies)), rows=len(studies)).save(path)


def draw_frontier(axes: Any, study: Standings) -> None:
    """Draw one study: a marker for each setting and engine at its mean, small dots for its seeds, and the frontier."""
    best: list[tuple[float, float]] = []
    for line in study.lines:
        for point in line.points:
            kind = _kind(line, point.engine)
            marker, name, filled = KINDS[kind]
            colour = COLOURS[name]
            if len(point.scores) > 1:
                axes.plot([point.times] * len(point.scores), _points(point.scores), ".", color=colour, markersize=4)
            face = colour if filled else "none"
            style = {"color": colour, "markerfacecolor": face, "linestyle": "none", "markersize": 7, "zorder": 3}
            axes.plot(point.times, 100 * point.mean, marker, label=kind, **style)
            best += [(point.times, 100 * point.mean)] if point.best else []
    best.sort()
    axes.plot([x for x, _ in best], [y for _, y in best], "--", color=COLOURS["muted"], linewidth=1, zorder=1)
    _levels(axes, study)
    axes.set_ylabel(f"100 × {study.measure}")
    dress(axes, max([times for times, _ in best], default=1.0))


def dress(axes: Any, fastest: float) -> None:
    """The axis of speed, with ticks up to `fastest`; under it a legend with every kind once, in the order of KINDS."""
    axes.set(xscale="log", xlabel="times as fast as dense float32 by torch (log)")
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50) if tick <= 1.3 * fastest]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [kind for kind in KINDS if kind in drawn]
    if labels:
        axes.legend([drawn[kind] for kind in labels], labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _kind(line: Standing, engine: str) -> str:
    if line.family == "dense":
        return "dense, compiled" if engine.startswith("compiled") else "dense, by torch"
    if line.family == "blocks":
        kind = f"{line.setting.method.split(',')[0]} blocks"
        return kind if kind in KINDS else "other blocks"
    return line.family


def _levels(axes: Any, study: Standings) -> None:
    levels = [("majority class", study.majority)]
    levels += [("bag of words", line.mean) for line in study.of("no transformer")]
    for name, level in levels:
        axes.axhline(100 * level, linestyle=":", linewidth=1, color=COLOURS["ceiling"])
        axes.text(1, 100 * level, name, color=COLOURS["ceiling"], va="bottom")


def _points(scores: Sequence[float]) -> list[float]:
    return [100 * score for score in scores]
