"""One ES module, three hosts: a live kernel through anywidget, a page without a kernel, a picture in print.

A widget's module is written once. A live front end gets it from anywidget. In a book that is built with
BLOCKPRUNE_STATIC=1 the display is HTML instead: a place on the page, the module, and a small stand-in for the model
that anywidget would give it. Such a page asks for no other file and needs no kernel. Left out: what a widget shows.
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

HERE = Path(__file__).resolve().parent
STATIC = "BLOCKPRUNE_STATIC"

# The stand-in holds the traits, tells listeners of changes, and hands binary traits over as anywidget does.
_STAND_IN = """
const place = document.getElementById(%(place)s);
const decode = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (value.$bytes !== undefined) {
    return new DataView(Uint8Array.from(atob(value.$bytes), (letter) => letter.charCodeAt(0)).buffer);
  }
  if (Array.isArray(value)) return value.map(decode);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decode(inner)]));
};
const traits = decode(JSON.parse(document.getElementById(%(state)s).textContent)), listeners = {};
const model = {
  get: (name) => traits[name],
  set(name, value) {
    traits[name] = value;
    for (const call of [...(listeners[`change:${name}`] || []), ...(listeners.change || [])]) call();
  },
  on(event, call) { (listeners[event] ||= []).push(call); },
  off(event, call) { listeners[event] = (listeners[event] || []).filter((other) => other !== call); },
  save_changes() {},
};
place.explorer = model;
const source = document.getElementById(%(source)s).textContent;
const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
const draw = () => import(address).then((module) => module.default.render({ model, el: place }))
  .catch((error) => { place.textContent = `This explorer cannot be drawn: ${error.message}`; });
// First paint is not delayed: an explorer is drawn when it comes near the screen, or when the page has nothing to do.
if ("IntersectionObserver" in window) {
  const watcher = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting)) { watcher.disconnect(); draw(); }
  }, { rootMargin: "600px" });
  watcher.observe(place);
} else draw();
"""


def source(name: str) -> str:
    """The ES module NAME.js with what it imports from common.js written out, so that it imports nothing."""
    common = (HERE / "common.js").read_text(encoding="utf-8")
    module = (HERE / f"{name}.js").read_text(encoding="utf-8")
    inner, found = re.subn(r'^import \{[^}]*\} from "\./common\.js";\n', "", module, count=1, flags=re.M)
    if not found:
        return module
    return re.sub(r"^export (?=const|function)", "", common, flags=re.M) + inner


class Explorer(anywidget.AnyWidget):
    """A widget that also lives on a page without a kernel. A subclass gives `_esm`, its traits, and two descriptions.

    `describe()` is what stands where nothing can be drawn, `picture()` a PNG for print, or None.
    """

    #: The JavaScript module's name; set by each subclass together with `_esm`.
    module = ""

    data = traitlets.Dict(help="what the widget shows, sent once").tag(sync=True)

    def open(self) -> None:
        """Tell the front end of the widget; on a static page there is none."""
        if not os.environ.get(STATIC):
            super().open()

    def describe(self) -> str:
        """One or two sentences that say what the widget shows."""
        raise NotImplementedError

    def picture(self) -> bytes | None:
        """A PNG of what the widget shows first."""
        return None

    def settings(self) -> dict[str, Any]:
        """The traits that a reader may set, with their values."""
        own = {name for name in self.traits(sync=True) if not name.startswith("_")}
        shared = {*anywidget.AnyWidget.class_traits(sync=True), "data", "layout", "tabbable", "tooltip"}
        return {name: getattr(self, name) for name in sorted(own - shared)}

    def html(self) -> str:
        """The widget as HTML that needs no kernel and asks for no other file."""
        token = secrets.token_hex(4)
        names = {part: f"bpw-{part}-{token}" for part in ("place", "state", "source")}
        state = json.dumps(_encoded({**self.settings(), "data": self.data}), allow_nan=False).replace("<", "\\u003c")
        code = source(self.module).replace("</script", "<\\/script")
        script = _STAND_IN % {part: json.dumps(name) for part, name in names.items()}
        return (
            f'<div id="{names["place"]}" class="bpw-place" data-explorer="{self.module}">'
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
        drawn = self.picture()
        if drawn is not None:
            bundle["image/png"] = base64.b64encode(drawn).decode()
        return bundle, {}


def _encoded(value: Any) -> Any:
    """The same with every bytes as {"$bytes": base64}."""
    if isinstance(value, (bytes, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _encoded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(inner) for inner in value]
    return value
