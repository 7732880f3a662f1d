"""Products with a packed matrix, y = x Wᵀ + b without the groups that were pruned.

    functional   `linear` and its gradients: which path a product takes
    arguments    what is checked before a kernel runs
    traced       where torch looks on: compiling, exporting, tracing, torch.func
    operator     the operators that it is shown
    by_plan      product and gradients by their plan, on packed weights; memory: what they write to
    reference    the oracle: NumPy, float64, one loop
    plan         a packed matrix as the lists that a kernel walks
    panels       column panels: block_column, tile, column                 panel_tiles: their register tiles
    rows         row groups: block_row, row, irregular                     row_tiles: theirs
    gradients    the gradient of the stored weights
    transpose    x in the order in which a kernel reads it
    gelu         GELU while results are in L1
    intrinsics   what a kernel needs besides vectors: raw memory, a shared counter, a prefetch
    parallel     one job shared among torch's own threads
    csr          single weights in compressed rows, as a library does it
    encoder      a whole encoder in one call, tokens in the lanes of vectors
    tile         its micro-kernel for all structures                       walk: a matrix as it is walked
    product, attention, lanes (arithmetic on vectors), records (what Python hands over)
    ladder/      the teaching steps from a plain loop to a tile of vectors

Importing this loads no compiler, and the name `linear` does. The first product compiles, or loads machine code from
disk. The chapter *A kernel, step by step* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
