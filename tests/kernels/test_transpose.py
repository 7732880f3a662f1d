"""Tokens x features into features x tokens and back, for every number of tokens in a vector, ragged and tiny."""

from __future__ import annotations

import numpy as np
import pytest

from blockprune_lib.kernels.transpose import turn_in, turn_out
from blockprune_lib.machine.native import native
from blockprune_lib.machine.simd import WIDTH


@native
def inwards(x, ldx, count, features, target, pitch):
    turn_in(x, ldx, count, features, target, pitch)


@native
def outwards(source, pitch, features, y, ldy, count):
    turn_out(source, pitch, features, y, ldy, count)


@pytest.mark.parametrize("count", sorted({1, 2, WIDTH - 1, WIDTH}))
@pytest.mark.parametrize("features", [1, 3, WIDTH - 1, WIDTH, WIDTH + 1, 50])
def test_there_and_back(count, features):
    x = np.random.default_rng(features).standard_normal((count, features + 3)).astype(np.float32)
    turned = np.full((features, 2 * WIDTH), 7, np.float32)
    inwards(x.ctypes.data, x.strides[0], count, features, turned.ctypes.data, turned.strides[0])
    assert (turned[:, :count] == x[:, :features].T).all()
    assert (turned[:, count:WIDTH] == 0).all()
    assert (turned[:, WIDTH:] == 7).all()
    turned[:, count:] = np.nan  # what is beyond the last token comes back nowhere
    y = np.full((count + 1, features + 3), 7, np.float32)
    outwards(turned.ctypes.data, turned.strides[0], features, y.ctypes.data, y.strides[0], count)
    assert (y[:count, :features] == x[:, :features]).all()
    assert (y[count] == 7).all()
    assert (y[:, features:] == 7).all()
