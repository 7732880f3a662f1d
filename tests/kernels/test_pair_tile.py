"""Every tile of pairs against NumPy in float64, on operands that bfloat16 holds exactly; rounding against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blockprune_lib.kernels.lanes import put, vector_at
from blockprune_lib.kernels.tile_loop import SIZES, WIDTHS
from blockprune_lib.machine.native import native
from blockprune_lib.machine.pairs import HAS_PAIRS
from blockprune_lib.machine.simd import WIDTH

if not HAS_PAIRS:
    pytest.skip("no AVX512-BF16 here", allow_module_level=True)

from blockprune_lib.kernels.pair_tile import dense_pairs_tile, listed_pairs_tile, picked_pairs_tile, rows_pairs_tile
from blockprune_lib.machine.pairs import first_half, paired, put_rounded

SIZE = [(r, v) for r in SIZES for v in WIDTHS]


@native
def listed(rows, vectors, x, pitch, index, count, w, apart, y, bias, residual):
    listed_pairs_tile(rows, vectors, x, pitch, index, count, w, apart, w, apart, y, pitch, bias, residual, pitch)


@native
def picked(rows, vectors, x, pitch, index, count, w, apart, y, bias, residual):
    picked_pairs_tile(rows, vectors, x, pitch, index, count, w, apart, w, apart, y, pitch, bias, residual, pitch)


@native
def in_rows(rows, vectors, x, pitch, count, w, table, y):
    rows_pairs_tile(rows, vectors, x, pitch, count, w, 64, table, y, pitch)


@native
def dense(rows, vectors, x, pitch, count, w, ldw, step, y, seed):
    dense_pairs_tile(rows, vectors, x, pitch, count, w, ldw, step, y, pitch, seed, pitch)


@native
def put_pairs(low, high, result):
    put(result, paired(vector_at(low), vector_at(high)))


@native
def put_row(row, result):
    put_rounded(result, vector_at(row))


@native
def half(address):
    return first_half(address)


def matrix(*shape):
    """Normal numbers that bfloat16 holds exactly."""
    numbers = np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(numbers).bfloat16().float().numpy()


def words(rows):
    """Rows two by two as pairs: (2 n, columns) float32 -> (n, columns) uint32."""
    bits = rows.view(np.uint32) >> 16
    return (bits[0::2] | bits[1::2] << 16).astype(np.uint32)


@pytest.mark.parametrize(("r", "v"), SIZE)
@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize("kind", ["listed", "picked"])
def test_listed_inputs(r, v, seeded, kind):
    x, w, bias, residual = matrix(20, v * WIDTH), matrix(18, r + 3), matrix(r), matrix(r, v * WIDTH)
    if kind == "listed":
        index = np.array([3, 0, 9, 7, 7, 2, 1, 5, 8], np.int32)
        inputs, kernel = np.stack([2 * index, 2 * index + 1], 1).reshape(-1), listed
    else:
        index = np.array([3, 0, 9, 7, 7, 2, 1, 5, 8, 8, 0, 9, 4, 6, 3, 2, 2, 9], np.int32)
        inputs, kernel = 2 * index + np.arange(18) % 2, picked
    y = np.full((r + 1, v * WIDTH), 7.0, np.float32)
    ends = (bias.ctypes.data, residual.ctypes.data) if seeded else (0, 0)
    pairs, weights = words(x), words(w)
    kernel(r, v, pairs.ctypes.data, pairs.strides[0], index.ctypes.data, 9, weights.ctypes.data, weights.strides[0],
           y.ctypes.data, *ends)  # fmt: skip
    wanted = w[:, :r].T.astype(float) @ x[inputs].astype(float)
    if seeded:
        wanted += bias[:, None] + residual.astype(float)
    np.testing.assert_allclose(y[:r], wanted, atol=1e-5)
    assert (y[r] == 7).all()  # nothing beyond the tile was written


@pytest.mark.parametrize(("r", "v"), SIZE)
def test_rows_anywhere(r, v):
    x, w, y = matrix(10, v * WIDTH), matrix(10, r), matrix(2 * r, v * WIDTH)
    numbers, wanted = np.arange(r)[::-1] * 2, y.astype(float)
    wanted[numbers] += w.T.astype(float) @ x.astype(float)
    pairs, weights = words(x), words(w)
    in_rows(r, v, pairs.ctypes.data, pairs.strides[0], 5, weights.ctypes.data, numbers.copy().ctypes.data,
            y.ctypes.data)  # fmt: skip
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@pytest.mark.parametrize(("r", "v"), SIZE)
@pytest.mark.parametrize("turned", [False, True])
def test_dense(r, v, turned):
    x, w, seed = matrix(14, v * WIDTH), matrix(14, r), matrix(r, v * WIDTH)
    y, pairs = np.zeros((r, v * WIDTH), np.float32), words(x)
    weights = words(w) if turned else np.ascontiguousarray(words(w).T)
    strides = (4, weights.strides[0]) if turned else (weights.strides[0], 4)
    dense(r, v, pairs.ctypes.data, pairs.strides[0], 7, weights.ctypes.data, *strides, y.ctypes.data, seed.ctypes.data)
    np.testing.assert_allclose(y, seed + w.T.astype(float) @ x.astype(float), atol=1e-5)


def test_numbers_are_rounded_as_torch_rounds():
    rows = np.random.default_rng(0).standard_normal((2, WIDTH), dtype=np.float32) * 1e3
    rows[0, :5] = [0, -0.0, np.inf, 1 + 2**-8, 1 + 3 * 2**-8]  # the last two are ties
    wanted = torch.from_numpy(rows).bfloat16().view(torch.int16).numpy().view(np.uint16)
    result, row = np.zeros(WIDTH, np.uint32), np.zeros(WIDTH, np.uint16)
    put_pairs(rows[0].ctypes.data, rows[1].ctypes.data, result.ctypes.data)
    put_row(rows[0].ctypes.data, row.ctypes.data)
    np.testing.assert_array_equal(result & 0xFFFF, wanted[0])
    np.testing.assert_array_equal(result >> 16, wanted[1])
    np.testing.assert_array_equal(row, wanted[0])
    assert half(row.ctypes.data + 6) == wanted[0, 3]
