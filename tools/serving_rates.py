"""Rates and versions of engines, as book/serve-it.md tells them from the records of `tools.benchmarks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.readme_short import Engine

#: Names of engines by their packages.
PROGRAMS = {"torch": "PyTorch", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "nncf": "NNCF",
            "transformers": "transformers", "blockprune-lib": "blockprune"}  # fmt: skip


def versions(record: Mapping[str, Any], *only: str) -> str:
    """The engines of a record, or `only` some, with their versions, and its date; what was not installed is left out.

    >>> versions({"provenance": {"date": "2026-01-02T03:04", "versions": {"torch": "2.0+cpu", "nncf": None}}})
    'PyTorch 2.0; 2026-01-02'
    """
    told, have = record["provenance"], record["provenance"]["versions"]
    engines = [
        f"{name} {have[key].partition('+')[0]}"
        for key, name in PROGRAMS.items()
        if have.get(key) and key in (only or PROGRAMS)
    ]
    return f"{', '.join(engines)}; {told['date'][:10]}"


def rate(engine: Engine | None, sentences: int) -> str:
    """Sentences a second, to be shown; nothing where an engine was not run."""
    return "" if engine is None else f"{per_second(engine, sentences):.0f}"


def per_second(engine: Engine, sentences: int) -> float:
    """Sentences a second, by the median."""
    return 1e3 * sentences / float(engine["ms"]["median"])
