"""The mean over tasks as a picture: points lost against the dense model, and measured speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._common.plots import COLOURS
from .frontier_plot import kind_of_blocks, kind_of_dense, legend, marker_of, speed_axis
from .pooled import MeanDifference, ratio_over_tasks
from .standing import Standings


def draw_over_tasks(axes: Any, studies: Sequence[Standings], cost: Iterable[MeanDifference]) -> None:
    """Draw each of `cost`, differences to dense, at its speed, with both intervals; dense in each engine at 0.

    The interval of points is over seeds, that of speed over the rounds of its measurement.

    What was not timed on each of its tasks is left out, and of the dense model each engine is drawn over those tasks on
    which it was scored.
    """
    ratios = {one: ratio for one in cost if (ratio := ratio_over_tasks(studies, one)) is not None}
    timed = [(one, ratio.value) for one, ratio in ratios.items()]
    if timed:
        _draw_dense(axes, [study for study in studies if study.task in timed[0][0].tasks], timed[0][0].model)
    for one, times in timed:
        kind = kind_of_blocks(one.method) if one.structure else "fewer layers"
        ends = one.seeds or (one.mean, one.mean)
        wide = 6 if kind == "gradual blocks" else 3  # seen where another marker lies on it
        style = marker_of(kind) | {"linestyle": "none", "capsize": wide}
        axes.errorbar(times, 100 * one.mean, 50 * (ends[1] - ends[0]), label=kind, **style)
        axes.plot([ratios[one].low, ratios[one].high], [100 * one.mean] * 2, color=style["color"], linewidth=2)
        name = f"rate {one.rate:g}" if one.structure else one.method.removeprefix("dense, ")
        if kind == "other blocks":  # whose colour and shape do not say which
            name = f"{one.method},\n{name}"
        left = _neighbour_on_the_right(one, times, timed)
        shift, side = ((-7, -3), "right") if left else ((7, 3), "left")
        _write(axes, name, times, 100 * one.mean, shift, ha=side, color=style["color"])
    axes.axhline(0, color=COLOURS["grid"], linewidth=1, zorder=0)
    axes.set_ylabel("points against dense")
    axes.margins(x=0.22)
    axes.locator_params(axis="y", steps=[1, 5, 10])
    speed_axis(axes, max((times for _, times in timed), default=1.0))
    legend([axes])


def _neighbour_on_the_right(one: MeanDifference, times: float, timed: Sequence[tuple[MeanDifference, float]]) -> bool:
    """Whether the marker that lies nearest is faster: then the label belongs on the left."""
    others = [(speed, other) for other, speed in timed if other is not one]
    if not others:
        return False
    # A factor of ten in speed takes about as much room as 25 points.
    apart = [np.hypot(np.log10(speed / times), 4 * (other.mean - one.mean)) for speed, other in others]
    return others[int(np.argmin(apart))][0] > times


def _draw_dense(axes: Any, studies: Iterable[Standings], model: str) -> None:
    engines = dict[str, list[tuple[float, float]]]()  # (times, points) of each task
    for study in studies:
        line = study.find("dense")
        if line is not None and study.model == model:
            for point in line.points:
                engines.setdefault(point.engine, []).append((point.times, 100 * (point.mean - line.mean)))
    for name, pairs in engines.items():
        times, points = float(np.exp(np.mean(np.log([t for t, _ in pairs])))), float(np.mean([p for _, p in pairs]))
        kind = kind_of_dense(name)
        axes.plot(times, points, label=kind, linestyle="none", **marker_of(kind))


def _write(axes: Any, text: str, x: float, y: float, shift: tuple[int, int], **more: Any) -> None:
    axes.annotate(
        text, (x, y), shift, textcoords="offset points", fontsize=12, va="bottom" if shift[1] > 0 else "top", **more
    )
