"""The look of all figures: two palettes, seaborn's style in their colours, and a canvas to draw on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Okabe and Ito's colour-blind-safe palette; the dark variants keep at least 4.5:1 contrast on the page's dark ground.
PALETTES: dict[str, dict[str, str]] = {
    "light": {"dense": "#0072B2", "block": "#C44E00", "unstructured": "#00805E", "ceiling": "#555555",
              "accent": "#A6478F", "muted": "#767676", "text": "#1F2328", "grid": "#D0D4D9"},
    "dark": {"dense": "#56B4E9", "block": "#F08A3C", "unstructured": "#2CC295", "ceiling": "#B8BEC6",
             "accent": "#DD9BCB", "muted": "#9AA1AA", "text": "#E6E6E6", "grid": "#454B54"},
}  # fmt: skip

#: The colours of the theme being drawn; a drawing function looks them up as it draws.
COLOURS: dict[str, str] = dict(PALETTES["light"])

#: Colour map of norms and other magnitudes: ordered in grey too, and safe for colour-blind readers.
MAGNITUDE = "cividis"

#: Size of all text, in points; titles have one more.
POINTS = 12.0


@contextmanager
def canvas(
    mode: str, size: tuple[float, float], rows: int = 1, columns: int = 1, points: float = POINTS
) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes in seaborn's style and the colours of a theme, "light" or "dark", which sets `COLOURS`."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    palette, before = PALETTES[mode], dict(COLOURS)
    order = ("dense", "block", "unstructured", "accent", "ceiling")
    in_text_colour = ("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color", "ytick.color")
    in_text_size = ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    style = sns.axes_style("ticks") | sns.plotting_context("notebook") | {
        **dict.fromkeys(in_text_colour, palette["text"]), **dict.fromkeys(in_text_size, points),
        "axes.axisbelow": True, "axes.edgecolor": palette["muted"], "axes.facecolor": "none", "axes.grid": True,
        "axes.prop_cycle": plt.cycler(color=[palette[name] for name in order]), "axes.spines.right": False,
        "axes.spines.top": False, "axes.titlesize": points + 1, "figure.facecolor": "none", "grid.linewidth": 0.8,
        "grid.color": palette["grid"], "legend.frameon": False, "lines.linewidth": 2.0, "svg.hashsalt": "blockprune",
    }  # fmt: skip
    COLOURS.update(palette)
    try:
        with plt.rc_context(style):
            drawn, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
            try:
                yield drawn, axes
            finally:
                plt.close(drawn)
    finally:
        COLOURS.clear()
        COLOURS.update(before)


def as_png(drawn: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG, on white."""
    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=150, facecolor="white")
    return in_few_colours(content.getvalue())


def in_few_colours(png: bytes) -> bytes:
    """The same picture with at most 256 colours, or as it is where that takes no fewer bytes."""
    from PIL import Image

    found = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(found, "PNG", optimize=True)
    return min(png, found.getvalue(), key=len)
