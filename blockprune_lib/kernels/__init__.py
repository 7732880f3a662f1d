"""Products with a packed matrix: y = x Wᵀ + b without the groups that were pruned.

    reference   the oracle: NumPy, float64, one loop
    plan        a packed matrix as the lists that a kernel walks
    ladder      the teaching steps from a plain loop to a tile of vectors, all timed by one stopwatch
    native      what a kernel needs besides vectors: raw memory, a shared counter, a prefetch
    shuffles    turning x so that a kernel reads it in order
    activations GELU while results are in the first cache
    simd        the register tiles of panels; simd_rows those of row groups
    panels      column panels: block_column, tile, column
    rows        row groups: block_row, row, irregular
    gradients   the gradient of the stored weights
    threads     one job shared among torch's own threads
    compiled    the door to what loads Numba
    function    `linear` and its gradients, and what is checked before a kernel runs

Importing this compiles nothing; the first product compiles, or loads from Numba's cache on disk.
"""

from __future__ import annotations

from .function import linear
from .reference import linear_reference

__all__ = ["linear", "linear_reference"]
