"""The frontier as a picture: score against measured speed, every seed a dot, levels for what needs no transformer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._common.plots import COLOURS, figure
from .alike import Records
from .frontier import Point, beaten
from .standing import Standing, Standings, standings

#: {kind: (marker, colour, filled)}; the dense model by precision, blocks by how their groups were chosen.
KINDS: Mapping[str, tuple[str, str, bool]] = {
    "dense float32, torch": ("o", "dense", True),
    "dense bfloat16, torch": ("X", "dense", True),
    "dense int8, torch": ("*", "dense", True),
    "dense float32, compiled": ("o", "dense", False),
    "dense bfloat16, compiled": ("X", "dense", False),
    "fewer layers": ("s", "accent", True),
    "gradual blocks": ("^", "unstructured", True),
    "reweighted blocks": ("D", "block", True),
    "other blocks": ("v", "muted", True),
    "no transformer": ("P", "ceiling", True),
}
#: A level further below the models than this part of their range is named at the edge: the models fill the axis.
_NEAR = 0.35


def save_frontier(records: Records, path: str | os.PathLike[str]) -> None:
    """Draw a panel for each task and model into an .svg or .png file, whole or not at all.

    Raises ValueError where no record has a latency or some cannot be compared, and as `check_picture` does.
    """
    studies = [study for study in standings(records) if any(line.points for line in study.lines)]
    if not studies:
        raise ValueError("no record has a latency: blockprune report --time measures it where models are kept")
    alt = "Score against measured speed: the dense model in each engine, every other setting in its fastest one, and "
    alt += "the frontier as a dashed line."
    caption = "Markers: means over seeds, which are the dots; dashed: the frontier; dotted: what needs no transformer."
    size = (6, 1.6 + 2.8 * len(studies))
    drawn = figure(lambda axes: draw_frontier(axes, *studies), alt=alt, caption=caption, size=size, rows=len(studies))
    drawn.save(path)


def draw_frontier(axes: Any, *studies: Standings) -> None:
    """Draw a panel for each study: a marker for each setting at its mean, small dots for its seeds, and the frontier.

    The dense model stands there in every engine, any other setting in its fastest. `axes`: one, or an array with one
    for each study; the last has the legend of all.
    """
    panels = list(np.atleast_1d(axes).flat)
    times = [point.times for study in studies for line in study.lines for point in line.points] or [1.0]
    for panel, study in zip(panels, studies, strict=True):
        _draw(panel, study)
        speed_axis(panel, max(times))
        panel.set_xlim(0.9 * min(*times, 1.0), 1.15 * max(times))
        panel.set_title(f"{study.title}, {study.model}: 100 × {study.measure}", fontsize=12)
        if panel is not panels[-1]:
            panel.set_xlabel("")
    legend(panels)


def _draw(axes: Any, study: Standings) -> None:
    shown = [(line, point) for line in study.lines for point in _shown(line)]
    for line, point in shown:
        kind = _kind(line, point.engine)
        style = marker_of(kind)
        if len(point.scores) > 1:
            values = [100 * score for score in point.scores]
            axes.plot([point.times] * len(values), values, ".", color=style["color"], markersize=4)
        axes.plot(point.times, 100 * point.mean, label=kind, linestyle="none", markersize=7, zorder=3, **style)
    every = [point for _, point in shown]
    best = sorted((point.times, 100 * point.mean) for point in every if not beaten(point, every))
    axes.plot([x for x, _ in best], [y for _, y in best], "--", color=COLOURS["muted"], linewidth=1, zorder=1)
    scores = [100 * score for point in every for score in point.scores]
    _levels(axes, study, scores)


def marker_of(kind: str) -> dict[str, Any]:
    """The marker of one of KINDS, as the keywords of matplotlib's `plot`."""
    marker, colour, filled = KINDS[kind]
    face = COLOURS[colour] if filled else "none"
    return {"marker": marker, "color": COLOURS[colour], "markerfacecolor": face}


def kind_of_dense(engine: str) -> str:
    """The kind of the dense model in an engine, which `Point` names by its precision, "compiled" before it.

    >>> kind_of_dense("compiled"), kind_of_dense("int8")
    ('dense float32, compiled', 'dense int8, torch')
    """
    by = "compiled" if engine.startswith("compiled") else "torch"
    return f"dense {engine.removeprefix('compiled').strip() or 'float32'}, {by}"


def speed_axis(axes: Any, fastest: float) -> None:
    """The axis of speed, with ticks up to `fastest`."""
    axes.set(xscale="log", xlabel="times as fast as dense float32 by torch (log)")
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50) if tick <= 1.3 * fastest]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def legend(panels: Sequence[Any]) -> None:
    """Under the last of the panels: every kind that one of them shows, once, in the order of KINDS."""
    drawn = {label: mark for panel in panels for mark, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    labels, last = [kind for kind in KINDS if kind in drawn], panels[-1]
    if labels:
        last.legend([drawn[kind] for kind in labels], labels, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=2)


def _shown(line: Standing) -> Sequence[Point]:
    return line.points if line.family == "dense" else [line.fastest] if line.fastest else []


def _kind(line: Standing, engine: str) -> str:
    if line.family == "dense":
        return kind_of_dense(engine)
    if line.family == "blocks":
        return kind_of_blocks(line.setting.method)
    return line.family


def kind_of_blocks(method: str) -> str:
    """The kind of blocks whose groups a method chose, whatever its variant."""
    kind = f"{method.split(',')[0]} blocks"
    return kind if kind in KINDS else "other blocks"


def _levels(axes: Any, study: Standings, scores: Sequence[float]) -> None:
    levels = [("bag of words", 100 * line.mean) for line in study.of("no transformer")]
    levels.append(("majority class", 100 * study.majority))
    low, high = min(scores, default=0.0), max(scores, default=100.0)
    room = max(high - low, 1.0)
    near = [(name, level) for name, level in levels if level > low - _NEAR * room]
    far = [f"{name} {level:.1f}" for name, level in levels if (name, level) not in near]
    for name, level in near:
        axes.axhline(level, linestyle=":", linewidth=1, color=COLOURS["ceiling"])
        axes.text(1, level, name, color=COLOURS["ceiling"], va="bottom")
    bottom = min([low, *(level for _, level in near)])
    axes.set_ylim(bottom - (0.22 if far else 0.08) * room, max([high, *(level for _, level in near)]) + 0.1 * room)
    if far:
        axes.text(0.01, 0.03, f"below: {', '.join(far)}", color=COLOURS["ceiling"], transform=axes.transAxes)
