"""Run the exercises of one notebook and write a line for each verdict: NOTEBOOK FILE. A process for each: see marking.

It marks honest work. A student who wants to write a verdict without doing the exercise can, as in any marking that
runs what it marks; who reads the notebook sees it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from .chapters import checked, code, read, source
from .student import GIVEN


def run(notebook: Path, told: Path) -> None:
    """Execute what `marking` says is run; each verdict is written as soon as it is there."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import torch

    import blockprune_lib as bp
    from blockprune_lib import chapter, plots
    from blockprune_lib.teaching import check as real

    def record(name: str, passed: bool, message: str) -> None:
        with told.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, passed, message]) + "\n")

    def check(name: str, answer: Any) -> Any:
        verdict = real(name, answer)
        record(name, verdict.passed, verdict.message)
        return verdict

    chapter.begin(seed=0)
    names: dict[str, Any] = {"np": np, "torch": torch, "bp": bp, "plt": plt, "chapter": chapter, "plots": plots}
    names |= {"glue": lambda *_: None, "display": lambda *_: None, "__name__": "submission"}
    for cell in code(read(notebook)):
        text = source(cell)
        asked = checked(text)
        if not asked and cell.get("metadata", {}).get(GIVEN):
            continue
        names["check"] = check
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(_without_magic(text), "submission", "exec"), names)
        except BaseException as error:  # whatever a student's cell does, the next one is marked
            for name in asked:
                record(name, False, f"the cell raised {type(error).__name__}: {error}"[:300])


def _without_magic(text: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in text.splitlines())


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
