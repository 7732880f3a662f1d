"""A dense product for a few rows of one matrix: what a pooler makes of the first token of each text.

    y[s, o] = sum over i of W[o, i] x[s, i]        s < texts, o, i < features

A thread alone reads W once a text: for few texts that is over before a team of threads has come together.
"""

from __future__ import annotations

import numpy as np

from ..machine.native import native
from ..machine.simd import WIDTH
from .dot_tile import TILES, dots

#: Up to so many texts; for more a library's product on all threads is faster.
FEW = 4
STEP = TILES[1]


@native
def first_products(x: int, apart: int, texts: int, weight: int, features: int, y: int, numbers: np.ndarray) -> None:
    """Write y (texts, features).

    x          address of the first row, the next `apart` bytes on; `weight`, `y`: of whole arrays, row after row
    features   a multiple of WIDTH: whole vectors are read
    numbers    int32 (features,), 0 to features - 1
    """
    for text in range(texts):
        for first in range(0, features, STEP):
            place = numbers.ctypes.data + 4 * first
            dots(1, x + text * apart, 0, weight, 4 * features, place, place, min(STEP, features - first),
                 features // WIDTH, y + 4 * text * features, 0)  # fmt: skip
