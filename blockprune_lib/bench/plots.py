"""A benchmark's record as a picture: useful GFLOP/s of every engine, with the machine's peak as the roof line.

matplotlib is imported only here. Left out: the book's figures, which its chapters draw from the same records.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from .._common.files import write_whole
from .measuring import Case
from .records import Record
from .tables import title

KINDS = (".svg", ".png")
PIP = "pip install 'blockprune-lib[book]'"


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless a picture can be written to `path`: its ending, its folder, and matplotlib."""
    target = Path(path)
    if target.suffix.lower() not in KINDS:
        raise ValueError(f"{str(target)!r}: a picture ends in {' or '.join(KINDS)}")
    if not target.parent.is_dir():
        raise ValueError(f"{str(target)!r}: the folder {str(target.parent)!r} does not exist; make it first")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(f"pictures need matplotlib, which is not installed; {PIP} installs it") from None


def save_plot(record: Record, path: str | os.PathLike[str]) -> None:
    """Draw a panel for each case and write it as SVG or PNG, whole or not at all. Raises as `check_plot` does."""
    check_plot(path)
    from .._common import plots

    cases = record.cases
    columns = min(2, len(cases))
    rows = math.ceil(len(cases) / columns)
    height = max(1.2 + 0.32 * len(case.engines) for case in cases)

    def draw(axes: Any) -> None:
        panels = [axes] if rows * columns == 1 else list(axes.flat)
        for panel, case in zip(panels, cases, strict=False):
            _panel(panel, case, plots.COLOURS)
        for panel in panels[len(cases) :]:
            panel.set_visible(False)

    figure = plots.figure(
        draw,
        alt="Bars of useful GFLOP/s of each engine with their quartiles, and a line at the measured peak.",
        caption="Useful GFLOP/s: products with kept weights only; the line is the peak measured in the same rounds.",
        name="blockprune-bench",
        size=(8.0 * columns, height * rows),
        rows=rows,
        columns=columns,
    )
    content = figure.png if Path(path).suffix.lower() == ".png" else figure.light.encode()
    write_whole(path, content)


def _panel(axes: Any, case: Case, colours: dict[str, str]) -> None:
    keys = list(case.engines)
    special = {case.ours: colours["block"], case.baseline: colours["dense"]}
    for place, key in enumerate(reversed(keys)):
        timing, rate = case.comparison.timings[key], case.gflops(key)
        spread = [[rate - case.gflops(key, timing.q3)], [case.gflops(key, timing.q1) - rate]]
        axes.barh(place, rate, color=special.get(key, colours["muted"]), height=0.7)
        axes.errorbar(rate, place, xerr=spread, color=colours["text"], capsize=3, linewidth=1)
        end = case.gflops(key, timing.q1)
        axes.annotate(f"{rate:.1f}", (end, place), (6, 0), textcoords="offset points", va="center", fontsize=10)
    axes.axvline(case.peak_gflops, color=colours["ceiling"], linestyle="--", linewidth=1.5)
    axes.annotate(
        f"peak {case.peak_gflops:.0f}", (case.peak_gflops, len(keys) - 0.4), (-4, 0), textcoords="offset points",
        ha="right", va="bottom", fontsize=10, color=colours["ceiling"],
    )  # fmt: skip
    axes.set_yticks(range(len(keys)), [case.engines[key].name for key in reversed(keys)])
    axes.set_xlim(
        0, 1.08 * max([case.peak_gflops, *(case.gflops(key, case.comparison.timings[key].q1) for key in keys)])
    )
    axes.set_ylim(-0.6, len(keys) + 0.2)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("useful GFLOP/s")
    axes.set_title(title(case), fontsize=11)
