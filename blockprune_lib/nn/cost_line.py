"""From times of whole calls to what one matrix costs: times that rise with density, and where they would meet 0 ms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..machine.comparison import Timing
from .trial import Cut


def rising(cuts: Sequence[Cut], densities: Sequence[float], times: np.ndarray) -> np.ndarray:
    """The nearest times that for each structure do not fall where the density rises."""
    from sklearn.isotonic import isotonic_regression  # a second to import, which only a budget should wait for

    nearest = times.copy()
    for structure in {cut.structure for cut in cuts if cut.structure is not None}:
        rows = [row for row, cut in enumerate(cuts) if cut.structure == structure]
        rows.sort(key=lambda row: densities[row])
        nearest[rows] = isotonic_regression(times[rows])
    return nearest


def at_no_group(densities: Sequence[float], times: np.ndarray, cuts: Sequence[Cut]) -> float:
    """Where the lines through times against density, one for each structure, meet at density 0.

    No cut is put below half of what its line gives it, or one line for all where its own falls: else the cut that came
    out shortest by chance would be free. Where densities are too few, one line goes through all, dense too.
    """
    x = np.array(densities)
    if len(set(x.round(3))) < 2:
        return float(times.min())
    sparse = np.array([cut.structure is not None for cut in cuts])
    own = [np.array([cut.structure == one for cut in cuts]) for one in {cut.structure for cut in cuts} - {None}]
    shared = np.polynomial.Polynomial.fit(x, times, 1).convert().coef[1]
    rows, design = sparse, np.stack([np.ones(len(x)), *(x * slope for slope in own)], 1)[sparse]
    if np.linalg.matrix_rank(design, tol=1e-3) < design.shape[1]:
        rows, design = np.full(len(x), True), np.stack([np.ones(len(x)), x], 1)
    start, *own_slopes = np.linalg.lstsq(design, times[rows])[0]
    least = times[rows] - design[:, 1:] @ np.where(np.array(own_slopes) > 0, own_slopes, shared) / 2
    return float(min(start, least.min()))


def standard_error(one: Timing, start: Timing) -> float:
    """The standard error of the ratio of two lower quartiles: whole rounds are drawn again (bootstrap)."""
    samples = np.array([one.samples_ms, start.samples_ms])
    drawn = np.random.default_rng(0).integers(samples.shape[1], size=(200, samples.shape[1]))
    top, bottom = np.quantile(samples[:, drawn], 0.25, axis=2)
    return float(np.std(top / bottom))
