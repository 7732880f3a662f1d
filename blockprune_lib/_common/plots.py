"""Figures that work in print, in the dark, on a phone and for colour-blind readers: one helper, which demands alt text.

`figure` draws; `bars`, `curve`, `distribution` and `heat_map` are what most drawing functions call, by seaborn.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .charts import bars, curve, distribution, heat_map
from .clashes import clashes
from .files import write_whole
from .tables import marked
from .theme import COLOURS, MAGNITUDE, POINTS, as_png, canvas, in_few_colours

__all__ = [
    "COLOURS", "MAGNITUDE", "Figure", "as_png", "bars", "canvas", "check_picture", "curve", "distribution", "figure",
    "heat_map", "start_numbering",
]  # fmt: skip

#: Points of text for each inch of a figure's width: 9 pixels where the page is a phone's 350 pixels wide.
_POINTS_AN_INCH = 1.92
#: The number of each figure of the page, by its name.
_NUMBERS: dict[str, int] = {}

_STYLE = """<style>.bp-figure{margin:1rem 0;text-align:center}
.bp-figure img{max-width:100%;height:auto;padding:0!important;background:transparent!important}
.bp-figure figcaption{font-size:.9em;color:inherit!important;text-align:left;max-width:44rem;
margin:.4rem auto}.bp-figure .bp-dark{display:none}.bp-figure .bp-number{font-weight:600}
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
    if not all(importlib.util.find_spec(name) for name in ("matplotlib", "seaborn")):
        raise ValueError("pictures need matplotlib and seaborn: pip install 'blockprune-lib[book]' installs it")
    return target


@dataclass(frozen=True)
class Figure:
    """A drawn figure: two SVG variants, a PNG for PDF and previews, its alt text, caption and number on the page.

    `clashes` are the labels that cross a line or another label, each in words; a page's test wants none.
    """

    light: str
    dark: str
    png: bytes
    alt: str
    caption: str
    name: str
    number: int = 1
    clashes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Figure {self.name!r}: {self.caption}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture, whole or not at all; raises as `check_picture` does."""
        target = check_picture(path)
        write_whole(target, self.png if target.suffix.lower() == ".png" else self.light.encode())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        def image(svg: str, kind: str) -> str:
            data = base64.b64encode(_smaller(svg).encode()).decode()
            # `dark-light` tells the theme that the picture suits both grounds: it adds no white box behind it.
            alt = escape(self.alt, quote=True)
            return f'<img class="bp-{kind} dark-light" alt="{alt}" src="data:image/svg+xml;base64,{data}">'

        identity = f' id="{escape(self.name, quote=True)}"' if self.name else ""
        pictures = image(self.light, "light") + image(self.dark, "dark")
        number = f'<span class="bp-number">Fig. {self.number}.</span>'
        caption = f"<figcaption>{number} {marked(self.caption)}</figcaption>"
        found = f' data-clashes="{escape("; ".join(self.clashes), quote=True)}"' if self.clashes else ""
        html = f'{_STYLE}<figure class="bp-figure"{identity}{found}>{pictures}{caption}</figure>'
        return {"text/html": html, "image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}


def _smaller(svg: str) -> str:
    """The same picture in fewer bytes: places to a hundredth of a point, few colours, no notes, no indentation."""

    def rounded(attribute: re.Match[str]) -> str:
        # A scale stays as it is: a hundredth of a factor would show in every letter.
        return re.sub(r"((?:scale|matrix)\([^)]*\))|-?\d+\.\d{3,}", place, attribute[0])

    def place(found: re.Match[str]) -> str:
        return found[1] or f"{round(float(found[0]), 2):g}"

    def recoloured(inside: re.Match[str]) -> str:
        return base64.b64encode(in_few_colours(base64.b64decode(inside[0]))).decode()

    svg = re.sub(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=\s]+", recoloured, svg)
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', rounded, svg)
    return re.sub(r"\s+", " ", svg).replace("> <", "><").strip()


def start_numbering() -> None:
    """Begin a page: its first figure is number 1."""
    _NUMBERS.clear()


def figure(
    draw: Callable[[Any], object], *, alt: str, caption: str, name: str = "", size: tuple[float, float] = (7.0, 4.0),
    rows: int = 1, columns: int = 1,
) -> Figure:  # fmt: skip
    """Draw a figure once per theme and return it with its alt text and caption.

    `draw` takes the axes, or the array of axes where `rows` or `columns` is above 1; called twice, it measures nothing.
    `size` is in inches; 7 wide fits a page. Text grows with the width so that a phone can show it, up to 8; in a wider
    figure it would be too small there. A page counts its figures; one drawn again under its `name` keeps its number.
    The caption may hold `code` and *emphasis*. Raises TypeError where `draw` cannot be called, ValueError where `alt`
    or `caption` is missing.

    >>> figure(lambda ax: ax.plot([1, 2]), alt="A line rising from 1 to 2.", caption="A line.", name="fig-line")
    Figure 'fig-line': A line.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that takes the axes; got {type(draw).__name__}")
    for label, text in (("alt", alt), ("caption", caption)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{label} must be a sentence; got {text!r}: what the figure shows would do")
    variants: dict[str, str] = {}
    found: tuple[str, ...] = ()
    png, points = b"", max(POINTS, _POINTS_AN_INCH * min(size[0], 8.0))
    for mode in ("light", "dark"):
        with canvas(mode, size, rows, columns, points) as (drawn, axes):
            draw(axes)
            svg = io.StringIO()
            # No date in the file: the same numbers give the same bytes.
            drawn.savefig(svg, format="svg", transparent=True, dpi=200, metadata={"Date": None})
            variants[mode] = svg.getvalue()
            png, found = png or as_png(drawn), found or clashes(drawn)
    number = _NUMBERS.setdefault(name or caption, len(_NUMBERS) + 1)
    return Figure(variants["light"], variants["dark"], png, alt.strip(), caption.strip(), name, number, found)
