"""Which line of the user's a warning points at: the one that called the library, however deep inside it was noticed."""

from __future__ import annotations

import sys

#: Packages between the user and what warns: torch's decorators stand around some functions.
_INSIDE = (__name__.partition(".")[0], "torch", "contextlib")


def users_line() -> int:
    """The `stacklevel` with which `warnings.warn`, called beside this, names the first line outside the library."""
    level, frame = 1, sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level
