"""The kernel animation: which weights, inputs and outputs one step of a micro-kernel touches, for each structure.

The steps are those of the turned kernel of the ladder: four tokens in a vector, and pieces of at most four outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from ..kernels.ladder import pieces
from ..pruning.groups import group_scores
from ..pruning.packing import pack
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, expand
from .host import Explorer, source
from .pictures import touched

ROWS, COLUMNS, TOKENS = 8, 12, 4
STRUCTURES = ("block_column:4", "block_row:4", "tile:4x4", "column", "row", "irregular")
RATE = 2.5

Step = dict[str, Any]


class KernelAnimation(Explorer):
    """Step by step through the product of a small pruned matrix. Settings: `structure`, one of six, and `step`."""

    module = "kernel_animation"
    _esm = source("kernel_animation")

    structure = traitlets.Enum(STRUCTURES, STRUCTURES[0], help="kind and sides of a group").tag(sync=True)
    step = traitlets.Int(0, min=0, max=ROWS * COLUMNS - 1, help="from 0").tag(sync=True)

    def __init__(self, **settings: Any) -> None:
        plans = {text: {"keep": kept(text).int().tolist(), "steps": list(steps(text))} for text in STRUCTURES}
        super().__init__(data={"rows": ROWS, "columns": COLUMNS, "tokens": TOKENS, "plans": plans}, **settings)

    def figures(self) -> dict[str, Any]:
        """What the present step touches: weights, inputs and outputs, multiply-adds, numbers moved."""
        plan = self.data["plans"][self.structure]["steps"]
        at = min(self.step, len(plan) - 1)
        now = plan[at]
        loads = len(now["weights"]) + len(now["inputs"]) * TOKENS + now["indices"] + now["sums"]
        touched = {key: now[key] for key in ("weights", "inputs", "outputs")}
        return {"step": at, "steps": len(plan), **touched, "work": len(now["weights"]) * TOKENS, "loads": loads}

    def describe(self) -> str:
        """What the animation shows, in a sentence."""
        found = self.figures()
        step, work = f"step {found['step'] + 1} of {found['steps']}", f"{found['work']} multiply-adds"
        return f"Kernel animation: {step} under {self.structure} does {work} for {found['loads']} numbers moved."

    def picture(self) -> bytes | None:
        """A PNG of the weights that the present step touches."""
        plan = self.data["plans"][self.structure]
        return touched(np.array(plan["keep"]), self.figures()["weights"], self.describe())


def weights() -> Tensor:
    """The small matrix, (8, 12)."""
    return torch.from_numpy(np.random.default_rng(5).normal(size=(ROWS, COLUMNS)).astype("f"))


def kept(text: str) -> Tensor:
    """Which of its weights stay under a structure: bool, (8, 12)."""
    structure = BlockStructure.parse(text)
    return expand(select(group_scores(weights(), structure), RATE), structure, (ROWS, COLUMNS))


def steps(text: str) -> Iterator[Step]:
    """The steps of the product, in the kernel's order; together they use each kept weight once.

    >>> next(steps("block_column:4"))["inputs"]
    [1]
    """
    structure = BlockStructure.parse(text)
    width = structure.group_shape((ROWS, COLUMNS))[1]
    for outputs, inputs in pieces(pack(weights() * kept(text), structure)):
        share = f"serves {len(outputs)} outputs" if len(outputs) > 1 else "serves one output alone"
        how = f"One input of four tokens in one load: it {share}. Their sums stay for {len(inputs)} steps."
        for k, j in enumerate(inputs.tolist()):
            ends = (k == 0) + (k == len(inputs) - 1)
            yield _step([[int(i), j] for i in outputs], int(k == 0 or j % width == 0), ends, how)


def _step(touched: list[list[int]], indices: int, ends: int, how: str) -> Step:
    """`ends`: whether the sums are fetched before this step, and stored after it: 0, 1 or 2."""
    outputs, inputs = sorted({i for i, _ in touched}), sorted({j for _, j in touched})
    sums = ends * len(outputs) * TOKENS
    return {"weights": touched, "inputs": inputs, "outputs": outputs, "indices": indices, "sums": sums, "how": how}
