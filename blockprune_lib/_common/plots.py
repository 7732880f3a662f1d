"""Figures that work in print, in dark mode and for colour-blind readers, from one helper that demands alt text."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .files import write_whole

# Okabe and Ito's colour-blind-safe palette; the dark variants keep at least 4.5:1 contrast on the page's dark ground.
_PALETTES: dict[str, dict[str, str]] = {
    "light": {"dense": "#0072B2", "block": "#C44E00", "unstructured": "#00805E", "ceiling": "#555555",
              "accent": "#A6478F", "muted": "#767676", "text": "#1F2328", "grid": "#D0D4D9"},
    "dark": {"dense": "#56B4E9", "block": "#F08A3C", "unstructured": "#2CC295", "ceiling": "#B8BEC6",
             "accent": "#DD9BCB", "muted": "#9AA1AA", "text": "#E6E6E6", "grid": "#454B54"},
}  # fmt: skip

#: The colours of the theme being drawn; a drawing function looks them up as it draws.
COLOURS: dict[str, str] = dict(_PALETTES["light"])

#: Colour map of norms and other magnitudes: ordered in grey too, and safe for colour-blind readers.
MAGNITUDE = "cividis"

_STYLE = """<style>.bp-figure{margin:1rem 0;text-align:center}
.bp-figure img{max-width:100%;height:auto;padding:0!important;background:transparent!important}
.bp-figure figcaption{font-size:.9em;color:inherit!important;text-align:left;max-width:44rem;
margin:.4rem auto}.bp-figure .bp-dark{display:none}
html[data-theme=dark] .bp-figure .bp-light,html[theme=dark] .bp-figure .bp-light,
body[data-jp-theme-light=false] .bp-figure .bp-light{display:none}
html[data-theme=dark] .bp-figure .bp-dark,html[theme=dark] .bp-figure .bp-dark,
body[data-jp-theme-light=false] .bp-figure .bp-dark{display:inline}
@media print{html .bp-figure .bp-light{display:inline!important}
html .bp-figure .bp-dark{display:none!important}}</style>"""


def check_picture(path: str | os.PathLike[str]) -> Path:
    """The path, where a picture can be written to it; raises ValueError for its ending, its folder, and matplotlib."""
    target = Path(path)
    if target.suffix.lower() not in (".svg", ".png"):
        raise ValueError(f"a picture's name must end in .svg or .png; got {str(target)!r}")
    if not target.parent.is_dir():
        raise ValueError(f"{str(target)!r}: the folder {str(target.parent)!r} does not exist; make it first")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("pictures need matplotlib: pip install 'blockprune-lib[book]' installs it")
    return target


@dataclass(frozen=True)
class Figure:
    """A drawn figure: two SVG variants, a PNG for PDF and previews, its alt text and its caption."""

    light: str
    dark: str
    png: bytes
    alt: str
    caption: str
    name: str

    def __repr__(self) -> str:
        return f"Figure {self.name!r}: {self.caption}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture, whole or not at all; raises as `check_picture` does."""
        target = check_picture(path)
        write_whole(target, self.png if target.suffix.lower() == ".png" else self.light.encode())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        def image(svg: str, kind: str) -> str:
            data = base64.b64encode(svg.encode()).decode()
            # `dark-light` tells the theme that the picture suits both grounds: it adds no white box behind it.
            alt = escape(self.alt, quote=True)
            return f'<img class="bp-{kind} dark-light" alt="{alt}" src="data:image/svg+xml;base64,{data}">'

        identity = f' id="{escape(self.name, quote=True)}"' if self.name else ""
        pictures = image(self.light, "light") + image(self.dark, "dark")
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        html = f'{_STYLE}<figure class="bp-figure"{identity}>{pictures}{caption}</figure>'
        return {"text/html": html, "image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}


def figure(
    draw: Callable[[Any], object], *, alt: str, caption: str, name: str = "", size: tuple[float, float] = (7.0, 4.0),
    rows: int = 1, columns: int = 1,
) -> Figure:  # fmt: skip
    """Draw a figure once per theme and return it with its alt text and caption.

    `draw` takes the axes, or the array of axes where `rows` or `columns` is above 1; called twice, it measures nothing.
    `size` is in inches; 7 wide fits a page, and text stays readable at half of that. Raises TypeError where `draw`
    cannot be called, ValueError where `alt` or `caption` is missing.

    >>> figure(lambda ax: ax.plot([1, 2]), alt="A line rising from 1 to 2.", caption="A line.", name="fig-line")
    Figure 'fig-line': A line.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that takes the axes; got {type(draw).__name__}")
    for label, text in (("alt", alt), ("caption", caption)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{label} must be a sentence; got {text!r}: what the figure shows would do")
    variants: dict[str, str] = {}
    png = b""
    for mode in ("light", "dark"):
        with canvas(mode, size, rows, columns) as (drawn, axes):
            draw(axes)
            svg = io.StringIO()
            # No date in the file: the same numbers give the same bytes.
            drawn.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
            variants[mode] = svg.getvalue()
            png = png or as_png(drawn)
    return Figure(variants["light"], variants["dark"], png, alt.strip(), caption.strip(), name)


@contextmanager
def canvas(mode: str, size: tuple[float, float], rows: int = 1, columns: int = 1) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure and its axes in the style of a theme, "light" or "dark", which also sets `COLOURS`."""
    import matplotlib.pyplot as plt

    palette, before = _PALETTES[mode], dict(COLOURS)
    order = ("dense", "block", "unstructured", "accent", "ceiling")
    in_text_colour = ("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color", "ytick.color")
    style = dict.fromkeys(in_text_colour, palette["text"]) | {
        "axes.axisbelow": True, "axes.edgecolor": palette["muted"], "axes.facecolor": "none", "axes.grid": True,
        "axes.prop_cycle": plt.cycler(color=[palette[name] for name in order]), "axes.spines.right": False,
        "axes.spines.top": False, "axes.titlesize": 13, "figure.facecolor": "none", "font.size": 12,
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
        COLOURS.update(before)


def as_png(drawn: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG, on white."""
    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=150, facecolor="white")
    return content.getvalue()
