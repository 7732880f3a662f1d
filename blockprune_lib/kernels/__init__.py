"""Products with a packed matrix: y = x Wᵀ + b without the groups that were pruned.

    reference   the oracle: NumPy, float64, one loop
    plan        a packed matrix as the lists that a kernel walks
    native      what a kernel needs besides vectors: raw memory, a shared counter, a transpose
    simd        register tiles
    panels      column panels: block_column, tile, column
    rows        row groups: block_row, row, irregular
    threads     one job shared among torch's own threads
    compiled    the door to what loads Numba
    function    `linear` and its gradients, and what is checked before a kernel runs

Importing this compiles nothing; the first product compiles, or loads from Numba's cache on disk.
"""

from __future__ import annotations

from .function import linear
from .reference import linear_reference

__all__ = ["linear", "linear_reference"]
