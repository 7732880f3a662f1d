"""The dense products of torch: the same answer from each library, and none where torch has no such product."""

import pytest
import torch

from blockprune_lib.bench import dense
from blockprune_lib.bench.engine import UnavailableError
from blockprune_lib.machine.comparison import Comparison, Timing


def drawn(tokens=9, outputs=33, inputs=17):
    return torch.randn(outputs, inputs), torch.randn(tokens, inputs)


@pytest.mark.parametrize("tokens", [1, 9])
def test_every_product_is_that_of_float64(tokens):
    weight, x = drawn(tokens)
    found = dense.products(weight.requires_grad_(), x)
    assert next(iter(found)) == "dense"
    assert set(found) <= {"dense", "dense, oneDNN"}
    for run in found.values():
        torch.testing.assert_close(run().double(), x.double() @ weight.detach().double().T, atol=1e-4, rtol=0)


def test_onednn_is_there_wherever_torch_has_it():
    weight, x = drawn()
    try:
        dense.onednn(weight, x)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    assert "dense, oneDNN" in dense.products(weight, x)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda x, ordered: torch.ops.mkldnn._gone_in_this_version(x), "does not work here"),
        (lambda x, ordered: torch.zeros(9, 33), "is off by"),
        (lambda x, ordered: torch.full((9, 33), float("nan")), "is off by nan"),
        (lambda x, ordered: torch.zeros(9, 1), "is off by inf"),
    ],
)
def test_a_product_that_fails_or_is_wrong_is_left_out(broken, why, monkeypatch):
    weight, x = drawn()
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    monkeypatch.setattr(dense, "_linear", broken)
    assert list(dense.products(weight, x)) == ["dense"]
    with pytest.raises(UnavailableError, match=why):
        dense.onednn(weight, x)


def test_without_onednn_only_the_product_of_a_model_is_left(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert list(dense.products(*drawn())) == ["dense"]


@pytest.mark.parametrize(
    ("weight", "x", "told"),
    [
        (torch.ones(2, 2, dtype=torch.float64), torch.ones(1, 2), "weight must be a float32 matrix; got torch.float64"),
        (torch.ones(2, 2), [1.0], "x must be a float32 matrix; got list"),
        (torch.ones(2, 3), torch.ones(3, 2), "x must have 3 columns, as weight has; got 2: x.T might do"),
    ],
)
def test_what_does_not_fit_is_said(weight, x, told):
    with pytest.raises(ValueError, match=told):
        dense.products(weight, x)


def test_the_fastest_dense_product_is_named():
    def compared(**ms):
        names = {name.replace("_", ", "): Timing(name, (each,), 1) for name, each in ms.items()}
        return Comparison(names, next(iter(names)), {"torch": 1}, 0, 0)

    assert dense.fastest(compared(dense=1.0, dense_oneDNN=2.0)) == "dense"
    assert dense.fastest(compared(dense=3.0, dense_oneDNN=2.0, ours=1.0)) == "dense, oneDNN"
    with pytest.raises(ValueError, match="must hold 'dense'; got ours"):
        dense.fastest(compared(ours=1.0))
