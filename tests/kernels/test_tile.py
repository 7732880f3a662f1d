"""Every size of tile against NumPy in float64, and the vector arithmetic beside it."""

from __future__ import annotations

import numpy as np
import pytest

from blockprune_lib.kernels.lanes import exp2, maximum, put, put_first, square_root, vector_at, where_negative
from blockprune_lib.kernels.layer_tile import outputs_tile, placed_tile
from blockprune_lib.kernels.tile import dense_tile, listed_tile, rows_tile
from blockprune_lib.kernels.tile_loop import SIZES, WIDTHS
from blockprune_lib.machine.native import native
from blockprune_lib.machine.simd import WIDTH

SIZE = [(r, v) for r in SIZES for v in WIDTHS]


@native
def listed(rows, vectors, x, pitch, index, count, w, apart, y, bias, residual):
    listed_tile(rows, vectors, x, pitch, index, count, w, apart, w, apart, y, pitch, bias, residual, pitch)


@native
def in_rows(rows, vectors, x, pitch, count, w, table, y):
    rows_tile(rows, vectors, x, pitch, count, w, 64, table, y, pitch)


@native
def placed(rows, vectors, x, pitch, count, w, places, table, y):
    placed_tile(rows, vectors, x, pitch, count, w, places, table, y, pitch)


@native
def by_outputs(tokens, vectors, x, ldx, index, count, w, apart, y, ldy, bias):
    outputs_tile(tokens, vectors, x, ldx, index, count, w, apart, y, ldy, bias)


@native
def dense(rows, vectors, x, pitch, count, w, ldw, step, y, seed):
    dense_tile(rows, vectors, x, pitch, count, w, ldw, step, y, pitch, seed, pitch)


def matrix(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize(("r", "v"), SIZE)
@pytest.mark.parametrize("seeded", [False, True])
def test_listed_inputs(r, v, seeded):
    x, w, bias, residual = matrix(20, v * WIDTH), matrix(9, r + 3), matrix(r), matrix(r, v * WIDTH)
    index = np.array([3, 0, 19, 7, 7, 2, 11, 5, 18], np.int32)
    y = np.full((r + 1, v * WIDTH), 7.0, np.float32)
    ends = (bias.ctypes.data, residual.ctypes.data) if seeded else (0, 0)
    listed(
        r,
        v,
        x.ctypes.data,
        x.strides[0],
        index.ctypes.data,
        len(index),
        w.ctypes.data,
        w.strides[0],
        y.ctypes.data,
        *ends,
    )
    wanted = w[:, :r].T.astype(float) @ x[index].astype(float)
    if seeded:
        wanted += bias[:, None] + residual.astype(float)
    np.testing.assert_allclose(y[:r], wanted, atol=1e-5)
    assert (y[r] == 7).all()  # nothing beyond the tile was written


@pytest.mark.parametrize(("r", "v"), SIZE)
def test_rows_anywhere(r, v):
    x, w, y = matrix(5, v * WIDTH), matrix(5, r), matrix(2 * r, v * WIDTH)
    numbers, wanted = np.arange(r)[::-1] * 2, y.astype(float)
    wanted[numbers] += w.T.astype(float) @ x.astype(float)
    in_rows(r, v, x.ctypes.data, x.strides[0], 5, w.ctypes.data, numbers.copy().ctypes.data, y.ctypes.data)
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@pytest.mark.parametrize(("r", "v"), SIZE)
def test_rows_anywhere_whose_weights_are_anywhere(r, v):
    x, w, y = matrix(5, v * WIDTH), matrix(80), matrix(2 * r, v * WIDTH)
    numbers, places, wanted = np.arange(r) * 2, 11 * np.arange(r)[::-1] + 3, y.astype(float)
    wanted[numbers] += np.stack([w[at : at + 5] for at in places]).astype(float) @ x.astype(float)
    placed(r, v, x.ctypes.data, x.strides[0], 5, w.ctypes.data, places.copy().ctypes.data, numbers.ctypes.data,
           y.ctypes.data)  # fmt: skip
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@pytest.mark.parametrize(("r", "v"), SIZE)
@pytest.mark.parametrize("biased", [False, True])
def test_outputs_in_the_lanes(r, v, biased):
    x, w, bias = matrix(r, 20), matrix(9, v * WIDTH + 3), matrix(v * WIDTH)
    index = np.array([3, 0, 19, 7, 7, 2, 11, 5, 18], np.int32)
    y = np.full((r + 1, v * WIDTH), 7.0, np.float32)
    by_outputs(r, v, x.ctypes.data, x.strides[0], index.ctypes.data, len(index), w.ctypes.data, w.strides[0],
               y.ctypes.data, y.strides[0], bias.ctypes.data if biased else 0)  # fmt: skip
    wanted = x[:, index].astype(float) @ w[:, : v * WIDTH].astype(float) + (bias if biased else 0)
    np.testing.assert_allclose(y[:r], wanted, atol=1e-5)
    assert (y[r] == 7).all()


@pytest.mark.parametrize(("r", "v"), SIZE)
@pytest.mark.parametrize("turned", [False, True])
def test_dense(r, v, turned):
    x, w, seed = matrix(7, v * WIDTH), matrix(7, r) if turned else matrix(r, 7), matrix(r, v * WIDTH)
    y = np.zeros((r, v * WIDTH), np.float32)
    strides = (4, w.strides[0]) if turned else (w.strides[0], 4)
    dense(r, v, x.ctypes.data, x.strides[0], 7, w.ctypes.data, *strides, y.ctypes.data, seed.ctypes.data)
    np.testing.assert_allclose(y, seed + (w.T if turned else w).astype(float) @ x.astype(float), atol=1e-5)


@native
def one_by_one(kind, a, b, out):
    x, z = vector_at(a), vector_at(b)
    if kind == 0:
        put(out, exp2(x))
    elif kind == 1:
        put(out, maximum(x, z))
    elif kind == 2:
        put(out, square_root(x))
    else:
        put(out, where_negative(x, x, z))


@native
def first_lanes(a, out, count):
    put_first(out, vector_at(a), count)


def applied(kind, a, b=None):
    a = np.resize(np.asarray(a, np.float32), WIDTH)
    b = np.resize(np.asarray(a if b is None else b, np.float32), WIDTH)
    out = np.zeros(WIDTH, np.float32)
    one_by_one(kind, a.ctypes.data, b.ctypes.data, out.ctypes.data)
    return a, b, out


def test_powers_of_two():
    for values in np.split(np.linspace(-130, 0, 64 * WIDTH, dtype=np.float32), 64):
        a, _, out = applied(0, values)
        wanted = np.where(a < -126, 0.0, np.exp2(a.astype(float)))
        np.testing.assert_allclose(out, wanted, rtol=2e-7)
    assert np.isnan(applied(0, [np.nan])[2]).all()
    assert (applied(0, [-np.inf])[2] == 0).all()


def test_the_larger_keeps_nan_where_it_is_first_and_roots_and_choices_are_exact():
    a, b, out = applied(1, [1.0, -2.0, np.inf, 0.0], [3.0, -5.0, 1.0, 0.0])
    assert (out == np.maximum(a, b)).all()
    assert np.isnan(applied(1, [np.nan], [1.0])[2]).all()
    a, _, out = applied(2, [4.0, 2.0, 0.0, 1e-20])
    assert (out == np.sqrt(a)).all()
    a, b, out = applied(3, [-1.0, 0.0, 2.0, -0.0], [7.0, 8.0, 9.0, 10.0])
    assert (out == np.where(a < 0, a, b)).all()


@pytest.mark.parametrize("count", [1, WIDTH - 1, WIDTH, WIDTH + 5])
def test_only_the_first_lanes_are_written(count):
    a, out = matrix(WIDTH), np.full(WIDTH + 1, 7.0, np.float32)
    first_lanes(a.ctypes.data, out.ctypes.data, count)
    kept = min(count, WIDTH)
    assert (out[:kept] == a[:kept]).all()
    assert (out[kept:] == 7).all()
