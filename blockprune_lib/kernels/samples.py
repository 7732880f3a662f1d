"""A few of a tensor's numbers, read again at every call: they tell when memory that was copied has been written to.

torch counts writes to a tensor, but not those through `tensor.data`, a NumPy view of it, or another process.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..machine.native import native
from .intrinsics import int32_at

#: Words of four bytes that are looked at in a matrix, and in a vector.
IN_MATRIX, IN_VECTOR = 16, 4


def sample_places(tensor: Tensor) -> np.ndarray:
    """Addresses of words that lie evenly in a contiguous tensor, its first and its last among them; none if it is not.

    >>> import torch
    >>> t = torch.zeros(2, 3)
    >>> (sample_places(t) - t.data_ptr())[[0, -1]].tolist()
    [0, 20]
    """
    words = tensor.nbytes // 4
    if not words or not tensor.is_cpu or not tensor.is_contiguous():
        return np.zeros(0, np.int64)
    count = IN_MATRIX if tensor.ndim > 1 else IN_VECTOR
    return tensor.data_ptr() + 4 * np.linspace(0, words - 1, count).astype(np.int64)


@native
def sampled(places: np.ndarray) -> int:
    """One number of all words at these addresses, in this order."""
    total = 0
    for i in range(places.size):
        total = total * 31 + int32_at(places[i])[0]
    return total
