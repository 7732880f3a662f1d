"""One sum that only waits for itself: how long a multiply-add takes, apart from how many a core can start at a time."""

from __future__ import annotations

import numpy as np

from ...machine.native import native
from ...machine.simd import WIDTH, broadcast, fma, store


@native
def one_chain(out: np.ndarray, steps: int) -> None:
    """`steps` multiply-adds into one vector of sums, for `out` (WIDTH,)."""
    half, total = broadcast(0.5, WIDTH), broadcast(2.0, WIDTH)
    for _ in range(steps):
        total = fma(total, half, half)  # needs the total before
    store(out, 0, total)
