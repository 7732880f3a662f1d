"""The dense products of torch: the same answer from each library, and none where torch has no such product."""

import pytest
import torch
from transformers import BertConfig, BertModel

from blockprune_lib.bench import dense
from blockprune_lib.bench.engine import UnavailableError
from blockprune_lib.machine.comparison import Comparison, Timing
from blockprune_lib.pruning import prunable


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
        (lambda x, ordered, bias=None: torch.ops.mkldnn._gone_in_this_version(x), "does not work here"),
        (lambda x, ordered, bias=None: torch.zeros(9, 33), "is off by"),
        (lambda x, ordered, bias=None: torch.full((9, 33), float("nan")), "is off by nan"),
        (lambda x, ordered, bias=None: torch.zeros(9, 1), "is off by inf"),
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


def small_model():
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    return BertModel(config).eval()


def test_a_whole_model_by_onednn_gives_the_same_answer_and_leaves_the_model_alone():
    model = small_model()
    found = dense.models(model, tokens=8)
    assert found["dense"] is model
    assert all(isinstance(linear, torch.nn.Linear) for linear in prunable(model).values())
    if "dense, oneDNN" not in found:
        pytest.skip("this torch has no product by oneDNN")
    other = found["dense, oneDNN"]
    assert all(not isinstance(module, torch.nn.Linear) for module in other.encoder.modules())
    for shape in ((1, 8), (2, 5)):
        ids = torch.randint(50, shape)
        with torch.inference_mode():
            answers = [each(input_ids=ids).last_hidden_state for each in (other, model)]
        torch.testing.assert_close(*answers, atol=1e-5, rtol=0)


def test_without_onednn_only_the_model_itself_is_left(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert list(dense.models(small_model(), tokens=8)) == ["dense"]


def test_a_model_without_a_matrix_is_no_model_for_onednn():
    with pytest.raises(ValueError, match="nothing to prune"):
        dense.models(torch.nn.Embedding(3, 4), tokens=8)


def test_the_fastest_dense_product_is_named():
    def compared(**ms):
        names = {name.replace("_", ", "): Timing(name, (each,), 1) for name, each in ms.items()}
        return Comparison(names, next(iter(names)), {"torch": 1}, 0, 0)

    assert dense.fastest(compared(dense=1.0, dense_oneDNN=2.0)) == "dense"
    assert dense.fastest(compared(dense=3.0, dense_oneDNN=2.0, ours=1.0)) == "dense, oneDNN"
    with pytest.raises(ValueError, match="must hold 'dense'; got ours"):
        dense.fastest(compared(ours=1.0))
