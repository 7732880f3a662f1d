"""Explorers: widgets that answer what words cannot, with a kernel, in Colab, and on a page without one.

    BlockExplorer         which groups of real weights stay at a rate
    ReweightingExplorer   two groups in the plane, the penalty's contour and the path of the iterate
    RooflineExplorer      a layer under the roof of a measured machine
    KernelAnimation       what one step of a micro-kernel touches

    interact              the same with ipywidgets controls: cut, score and time the reader's own model

Each of the first four is one ES module, NAME.js, and a class that shows it. They need anywidget, from the extra `book`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "BlockExplorer": "block_explorer",
    "KernelAnimation": "kernel_animation",
    "ReweightingExplorer": "reweighting_explorer",
    "RooflineExplorer": "roofline_explorer",
    "interact": "recompute",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
