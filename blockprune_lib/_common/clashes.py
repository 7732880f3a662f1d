"""Which labels of a drawn figure cross a line or another label: what a reader would see, and a program can."""

from __future__ import annotations

from itertools import combinations
from typing import Any

#: Pixels at 100 to the inch by which a label's box is made smaller: its edge is white.
_SLACK = 2.0


def clashes(drawn: Any) -> tuple[str, ...]:
    """Each label, legend and title of a matplotlib figure that crosses a line, another one, or a neighbour's tick.

    A label with a ground of its own (`bbox=`) may lie on lines. Bars, bands and grid lines are not looked at.
    """
    drawn.canvas.draw()
    renderer, found = drawn.canvas.get_renderer(), []
    for ax in drawn.axes:
        if not ax.get_visible():
            continue
        labels = [(text.get_text(), text, _box(text, renderer)) for text in ax.texts if _seen(text)]
        if ax.get_legend() is not None:
            labels.append(("the legend", None, _box(ax.get_legend(), renderer)))
        found += [
            f"{_words(a)} × {_words(b)}" for (a, _, one), (b, _, two) in combinations(labels, 2) if one.overlaps(two)
        ]
        for words, text, box in labels:
            if text is not None and text.get_bbox_patch() is not None:
                continue
            found += [f"{_words(words)} × a line" for line in ax.lines if _crosses(line, box, ax.bbox)][:1]
        for axis in (ax.xaxis, ax.yaxis):
            ticks = [text for text in axis.get_ticklabels(which="both") if _seen(text)]
            near = [(text.get_text(), _box(text, renderer)) for text in ticks]
            near = [(words, box) for words, box in near if _touches(ax.bbox, box)]
            found += [f"tick {a} × tick {b}" for (a, one), (b, two) in combinations(near, 2) if one.overlaps(two)]
    return tuple(found)


def _seen(text: Any) -> bool:
    return bool(text.get_visible() and text.get_text().strip())


def _words(text: str) -> str:
    return " ".join(text.split())


def _box(artist: Any, renderer: Any) -> Any:
    from matplotlib.text import Text

    # An annotation's own extent has its arrow in it, which points at a line on purpose.
    words = isinstance(artist, Text)
    box = Text.get_window_extent(artist, renderer) if words else artist.get_window_extent(renderer)
    return box.padded(-min(_SLACK, box.width / 4, box.height / 4))


def _touches(frame: Any, box: Any) -> bool:
    """Whether a tick label belongs to a tick inside its axes: matplotlib keeps some beyond the ends."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return bool(frame.x0 - 1 <= x <= frame.x1 + 1 or frame.y0 - 1 <= y <= frame.y1 + 1)


def _crosses(line: Any, box: Any, frame: Any) -> bool:
    from matplotlib.transforms import Bbox

    inside = Bbox.intersection(box, frame)
    if inside is None or not line.get_visible():
        return False
    path = line.get_path().transformed(line.get_transform())
    if line.get_linestyle() in ("None", "", " "):
        return bool(any(inside.contains(x, y) for x, y in path.vertices))
    return bool(len(path.vertices) > 1 and path.intersects_bbox(inside, filled=False))
