"""One pruned matrix: every engine multiplies as NumPy does, and what a format cannot hold is said."""

import numpy as np
import pytest
import torch

import blockprune_lib as bp
from blockprune_lib.bench import matrix
from blockprune_lib.bench.engine import UnavailableError, engine_of
from blockprune_lib.bench.rivals import rivals_of
from blockprune_lib.bench.settings import MatrixCase

RIVALS = rivals_of("matrix")
QUICK = [key for key in RIVALS if key != "torch-compile"]


def problem(structure="block_column:16", shape=(32, 48), rate=2.0, threads=1):
    return matrix.problem_of(MatrixCase(shape, structure, rate, 8, threads), seed=3)


@pytest.mark.parametrize("structure", ["block_column:16", "tile:16x16", "block_row:8", "irregular", "block_column:5"])
@pytest.mark.parametrize("key", QUICK)
def test_every_engine_multiplies_as_numpy_does(key, structure):
    given = problem(structure)
    try:
        engine = engine_of(RIVALS[key], given)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    assert engine.key == key
    expected = np.zeros((8, 32))
    for token in range(8):
        for output in range(32):
            expected[token, output] = np.dot(given.x[token].double().numpy(), given.weight[output].double().numpy())
    np.testing.assert_allclose(
        engine.answer(), expected, atol=matrix.TOLERANCES[engine.precision] * np.abs(expected).max()
    )
    engine.run()


def test_torch_compile_multiplies_too():
    given = problem()
    with bp.threads(1), torch.inference_mode():
        try:
            engine = engine_of(RIVALS["torch-compile"], given)
        except UnavailableError as reason:
            pytest.skip(str(reason))
        np.testing.assert_allclose(engine.answer(), given.reference(), atol=1e-5)


def test_without_a_compiler_torch_compile_says_so(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no C++ compiler\nlong trace")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(UnavailableError, match=r"torch.compile does not work here: RuntimeError: no C\+\+ compiler$"):
        engine_of(RIVALS["torch-compile"], problem())


@pytest.mark.parametrize(
    ("key", "structure", "why"),
    [
        ("torch-bsr", "block_column:16", "square blocks of 2 or more; block_column:16 has 16 x 1"),
        ("torch-bsr-linear", "irregular", "square blocks"),
        ("torch-bsr", "tile:5x5", "do not fill 32 x 48"),
        ("scipy-bsr", "irregular", "is CSR"),
        ("scipy-bsr", "block_column:5", "blocks of 5 x 1 do not fill"),
    ],
)
def test_what_a_format_cannot_hold_is_said(key, structure, why):
    with pytest.raises(UnavailableError, match=why):
        engine_of(RIVALS[key], problem(structure))


def test_problems_keep_exactly_the_groups_of_the_rate_and_repeat():
    one, two = problem(rate=5.0), problem(rate=5.0)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.x, two.x)
    groups = one.weight.unflatten(0, (2, 16)).ne(0)
    assert groups.all(1).sum() == groups.any(1).sum() == round(2 * 48 / 5)
