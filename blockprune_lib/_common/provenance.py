"""Where a number came from: the library's commit, versions of what ran, settings of the environment; no names."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve()
PACKAGES = ("blockprune-lib", "torch", "numba", "numpy", "scipy", "transformers", "onnx", "onnxruntime", "openvino",
            "nncf")  # fmt: skip
#: Settings that change how fast threads are; only these are recorded.
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "MKL_NUM_THREADS",
             "NUMBA_NUM_THREADS", "NUMBA_CPU_NAME", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # fmt: skip


def provenance() -> dict[str, Any]:
    """date, commit, changed, versions and environment, JSON-able.

    `commit` is that of the repository which tracks this very file, and None where none does; `changed` says whether
    tracked files differ from it.
    """
    tracked = _git("ls-files", "--error-unmatch", FILE.name) is not None
    status = _git("status", "--porcelain", "--untracked-files=no") if tracked else None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD") if tracked else None,
        "changed": None if status is None else bool(status),
        "versions": {"python": platform.python_version()} | {name: installed_version(name) for name in PACKAGES},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def installed_version(name: str) -> str | None:
    """The version of an installed package; None where there is none, as for a checkout that is only on the path."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _git(*words: str) -> str | None:
    """What git answers, or None where there is no git, no repository, or an error."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", *words], cwd=FILE.parent, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return None
