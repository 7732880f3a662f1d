"""How dense a layer may be and still gain from being sparse: measured here, or by a rule of thumb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear as dense_linear

from .._common.checks import positive_int
from .._common.tables import Printed
from ..kernels import linear
from ..machine.timing import compare
from ..pruning.groups import group_scores
from ..pruning.packing import pack
from ..pruning.selection import select
from ..pruning.structure import BlockStructure, check_structure, expand


@dataclass(frozen=True, repr=False)
class BreakEven(Printed):
    """Time of one product against density, and where it crosses the dense one.

    structure, shape, tokens, threads   what was timed
    lead_in                             the calls at the start of each turn that were not timed
    points                              {density: median ms} of the sparse product
    dense_ms                            median ms of `torch.nn.functional.linear`
    """

    structure: BlockStructure
    shape: tuple[int, int]
    tokens: int
    dense_ms: float
    points: dict[float, float]
    threads: int
    lead_in: int = 0

    @property
    def density(self) -> float:
        """The density below which the sparse product was faster; 1.0 where it always was, 0.0 where it never was.

        Between two points the time is taken to be a straight line.
        """
        return interpolate_break_even(list(self.points), list(self.points.values()), self.dense_ms)

    def _table(self) -> list[tuple[str, ...]]:
        rows = [(f"{d:.2f}", f"{ms:.3g}", f"{self.dense_ms / ms:.2f}") for d, ms in self.points.items()]
        return [("density", "median ms", "times dense"), *rows]

    def _caption(self) -> str:
        M, N = self.shape
        begun = f", {self.lead_in} untimed call(s) before each sample" if self.lead_in else ""
        return (
            f"{self.structure} at {M} x {N}, {self.tokens} tokens, {self.threads} thread(s){begun}: faster than dense "
            f"({self.dense_ms:.3g} ms) up to density {self.density:.2f}"
        )


def break_even_density(
    structure: BlockStructure, shape: tuple[int, int], *, tokens: int = 128,
    densities: tuple[float, ...] = (0.1, 0.3, 0.6, 1.0), repeats: int = 9, threads: int | None = None,
    lead_in: int = 0,
) -> BreakEven:  # fmt: skip
    """Measure at which density a product with a pruned matrix of `shape` (outputs, inputs) stops being faster.

    Random weights, float32, dense and all densities interleaved; takes about a tenth of a second for 768 x 768.
    `lead_in` as in `compare`: compare with ratios that were measured with as many. Raises TypeError and ValueError for
    arguments that do not fit.

    >>> break_even_density(BlockStructure.block_column(16), (32, 32), repeats=3).density >= 0
    True
    """
    check_structure(structure)
    M, N = positive_int(shape[0], "shape[0]"), positive_int(shape[1], "shape[1]")
    x = torch.randn(positive_int(tokens, "tokens"), N, dtype=torch.float32, device="cpu")
    weight = torch.randn(M, N, dtype=torch.float32, device="cpu")
    functions: dict[str, Any] = {"dense": partial(dense_linear, x, weight)}
    for density in sorted(densities):
        if not 0 < density <= 1:
            raise ValueError(f"densities must lie above 0 and at most at 1; got {density!r}")
        mask = expand(select(group_scores(weight, structure), rate=1 / density), structure, (M, N))
        functions[str(density)] = partial(linear, x, pack(weight * mask, structure))
    with torch.no_grad():
        timed = compare(functions, repeats=repeats, threads=threads, lead_in=lead_in)
    medians = dict(timed.medians)
    dense = medians.pop("dense")
    points = {float(density): ms for density, ms in medians.items()}
    return BreakEven(structure, (M, N), tokens, dense, points, timed.threads["torch"] or 1, lead_in)


def interpolate_break_even(densities: Sequence[float], ms: Sequence[float], dense_ms: float) -> float:
    """The density below which a product that took `ms` at `densities` is quicker than the dense one's `dense_ms`.

    Between the measured points the time is taken to be a straight line. Returns the first density, going up, at which
    the product is no quicker any more; 0.0 where it never was, 1.0 where it is at every density measured.
    Raises ValueError for lists of unequal length, and for densities that do not rise within 0 to 1.

    >>> interpolate_break_even([0.25, 0.5], [1.0, 3.0], dense_ms=2.0)
    0.375
    """
    points, times = np.array(densities, np.float64), np.array(ms, np.float64)
    if points.ndim != 1 or points.shape != times.shape or len(points) == 0:
        raise ValueError(f"ms must hold one time for each of {points.size} densities; got {times.size}")
    if (np.diff(points) <= 0).any() or points[0] < 0 or points[-1] > 1:
        raise ValueError(f"densities must be numbers that rise within 0 to 1; got {list(densities)}")
    slower = times >= dense_ms
    if not slower.any():
        return 1.0
    first = int(slower.argmax())
    if first == 0:
        return 0.0
    low, high = times[first - 1], times[first]
    return float(points[first - 1] + (points[first] - points[first - 1]) * (dense_ms - low) / (high - low))


def usual_break_even(structure: BlockStructure, shape: tuple[int, int]) -> float:
    """A rule of thumb for the density above which a layer is no faster than dense, without measuring anything.

    About 0.09 for each weight that stands above another in a group, or 0.15 c^0.6 for c weights side by side, whichever
    is more, and at most 0.85: fitted to measurements at 768 x 768 on one AVX2 core; `break_even_density` measures here.

    >>> usual_break_even(BlockStructure.block_column(16), (768, 768))
    0.85
    >>> usual_break_even(BlockStructure.irregular(), (768, 768))
    0.15
    """
    r, c = structure.group_shape(shape)
    return min(0.85, max(0.09 * r, 0.15 * c**0.6))
