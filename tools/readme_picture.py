"""README's picture: how fast and how accurate, dense and in blocks, from the records of the study on GLUE."""

from __future__ import annotations

import io
import re
from pathlib import Path

from blockprune_lib import plots
from blockprune_lib.experiments.frontier import Point
from blockprune_lib.experiments.report import interval
from tools.readme_accuracy import TASKS, majority_of, measure_of_task, rows, timed_points

PICTURE = Path(__file__).resolve().parent.parent / "book" / "images" / "speed-and-accuracy.svg"
#: Rows of README's table that the picture has too; a pattern each.
SHOWN = (r"dense, PyTorch float32", r"dense, PyTorch int8", r"dense, compiled here, bfloat16", r"[23] layers",
         r"blocks .*")  # fmt: skip


def task_shown(found: list[Point]) -> str:
    """The first task, in the order of the tables, that has a pruned model."""
    return next(task for task in TASKS if any(p.setting.task == task and p.setting.structure for p in found))


def picture() -> str:
    """The SVG, readable on light and dark ground."""
    found = timed_points()
    task = task_shown(found)
    chosen: dict[str, Point] = {}
    for name, points in rows(found).items():
        plain = name.strip("*")
        here = [point for point in points if point.setting.task == task]
        if here and any(re.match(pattern, plain) for pattern in SHOWN):
            chosen[plain.replace(", the fastest engine", "")] = here[0]
    with plots.canvas("light", (10, 0.8 + 0.42 * len(chosen)), columns=2) as (canvas, (left, right)):
        for place, (name, point) in enumerate(chosen.items()):
            colour = plots.COLOURS["block" if name.startswith("blocks") else "dense"]
            left.barh(place, point.times, color=colour)
            left.text(point.times, place, f" {point.times:.1f}", va="center")
            ends = interval(point.scores)
            if ends:
                right.plot(ends, (place, place), color=colour, linewidth=3)
            right.plot([point.mean], [place], "o", color=colour, markersize=9)
            right.annotate(f"{point.mean:.3f}", (max(ends or [point.mean]), place), (8, 0), va="center",
                           textcoords="offset points")  # fmt: skip
        right.axvline(majority_of(task), color=plots.COLOURS["ceiling"], linestyle="--")
        left.set_yticks(range(len(chosen)), list(chosen))
        left.set(xlabel="times as fast as the first row", title="Speed")
        right.set(xlabel=f"{measure_of_task(task)}; dashed: majority class", title=f"Accuracy on {TASKS[task]}")
        right.set_yticks([])
        for axes in (left, right):
            axes.invert_yaxis()
            axes.grid(axis="y", visible=False)
            axes.margins(x=0.22)
        right.set_ylim(left.get_ylim())
        text = io.StringIO()
        canvas.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()
