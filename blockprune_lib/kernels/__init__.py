"""Products with a packed matrix, y = x Wᵀ + b without the groups that were pruned.

    functional   `linear` and its gradients: which path a product takes
    arguments    what is checked before a kernel runs
    traced       where torch looks on: compiling, exporting, tracing, torch.func
    operator     the operators that it is shown
    by_plan      product and gradients by their plan, on packed weights; memory: what they write to
    dense_path   types and devices without a kernel: the dense matrix, and a warning
    reference    the oracle: NumPy, float64, one loop

One family of kernels; activations lie as features x tokens, with tokens in the lanes of vectors:

    tile         the micro-kernel for all structures, written by           tile_loop
    product      a packed matrix times features x tokens                   walk: a matrix as it is walked
    encoder      a whole encoder in one call, with                         attention
    layer_product   a product of tokens x features, as a layer asks for it   by layer_tile, layer_cut
    pair_...     tile, walk, product, encoder and attention in pairs of bfloat16
    amx_...      walk, sums, product, encoder and attention in tiles of the matrix unit
    precision    what a call of an encoder needs to know of float32 and of bfloat16
    plan         a packed matrix as layers walk it, both ways
    gradients    the gradient of the stored weights, by                    dot_tile
    transpose    tokens x features into features x tokens and back
    gelu, lanes  the exact GELU; arithmetic on vectors at addresses
    records      what Python hands over, by name                           waiting: for other threads in a kernel
    samples      whether memory that was copied has been written to
    intrinsics   what a kernel needs besides vectors: raw memory, a shared counter, a prefetch
    parallel     one job shared among torch's own threads

    csr          single weights in compressed rows, as a library does it
    ladder/      the teaching steps from a plain loop to a tile of vectors

Importing this loads no compiler, and the name `linear` does. The first product compiles, or loads machine code from
disk. The chapter *A kernel, step by step* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
