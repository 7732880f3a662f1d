import numpy as np
import pytest

from blockprune_lib.kernels.csr import CsrMatrix
from blockprune_lib.machine.simd import LANES


def matrix(rows, columns, density, seed=0):
    generator = np.random.default_rng(seed)
    dense = generator.standard_normal((rows, columns)).astype(np.float32)
    return dense * (generator.random((rows, columns)) < density)


def csr(dense):
    rows, columns = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return dense[rows, columns], columns, offsets


@pytest.mark.parametrize("keep_sums", [True, False])
@pytest.mark.parametrize("tokens", [1, 3, LANES, 8 * LANES, 8 * LANES + 5, 16 * LANES + LANES])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_a_csr_product_is_the_dense_one(keep_sums, tokens, density):
    dense = matrix(11, 13, density)
    x = np.random.default_rng(1).standard_normal((13, tokens)).astype(np.float32)
    got = CsrMatrix(*csr(dense), inputs=13).product(x, keep_sums=keep_sums)
    assert got.shape == (11, tokens)
    np.testing.assert_allclose(got, dense.astype(np.float64) @ x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "columns", "offsets", "named"),
    [
        ([1.0], [0, 1], [0, 1], "columns must be as many"),
        ([1.0], [1], [0, 1], "columns must be from 0 to 0"),
        ([1.0], [-1], [0, 1], "columns must be from 0 to 0"),
        ([1.0], [0], [0, 2], "offsets"),
        ([1.0], [0], [1, 1], "offsets"),
        ([1.0, 1.0], [0, 0], [0, 2, 1, 2], "offsets"),
        ([1.0], [0], [], "offsets"),
        ([[1.0]], [0], [0, 1], "values must have 1"),
    ],
)
def test_indices_that_a_loop_must_not_follow_are_refused(values, columns, offsets, named):
    with pytest.raises(ValueError, match=named):
        CsrMatrix(values, columns, offsets, inputs=1)


@pytest.mark.parametrize("x", [[1.0], [[1.0], [2.0]]], ids=["1-D", "too long"])
def test_an_x_that_does_not_fit_is_refused(x):
    with pytest.raises(ValueError, match="x must have shape"):
        CsrMatrix([1.0], [0], [0, 1], inputs=1).product(x)
