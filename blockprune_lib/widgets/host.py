"""One ES module, three hosts: a live kernel through anywidget, a page without a kernel, a picture in print.

In a book that is built with BLOCKPRUNE_STATIC=1 the display is HTML: a place on the page, the module, and a small
stand-in for the model that anywidget would give it (stand_in.js).
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from html import escape
from pathlib import Path
from typing import Any

try:
    import anywidget
    import traitlets
except ImportError as error:  # pragma: no cover - the book's extra brings both
    raise ImportError("blockprune_lib.widgets needs anywidget: pip install 'blockprune-lib[book]'") from error

from ..pruning.structure import BlockStructure

STATIC = "BLOCKPRUNE_STATIC"
_PRINT = (
    "<style>.bpw-picture{display:none}@media print{.bpw-place{display:none}"
    ".bpw-picture{display:block!important;max-width:100%}}</style>"
)


def group_sides(text: str) -> dict[str, Any]:
    """What a front end is told of a structure: a group's height and width, None for the whole side, and its strips."""
    structure = BlockStructure.parse(text)
    return {"height": structure.height, "width": structure.width, "strips": structure.strips}


def source(name: str) -> str:
    """The ES module NAME.js with what it imports from common.js written out, so that it imports nothing."""
    inner, found = re.subn(r'^import \{[^}]*\} from "\./common\.js";\n', "", _read(name), count=1, flags=re.M)
    return _inlined("common") + inner if found else inner


def _read(name: str) -> str:
    return Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8")


def _inlined(name: str) -> str:
    """A module's text without `export`, to be put into another one."""
    return re.sub(r"^export (?=const|function)", "", _read(name), flags=re.M)


class Explorer(anywidget.AnyWidget):
    """A widget that also lives on a page without a kernel. Subclasses give `module`, `_esm`, traits, descriptions."""

    module = ""  # the JavaScript file's name

    data = traitlets.Dict(help="what the widget shows, sent once").tag(sync=True)

    def open(self) -> None:
        """Tell the front end of the widget; on a static page there is none."""
        if not os.environ.get(STATIC):
            super().open()

    def describe(self) -> str:
        """One or two sentences that say what the widget shows, for where nothing can be drawn."""
        raise NotImplementedError

    def picture(self) -> bytes | None:
        """A PNG of what the widget shows first, for print."""
        return None

    def settings(self) -> dict[str, Any]:
        """The traits that a reader may set, with their values."""
        own = {name for name in self.traits(sync=True) if not name.startswith("_")}
        shared = {*anywidget.AnyWidget.class_traits(sync=True), "data", "layout", "tabbable", "tooltip"}
        return {name: getattr(self, name) for name in sorted(own - shared)}

    def html(self) -> str:
        """The widget as HTML that needs no kernel and asks for no other file; in print its picture stands for it."""
        token = secrets.token_hex(4)
        names = {part: f"bpw-{part}-{token}" for part in ("place", "state", "source")}
        shown = {**self.settings(), "data": self.data}
        state = json.dumps(shown, allow_nan=False, default=_in_base64).replace("<", "\\u003c")
        code = source(self.module).replace("</script", "<\\/script")
        script = f"{_inlined('stand_in')}standIn({', '.join(map(json.dumps, names.values()))});"
        drawn = self.picture()
        if drawn is not None:
            image = base64.b64encode(drawn).decode()
            printed = (
                f'{_PRINT}<img class="bpw-picture" alt="{escape(self.describe())}" src="data:image/png;base64,{image}">'
            )
        else:
            printed = ""
        return (
            f'{printed}<div id="{names["place"]}" class="bpw-place" data-explorer="{self.module}">'
            f"<noscript>{escape(self.describe())} (It needs JavaScript.)</noscript></div>"
            f'<script type="application/json" id="{names["state"]}">{state}</script>'
            f'<script type="text/plain" id="{names["source"]}">{code}</script>'
            f'<script type="module">{script}</script>'
        )

    def __repr__(self) -> str:
        return self.describe()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if not os.environ.get(STATIC):
            return super()._repr_mimebundle_(**kwargs)
        bundle: dict[str, Any] = {"text/html": self.html(), "text/plain": self.describe()}
        if (drawn := self.picture()) is not None:
            bundle["image/png"] = base64.b64encode(drawn).decode()
        return bundle, {}


def _in_base64(value: bytes) -> dict[str, str]:
    return {"$bytes": base64.b64encode(value).decode()}
