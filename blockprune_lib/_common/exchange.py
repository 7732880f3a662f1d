"""Two folders swap their names in one step, so that a reader, or a kill, never meets a moment without one of them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

#: Of Linux's <fcntl.h> and <stdio.h>: paths are read from the working directory; both names stay, exchanged.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def exchanged(one: Path, other: Path) -> bool:
    """Swap what two names stand for; False, and nothing changed, where a name is free or the system has no such call.

    Linux has it since 3.15 (`renameat2`), on most of its file systems.
    """
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # a C library without it
        return False
    return bool(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)
