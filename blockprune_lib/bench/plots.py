"""A benchmark's record as a picture: useful GFLOP/s of every engine, with the machine's peak as the roof line."""

from __future__ import annotations

import math
import os
from typing import Any

from .._common.plots import COLOURS, figure
from .case import Case
from .records import Record


def save_plot(record: Record, path: str | os.PathLike[str]) -> None:
    """Draw a panel for each case and write it as SVG or PNG, whole or not at all. Raises as `check_picture` does."""
    cases, columns = record.cases, min(2, len(record.cases))
    rows = math.ceil(len(cases) / columns)
    height = max(1.2 + 0.32 * len(case.engines) for case in cases)

    def draw(axes: Any) -> None:
        panels = [axes] if rows * columns == 1 else list(axes.flat)
        for panel, case in zip(panels, cases, strict=False):
            _panel(panel, case)
        for panel in panels[len(cases) :]:
            panel.set_visible(False)

    drawn = figure(
        draw,
        alt="Bars of useful GFLOP/s of each engine with their quartiles, and a line at the measured peak.",
        caption="Useful GFLOP/s: products with kept weights only; the line is the peak measured in the same rounds.",
        name="blockprune-bench", size=(8.0 * columns, height * rows), rows=rows, columns=columns,
    )  # fmt: skip
    drawn.save(path)


def _panel(axes: Any, case: Case) -> None:
    special = {case.baseline: COLOURS["dense"]} | {engine.key: COLOURS["block"] for engine in case.all_ours}
    peak = case.peak_gflops.median
    engines, ends = case.engines[::-1], []
    for place, engine in enumerate(engines):
        rate, (low, high) = engine.useful_gflops, (case.operations / ms / 1e6 for ms in (engine.ms.q3, engine.ms.q1))
        axes.barh(place, rate, color=special.get(engine.key, COLOURS["muted"]), height=0.7)
        spread = [[rate - low], [high - rate]]
        axes.errorbar(rate, place, xerr=spread, color=COLOURS["text"], capsize=3, linewidth=1)
        axes.annotate(f"{rate:.1f}", (high, place), (6, 0), textcoords="offset points", va="center", fontsize=10)
        ends.append(high)
    axes.axvline(peak, color=COLOURS["ceiling"], linestyle="--", linewidth=1.5)
    axes.annotate(
        f"peak {peak:.0f}", (peak, len(engines) - 0.4), (-4, 0), textcoords="offset points", ha="right", va="bottom",
        fontsize=10, color=COLOURS["ceiling"],
    )  # fmt: skip
    axes.set_yticks(range(len(engines)), [engine.name for engine in engines])
    axes.set_xlim(0, 1.08 * max(peak, *ends))
    axes.set_ylim(-0.6, len(engines) + 0.2)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("useful GFLOP/s")
    axes.set_title(str(case.what), fontsize=11)
